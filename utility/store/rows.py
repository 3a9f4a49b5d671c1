"""Writing rows of a feature store from any process."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utility.store.digest import EMPTY, row_digest
from utility.store.files import SplitFiles
from utility.store.info import StoreInfo

PENDING, DONE, FAILED = 0, 1, 2
# Of a row: the digest of its data or the reason of its failure, and at the end the state of its source.
SLOT_BYTES = 512
STATE_BYTES = 8
REASON_BYTES = SLOT_BYTES - STATE_BYTES


@dataclass(frozen=True)
class RowWriter:
    """Some rows of an unfinished split: `extents` has the first byte and the frames of each, `rows` counts the split's.

    A row may be written again, by any process: it becomes the same bytes, and its mark is set after they are written.
    """

    files: SplitFiles
    info: StoreInfo
    rows: int
    extents: Mapping[int, tuple[int, int]]

    def write(self, i: int, array: np.ndarray, source: bytes = b"") -> None:
        """Store row `i`, [length, *row_shape]; ValueError when the shape is another or a value is not finite.

        `source` is the state of the recording it was made from, taken before that was read."""
        position, length = self.extents[i]
        shape = (length, *self.info.row_shape)
        array = np.asarray(array)
        if array.shape != shape or not length:
            raise ValueError(f"row {i} of {self.files}: shape is {array.shape}, expected {shape}")
        data = self._stored(i, array)
        write_at(self.files.array, data, position)
        self._slot(i, row_digest(data), source)
        self._mark(bytes([DONE]), i)

    def write_pieces(self, i: int, pieces: Iterable[np.ndarray], source: bytes = b"") -> None:
        """Store row `i` piece by piece, one after the other: it is never held whole; ValueError as of `write`."""
        start, length = self.extents[i]
        position, digest, frames = start, EMPTY, 0
        for piece in pieces:
            frames += len(piece)
            if piece.shape[1:] != tuple(self.info.row_shape) or frames > length:
                raise ValueError(f"row {i} of {self.files}: a piece {piece.shape} does not fit into {length} frames")
            data = self._stored(i, piece)
            write_at(self.files.array, data, position)
            position, digest = position + len(data), row_digest(data, digest)
        if frames != length or not length:
            raise ValueError(f"row {i} of {self.files}: pieces of {frames} frames, expected {length}")
        self._slot(i, digest, source)
        self._mark(bytes([DONE]), i)

    def _stored(self, i: int, array: np.ndarray) -> memoryview:
        """The bytes of some frames as they lie on disk; ValueError when a value is not finite."""
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(array, dtype=np.dtype(self.info.dtype).newbyteorder("<"))
        if not np.isfinite(stored).all():
            raise ValueError(f"row {i} of {self.files}: a value is not a finite {self.info.dtype}")
        return stored.data.cast("B")

    def fail(self, i: int, reason: str, source: bytes = b"") -> None:
        """Note that row `i` has no features; of its reason one line is kept."""
        text = " ".join(reason.split()).encode()[:REASON_BYTES].decode(errors="ignore").encode()
        self._slot(i, text, source)
        self._mark(bytes([FAILED]), i)

    def reset(self, i: int) -> None:
        """Note that row `i` is to be written again."""
        self._mark(bytes([PENDING]), i)

    def _slot(self, i: int, content: bytes, source: bytes) -> None:
        slot = content.ljust(REASON_BYTES, b"\0") + source.ljust(STATE_BYTES, b"\0")
        self._mark(slot, self.rows + i * SLOT_BYTES)

    def _mark(self, data: bytes, position: int) -> None:
        try:
            write_at(self.files.progress, data, position)
        except FileNotFoundError:
            if not self.files.table.exists():  # another process may have written every row and finished the split
                raise


def write_at(file: Path, data: bytes | memoryview, position: int) -> None:
    """Write into a file that is there; OSError names it and says what helps."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        while len(data):
            written = os.pwrite(descriptor, data, position)
            data, position = data[written:], position + written
    except OSError as error:
        reason = f"{error.strerror} (what is finished is kept: run the same command again to continue)"
        raise OSError(error.errno, reason, str(file)) from None
    finally:
        os.close(descriptor)
