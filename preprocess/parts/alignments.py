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
from utility.labels.formats import NAMED_BY_FILE, AlignedUtterances, NotPhones, find_files, reader
from utility.labels.phone_sets import PHONE_SETS
from utility.tables import table_bytes
from utility.text import cut, read_text, short
from utility.utterance_ids import utterance_ids

SHOWN = 80  # labels printed with their counts
KALDI_SHIFT = 0.01  # seconds per frame, where nobody says otherwise


@dataclass(frozen=True, kw_only=True)
class Aligning:
    """Which files become which alignment; `name` None is made of `data_path` and the tier.

    `exclude` names a file whose lines begin with utterances to leave out; `phones` and `frame_shift` are of Kaldi's
    archives."""

    data_path: Sequence[Path]
    output_path: Path
    name: str | None
    format: str
    tier: str
    phone_set: str
    exclude: Path | None = None
    order: str = "sorted"
    phones: Path | None = None
    frame_shift: float | None = None
    dry_run: bool = False


def align(flags: Aligning) -> int:
    """Write the alignment; 1 when some file or utterance could not be used, which errors.csv lists with the reason."""
    form, files = _find(flags)
    read = reader(form, flags.phones, flags.frame_shift or KALDI_SHIFT)
    excluded = Excluded(flags.exclude)
    root = flags.output_path.expanduser() / (flags.name or _name(flags))
    errors: list[tuple[str, str]] = []
    utterances = collect(files, lambda file: read(file, flags.tier), PHONE_SETS[flags.phone_set], errors, excluded)
    if flags.dry_run:
        return _print_plan(utterances, len(files), form, root)
    try:
        write_alignment(root, utterances, flags.order)
    except ValueError as error:
        more = f"; {flags.exclude} leaves out {excluded.met}" if excluded.met else ""
        more += f"; the first of {len(errors)} errors is: {errors[0][1]}" if errors else ""
        raise ValueError(f"{error}{more}") from None
    if errors:
        replace_file(root / ERRORS, table_bytes(("path", "reason"), errors))
    describe_alignment(Alignment(root))
    if flags.exclude is not None:
        print(f"{excluded.met} utterances left out, as {flags.exclude} says")
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


def _find(flags: Aligning) -> tuple[str, dict[Path, str | None]]:
    """The format, and all files with the ids of those that do not name their utterance."""
    files: dict[Path, str | None] = {}
    forms: dict[str, Path] = {}
    for path in (path.expanduser() for path in flags.data_path):
        form, fitting = find_files(path, flags.format, flags.tier)
        forms.setdefault(form, path)
        ids = ids_of(path, fitting, form)
        files |= {file: ids.get(file) for file in fitting}
    if len(forms) > 1:
        (one, first), (other, second), *_ = forms.items()
        raise ValueError(f"--data_path: {first} holds {one} files, {second} {other} files: choose by --format")
    return form, files


def _name(flags: Aligning) -> str:
    path = flags.data_path[0].expanduser().resolve()
    return f"{path.stem if len(flags.data_path) == 1 else path.parent.name}_{flags.tier}"


class Excluded:
    """Utterances to leave out: the first words of the lines of a file, without one none; `met` counts them."""

    def __init__(self, file: Path | None):
        lines = [] if file is None else read_text(file.expanduser()).removeprefix("\ufeff").split("\n")
        self.ids = {words[0] for line in lines if (words := line.split())}
        if file is not None and not self.ids:
            raise ValueError(f"{file}: no utterance in it: expected an id at the start of each line")
        self.met = 0

    def holds(self, key: str) -> bool:
        """Whether an utterance is left out."""
        self.met += key in self.ids
        return key in self.ids


def ids_of(path: Path, files: Sequence[Path], form: str) -> dict[Path, str]:
    """The ids of files that hold one utterance each and do not name it, by the rule of recordings."""
    if path.is_file() or form not in NAMED_BY_FILE:
        return {}
    return dict(zip(files, utterance_ids([file.relative_to(path).as_posix() for file in files])))


def collect(
    files: Mapping[Path, str | None],
    read: Callable[[Path], AlignedUtterances],
    fold: Callable[[str], str],
    errors: list[tuple[str, str]],
    excluded: Excluded,
) -> Iterator[tuple[str, TimedLabels]]:
    """Utterances of all files in order, labels folded; (file, reason) of what cannot be used goes to `errors`.

    `files` come with the ids of their utterances where they do not name them; `read` reads one."""
    origin: dict[str, Path] = {}
    for file, named in tqdm(files.items(), unit="file", disable=not sys.stderr.isatty()):
        utterances = read(file)
        while True:
            try:
                key, segments = next(utterances)
                key = key if named is None else named
                if excluded.holds(key):
                    continue
                segments = folded(key, segments, fold)
            except StopIteration:
                break
            except NotPhones:
                raise
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
