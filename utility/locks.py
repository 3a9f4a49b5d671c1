"""Folders that one process at a time writes."""

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utility.files import check_folder, naming, remove_leftovers
from utility.flags import AUTO

LOCK = ".lock"  # in the folder; it names who writes there
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


def folder_below(base: Path, name: str | None, resume: str | None) -> Path:
    """The folder of a run below `base`: `name`, or the next free exp_NNN; `resume` is the folder of an old run, or
    empty for `name`, or `auto` for `name` whether it is there or not.

    Raises ValueError for an old run without `resume`, and OSError where nothing can be written."""
    if resume and resume != AUTO:
        folder = Path(resume)
    elif name:
        folder = base / name
    elif resume is not None:
        raise ValueError("--resume needs the run: --resume DIR, or --name NAME --resume")
    else:
        taken = {path.name for path in base.glob("exp_*")}
        folder = base / next(name for name in (f"exp_{i:03d}" for i in range(10**6)) if name not in taken)
    check_folder(folder)
    used = folder.is_dir() and any(path.name != LOCK for path in folder.iterdir())
    if resume not in (None, AUTO) and not used:
        raise ValueError(f"--resume: {folder} holds no run")
    if resume is None and used:
        raise ValueError(f"{folder} holds a run already: add --resume to go on with it, or choose another --name")
    return folder


@contextmanager
def held(folder: Path, instead: str) -> Iterator[None]:
    """Make `folder` if need be, and let no other process hold it during the block; ValueError where one does.

    `instead` says what to do then. The system lets go when this process dies, and processes that it forks do not hold
    it on. What killed processes left half-written is removed; so is the folder if it is empty in the end. A file
    system without locks is used without, with a warning."""
    made = [folder, *(parent for parent in folder.parents if not parent.exists())]
    descriptor = _locked(folder, instead)
    try:
        remove_leftovers(folder)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # not empty
            for parent in made:
                parent.rmdir()


def _locked(folder: Path, instead: str) -> int:
    """The open and locked file of `folder`."""
    file = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has just ended, and removed the empty folder
            continue
        try:
            with naming(file):
                _lock(descriptor, folder, instead)
            if file.exists() and os.path.samestat(os.fstat(descriptor), file.stat()):
                with suppress(OSError):  # a full disk: then it does not say who
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has just ended, and removed it


def _lock(descriptor: int, folder: Path, instead: str) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock would stay with forked processes
    except OSError as error:
        if error.errno in NO_LOCKS:
            reason = "this file system has no locks: take care that no other run writes there"
            print(f"{folder}: {reason}", file=sys.stderr)
        elif error.errno in (errno.EAGAIN, errno.EACCES):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            raise ValueError(f"{folder}: {holder} writes there: {instead}") from None
        else:
            raise
