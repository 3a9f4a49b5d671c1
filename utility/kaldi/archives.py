"""Kaldi's tables: archives (.ark) and their indices (.scp), read and written without Kaldi.

An archive is entries `key SPACE object`; a line of an scp is `key path` or `key path:offset`, perhaps with a range of
rows and columns behind it. `utility.kaldi.matrices` knows the objects. A line of an scp may hold a shell command, which
runs only where the caller says so.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import get_args

import numpy as np

from utility.files import replacing
from utility.kaldi.matrices import (
    LONGEST_KEY,
    ByteSource,
    ObjectHeader,
    object_bytes,
    read_header,
    read_key,
    read_rows,
)
from utility.kaldi.scp_entries import Located, ScpEntry, lies, read_entry
from utility.kaldi.tables import WHITE, entries, lines
from utility.kaldi.writing import Form, pack
from utility.text import short

FRAMES = "utt2num_frames"


def read_ark(path: Path | str) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and values of an archive (`.gz`: unpacked on the way), one at a time in the file's order.

    Matrices are [T, D] and vectors [N]: float32, or float64 where the file has doubles or text; vectors of integers are
    int32. Raises ValueError with file, key and byte for entries that are cut off, unknown, absurd or there twice."""
    for source, key, header in _objects(Path(path)):
        yield key, read_rows(source, header, 0, header.shape[0])


def ark_shapes(path: Path | str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Keys and shapes of what `read_ark` reads; the values are skipped, and of a packed file unpacked only."""
    for source, key, header in _objects(Path(path)):
        source.skip(object_bytes(header))
        yield key, header.shape


def _objects(path: Path) -> Iterator[tuple[ByteSource, str, ObjectHeader]]:
    """The archive, and key and header of each entry; the caller reads or skips the values before the next one."""
    keys = set()
    zeros = 0
    with ByteSource.open(path) as source:
        while (key := read_key(source, zeros)) is not None:
            if key in keys:
                source.refuse("the key is there twice")
            keys.add(key)
            header = read_header(source)
            yield source, key, header
            zeros = 4 if header.token == "CM" and not header.shape[0] else 0  # that many Kaldi writes there by mistake


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
        with entry.source() as source:
            header, start, end = entry.look(source)
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
            lengths = {key: shape[0] for key, shape in self.shapes().items()}
        return np.array([lengths[key] for key in self.keys], np.int64)

    def in_files(self) -> list[str]:
        """The keys in the order in which the values lie on disk."""
        return [entry.key for entry in sorted(self._entries.values(), key=lies)]

    def shapes(self, broken: Callable[[str, str], None] | None = None) -> dict[str, tuple[int, ...]]:
        """Shape of each object, from the headers alone: every file is opened once.

        Objects that are refused raise ValueError or OSError; where there is a `broken` it is told key and reason, and
        they are left out."""
        found: dict[str, tuple[int, ...]] = {}
        for _, group in groupby(sorted(self._entries.values(), key=lies), key=lambda entry: lies(entry)[:-1]):
            some = list(group)
            try:
                with some[0].source() as source:
                    for entry in some:
                        try:
                            header, start, end = entry.look(source)
                        except ValueError as error:
                            if broken is None:
                                raise
                            broken(entry.key, in_words(error))
                            continue
                        columns = entry.columns and (entry.columns[1] + 1 - entry.columns[0],)
                        found[entry.key] = (end - start, *(columns or header.shape[1:]))
            except (OSError, ValueError) as error:
                if broken is None:
                    raise
                for entry in some:
                    broken(entry.key, in_words(error))
        return found


def in_words(error: OSError | ValueError) -> str:
    """What an error says; of the system's own the file and the reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def read_scp(path: Path | str, root: Path | str | None = None, allow_commands: bool = False) -> Matrices:
    """What an scp names; the values are read when they are asked for.

    Paths in it are relative to `root` if given; else to the working directory and, where nothing is there, to the scp's
    folder. `cat FILE |`, `gunzip -c FILE |` and `zcat FILE |` are read without a shell. Raises ValueError with file and
    line for other shell commands, unless `allow_commands` lets them run, and for lines of no entry."""
    path = Path(path)
    found: dict[str, ScpEntry] = {}
    located = Located(path, root)
    for number, key, value in entries(path, "key path' or 'key path:offset"):
        try:
            entry = read_entry(key, value, allow_commands)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
        found[key] = entry if entry.command is not None else replace(entry, path=located(entry.path))
    return Matrices(path, found)


def _stated(path: Path) -> dict[str, int]:
    """The lines `key count` of a file as utt2num_frames."""
    lengths = {}
    for number, line in lines(path):
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
