"""Text that others wrote: read from a file, parsed, and shown in a message."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONGEST = 1000  # characters of a message


def read_text(file: Path | str) -> str:
    """The UTF-8 text of a regular file; ValueError for other text, and for a device or a pipe, which need not end."""
    file = Path(file)
    _check_regular(file)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 text at byte {error.start}") from None


def _check_regular(file: Path) -> None:
    mode = os.stat(file).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{file}: not a regular file: copy it to one")


def numbered_lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """Number and text of each line of a regular file, one at a time, and the reason where it is none."""
    _check_regular(file)
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                yield number, "", "not UTF-8 text"
                continue
            yield number, text.rstrip("\r\n"), ""


def parse_json(text: str) -> Any:
    """What JSON says; ValueError where it is none, or is nested so deeply that no reader of ours follows."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def one_line(text: str) -> str:
    """A message on one line, cut where it is very long."""
    return cut(" ".join(text.split()), LONGEST)


def short(value: Any, limit: int = 100) -> str:
    """`repr(value)`, cut to `limit` characters; of what is neither plain nor a container only the type.

    No more of a nested value is looked at than is shown: a few aliases in YAML stand for gigabytes of text."""
    text = ""
    for piece in _pieces(value, limit):
        text += piece
        if len(text) > limit:
            return f"{text[: limit - 3]}..."
    return text


def cut(text: str, limit: int = 100) -> str:
    """The text itself, not more than `limit` characters of it."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _pieces(value: Any, limit: int) -> Iterator[str]:
    """What `repr(value)` is made of, each piece when it is asked for."""
    if isinstance(value, str | bytes):
        yield repr(value[: limit + 1])
    elif isinstance(value, int) and value.bit_length() > 4 * limit:
        yield hex(value)  # Python refuses to write thousands of decimal digits
    elif isinstance(value, dict):
        yield "{"
        for number, (key, inner) in enumerate(value.items()):
            yield ", " if number else ""
            yield from _pieces(key, limit)
            yield ": "
            yield from _pieces(inner, limit)
        yield "}"
    elif isinstance(value, list | tuple):
        start, end = ("[", "]") if isinstance(value, list) else ("(", ",)" if len(value) == 1 else ")")
        yield start
        for number, inner in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(inner, limit)
        yield end
    elif value is None or isinstance(value, int | float):
        yield repr(value)
    else:
        yield f"a {type(value).__name__}"  # of a tensor, say, the text would be lines of numbers
