"""What a family of inputs gives: files, and the command that meets them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.campaign.judge import Expected
from tests.campaign.mutations.values import BEYOND, HUGE

CPU = ("--cpu", "--no-msg")
RUNNER, DOWNSTREAM = "runner_mockingjay.py", "run_downstream.py"
NEW = (RUNNER, "--train", *CPU, "--ckpdir", "out", "--logdir", "log", "--name", "new")
PROBE = (DOWNSTREAM, "--run", "phone_linear", *CPU, "--expdir", "out")


@dataclass(frozen=True)
class Input:
    """A command of the working folder, which holds `files` (path -> bytes) and a link `world` to the sound files.

    `same`: a file that the command writes, and the one below `world` that it must equal. `pipes`: fifos to make.
    `own_world`: the command may change the world, so it gets a copy of it."""

    words: tuple[str, ...]
    what: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    expected: Expected = field(default_factory=Expected)
    same: tuple[str, str] | None = None
    pipes: tuple[str, ...] = ()
    own_world: bool = False


Family = Callable[[Path, np.random.Generator], Input]


def pick(rng: np.random.Generator, *choices: tuple[str, ...]) -> tuple[str, ...]:
    """One of several commands."""
    return choices[rng.integers(len(choices))]


def newly_huge(old: bytes, new: bytes) -> bool:
    """Whether a text has got a number that is large, and that memory or time could still serve."""
    found = set(re.findall(rb"(?<![\w.])\d{5,10}(?![\w.])", new)) - set(re.findall(rb"\d{5,10}", old))
    return any(HUGE[0] <= int(word) < BEYOND[0] for word in found)
