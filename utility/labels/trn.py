"""NIST's .trn files: `text (id)` a line, as sclite reads them; lines that begin with `;;` are comments."""

from collections.abc import Iterator
from pathlib import Path

from utility.text import numbered_lines, short


def parse_trn(line: str) -> tuple[str, str] | None:
    """Id and text of a line, None of a comment and of an empty one; ValueError for what is neither."""
    line = line.strip()
    if not line or line.startswith(";;"):
        return None
    text, bracket, key = line.removesuffix(")").rpartition("(")
    if not (bracket and line.endswith(")")):
        raise ValueError(f"expected TEXT (ID), got {short(line)}")
    return key.strip(), text.strip()


def read_trn(file: Path) -> Iterator[tuple[str, str]]:
    """Ids and texts of a file. ValueError naming the line that is none, or that has an id a second time."""
    lines: dict[str, int] = {}
    for number, text, reason in numbered_lines(file):
        try:
            if reason:
                raise ValueError(reason)
            found = parse_trn(text)
        except ValueError as error:
            raise ValueError(f"{file}: line {number}: {error}") from None
        if found is None:
            continue
        first = lines.setdefault(found[0], number)
        if first != number:
            raise ValueError(f"{file}: line {number}: utterance {short(found[0])} is in line {first} already")
        yield found
