"""A value as a message shows it."""

from collections.abc import Iterator
from typing import Any


def short(value: Any, limit: int = 100) -> str:
    """`repr(value)`, cut to `limit` characters.

    No more of a nested value is looked at than is shown: a few aliases in YAML stand for gigabytes of text."""
    text = ""
    for piece in _pieces(value, limit):
        text += piece
        if len(text) > limit:
            return f"{text[: limit - 3]}..."
    return text


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
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(inner, limit)
        yield "]"
    else:
        yield repr(value)
