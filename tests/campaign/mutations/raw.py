"""Changes of bytes: pure functions of the bytes and a seeded generator."""

from collections.abc import Callable

import numpy as np

Change = Callable[[bytes, np.random.Generator], bytes]
BYTES = (0, 1, 9, 10, 13, 32, 34, 39, 44, 45, 46, 48, 57, 91, 93, 123, 125, 127, 128, 255)
NUMBERS = (0, 1, 2, 3, 7, 8, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**33)
HEAD = 200  # bytes: where most formats keep what they say of themselves


def place(data: bytes, rng: np.random.Generator) -> int:
    """A position in `data`, often among its first bytes; 0 where there are none."""
    end = min(len(data), HEAD) if rng.random() < 0.5 else len(data)
    return int(rng.integers(end)) if end else 0


def span(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """First position and the one after the last of a short piece."""
    first = place(data, rng)
    return first, min(len(data), first + int(2 ** rng.uniform(0, 9)))


def flip_bit(data: bytes, rng: np.random.Generator) -> bytes:
    """One bit is the other one."""
    at = place(data, rng)
    return data[:at] + bytes(byte ^ 1 << int(rng.integers(8)) for byte in data[at : at + 1]) + data[at + 1 :]


def set_byte(data: bytes, rng: np.random.Generator) -> bytes:
    """One byte is another one."""
    at = place(data, rng)
    others = [byte for byte in BYTES if data[at : at + 1] != bytes([byte])]
    return data[:at] + bytes([others[rng.integers(len(others))]]) + data[at + 1 :]


def set_number(data: bytes, rng: np.random.Generator) -> bytes:
    """A whole number of 2, 4 or 8 bytes is written over what was there."""
    width, order = int(rng.choice([2, 4, 8])), "little" if rng.random() < 0.6 else "big"
    at = place(data, rng) // 2 * 2
    number = NUMBERS[rng.integers(len(NUMBERS))] % 256**width
    return data[:at] + number.to_bytes(width, order) + data[at + width :]


def remove(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece is missing."""
    first, last = span(data, rng)
    return data[:first] + data[last:]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece is there twice."""
    first, last = span(data, rng)
    return data[:last] + data[first:]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes stand between others."""
    at = place(data, rng)
    return data[:at] + rng.bytes(int(2 ** rng.uniform(0, 6))) + data[at:]


def zero(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece is zeros."""
    first, last = span(data, rng)
    return data[:first] + bytes(last - first) + data[last:]


def swap(data: bytes, rng: np.random.Generator) -> bytes:
    """Two neighbouring pieces change places."""
    first, middle = span(data, rng)
    last = min(len(data), 2 * middle - first)
    return data[:first] + data[middle:last] + data[first:middle] + data[last:]


def append(data: bytes, rng: np.random.Generator) -> bytes:
    """More follows than belongs there."""
    return data + rng.bytes(int(2 ** rng.uniform(0, 12)))


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The file ends too early: at a share of its bytes, or without its last one."""
    return data[:-1] if rng.random() < 0.15 else data[: int(len(data) * rng.uniform(0, 0.99))]


CHANGES: tuple[Change, ...] = (
    flip_bit, flip_bit, set_byte, set_byte, set_number, set_number, remove, repeat, insert, zero, swap, append, cut,
)  # fmt: skip


def changed(data: bytes, rng: np.random.Generator, changes: tuple[Change, ...] = CHANGES) -> tuple[bytes, str]:
    """`data` after one to four changes, and their names; never the same bytes, unless there are none."""
    names = []
    new = data
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        change = changes[rng.integers(len(changes))]
        new = change(new, rng)
        names.append(change.__name__)
    if new == data:
        new, names = data + b"\0", ["append"]
    return new, "+".join(names)
