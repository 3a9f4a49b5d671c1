"""Predictions by id, written while a part is scored: what intervals, comparisons and lists of errors are made from."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from utility.files import naming, replacing
from utility.temporary_array import temporary_place


class PredictionFile:
    """A table of tab-separated rows, the first of them the columns' names, sorted by id.

    Rows go to a temporary file as they come, and in order to `path` when the `with` block ends well, so that memory
    holds only where each id is, and a reader sees the old file or the whole new one."""

    def __init__(self, path: Path, columns: Sequence[str]):
        self.path, self.columns = path, ("id", *columns)

    def __enter__(self) -> Self:
        self._rows = tempfile.TemporaryFile()
        self._places: list[tuple[str, int, int]] = []  # id, first byte, bytes
        return self

    def write(self, ids: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a row for each id, without it."""
        for key, row in zip(ids, rows, strict=True):
            line = "\t".join(map(_cell, (key, *row))).encode() + b"\n"
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
    """The rows of a file of predictions, by the names of its columns."""
    with path.open(encoding="utf-8", newline="\n") as file:
        columns = next(file).rstrip("\n").split("\t")
        for line in file:
            yield dict(zip(columns, line.rstrip("\n").split("\t"), strict=True))


def _cell(text: str) -> str:
    return " ".join(text.split()) if any(mark in text for mark in "\t\n\r") else text
