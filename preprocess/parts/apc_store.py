"""APC features of the originals, written as a feature store."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from preprocess.parts.apc_files import ApcSource, BrokenUtterance, find_sources
from utility.files import check_folder
from utility.store.files import Failure, Row, check_split_name
from utility.store.info import StoreInfo
from utility.store.originals import LIBRISPEECH_ID
from utility.store.writing import StoreWriter


@dataclass(frozen=True, kw_only=True)
class Importing:
    """Which files become which store; `name` None is made of the size of the features."""

    data_path: Sequence[Path]
    output_path: Path
    name: str | None
    splits: Sequence[str]
    frame_shift: float
    dtype: Literal["float32", "float16"]
    dry_run: bool


def import_apc(flags: Importing) -> int:
    """Write the store; 1 when some utterances have no features, which errors.csv lists with the reason."""
    sources = find_sources([path.expanduser() for path in flags.data_path])
    unknown = set(flags.splits) - {source.split for source in sources}
    if unknown:
        raise ValueError(f"no split {min(unknown)}; there are {', '.join(source.split for source in sources)}")
    sources = [source for source in sources if not flags.splits or source.split in flags.splits]
    first = sources[0]
    for source in sources:
        check_split_name(source.split)
        if source.dim != first.dim:
            raise ValueError(f"{source.path} has {source.dim} numbers per frame, {first.path} has {first.dim}")
    root = flags.output_path.expanduser() / (flags.name or f"apc_mel{first.dim}")
    check_folder(root)
    info = StoreInfo(
        dtype=flags.dtype, row_shape=[first.dim], frame_shift=flags.frame_shift, made_by={"imported": "APC log mel"}
    )
    if flags.dry_run:
        return _print_plan(sources, root, info.frame_shift)
    failures = [failure for source in sources for failure in _import(source, root, info)]
    if failures:
        reason = f"{failures[0].path}: {failures[0].reason}"
        print(f"{len(failures)} not used, see {root / 'errors.csv'}; the first: {reason}", file=sys.stderr)
    return 1 if failures else 0


def _print_plan(sources: Sequence[ApcSource], root: Path, frame_shift: float) -> int:
    """What `--dry_run` prints."""
    print("data:")
    for source in sources:
        frames = sum(entry.length for entry in source.entries)
        hours = frames * frame_shift / 3600
        print(f"  {source.split}: {len(source.entries)} utterances, {hours:.2f} hours, {frames} frames of {source.dim}")
    print(f"dry run: nothing is written; the output would go to {root}")
    return 0


def _import(source: ApcSource, root: Path, info: StoreInfo) -> list[Failure]:
    """Write one split, in the alphabetical order of its ids."""
    rows = [_row(entry.id, entry.length) for entry in sorted(source.entries, key=lambda entry: entry.id)]
    writer = StoreWriter.open(root, source.split, rows, info)
    row_of = {rows[i].id: i for i in writer.pending()}
    for entry in source.entries:
        if not entry.length and entry.id in row_of:
            writer.fail(row_of.pop(entry.id), entry.reason)
    utterances = tqdm(source.read(list(row_of)), source.split, len(row_of), unit="utt", disable=None)
    for name, frames in utterances:
        _store(writer, row_of[name], frames)
    writer.finish()
    failures = writer.failures()
    lost = {failure.path for failure in failures}
    kept = [row.length for row in rows if row.source not in lost]
    print(f"{root / source.split}: {len(kept)} utterances, {sum(kept)} frames of {source.dim}, {len(lost)} failed")
    return failures


def _row(name: str, length: int) -> Row:
    speaker = LIBRISPEECH_ID.fullmatch(name)
    return Row(name, length, 0, speaker[1] if speaker else "", name)


def _store(writer: StoreWriter, row: int, frames: np.ndarray | BrokenUtterance) -> None:
    try:
        if isinstance(frames, BrokenUtterance):
            raise frames
        writer.write(row, frames)
    except ValueError as error:
        writer.fail(row, str(error).rpartition(f"{writer.files}: ")[2])
