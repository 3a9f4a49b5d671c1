"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A fresh name beside `path` to write first; what is still there afterwards is removed."""
    new = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        yield new
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary name for the block to write; when it ends well that file is synced and put in place of `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path) as new:
        yield new
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(path)


def replace_file(path: Path, data: bytes, size: int | None = None) -> None:
    """Put `data`, extended by zeros to `size` bytes without taking disk space, in place of `path`."""
    with replacing(path) as new, new.open("wb") as stream:
        stream.write(data)
        stream.truncate(size)
