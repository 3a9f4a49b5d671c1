"""What a command that met bad input did: right, or which kind of wrong."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from tests.campaign.mutations.values import CANARY
from tests.campaign.zygote import GIB, Outcome

LONGEST_LINE = 300  # characters
CLEAN, ACCEPTED = "clean", "accepted"
FAILURES = (
    "other weights", "damaged accepted", "odd values", "extra lines", "long line", "traceback", "other exit",
    "hang > 20 s", "> 2 GB",
    "left files", "stops the job", "code run", "campaign failed",
)  # fmt: skip
HUGE = "huge, legal"  # settings that are legal but huge, for which time and memory may honestly run out
COLUMNS = (CLEAN, ACCEPTED, HUGE, *FAILURES)
Tree = Mapping[str, tuple[int, int] | None]  # path -> size and checksum; None for folders
READ = 1 << 23  # bytes: of larger files the time of change stands for the checksum
DEFINITION = "features that are not computed here"  # of which the whole definition is said: the user needs it
STOPPED = re.compile(r"(loss|grad_norm) is not finite within")  # a run that had begun, and keeps what it has


@dataclass(frozen=True)
class Expected:
    """What is known of an input: whether it surely lacks something, and whether its settings are legal but huge."""

    lacking: bool = False
    huge: bool = False


def judged(outcome: Outcome, before: Tree, after: Tree, expected: Expected) -> list[str]:
    """The columns that an outcome counts in: one of clean and accepted, or all its failures."""
    failures = []
    if any(Path(name).name == CANARY for name in after.keys() - before.keys()):
        failures.append("code run")
    if outcome.too_large or outcome.peak_rss > 2 * GIB:
        failures.append("> 2 GB")
    if outcome.timed_out:
        failures.append("hang > 20 s")
    if failures and expected.huge and "code run" not in failures:
        return [HUGE]
    ended = not (outcome.timed_out or outcome.too_large)
    if "Traceback (most recent call last)" in outcome.stderr:
        failures.append("traceback")
    elif ended and outcome.code == 2:
        failures += _of_refusal(outcome.stderr)
    elif ended and not _is_result(outcome, after):
        failures.append("other exit")
    if ended and outcome.code == 2 and before != _but_digests(before, after) and not STOPPED.search(outcome.stderr):
        failures.append("left files")
    if ended and outcome.code == 0 and expected.lacking:
        failures.append("damaged accepted")
    return failures or [CLEAN if outcome.code else ACCEPTED]


def is_failure(columns: Sequence[str]) -> bool:
    """Whether an outcome is one to keep: neither clean nor accepted."""
    return not {CLEAN, ACCEPTED} & set(columns)


def _but_digests(before: Tree, after: Tree) -> Tree:
    """A store's digest is true whatever the command then refuses, and saves the next one the reading."""
    return {name: mark for name, mark in after.items() if name in before or not name.endswith(".digest")}


def _of_refusal(stderr: str) -> list[str]:
    """Exit code 2 wants one line, warnings before it."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    said = [line for line in lines if not re.match(r"([\w.]+: )?warning: ", line)]
    failures = ["extra lines"] if len(said) != 1 else []
    lengths = [len(line) for line in lines if DEFINITION not in line]
    return failures + (["long line"] if any(length > LONGEST_LINE for length in lengths) else [])


def _is_result(outcome: Outcome, after: Tree) -> bool:
    return outcome.code == 0 or (outcome.code == 1 and any(Path(name).name == "errors.csv" for name in after))


def tree(root: Path) -> dict[str, tuple[int, int] | None]:
    """Every folder and file below `root`; links are not followed."""
    found: dict[str, tuple[int, int] | None] = {}
    for path in root.rglob("*"):
        if "__pycache__" in path.parts:  # Python's own, of a folder whose code was run on purpose
            continue
        stat = path.lstat()
        is_folder = path.is_dir() and not path.is_symlink()
        content = S_ISREG(stat.st_mode) and stat.st_size <= READ
        mark = zlib.crc32(path.read_bytes()) if content else stat.st_mtime_ns
        found[str(path.relative_to(root))] = None if is_folder else (stat.st_size, mark)
    return found
