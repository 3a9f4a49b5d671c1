"""Folders that one process at a time writes."""

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utility.files import naming, remove_leftovers

LOCK = ".lock"  # in the folder; it names who writes there
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


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
