"""Kaldi's objects, one at a time: matrices (plain, compressed, as text), vectors, vectors of integers.

Formats as in Kaldi's kaldi-matrix.cc, kaldi-vector.cc, compressed-matrix.cc and kaldi-holder-inl.h: little-endian, a
binary object begins with a zero byte and `B`. A text vector and a text matrix differ by the line break after `[`.
"""

import gzip
import io
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from utility.text import short

BLANK = b" \t\n\r\v\f"  # what separates words for Kaldi
PIECE = 1 << 24  # bytes asked for at once where nobody knows how long the file is
LONGEST_KEY = 4096
INTEGER = np.dtype([("size", "u1"), ("value", "<i4")])  # a byte 4 before each
ROWS: dict[str, tuple[int, np.dtype]] = {  # token: axes, type of a value; the values stand row by row
    "FM": (2, np.dtype("<f4")),
    "DM": (2, np.dtype("<f8")),
    "FV": (1, np.dtype("<f4")),
    "DV": (1, np.dtype("<f8")),
    "CM2": (2, np.dtype("<u2")),
    "CM3": (2, np.dtype("u1")),
    "integers": (1, INTEGER),
}
COLUMN_HEADER = np.dtype(("<u2", 4))  # of CM: minimum, quartiles and maximum of a column
INT32 = np.iinfo(np.int32)


class ByteSource:
    """A file of Kaldi objects, read from the front or at an offset; its errors say file, key and byte.

    In files ending `.gz` positions count the unpacked bytes."""

    def __init__(self, file: io.BufferedIOBase, path: Path, size: int | None):
        self._file, self._path, self._size = file, path, size
        self.position = 0
        self.key: str | None = None

    @classmethod
    @contextmanager
    def open(cls, path: Path, packed: bool = False) -> Iterator["ByteSource"]:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if packed or path.suffix == ".gz":
                yield cls(gzip.GzipFile(fileobj=file), path, None)
            else:
                yield cls(file, path, about.st_size if stat.S_ISREG(about.st_mode) else None)

    def refuse(self, message: str, position: int | None = None) -> NoReturn:
        key = "" if self.key is None else f" key {short(self.key)},"
        raise ValueError(f"{self._path}:{key} byte {self.position if position is None else position}: {message}")

    def seek(self, position: int) -> None:
        if self._size is not None and position > self._size:
            self.refuse(f"the file ends at byte {self._size}", position)
        self._file.seek(position)
        self.position = position

    def expect(self, count: int) -> None:
        """Refuse where the file is known to end within the next `count` bytes."""
        if self._size is not None and count > self._size - self.position:
            self.refuse(f"cut off: {count} bytes should follow, {max(self._size - self.position, 0)} do")

    def read(self, count: int) -> bytearray:
        """Exactly `count` bytes; memory is taken only for bytes that are there."""
        self.expect(count)
        data = bytearray()
        while len(data) < count:
            piece = self._call(self._file.read, min(count - len(data), PIECE))
            if not piece:
                self.refuse(f"cut off: {count} bytes should follow, {len(data)} do")
            data += piece
        self.position += count
        return data

    def skip(self, count: int) -> None:
        """Go on behind `count` bytes, which are there."""
        self.expect(count)
        if self._size is not None:
            self.seek(self.position + count)
            return
        while count:
            count -= len(self.read(min(count, PIECE)))

    def byte(self) -> bytes:
        """The next byte, nothing at the end."""
        data = self._call(self._file.read, 1)
        self.position += len(data)
        return data

    def line(self) -> bytes:
        """The rest of the line with its line break; without one at the end of the file."""
        data = self._call(self._file.readline)
        self.position += len(data)
        return data

    def _call(self, method: Callable[..., bytes], *arguments: int) -> bytes:
        try:
            return method(*arguments)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.refuse(f"gzip: {error}")


def read_key(source: ByteSource, zeros: int = 0) -> str | None:
    """The key that begins an entry, with the blank after it; None at the end of the file.

    Up to `zeros` zero bytes may stand before it."""
    source.key = None
    byte = source.byte()
    while byte and (byte in BLANK or (byte == b"\0" and zeros)):
        zeros -= byte == b"\0"
        byte = source.byte()
    start, key = source.position - len(byte), bytearray()
    while byte and byte not in BLANK:
        key += byte
        if len(key) > LONGEST_KEY:
            source.refuse(f"no archive: {LONGEST_KEY} bytes without a blank where a key should stand", start)
        byte = source.byte()
    if not key:
        return None
    if 0 in key:
        source.refuse("no archive: a zero byte where a key should stand", start)
    try:
        source.key = key.decode()
    except UnicodeDecodeError:
        source.refuse("no archive: the key is not UTF-8", start)
    if not byte:
        source.refuse("cut off after the key")
    return source.key


@dataclass(frozen=True)
class ObjectHeader:
    """What is known of an object before its values are read. `shape` is (rows, columns) or (values,).

    Text has no header: it is read whole, into `text`."""

    token: str
    shape: tuple[int, ...]
    start: int  # position of the values
    low: float = 0.0  # of compressed matrices: the smallest value, and the distance to the largest
    span: float = 0.0
    text: np.ndarray | None = None


def read_header(source: ByteSource) -> ObjectHeader:
    """The header of the object that begins here; the values are in the file, as far as its length tells.

    Raises ValueError for what is no object of the kinds above."""
    start = source.position
    first = source.byte()
    if first != b"\0":
        values = _read_text(source, first, start)
        return ObjectHeader("text", values.shape, start, text=values)
    if source.byte() != b"B":
        source.refuse("neither a binary object (a zero byte, then B) nor text", start)
    token = _token(source, start)
    low, span = struct.unpack("<2f", source.read(8)) if token.startswith("CM") else (0, 0)
    axes = 2 if token == "CM" else ROWS[token][0]
    shape = tuple(_count(source, marked=token in ("FM", "DM", "FV", "DV")) for _ in range(axes))
    if axes == 2 and (shape[0] == 0) != (shape[1] == 0):
        source.refuse(f"a size of {shape[0]} x {shape[1]}: an empty matrix is 0 x 0", start)
    header = ObjectHeader(token, shape, source.position, low, span)
    source.expect(object_bytes(header))
    return header


def object_bytes(header: ObjectHeader) -> int:
    """How many bytes the values take that follow a header; none of text, which is read with it."""
    if header.text is not None:
        return 0
    count = math.prod(header.shape)
    if header.token == "CM":
        return header.shape[1] * COLUMN_HEADER.itemsize + count
    return count * ROWS[header.token][1].itemsize


def _token(source: ByteSource, start: int) -> str:
    token = bytearray(source.read(1))
    if token == b"\4":  # a vector of integers has no token: this is the mark before its size
        return "integers"
    while not token.endswith(b" ") and len(token) < 5:
        token += source.read(1)
    name = token[:-1].decode("latin-1")
    if not token.endswith(b" ") or name not in {*ROWS, "CM"} - {"integers"}:
        source.refuse(f"unknown token {bytes(token).decode('latin-1')!r}: expected {' '.join(ROWS)} or CM", start)
    return name


def _count(source: ByteSource, marked: bool) -> int:
    """An int32 that says how many; `marked`: behind a byte with its size, 4."""
    start = source.position
    if marked and source.read(1) != b"\4":
        source.refuse("a byte 4 should stand before a size", start)
    (count,) = struct.unpack("<i", source.read(4))
    if count < 0:
        source.refuse(f"a negative size, {count}", start)
    return count


def read_rows(source: ByteSource, header: ObjectHeader, first: int, last: int) -> np.ndarray:
    """Rows (or values of a vector) from `first` up to but not including `last`, 0 <= first <= last <= shape[0].

    Only these rows are read, except of CM, which stands column by column, and of text. float32, float64 for DM, DV and
    text, int32 for integers."""
    if header.text is not None:
        return header.text[first:last]
    if header.token == "CM":
        return _read_columns(source, header, first, last)
    kind = ROWS[header.token][1]
    width = int(np.prod(header.shape[1:], dtype=np.int64))
    if first:
        source.seek(header.start + first * width * kind.itemsize)
    data = source.read((last - first) * width * kind.itemsize)
    values = np.frombuffer(data, kind).reshape(last - first, *header.shape[1:])
    if kind == INTEGER:
        wrong = np.flatnonzero(values["size"] != 4)
        if len(wrong):
            source.refuse("a byte 4 should stand before an integer", source.position - len(data) + 5 * int(wrong[0]))
        return values["value"].copy()
    if header.token in ("CM2", "CM3"):
        step = np.float32(header.span * (1 / np.iinfo(kind).max))
        return header.low + values * step
    return values


def _read_columns(source: ByteSource, header: ObjectHeader, first: int, last: int) -> np.ndarray:
    rows, columns = header.shape
    heads = np.frombuffer(source.read(columns * COLUMN_HEADER.itemsize), COLUMN_HEADER)  # [columns, 4]
    data = np.frombuffer(source.read(rows * columns), np.uint8).reshape(columns, rows)[:, first:last].T.astype("f4")
    p0, p25, p75, p100 = unpack_uint16(heads, header.low, header.span).T
    lower = p0 + (p25 - p0) * data * np.float64(1 / 64)  # float64 from here to the sum, as in Kaldi
    middle = p25 + (p75 - p25) * (data - 64) * np.float64(1 / 128)
    upper = p75 + (p100 - p75) * (data - 192) * np.float64(1 / 63)
    return np.where(data <= 64, lower, np.where(data <= 192, middle, upper)).astype(np.float32)


def unpack_uint16(values: np.ndarray, low: float, span: float) -> np.ndarray:
    """The percentiles of a column of CM as float32."""
    return low + span * np.float32(1 / 65535) * values.astype(np.float32)


def _read_text(source: ByteSource, first: bytes, start: int) -> np.ndarray:
    while first in (b" ", b"\t"):
        first = source.byte()
    if first != b"[":
        return _read_integers(source, first, start)
    rows: list[list[float]] = []
    lines, ended = 0, False
    while not ended:
        position = source.position
        line = source.line()
        if not line:
            source.refuse("cut off: the text has no ]", position)
        line, bracket, rest = line.partition(b"]")
        ended = bool(bracket)
        if rest.strip():
            source.refuse(f"{_shown(rest)} after the ]", position)
        row = _numbers(source, line, position)
        if rows and row and len(row) != len(rows[0]):
            source.refuse(f"a row of {len(row)} numbers after rows of {len(rows[0])}", position)
        rows += [row] if row else []
        lines += 1
    if not rows:
        return np.zeros((0, 0))
    return np.array(rows[0] if lines == 1 else rows)


def _numbers(source: ByteSource, text: bytes, position: int) -> list[float]:
    try:
        if b"_" in text:  # Python would take 1_0 for 10
            raise ValueError
        return [float(word) for word in text.split()]
    except ValueError:
        source.refuse(f"not numbers: {_shown(text)}", position)


def _read_integers(source: ByteSource, first: bytes, start: int) -> np.ndarray:
    if first and first not in b"+-0123456789\r\n":
        source.refuse("neither a binary object (a zero byte, then B) nor text ([ or whole numbers)", start)
    line = first if first == b"\n" else first + source.line()
    if not line.endswith(b"\n"):
        source.refuse("cut off: whole numbers end with their line", start)
    words = line.split()
    if not all(re.fullmatch(rb"[+-]?[0-9]{1,10}", word) for word in words):
        source.refuse(f"not whole numbers: {_shown(line)} (others stand in [ ])", start)
    values = [int(word) for word in words]
    if values and not INT32.min <= min(values) <= max(values) <= INT32.max:
        source.refuse("a number beyond 32 bits", start)
    return np.array(values, np.int32)


def _shown(text: bytes) -> str:
    text = text.strip()
    return repr(text[:40].decode("utf-8", "replace") + ("..." if len(text) > 40 else ""))
