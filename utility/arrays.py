"""Numbers as text and as .npy files, read strictly: what Python or numpy would forgive is refused."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number(text: str) -> float:
    """A number in plain ASCII digits; ValueError for what Python takes besides, as 1_0, other digits and nan."""
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{text[:100]!r} is no number")
    return float(text)


@dataclass(frozen=True)
class ArrayFile:
    """A .npy file: what its header says, and the byte at which its values begin."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int

    @classmethod
    def open(cls, path: Path) -> "ArrayFile":
        """Read the header; ValueError for a file that has none, or that ends before its header says."""
        with path.open("rb") as stream:
            try:
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[np.lib.format.read_magic(stream)]
                shape, fortran, dtype = read(stream)
                start = stream.tell()
            except OSError:
                raise
            except Exception:  # numpy's parser meets a damaged header with whatever it stumbles over
                raise ValueError(f"{path}: not an array file, or cut off") from None
            size = os.fstat(stream.fileno()).st_size
        array = cls(path, shape, dtype, fortran, start)
        if dtype.hasobject or not dtype.itemsize or not all(length >= 0 for length in shape):
            raise ValueError(f"{path}: not an array file of numbers")
        if size < start + array.count * dtype.itemsize:
            raise ValueError(f"{path}: cut off at {size} bytes, expected {dtype} of shape {list(shape)}")
        return array

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    def mapped(self) -> np.ndarray:
        """The values, read when touched, not to be written to."""
        if not self.count:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.start, self.shape, "F" if self.fortran else "C")
