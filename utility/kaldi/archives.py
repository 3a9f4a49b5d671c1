"""Kaldi's tables: archives (.ark) and their indices (.scp), read and written without Kaldi.

An archive is entries `key SPACE object`; a line of an scp is `key path` or `key path:offset`, perhaps with a range of
rows and columns behind it. `kaldi_matrices` knows the objects. Nothing here ever runs a command.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np

from utility.files import replacing
from utility.kaldi.matrices import BLANK, LONGEST_KEY, ByteSource, ObjectHeader, read_header, read_key, read_rows
from utility.kaldi.writing import Form, pack
from utility.text import cut, short

WHITE = BLANK.decode()
LOCATION = re.compile(r"(?P<path>.+?)(?::(?P<offset>[0-9]{1,18}))?(?:\[(?P<range>[^][]*)])?", re.DOTALL)
SPAN = r"(?::|([0-9]{1,9}):([0-9]{1,9}))"
RANGE = re.compile(f"{SPAN}(?:,{SPAN})?")
TOLERANCE = 3  # a range may end less than this many rows beyond the end, as in Kaldi: segments are rounded to frames
FRAMES = "utt2num_frames"

RowRange = tuple[int, int] | None  # first and last, both included; None: all


def read_ark(path: Path | str) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and values of an archive (`.gz`: unpacked on the way), one at a time in the file's order.

    Matrices are [T, D] and vectors [N]: float32, or float64 where the file has doubles or text; vectors of integers are
    int32. Raises ValueError with file, key and byte for entries that are cut off, unknown, absurd or there twice."""
    keys = set()
    zeros = 0
    with ByteSource.open(Path(path)) as source:
        while (key := read_key(source, zeros)) is not None:
            if key in keys:
                source.refuse("the key is there twice")
            keys.add(key)
            header = read_header(source)
            yield key, read_rows(source, header, 0, header.shape[0])
            zeros = 4 if header.token == "CM" and not header.shape[0] else 0  # that many Kaldi writes there by mistake


@dataclass(frozen=True)
class ScpEntry:
    """A line of an scp: the object at byte `offset` of the file `path`, or a part of it."""

    key: str
    path: Path
    offset: int
    rows: RowRange
    columns: RowRange

    @contextmanager
    def open(self) -> Iterator[tuple[ByteSource, ObjectHeader, int, int]]:
        """The file, what stands there, the first of the rows that are meant and the one after the last."""
        with ByteSource.open(self.path) as source:
            source.key = self.key
            source.seek(self.offset)
            header = read_header(source)
            shape, columns = header.shape, self.columns
            if columns and (len(shape) < 2 or columns[1] >= shape[1]):
                source.refuse(f"columns {columns[0]} to {columns[1]} of {list(shape)}", self.offset)
            first, last = self.rows or (0, shape[0] - 1)
            if self.rows and (first >= shape[0] or last >= shape[0] + TOLERANCE):
                source.refuse(f"rows {first} to {last} of {list(shape)}", self.offset)
            yield source, header, first, min(last + 1, shape[0])


class Matrices:
    """The objects of an scp, read when asked for; `keys` in the order of the file.

    No file stays open, so threads and processes may share one."""

    def __init__(self, path: Path, entries: dict[str, ScpEntry]):
        self.path = path
        self.keys = list(entries)
        self._entries = entries

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __getitem__(self, key: str) -> np.ndarray:
        return self.rows(key)

    def rows(self, key: str, first: int = 0, last: int | None = None) -> np.ndarray:
        """Rows (values of a vector) from `first` up to but not including `last`, by default to the end.

        Only these rows are read, except of one-byte matrices with column headers (CM) and of text. KeyError for an
        unknown key; ValueError for rows that are not there and for objects that `read_ark` refuses."""
        entry = self._entries[key]
        with entry.open() as (source, header, start, end):
            count = end - start
            last = count if last is None else last
            if not 0 <= first <= last <= count:
                source.refuse(f"rows from {first} to before {last} of {count}", entry.offset)
            values = read_rows(source, header, start + first, start + last)
        return values if entry.columns is None else values[:, entry.columns[0] : entry.columns[1] + 1]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Rows (values of a vector) per key, int64: from the headers, or for a feats.scp from utt2num_frames beside it.

        Other scp files share its keys but not its lengths (cmvn.scp), so they do not look there."""
        beside = self.path.with_name(FRAMES)
        lengths = _stated(beside) if self.path.name == "feats.scp" and beside.is_file() else {}
        if not all(key in lengths for key in self.keys):
            for entry in sorted(self._entries.values(), key=lambda entry: (entry.path, entry.offset)):
                with entry.open() as (_, _, start, end):
                    lengths[entry.key] = end - start
        return np.array([lengths[key] for key in self.keys], np.int64)


def read_scp(path: Path | str, root: Path | str | None = None) -> Matrices:
    """What an scp names; the values are read when they are asked for.

    Paths in it are relative to `root` if given; else to the working directory and, where nothing is there, to the scp's
    folder. Raises ValueError with file and line for shell commands, which are never run, and for lines of no entry."""
    path = Path(path)
    entries: dict[str, ScpEntry] = {}
    known: dict[Path, Path] = {}
    for number, line in _lines(path):
        try:
            entry = _entry(line)
            if entry.key in entries:
                raise ValueError(f"the key {short(entry.key)} is there twice")
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
        if entry.path not in known:
            beside = path.parent / entry.path if root is None else Path(root) / entry.path
            known[entry.path] = entry.path if root is None and (entry.path.exists() or not beside.exists()) else beside
        entries[entry.key] = replace(entry, path=known[entry.path])
    return Matrices(path, entries)


def _entry(line: str) -> ScpEntry:
    """The entry of a line, its path as it stands there."""
    words = re.split(f"[{WHITE}]+", line, maxsplit=1)
    if len(words) < 2:
        raise ValueError(f"expected 'key path' or 'key path:offset', got {short(line)}")
    match = LOCATION.fullmatch(words[1])
    assert match, "a line without blanks around always has a path"
    path, offset, part = match["path"], match["offset"], match["range"]
    if path.rstrip(WHITE).endswith("|") and offset is None:
        raise ValueError(f"a shell command, {short(words[1])}: it is not run, write its output to an archive first")
    if path.endswith(".gz"):
        raise ValueError(f"{cut(str(path))} is packed, so nothing in it can be found by an offset: unpack it first")
    rows, columns = (None, None) if part is None else _range(part)
    return ScpEntry(words[0], Path(path), int(offset or 0), rows, columns)


def _range(text: str) -> tuple[RowRange, RowRange]:
    """Rows and columns of `r0:r1` or `r0:r1,c0:c1`, where `:` alone means all."""
    match = RANGE.fullmatch(text)
    numbers = [int(number) if number else None for number in match.groups()] if match else []
    spans = [
        (first, last) if first is not None and last is not None else None
        for first, last in zip(numbers[::2], numbers[1::2])
    ]
    if not spans or any(span and span[0] > span[1] for span in spans):
        raise ValueError(f"expected a range as [0:9], [0:9,0:3] or [:,0:3], got [{cut(text)}]")
    return spans[0], spans[1]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers from 1 and texts of a file's lines, without blanks around."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        try:
            yield number, line.decode().strip(WHITE)
        except UnicodeDecodeError:
            raise ValueError(f"{path}:{number}: not UTF-8") from None


def _stated(path: Path) -> dict[str, int]:
    """The lines `key count` of a file as utt2num_frames."""
    lengths = {}
    for number, line in _lines(path):
        words = line.split()
        if len(words) != 2 or not re.fullmatch("[0-9]{1,9}", words[1]):
            raise ValueError(f"{path}:{number}: expected 'key frames', got {short(line)}")
        lengths[words[0]] = int(words[1])
    return lengths


def write_ark(
    path: Path | str, items: Iterable[tuple[str, np.ndarray]], scp: bool = True, form: Form = "float"
) -> None:
    """Write keys and values to the archive `path` and, with `scp`, its index beside it, keys there in C order.

    `form` says how floats are written: float, double, text, or compressed: two_byte (CM2; MFCC then differ by up to
    0.0012) or speech (one byte, CM; by up to 0.27; two bytes for 8 rows or fewer). Integer vectors stay integers. Both
    files appear whole or not at all; the index of an older archive of this name goes. ValueError for a name that does
    not end in .ark, keys that have white space or come twice, and values that the form cannot hold."""
    path = Path(path)
    index = path.with_suffix(".scp")
    if path.suffix != ".ark":
        raise ValueError(f"{path}: an archive's name ends in .ark")
    if form not in get_args(Form):
        raise ValueError(f"unknown form {short(form)}: expected {', '.join(get_args(Form))}")
    if scp and ("\n" in str(path) or str(path)[0] in WHITE):
        raise ValueError(f"{str(path)!r}: an index cannot hold a path with line breaks or with a blank in front")
    starts: dict[str, int] = {}
    with replacing(index) if scp else nullcontext() as new_index, replacing(path) as new:
        with new.open("wb") as file:
            for key, values in items:
                try:
                    file.write(_key(key, starts))
                    starts[key] = file.tell()
                    file.write(pack(values, form))
                except ValueError as error:
                    raise ValueError(f"{path}: key {short(key)}: {error}") from None
        if new_index:
            new_index.write_text("".join(f"{key} {path}:{starts[key]}\n" for key in sorted(starts)), "utf-8")
        index.unlink(missing_ok=True)  # until the new one is there, none: the old one would point to wrong bytes


def check_key(key: str) -> None:
    """ValueError for what no archive can have for a key."""
    if not key or any(letter.isspace() or letter == "\0" for letter in key):
        raise ValueError("a key needs letters, and has no white space: Kaldi's lines are split there")
    if len(key.encode()) > LONGEST_KEY:
        raise ValueError(f"a key has at most {LONGEST_KEY} bytes")


def _key(key: str, others: Iterable[str]) -> bytes:
    check_key(key)
    if key in others:
        raise ValueError("the key comes twice")
    return key.encode() + b" "
