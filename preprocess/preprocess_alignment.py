"""Alignment files of any usual form -> one alignment under data/: labelled segments that any feature can use."""

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from tqdm import tqdm

from utility.command import Parser, run
from utility.labels.alignment import ERRORS, Alignment, Segments, check_segments, write_alignment
from utility.labels.formats import READERS, TIERS, find_files
from utility.labels.phone_sets import PHONE_SETS

SHOWN = 80  # labels printed with their counts


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(prog="preprocess_alignment.py", description=__doc__)
    parser.add_argument("--data_path", type=Path, required=True, help="a file, or a folder searched for files")
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the alignment's folder appears")
    parser.add_argument("--name", help="the alignment's folder (default: <folder of data_path>_<tier>)")
    parser.add_argument("--format", choices=("auto", *READERS), default="auto", help="form of the files")
    parser.add_argument("--tier", choices=TIERS, default="phones", help="which labels of TextGrid and TIMIT")
    parser.add_argument(
        "--phone_set",
        choices=tuple(PHONE_SETS),
        default="as_is",
        help="arpabet39 strips stress and merges silence marks; timit48 and timit39 fold TIMIT's 61 symbols",
    )
    args = parser.parse_args(argv)
    if args.tier == "words" and args.phone_set != "as_is":
        parser.error(f"--phone_set={args.phone_set} needs --tier=phones")
    return args


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some file or utterance could not be used, which errors.csv lists with the reason; else 0."""
    args = arguments(argv)
    args.data_path = args.data_path.expanduser()
    form, files = find_files(args.data_path, args.format, args.tier)
    root = args.output_path.expanduser() / (args.name or f"{args.data_path.resolve().stem}_{args.tier}")
    errors: list[tuple[str, str]] = []
    try:
        write_alignment(root, collect(files, form, args.tier, PHONE_SETS[args.phone_set], errors))
    except ValueError as error:
        first = f"; the first of {len(errors)} errors is: {errors[0][1]}" if errors else ""
        raise ValueError(f"{error}{first}") from None
    if errors:
        write_errors(root / ERRORS, errors)
    describe(Alignment(root))
    if errors:
        print(f"{len(errors)} not used, see {root / ERRORS}; the first: {errors[0][1]}", file=sys.stderr)
    return 1 if errors else 0


def collect(
    files: Sequence[Path], form: str, tier: str, fold: Callable[[str], str], errors: list[tuple[str, str]]
) -> Iterator[tuple[str, Segments]]:
    """Utterances of all files in order, labels folded; (file, reason) of what cannot be used goes to `errors`."""
    origin: dict[str, Path] = {}
    for file in tqdm(files, unit="file", disable=not sys.stderr.isatty()):
        utterances = READERS[form](file, tier)
        while True:
            try:
                key, segments = next(utterances)
                segments = folded(key, segments, fold)
            except StopIteration:
                break
            except (ValueError, OSError) as error:
                errors.append((str(file), " ".join(str(error).split())))
                continue
            if key in origin:
                where = f"{origin[key]} and {file}" if origin[key] != file else f"two places of {file}"
                raise ValueError(f"utterance {key!r} is in {where}; give --data_path one alignment of each utterance")
            origin[key] = file
            yield key, segments


def folded(key: str, segments: Segments, fold: Callable[[str], str]) -> Segments:
    """The segments under the phone set's labels, those without one left out; `ValueError` for what cannot be stored."""
    try:
        named = [(start, end, fold(label)) for start, end, label in segments]
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    labelled = [segment for segment in named if segment[2]]
    check_segments(key, labelled)
    if not labelled:
        raise ValueError(f"{key}: no labelled segment")
    return labelled


def write_errors(file: Path, errors: Sequence[tuple[str, str]]) -> None:
    """Write the table of what could not be used, atomically."""
    scratch = file.with_suffix(".tmp")
    with scratch.open("w", newline="", encoding="utf-8") as table:
        csv.writer(table, lineterminator="\n").writerows([("path", "reason"), *errors])
    os.replace(scratch, file)


def describe(alignment: Alignment) -> None:
    """Print utterances, hours, and each label with its count, the most frequent first."""
    segments = np.load(alignment.root / "segments.npy", mmap_mode="r")
    hours = float((segments["end"] - segments["start"]).sum()) / 3600
    print(f"{alignment.root}: {len(alignment)} utterances, {hours:.2f} hours, {len(alignment.labels)} labels")
    counts = np.bincount(segments["label"], minlength=len(alignment.labels))
    order = np.argsort(-counts, kind="stable")
    print("  ".join(f"{alignment.labels[i]} {counts[i]}" for i in order[:SHOWN]))
    if len(order) > SHOWN:
        print(f"and {len(order) - SHOWN} more")


if __name__ == "__main__":
    run(main)
