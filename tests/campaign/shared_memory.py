"""What processes leave in shared memory."""

import time
from pathlib import Path

ROOM = Path("/dev/shm")
MOMENT = 0.3  # seconds in which a process that ends, or one that has just begun, is done with it


def held() -> frozenset[str]:
    """The names in shared memory, of all programs of the machine."""
    return frozenset(path.name for path in ROOM.iterdir()) if ROOM.is_dir() else frozenset()


def left_since(before: frozenset[str]) -> list[str]:
    """Names that are new since `before` and that no process has open any more."""
    if not held() - before:
        return []
    time.sleep(MOMENT)
    new = held() - before
    return sorted(new - _in_use()) if new else []


def _in_use() -> set[str]:
    """Names of shared memory that a process has open or mapped."""
    used: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines = (process / "maps").read_text(errors="replace").splitlines()
            used |= {Path(line.split(maxsplit=5)[-1]).name for line in lines if f" {ROOM}/" in line}
            used |= {path.readlink().name for path in (process / "fd").iterdir() if ROOM in path.readlink().parents}
        except OSError:  # it has ended
            continue
    return used
