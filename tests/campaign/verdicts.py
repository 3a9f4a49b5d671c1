"""Whether a command behaved: what it said, and whether its outputs are those of an undisturbed run."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.campaign.zygote import Outcome

CLOCK = {"seconds", "states_seconds", "training_seconds", "frames_per_s", "data_wait_share"}
UNFINISHED = re.compile(r"(^|/)\.[^/]*\.(tmp|old|unfinished)\b|\.tmp(/|$)|(^|/)\.[^/]+\.[\w-]{6,}(/|$)")
NOTICE = re.compile(r"warning:|.*: (removed|put back), (the|a) process that ")  # lines that may stand before the last
EVENTS = "events.out.tfevents"  # of TensorBoard: they hold clock times
MARK = b"<HERE>"


@dataclass(frozen=True)
class Verdict:
    """What is wrong with the outputs: files of `other` content, `missing` ones, `extra` ones, and `leftovers`, the
    temporary files of killed runs."""

    other: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Nothing differs; leftovers are counted apart."""
        return not (self.other or self.missing or self.extra)

    def __str__(self) -> str:
        kinds = {"other content": self.other, "missing": self.missing, "extra": self.extra, "left": self.leftovers}
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)


def complaint(outcome: Outcome) -> str | None:
    """What is wrong with how a command ended and what it said; None where nothing is.

    Right is: exit 0 or 1 without a traceback; or exit 2 with one line on stderr, which names the script, after lines
    that begin with `warning:` or name what is removed after a kill."""
    if outcome.timed_out:
        return "hang"
    if outcome.too_large:
        return "too much memory"
    if "Traceback (most recent call last)" in outcome.stderr + outcome.stdout:
        return "traceback"
    if outcome.code < 0:
        return f"signal {-outcome.code}"
    if outcome.code not in (0, 1, 2):
        return f"exit {outcome.code}"
    if outcome.code == 2:
        lines = [line for line in outcome.stderr.splitlines() if line.strip() and not NOTICE.match(line)]
        if len(lines) != 1:
            return f"{len(lines)} lines"
        if not re.match(r"[\w.]+\.py: .", lines[0]):
            return "a line that does not begin with the script"
        if len(lines[0]) > 2000:
            return "a line of more than 2000 characters"
    return None


def files_of(root: Path) -> dict[str, Path]:
    """Every file below `root` and every empty folder, by relative path; TensorBoard's are left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            continue
        if not path.name.startswith(EVENTS):
            found[path.relative_to(root).as_posix()] = path
    return found


def compare(there: Path, wanted: Path) -> Verdict:
    """The files below `there` beside those below `wanted`; a path of either folder inside a text is the same word."""
    ours, theirs = files_of(there), files_of(wanted)
    extra = sorted(ours.keys() - theirs.keys())
    left = tuple(name for name in extra if UNFINISHED.search(name))
    common = sorted(ours.keys() & theirs.keys())
    other = tuple(name for name in common if not same_file(ours[name], theirs[name], there, wanted))
    missing = tuple(sorted(theirs.keys() - ours.keys()))
    return Verdict(other, missing, tuple(name for name in extra if name not in left), left)


def same_file(one: Path, other: Path, here: Path, there: Path) -> bool:
    """Whether two files hold the same numbers and words, figures of the clock left out."""
    if one.is_dir() or other.is_dir() or one.is_symlink() or other.is_symlink():
        return one.is_dir() == other.is_dir() and one.is_symlink() == other.is_symlink()
    mine, yours = (
        file.read_bytes().replace(str(place).encode(), MARK) for file, place in ((one, here), (other, there))
    )
    if mine == yours:
        return True
    try:
        if one.suffix in (".ckpt", ".pt"):
            contents = [torch.load(path, map_location="cpu", weights_only=True) for path in (one, other)]
            return same_values(_placed(contents[0], here), _placed(contents[1], there))
        if one.name == "metrics.jsonl":
            return [_without_clock(json.loads(line)) for line in mine.splitlines()] == [
                _without_clock(json.loads(line)) for line in yours.splitlines()
            ]
        if one.suffix == ".json":
            return same_values(_without_clock(json.loads(mine)), _without_clock(json.loads(yours)))
    except Exception:  # whatever cannot be read is not the same
        return False
    return False


def same_values(one: Any, other: Any) -> bool:
    """Whether two nests of tensors and plain values are equal to the last bit; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bits(one), _bits(other))
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same_values(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same_values(a, b) for a, b in zip(one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.reshape(-1)


def _placed(value: Any, here: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(part, here) for key, part in value.items() if key not in CLOCK}
    if isinstance(value, list | tuple):
        return type(value)(_placed(part, here) for part in value)
    return value.replace(str(here), MARK.decode()) if isinstance(value, str) else value


def _without_clock(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_clock(part) for key, part in value.items() if key not in CLOCK}
    return [_without_clock(part) for part in value] if isinstance(value, list) else value
