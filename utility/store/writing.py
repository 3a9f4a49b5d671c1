"""Writing a feature store: many processes fill one array, and a killed run continues where it was."""

import errno
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from utility.arrays import array_header
from utility.files import replace_file
from utility.store.digest import ROW_BYTES, row_digest, write_digest
from utility.store.files import (
    ERROR_COLUMNS,
    SPAN_COLUMNS,
    STORE_COLUMNS,
    Failure,
    Row,
    SplitFiles,
    create_info,
    offsets_of,
    read_table,
    rows_of,
    unlike,
    write_errors,
)
from utility.store.info import StoreInfo
from utility.store.rows import DONE, FAILED, PENDING, REASON_BYTES, SLOT_BYTES, STATE_BYTES, RowWriter, write_at
from utility.store.statistics import write_statistics
from utility.tables import table_bytes
from utility.text import cut, short

CHUNK_BYTES = 1 << 24


class StoreWriter:
    """One split being written: `write` or `fail` every pending row, in any order and any process, then `finish`.

    The plan (which utterances, how long) is fixed first and lies in `<split>.plan.csv`; it is created last of the files
    of an unfinished split, so where it exists the array and the progress file do too. `<split>.progress` has one byte
    per row, set after the row's data are written, then one slot of `SLOT_BYTES` per row for the digest of its data,
    or the reason of its failure, and for the state of the recording that it was made from.
    Nothing stays open between calls; worker processes get the `some` rows that they are to write.
    """

    def __init__(self, files: SplitFiles, rows: Sequence[Row], info: StoreInfo):
        self.files, self.rows, self.info = files, rows, info
        self.lengths = np.array([row.length for row in rows], dtype=np.int64)
        self.offsets = offsets_of(self.lengths)
        self._header = array_header([int(self.lengths.sum()), *info.row_shape], info.dtype)
        self._frame_bytes = math.prod(info.row_shape) * np.dtype(info.dtype).itemsize

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str,
        rows: Sequence[Row],
        info: StoreInfo,
        source: Callable[[Row], bytes] | None = None,
    ) -> "StoreWriter":
        """Begin a split, join others who write it, continue an unfinished one, or find it finished.

        A row of length 0 is an utterance known to fail. `source` says in what state the recording of a row is: what an
        unfinished split has of recordings that were replaced since is made again. Raises ValueError when what is there
        was made from something else, naming both values, and OSError when the disk has no room for the array.
        """
        files = SplitFiles(Path(root), split)
        _check(files, rows, info)
        if files.table.exists() and not files.info.exists():
            raise ValueError(f"{files.table} is there without features.yaml: choose another output directory")
        files.root.mkdir(parents=True, exist_ok=True)
        different = unlike(create_info(files.info, info), info)
        if different:
            raise ValueError(f"{files.info} was made from something else: {different}; choose another folder")
        writer = cls(files, rows, info)
        with files.lock():
            if files.table.exists():
                writer._compare_with_finished()
                files.remove_helpers()
            elif files.plan.exists():
                writer._join(source)
            else:
                writer._begin()
        return writer

    @property
    def finished(self) -> bool:
        """Whether `<split>.csv` is there."""
        return self.files.table.exists()

    def pending(self, shard: tuple[int, int] = (0, 1)) -> list[int]:
        """Rows still to be written; of n shards, shard k (from 0) has the k-th part of the frames."""
        k, n = shard
        assert 0 <= k < n, shard
        total = max(int(self.lengths.sum()), 1)
        mine = np.minimum(self.offsets * n // total, n - 1) == k
        return np.flatnonzero(mine & (self._status() == PENDING)).tolist()

    def some(self, rows: Sequence[int]) -> RowWriter:
        """What another process needs to write the given rows, and no more: its size does not grow with the corpus."""
        extents = {int(i): (self._position(i), int(self.lengths[i])) for i in rows}
        return RowWriter(self.files, self.info, len(self.lengths), extents)

    def write(self, i: int, array: np.ndarray) -> None:
        """Store row `i`, [length, *row_shape]; ValueError when the shape is another or a value is not finite."""
        self.some([i]).write(i, array)

    def write_pieces(self, i: int, pieces: Iterable[np.ndarray]) -> None:
        """Store row `i` piece by piece, one after the other; ValueError as of `write`."""
        self.some([i]).write_pieces(i, pieces)

    def fail(self, i: int, reason: str) -> None:
        """Note that row `i` has no features; it goes to errors.csv with its reason, of which one line is kept."""
        self.some([i]).fail(i, reason)

    def failures(self) -> list[Failure]:
        """The failed utterances of this split so far, in the order of the rows."""
        if self.finished:
            return _failures(self.files)
        failed = np.flatnonzero(self._status() == FAILED).tolist()
        return [Failure(self.rows[i].source, self._reason(i)) for i in failed]

    def finish(self) -> bool:
        """Put `<split>.csv` and errors.csv in place if no row is pending; True when the split is finished."""
        if not self.finished and (self._status() == PENDING).any():
            return False
        with self.files.lock():
            if self.finished:
                return True
            failures = self.failures()
            status = self._status()
            for i in np.flatnonzero(status == FAILED).tolist():
                self._clear(i)
            _sync(self.files.array)
            write_errors(self.files, failures)
            done = np.flatnonzero(status == DONE).tolist()
            if self.info.normalised_when_read:
                rows = ((self.rows[i].speaker, int(self.offsets[i]), int(self.lengths[i])) for i in done)
                write_statistics(self.files.statistics, self.info, self.files.array, rows)
            write_digest(self.files, self._digests(done))
            replace_file(self.files.table, self._table(done))
            self.files.remove_helpers()
        return True

    def _begin(self) -> None:
        size = len(self._header) + int(self.lengths.sum()) * self._frame_bytes
        free = shutil.disk_usage(self.files.root).free
        if size > free:
            reason = f"No space left on device: needs {size / 2**20:.1f} MiB, has {free / 2**20:.1f} MiB"
            raise OSError(errno.ENOSPC, reason, str(self.files.array))
        rows = len(self.lengths)
        self.files.progress.unlink(missing_ok=True)
        self.files.digest.unlink(missing_ok=True)
        replace_file(self.files.array, self._header, size)
        replace_file(self.files.progress, b"", rows * (1 + SLOT_BYTES))
        replace_file(self.files.plan, self._plan())

    def _join(self, source: Callable[[Row], bytes] | None) -> None:
        if self.files.plan.read_bytes() != self._plan():
            self._refuse(rows_of(read_table(self.files.plan, STORE_COLUMNS, SPAN_COLUMNS)), self.rows, "begun")
        self._check_array()
        if self.files.progress.stat().st_size != len(self.lengths) * (1 + SLOT_BYTES):
            raise ValueError(f"{self.files.progress} does not fit its plan: remove {self.files.plan} to start again")
        if source is not None:
            self._reset_changed(source)

    def _reset_changed(self, source: Callable[[Row], bytes]) -> None:
        """What was made of recordings that were replaced since is to be made again."""
        begun, unknown = np.flatnonzero(self._status() != PENDING).tolist(), bytes(STATE_BYTES)
        with self.files.progress.open("rb") as progress:
            for i in begun:
                progress.seek(len(self.lengths) + i * SLOT_BYTES + REASON_BYTES)
                if progress.read(STATE_BYTES) not in (unknown, source(self.rows[i])):
                    self.some([i]).reset(i)

    def _check_array(self) -> None:
        with self.files.array.open("rb") as file:
            if file.read(len(self._header)) != self._header:
                raise ValueError(f"{self.files.array} does not fit its table: remove both to make the split again")

    def _compare_with_finished(self) -> None:
        failed = {failure.path for failure in _failures(self.files)}
        there = rows_of(read_table(self.files.table, STORE_COLUMNS, SPAN_COLUMNS))
        expected = [row for row in self.rows if row.source not in failed]
        missing = failed - {row.source for row in self.rows}
        if missing:
            raise ValueError(
                f"{self.files} was made from another list of audio: {cut(min(missing))} is there, not here"
            )
        self._refuse(there, expected, "made")
        self._check_array()

    def _refuse(self, there: Sequence[Row], here: Sequence[Row], verb: str) -> None:
        for i, (first, second) in enumerate(zip(there, here)):
            if first != second:
                names = [field.name for field in fields(Row)]
                values = ((name, getattr(first, name), getattr(second, name)) for name in names)
                name, a, b = next(item for item in values if item[1] != item[2])
                reason = f"{name} of utterance {i} ({cut(first.id)}) is {short(a)} there, {short(b)} here"
                break
        else:
            if len(there) == len(here):
                return
            reason = f"{len(there)} utterances there, {len(here)} here"
        hint = "choose another output directory, or remove that split to make it again"
        raise ValueError(f"{self.files} was {verb} from another list of audio: {reason}; {hint}")

    def _plan(self) -> bytes:
        return self._table(range(len(self.rows)))

    def _table(self, chosen: Sequence[int]) -> bytes:
        """The table of some rows; only where one of the split's is a part of a recording it has columns for that."""
        parts = any((row.start, row.stop) != (None, None) for row in self.rows)
        lines = [
            (row.id, int(offset), row.length, row.num_samples, row.speaker, row.path)
            + ((row.start, row.stop) if parts else ())
            for row, offset in ((self.rows[i], self.offsets[i]) for i in chosen)
        ]
        return table_bytes([*STORE_COLUMNS, *(SPAN_COLUMNS if parts else ())], lines)

    def _digests(self, rows: Sequence[int]) -> list[bytes]:
        """The digests of rows that are written; of those that an earlier version wrote, from their data."""
        empty, digests = bytes(ROW_BYTES), []
        with self.files.progress.open("rb") as progress, self.files.array.open("rb") as array:
            for i in rows:
                progress.seek(len(self.lengths) + i * SLOT_BYTES)
                digest = progress.read(ROW_BYTES)
                if digest == empty:
                    array.seek(self._position(i))
                    digest = row_digest(array.read(int(self.lengths[i]) * self._frame_bytes))
                digests.append(digest)
        return digests

    def _position(self, i: int) -> int:
        return len(self._header) + int(self.offsets[i]) * self._frame_bytes

    def _status(self) -> np.ndarray:
        try:
            with self.files.progress.open("rb") as file:
                return np.frombuffer(file.read(len(self.lengths)), dtype=np.uint8)
        except FileNotFoundError:
            if not self.finished:
                raise
            return np.full(len(self.lengths), DONE, dtype=np.uint8)

    def _reason(self, i: int) -> str:
        with self.files.progress.open("rb") as file:
            file.seek(len(self.lengths) + i * SLOT_BYTES)
            return file.read(REASON_BYTES).rstrip(b"\0").decode()

    def _clear(self, i: int) -> None:
        """Zero what a write that was cut short may have left of a failed row; what takes no disk is zero already."""
        start, stop = self._position(i), self._position(i) + int(self.lengths[i]) * self._frame_bytes
        with self.files.array.open("rb") as file:
            while (start := _next_data(file.fileno(), start)) < stop:
                file.seek(start)
                chunk = file.read(min(CHUNK_BYTES, stop - start))
                if any(chunk):
                    write_at(self.files.array, bytes(len(chunk)), start)
                start += len(chunk)


def _check(files: SplitFiles, rows: Sequence[Row], info: StoreInfo) -> None:
    if not rows:
        raise ValueError(f"{files}: no utterances")
    seen = set()
    for row in rows:
        if not row.id or row.id in seen:
            raise ValueError(f"{files}: utterance id {short(row.id)} is {'not unique' if row.id else 'empty'}")
        if row.length < 0 or row.num_samples < 0:
            raise ValueError(f"{files}: utterance {cut(row.id)} has length {row.length}, num_samples {row.num_samples}")
        seen.add(row.id)
    if info.frame_shift <= 0:  # NaN: not known
        raise ValueError(f"{files}: frame_shift is {info.frame_shift}, expected seconds above 0")
    if info.kind == "features" and info.features is not None and info.row_shape != [info.features.dim]:
        raise ValueError(f"{files}: row_shape is {info.row_shape}, but these features have {info.features.dim} dims")


def _failures(files: SplitFiles) -> list[Failure]:
    if not files.errors.exists():
        return []
    table = read_table(files.errors, ERROR_COLUMNS)
    table = table[table["split"] == files.split]
    return [Failure(path, reason) for path, reason in zip(table["path"], table["reason"])]


def _next_data(descriptor: int, position: int) -> int:
    """The first byte from `position` on that takes disk, or the end of the file."""
    if not hasattr(os, "SEEK_DATA"):
        return position
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(descriptor).st_size


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
