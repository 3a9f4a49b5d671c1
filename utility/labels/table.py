"""Tables of labels: CSV or TSV files of the user's, whose rows are matched to the utterances of a corpus."""

import csv
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utility.tables import fits, open_table
from utility.text import cut, short

ID_COLUMNS = ("id", "utt_id", "utterance", "key")
PATH_COLUMN = "path"
SEVERAL = -1  # utterances that end in one path


@dataclass(frozen=True)
class LabelRows:
    """What a table says of the utterances of a corpus, by their number.

    `lines` [U] are those of their rows, 0 where there is none; `values` [U] by column, empty there. `spare` rows belong
    to no utterance. `digest` changes with any value."""

    file: str
    lines: np.ndarray
    values: Mapping[str, Sequence[str]]
    spare: int
    digest: str

    def at(self, index: int) -> str:
        """Where the row of an utterance is, for messages."""
        return f"{self.file}: line {int(self.lines[index])}"


def match_rows(file: str, columns: Sequence[str], ids: Sequence[str], paths: Sequence[str]) -> LabelRows:
    """Read some columns of a table for the utterances with these ids [U] and paths of recordings [U].

    A row is of the utterance whose id stands in its column id (or utt_id, utterance, key); in a table without one it is
    of the utterance whose path is the row's `path`, or of whose two paths one ends in "/" + the other. ValueError for a
    column that is not there, two rows of one utterance, and a table that has none of the utterances."""
    path = Path(file).expanduser()
    with open_table(path) as table:
        names = list(table.fieldnames or ())
        key = _key_column(file, names)
        for name in columns:
            if name not in names:
                raise ValueError(f"{file}: no column {short(name)}; it has {cut(', '.join(names))}")
            if names.count(name) > 1:
                raise ValueError(f"{file}: column {short(name)} is there {names.count(name)} times")
        numbers: ById | ByPath = ByPath(file, paths) if key == PATH_COLUMN else ById(ids)
        lines = np.zeros(len(ids), np.int64)
        values = {name: [""] * len(ids) for name in columns}
        digest, spare, first = hashlib.sha256(), 0, None
        for line, row in _complete(file, table, len(names)):
            number = numbers.find(row[key], line)
            if number is None:
                spare, first = spare + 1, first or row[key]
                continue
            if lines[number]:
                which = f"{short(row[key])} has two rows, in lines {lines[number]} and {line}"
                raise ValueError(f"{file}: utterance {which}: keep one")
            lines[number] = line
            for name in columns:
                values[name][number] = sys.intern(row[name].strip())
    if not lines.any():
        theirs = f"looks like {short(first)}" if first else "is empty: it has no row"
        raise ValueError(
            f"{file} has none of the {len(ids)} utterances: its column {key} {theirs}, "
            f"that of the data like {short(numbers.example)}"
        )
    for name in columns:
        digest.update("\n".join([name, *values[name]]).encode())
    return LabelRows(file, lines, values, spare, digest.hexdigest()[:16])


def _complete(file: str, table: "csv.DictReader[str]", width: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with its line; ValueError for one of another width than the first line."""
    for row in table:
        if not fits(row):
            raise ValueError(f"{file}: line {table.line_num} has fields that do not fit the {width} columns")
        yield table.line_num, row


def _key_column(file: str, names: Sequence[str]) -> str:
    key = next((name for name in (*ID_COLUMNS, PATH_COLUMN) if name in names), None)
    if key is None:
        wanted = f"id (or {', '.join(ID_COLUMNS[1:])}) or path"
        raise ValueError(f"{file}: no column {wanted}; it has {cut(', '.join(names)) or 'none'}")
    return key


class ById:
    """Utterances by their ids."""

    def __init__(self, ids: Sequence[str]):
        self.example = ids[0]
        self._numbers = {name: number for number, name in enumerate(ids)}

    def find(self, text: str, line: int) -> int | None:
        """The utterance with that id."""
        return self._numbers.get(text)


class ByPath:
    """Utterances by the paths of their recordings."""

    def __init__(self, file: str, paths: Sequence[str]):
        self.file, self.example = file, paths[0]
        self._whole: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        for number, path in enumerate(map(_posix, paths)):
            self._whole[path] = SEVERAL if path in self._whole else number
            for end in _ends(path):
                self._ends[end] = SEVERAL if end in self._ends else number

    def find(self, text: str, line: int) -> int | None:
        """The utterance that a path means; ValueError where it means several."""
        path = _posix(text)
        number = self._whole.get(path)
        for end in _ends(path) if number is None else ():
            number = self._whole.get(end) if number is None else number
        number = self._ends.get(path) if number is None else number
        if number == SEVERAL:
            raise ValueError(
                f"{self.file}: line {line}: several utterances have the path {short(text)}: add a column id"
            )
        return number


def _posix(path: str) -> str:
    path = path.strip().replace("\\", "/")
    return path[2:] if path.startswith("./") else path


def _ends(path: str) -> Iterator[str]:
    """What stands behind each "/" of a path, the longest first."""
    at = path.find("/")
    while at >= 0:
        if at + 1 < len(path):
            yield path[at + 1 :]
        at = path.find("/", at + 1)
