"""Lines of Kaldi's text files: a key, and what belongs to it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from utility.kaldi.matrices import BLANK
from utility.text import short

WHITE = BLANK.decode()
BETWEEN = re.compile(f"[{WHITE}]+")


class Entry(NamedTuple):
    """A line: its number from 1, its key, and the rest of it."""

    number: int
    key: str
    value: str


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers from 1 and texts of a file's lines, without blanks around; ValueError with file and line for no UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode().strip(WHITE)
            except UnicodeDecodeError:
                raise ValueError(f"{path}:{number}: not UTF-8") from None


def entries(path: Path, expected: str, fields: int | None = None) -> Iterator[Entry]:
    """The lines of a table, each key once, as `expected` says in words; with so many `fields` behind the key.

    ValueError with file and line for what is none."""
    seen = set()
    for number, line in lines(path):
        key, _, value = BETWEEN.sub(" ", line, count=1).partition(" ")
        if not key or (not value and fields != 0) or (fields and len(value.split()) != fields):
            raise ValueError(f"{path}:{number}: expected '{expected}', got {short(line)}")
        if key in seen:
            raise ValueError(f"{path}:{number}: the key {short(key)} is there twice")
        seen.add(key)
        yield Entry(number, key, value)
