"""Lines of Kaldi's scp files: where an object lies, and which part of it is meant."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from utility.kaldi.commands import is_command, refusal, run, serve
from utility.kaldi.matrices import ByteSource, ObjectHeader, read_header
from utility.text import cut

LOCATION = re.compile(r"(?P<path>.+?)(?::(?P<offset>[0-9]{1,18}))?(?:\[(?P<range>[^][]*)])?", re.DOTALL)
SPAN = r"(?::|([0-9]{1,9}):([0-9]{1,9}))"
RANGE = re.compile(f"{SPAN}(?:,{SPAN})?")
TOLERANCE = 3  # a range may end less than this many rows beyond the end, as in Kaldi: segments are rounded to frames

RowRange = tuple[int, int] | None  # first and last, both included; None: all


@dataclass(frozen=True, slots=True)
class ScpEntry:
    """A line of an scp: the object at byte `offset` of the file `path`, or a part of it.

    `packed`: a whole file, packed by gzip. Where there is a `command`, what it prints is the file."""

    key: str
    path: Path
    offset: int
    rows: RowRange
    columns: RowRange
    packed: bool = False
    command: str | None = None

    @contextmanager
    def source(self) -> Iterator[ByteSource]:
        """The file, open."""
        if self.command is None:
            with ByteSource.open(self.path, self.packed) as source:
                yield source
            return
        with tempfile.TemporaryFile() as printed:
            run(self.command, printed)
            size = printed.seek(0, os.SEEK_END)
            printed.seek(0)
            yield ByteSource(printed, Path(cut(self.command)), size)

    def look(self, source: ByteSource) -> tuple[ObjectHeader, int, int]:
        """What stands there, the first of the rows that are meant and the one after the last."""
        source.key = self.key
        source.seek(self.offset)
        header = read_header(source)
        shape, columns = header.shape, self.columns
        if columns and (len(shape) < 2 or columns[1] >= shape[1]):
            source.refuse(f"columns {columns[0]} to {columns[1]} of {list(shape)}", self.offset)
        first, last = self.rows or (0, shape[0] - 1)
        if self.rows and (first >= shape[0] or last >= shape[0] + TOLERANCE):
            source.refuse(f"rows {first} to {last} of {list(shape)}", self.offset)
        return header, first, min(last + 1, shape[0])


def lies(entry: ScpEntry) -> tuple[str, str, bool, int]:
    """Sorts entries as they lie on disk; those of one file agree in all but the last."""
    return entry.command or "", str(entry.path), entry.packed, entry.offset


class Located:
    """Where the files are that a scp names: below `root` if given; else below the working directory and, where nothing
    is there, beside the scp."""

    def __init__(self, scp: Path, root: Path | str | None = None):
        self._scp, self._root = scp, root
        self._known: dict[Path, Path] = {}

    def __call__(self, path: Path) -> Path:
        if self._root is not None:
            return Path(self._root) / path
        if path not in self._known:
            beside = self._scp.parent / path
            self._known[path] = path if path.exists() or not beside.exists() else beside
        return self._known[path]


def read_entry(key: str, value: str, allow_commands: bool) -> ScpEntry:
    """The entry of a line, its path as it stands there."""
    match = LOCATION.fullmatch(value)
    assert match, "a line without blanks around always has a path"
    path, offset, part = match["path"], match["offset"], match["range"]
    rows, columns = (None, None) if part is None else _range(part)
    if is_command(path) and offset is None:
        served = serve(path)
        if served is None and not allow_commands:
            raise ValueError(refusal(value))
        if served is None:
            return ScpEntry(key, Path(), 0, rows, columns, command=path)
        return ScpEntry(key, Path(served.path), 0, rows, columns, served.packed)
    if path.endswith(".gz"):
        raise ValueError(f"{cut(str(path))} is packed, so nothing in it can be found by an offset: unpack it first")
    return ScpEntry(key, Path(path), int(offset or 0), rows, columns)


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
