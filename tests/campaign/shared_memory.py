"""What processes leave in shared memory."""

import time
from contextlib import suppress
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
    used = _in_use() if new else set()
    return sorted(name for name in new if _number(ROOM / name) not in used)


def _number(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:  # it has just gone
        return None


def _in_use() -> set[int | None]:
    """Inodes of shared memory that a process has open or mapped, whatever its name was then; None for what is gone."""
    used: set[int | None] = {None}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            lines = (process / "maps").read_text(errors="replace").splitlines()
            used |= {int(line.split(maxsplit=5)[4]) for line in lines if f" {ROOM}/" in line}
            for path in (process / "fd").iterdir():
                with suppress(OSError):
                    if ROOM in path.readlink().parents:
                        used.add(_number(path))
    return used
