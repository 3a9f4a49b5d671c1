"""Numbers as text and as .npy files, read strictly: what Python or numpy would forgive is refused."""

import ast
import io
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utility.text import short

LONGEST_HEADER = 10000  # bytes, as numpy has it
PYTHON_2 = re.compile(r"\b([0-9]+)L\b")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number(text: str) -> float:
    """A number in plain ASCII digits; ValueError for what Python takes besides, as 1_0, other digits and nan."""
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{short(text)} is no number")
    return float(text)


def array_header(shape: Sequence[int], dtype: np.dtype | str) -> bytes:
    """The first bytes of a .npy file of this shape, its numbers little-endian."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype).newbyteorder("<"))
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": tuple(shape)})
    return header.getvalue()


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and whether in Fortran's order, of a .npy file at its beginning.

    numpy's own reader warns of the numbers that Python 2 wrote (10L), and fails in many ways where others stand."""
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}[stream.read(8)]
    length = int.from_bytes(stream.read(width), "little")
    if length > LONGEST_HEADER:
        raise ValueError
    text = stream.read(length).decode("latin-1")
    if len(text) != length:
        raise ValueError
    values = ast.literal_eval(PYTHON_2.sub(r"\1", text).strip())
    shape, fortran, descr = (values[key] for key in ("shape", "fortran_order", "descr"))
    if len(values) != 3 or type(fortran) is not bool or type(shape) is not tuple:
        raise ValueError
    if not all(type(length) is int for length in shape):
        raise ValueError
    return shape, np.lib.format.descr_to_dtype(descr), fortran


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
                array = cls(path, *_header(stream), stream.tell())
            except (ValueError, TypeError, LookupError, SyntaxError, MemoryError, RecursionError):
                raise ValueError(f"{path}: not an array file, or cut off") from None
            size = os.fstat(stream.fileno()).st_size
        shape, dtype, start = array.shape, array.dtype, array.start
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
