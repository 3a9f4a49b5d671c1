"""Predictions by id, written while a part is scored: what intervals, comparisons and lists of errors are made from."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from utility.files import naming, replacing
from utility.temporary_array import temporary_place
from utility.text import short

AGAIN = "remove it and result.json beside it, and go on with that run (--resume)"
SPEAKER = "speaker"  # the last column; files of earlier versions have none


def predictions_of(folder: Path, part: str) -> Path:
    """The file of predictions of a part ("dev", "test") in the folder of a run."""
    return folder / f"predictions_{part}.tsv"


class PredictionFile:
    """A table of tab-separated rows, the first of them the columns' names, sorted by id, the last column the speaker.

    Rows go to a temporary file as they come, and in order to `path` when the `with` block ends well, so that memory
    holds only where each id is, and a reader sees the old file or the whole new one."""

    def __init__(self, path: Path, columns: Sequence[str], speakers: Mapping[str, str] | None = None):
        """`speakers` by id; one that is not there, or unknown, is empty."""
        self.path, self.columns, self._speakers = path, ("id", *columns, SPEAKER), speakers or {}

    def __enter__(self) -> Self:
        self._rows = tempfile.TemporaryFile()
        self._places: list[tuple[str, int, int]] = []  # id, first byte, bytes
        return self

    def write(self, ids: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a row for each id, without it."""
        for key, row in zip(ids, rows, strict=True):
            line = "\t".join(map(_cell, (key, *row, self._speakers.get(key, "")))).encode() + b"\n"
            self._places.append((key, self._rows.tell(), len(line)))
            with naming(temporary_place()):
                self._rows.write(line)

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with self._rows:
            if kind is None:
                with naming(temporary_place()):
                    self._rows.flush()
                with replacing(self.path) as new, new.open("wb") as file:
                    file.write("\t".join(self.columns).encode() + b"\n")
                    for _, start, size in sorted(self._places):
                        file.write(os.pread(self._rows.fileno(), size, start))


def read_predictions(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a file of predictions, by the names of its columns; ValueError names the line of one that is cut."""
    with path.open("rb") as file:
        lines = enumerate(file, 1)
        _, first = next(lines, (1, b""))
        columns = _cells(path, 1, first)
        if columns[0] != "id" or len(set(columns)) < len(columns):
            raise ValueError(f"{path}:1: no file of predictions: expected columns from id on, found {short(columns)}")
        before = None
        for number, line in lines:
            cells = _cells(path, number, line)
            if len(cells) != len(columns):
                raise ValueError(f"{path}:{number}: damaged, {len(cells)} cells of {len(columns)} columns; {AGAIN}")
            if cells[0] == before:
                raise ValueError(f"{path}:{number}: damaged, {short(before)} is there twice; {AGAIN}")
            before = cells[0]
            yield dict(zip(columns, cells, strict=True))


def _cells(path: Path, number: int, line: bytes) -> list[str]:
    try:
        return line.decode().removesuffix("\n").split("\t")
    except UnicodeDecodeError:
        raise ValueError(f"{path}:{number}: damaged, not UTF-8 text; {AGAIN}") from None


def _cell(text: str) -> str:
    return " ".join(text.split()) if any(mark in text for mark in "\t\n\r") else text
