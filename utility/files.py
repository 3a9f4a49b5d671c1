"""Files that appear whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_folder(path: Path | str) -> None:
    """Raise OSError where no files can be made in the folder `path`, there already or not; nothing is changed."""
    path = Path(path)
    there = next(ancestor for ancestor in (path, *path.parents) if os.path.lexists(ancestor))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder: choose another place", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to write there: choose another place", str(there))


def files_below(root: Path) -> list[str]:
    """Paths of the files below `root`, relative, with forward slashes, sorted; what is hidden is left out.

    Links are followed, each folder is entered once: its own path goes before that through a link."""
    paths: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            for folder, folders, files in os.walk(start):
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in seen:
                    folders.clear()
                    continue
                seen.add((status.st_dev, status.st_ino))
                below = Path(folder).relative_to(root)
                paths += [(below / name).as_posix() for name in files if not name.startswith(".")]
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                links += [path for name in folders if (path := Path(folder, name)).is_symlink()]
        waiting = links
    return sorted(paths)


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
        try:
            yield new
            with new.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            if error.filename is None and error.errno is not None:  # a full disk does not say which file it was
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise
        new.replace(path)


def replace_file(path: Path, data: bytes, size: int | None = None) -> None:
    """Put `data`, extended by zeros to `size` bytes without taking disk space, in place of `path`."""
    with replacing(path) as new, new.open("wb") as stream:
        stream.write(data)
        stream.truncate(size)
