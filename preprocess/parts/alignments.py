"""Alignment files, read, folded and written as one alignment."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utility.arrays import ArrayFile
from utility.files import replace_file
from utility.labels.alignment import ERRORS, SEGMENTS, Alignment, TimedLabels, check_segments, write_alignment
from utility.labels.formats import NAMED_BY_FILE, READERS, find_files
from utility.labels.phone_sets import PHONE_SETS
from utility.store.files import table_bytes
from utility.text import cut, short
from utility.utterance_ids import utterance_ids

SHOWN = 80  # labels printed with their counts


@dataclass(frozen=True, kw_only=True)
class Aligning:
    """Which files become which alignment; `name` None is made of `data_path` and the tier."""

    data_path: Path
    output_path: Path
    name: str | None
    format: str
    tier: str
    phone_set: str
    dry_run: bool


def align(flags: Aligning) -> int:
    """Write the alignment; 1 when some file or utterance could not be used, which errors.csv lists with the reason."""
    path = flags.data_path.expanduser()
    form, files = find_files(path, flags.format, flags.tier)
    root = flags.output_path.expanduser() / (flags.name or f"{path.resolve().stem}_{flags.tier}")
    errors: list[tuple[str, str]] = []
    utterances = collect(files, form, flags.tier, PHONE_SETS[flags.phone_set], errors, ids_of(path, files, form))
    if flags.dry_run:
        return _print_plan(utterances, len(files), form, root)
    try:
        write_alignment(root, utterances)
    except ValueError as error:
        first = f"; the first of {len(errors)} errors is: {errors[0][1]}" if errors else ""
        raise ValueError(f"{error}{first}") from None
    if errors:
        replace_file(root / ERRORS, table_bytes(("path", "reason"), errors))
    describe_alignment(Alignment(root))
    if errors:
        print(f"{len(errors)} not used, see {root / ERRORS}; the first: {errors[0][1]}", file=sys.stderr)
    return 1 if errors else 0


def _print_plan(utterances: Iterator[tuple[str, TimedLabels]], files: int, form: str, root: Path) -> int:
    """What `--dry_run` prints."""
    labels, count, seconds = set(), 0, 0.0
    for _, segments in utterances:
        count, seconds = count + 1, seconds + sum(end - start for start, end, _ in segments)
        labels |= {label for _, _, label in segments}
    print(
        f"data:\n  {files} files of form {form}: {count} utterances, {seconds / 3600:.2f} hours, {len(labels)} labels"
    )
    print(f"dry run: nothing is written; the output would go to {root}")
    return 0


def ids_of(path: Path, files: Sequence[Path], form: str) -> dict[Path, str]:
    """The ids of files that hold one utterance each and do not name it, by the rule of recordings."""
    if path.is_file() or form not in NAMED_BY_FILE:
        return {}
    return dict(zip(files, utterance_ids([file.relative_to(path).as_posix() for file in files])))


def collect(
    files: Sequence[Path],
    form: str,
    tier: str,
    fold: Callable[[str], str],
    errors: list[tuple[str, str]],
    ids: Mapping[Path, str],
) -> Iterator[tuple[str, TimedLabels]]:
    """Utterances of all files in order, labels folded; (file, reason) of what cannot be used goes to `errors`.

    `ids` names the utterances of files that do not."""
    origin: dict[str, Path] = {}
    for file in tqdm(files, unit="file", disable=not sys.stderr.isatty()):
        utterances = READERS[form](file, tier)
        while True:
            try:
                key, segments = next(utterances)
                key = ids.get(file, key)
                segments = folded(key, segments, fold)
            except StopIteration:
                break
            except (ValueError, OSError) as error:
                errors.append((str(file), " ".join(str(error).split())))
                continue
            if key in origin:
                where = f"{origin[key]} and {file}" if origin[key] != file else f"two places of {file}"
                raise ValueError(
                    f"utterance {short(key)} is in {where}; give --data_path one alignment of each utterance"
                )
            origin[key] = file
            yield key, segments


def folded(key: str, segments: TimedLabels, fold: Callable[[str], str]) -> TimedLabels:
    """The segments under the phone set's labels, those without one left out; `ValueError` for what cannot be stored."""
    try:
        named = [(start, end, fold(label)) for start, end, label in segments]
    except ValueError as error:
        raise ValueError(f"{cut(key)}: {error}") from None
    labelled = [segment for segment in named if segment[2]]
    check_segments(key, labelled)
    if not labelled:
        raise ValueError(f"{cut(key)}: no labelled segment")
    return labelled


def describe_alignment(alignment: Alignment) -> None:
    """Print utterances, hours, and each label with its count, the most frequent first."""
    segments = ArrayFile.open(alignment.root / SEGMENTS).mapped()
    hours = float((segments["end"] - segments["start"]).sum()) / 3600
    print(f"{alignment.root}: {len(alignment)} utterances, {hours:.2f} hours, {len(alignment.labels)} labels")
    counts = np.bincount(segments["label"], minlength=len(alignment.labels))
    order = np.argsort(-counts, kind="stable")
    print("  ".join(f"{alignment.labels[i]} {counts[i]}" for i in order[:SHOWN]))
    if len(order) > SHOWN:
        print(f"and {len(order) - SHOWN} more")
