"""Files that appear whole or not at all, and what processes that were killed leave of them."""

import ctypes
import errno
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

NAME_BYTES = 180  # of a file's name in that of its temporary file, which may have 255 with what is added
LEFT_OVER = re.compile(r"\.(?P<name>.+)\.((?P<host>\w+)-)?(?P<pid>\d+)-[0-9a-f]{8}\.(?P<kind>tmp|old)")
DAY = 86400.0
LATER = 10.0  # seconds by which a process must be younger than a file not to be its writer
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux' fcntl.h and fs.h
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM)


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
    """A fresh name beside `path` to write first; what is still there afterwards, a file or a folder, is removed.

    The name says which process made it: `remove_leftovers` knows by it what nobody writes any more."""
    new = path.parent / f".{_cut(path.name)}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        yield new
    finally:
        _remove(new)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Let an OSError of the block say `path` where it names no file: a full disk does not say which it was."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary name for the block to write; when it ends well that file is synced and put in place of `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path) as new:
        with naming(path):
            yield new
            with new.open("rb") as file:
                os.fsync(file.fileno())
        new.replace(path)


def replace_file(path: Path, data: bytes, size: int | None = None) -> None:
    """Put `data`, extended by zeros to `size` bytes without taking disk space, in place of `path`."""
    with replacing(path) as new, new.open("wb") as stream:
        stream.write(data)
        stream.truncate(size)


def replace_folder(new: Path, path: Path) -> None:
    """Put the folder `new` in place of `path`; what was there is then at `new`, and no moment is without a `path`.

    Where the file system cannot exchange two names there is such a moment, and `remove_leftovers` mends it."""
    try:
        os.rename(new, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchanged(new, path):
            old = new.with_suffix(".old")
            os.rename(path, old)
            os.rename(new, path)
            os.rename(old, new)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step of the system's; False where it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if not libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number not in NO_EXCHANGE:
        raise OSError(number, os.strerror(number), str(other))
    return False


def remove_leftovers(folder: Path, of: str | None = None) -> None:
    """Remove temporary files in `folder` (those of the file or folder `of` alone) whose writer was killed, and say so.

    A writer of this machine is known to be gone; files of other machines must be a day old. A folder that a killed
    process had moved away from its place comes back."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = LEFT_OVER.fullmatch(path.name)
        if match is None or (of is not None and match["name"] != _cut(of)):
            continue
        if not _orphaned(path, match["host"], int(match["pid"])):
            continue
        place = folder / (of or match["name"])
        if match["kind"] == "old" and not place.exists():
            os.rename(path, place)
            print(f"{place}: put back, a process that was killed had moved it away", file=sys.stderr)
        else:
            _remove(path)
            print(f"{path}: removed, the process that wrote it was killed", file=sys.stderr)


def _cut(name: str) -> str:
    """What of a file's name stands in that of its temporary file."""
    return os.fsencode(name)[:NAME_BYTES].decode(errors="ignore")


def _orphaned(path: Path, host: str | None, pid: int) -> bool:
    try:
        changed = path.lstat().st_ctime
    except FileNotFoundError:  # its writer has just finished
        return False
    if host != _host():
        return time.time() - changed > DAY
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return _started(pid) > changed + LATER  # another process has got the number


def _started(pid: int) -> float:
    """When a process began, in seconds since 1970; long ago where the system does not say."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


@cache
def _host() -> str:
    """This machine, and in a container which: process numbers mean something within it alone."""
    name = re.sub(r"\W", "_", socket.gethostname())[:24]
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return name
    return f"{name}_{space:x}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
