"""Lists of utterances: `store/split@list.txt` stands for those utterances of a split whose ids are in the file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from utility.text import cut, read_text, short

SIGN = "@"
Unaligned = Literal["error", "leave_out"]  # what becomes of utterances that are asked for and not there


@dataclass(frozen=True)
class IdList:
    """The ids of the file `path`, in its order, and how many of them the corpus lacks."""

    path: Path
    ids: tuple[str, ...]
    missing: int = 0

    def about(self) -> dict[str, Any]:
        """What a result says of it."""
        return {"list": str(self.path), "ids": len(self.ids), "missing": self.missing, "digest": self.digest}

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the ids, whatever their order."""
        return _digest(sorted(self.ids))

    @cached_property
    def ordered_digest(self) -> str:
        """16 hex digits of the ids in the order of the file."""
        return _digest(self.ids)


def without_list(path: str | Path) -> tuple[Path, Path | None]:
    """A split, table or folder, and the list behind its `@`; None without one.

    What is there under its whole name is no list: folders and files may have an `@` in their names."""
    text = str(path)
    if SIGN not in text or _there(text) or (SIGN not in Path(text).name and Path(text).parent.is_dir()):
        return Path(text), None
    places = [place for place, letter in enumerate(text) if letter == SIGN and 0 < place < len(text) - 1]
    parted = [(text[:place], text[place + 1 :]) for place in places] or [(text.rpartition(SIGN)[0] or text, "")]
    first = next((pair for pair in parted if _there(pair[0])), None)
    first = first or next((pair for pair in parted if Path(pair[1]).is_file()), parted[-1])
    if not first[1]:
        raise ValueError(f"{cut(text)}: no list behind the {SIGN}: write SPLIT{SIGN}LIST.txt, or leave the {SIGN} out")
    return Path(first[0]), Path(first[1]).expanduser()


def read_list(file: Path | str) -> IdList:
    """The ids in a file, one a line; empty lines and those that begin with `#` are skipped.

    Raises ValueError for a file that is missing, not UTF-8, without ids, or has an id twice."""
    file = Path(file)
    if file.is_dir():
        raise ValueError(f"{file}: a folder, expected a list of utterances, one id a line")
    if not file.exists():
        raise ValueError(f"{file}: no such list of utterances")
    lines: dict[str, int] = {}
    for number, line in enumerate(read_text(file).removeprefix("\ufeff").split("\n"), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if key in lines:
            raise ValueError(f"{file}:{number}: utterance {short(key)} is there twice, first in line {lines[key]}")
        lines[key] = number
    if not lines:
        raise ValueError(f"{file}: no utterance in it: expected one id a line")
    return IdList(file, tuple(lines))


def rows_listed(
    file: Path, ids: Sequence[str], name: str | Path, unaligned: Unaligned | None = None
) -> tuple[np.ndarray, IdList]:
    """The places in `ids`, those of the corpus `name`, that the list in a file has: ascending, int64.

    Raises ValueError where the corpus lacks ids of the list, unless they are to be left out; and where it has none of
    them. `unaligned` is what `data.unaligned` says, None where there is no such key."""
    listed = read_list(file)
    wanted = set(listed.ids)
    rows = np.array([row for row, key in enumerate(ids) if key in wanted], dtype=np.int64)
    missing = len(listed.ids) - len(rows)
    if len(rows) == 0:
        theirs = f", ids there look like {short(ids[0])}" if len(ids) else ""
        some = f"{len(listed.ids)} utterances, {short(listed.ids[0])} for one"
        raise ValueError(f"{file}: {name} has none of its {some}{theirs}")
    if missing > 0 and unaligned != "leave_out":
        there = {ids[row] for row in rows}
        first = next(key for key in listed.ids if key not in there)
        hint = "" if unaligned is None else "; data.unaligned=leave_out goes on without them"
        raise ValueError(
            f"{file}: {name} lacks {missing} of its {len(listed.ids)} utterances, {short(first)} for one{hint}"
        )
    return rows, IdList(file, listed.ids, max(missing, 0))


def _there(text: str) -> bool:
    """Whether a path is a file or a folder, or names a split."""
    return Path(text).exists() or Path(f"{text}.csv").is_file()


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
