"""Writing rows of a feature store from any process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utility.store.files import SplitFiles
from utility.store.info import StoreInfo

PENDING, DONE, FAILED = 0, 1, 2
REASON_BYTES = 512


@dataclass(frozen=True)
class RowWriter:
    """Some rows of an unfinished split: `places` has the first byte and the frames of each, `rows` counts the split's.

    A row may be written again, by any process: it becomes the same bytes, and its mark is set after they are written.
    """

    files: SplitFiles
    info: StoreInfo
    rows: int
    places: Mapping[int, tuple[int, int]]

    def write(self, i: int, array: np.ndarray) -> None:
        """Store row `i`, [length, *row_shape]; ValueError when the shape is another or a value is not finite."""
        position, length = self.places[i]
        shape = (length, *self.info.row_shape)
        array = np.asarray(array)
        if array.shape != shape or not length:
            raise ValueError(f"row {i} of {self.files}: shape is {array.shape}, expected {shape}")
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(array, dtype=np.dtype(self.info.dtype).newbyteorder("<"))
        if not np.isfinite(data).all():
            raise ValueError(f"row {i} of {self.files}: a value is not a finite {self.info.dtype}")
        write_at(self.files.array, memoryview(data).cast("B"), position)
        self._mark(bytes([DONE]), i)

    def fail(self, i: int, reason: str) -> None:
        """Note that row `i` has no features; of its reason one line is kept."""
        text = " ".join(reason.split()).encode()[:REASON_BYTES].decode(errors="ignore").encode()
        self._mark(text.ljust(REASON_BYTES, b"\0"), self.rows + i * REASON_BYTES)
        self._mark(bytes([FAILED]), i)

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
