"""An array that grows in a temporary file, so that memory does not grow with it."""

import os
import tempfile
from collections.abc import Sequence

import numpy as np

from utility.files import naming


def temporary_place() -> str:
    """Where temporary files lie that have no name, for a message."""
    return f"temporary files in {tempfile.gettempdir()} (set TMPDIR to another folder)"


class TemporaryArray:
    """Rows appended to a temporary file and read by position."""

    def __init__(self, dtype: type, row_shape: Sequence[int] = ()):
        self.file, self.dtype, self.row_shape = tempfile.TemporaryFile(), np.dtype(dtype), tuple(row_shape)  # noqa: SIM115
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.row_shape))

    def append(self, rows: np.ndarray) -> None:
        """Add rows [N, *row_shape]."""
        with naming(temporary_place()):
            self.file.write(np.ascontiguousarray(rows, self.dtype).tobytes())
            self.file.flush()  # processes that read share the file, not what waits to be written

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, [stop - start, *row_shape], not to be written to."""
        data = os.pread(self.file.fileno(), (stop - start) * self.row_bytes, start * self.row_bytes)
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.row_shape)
