"""What is said of a checkpoint that does not say it itself: `--assume residual=false,shift=3`; light."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from utility.text import short

FLAG = "--assume"
ABOUT = "what a bare APC state dict does not say: residual=true or false; shift=N, the frames ahead that it predicts"
KNOWN = {
    "residual": "whether each GRU of an APC adds its input to its output: true or false",
    "shift": "how many frames ahead an APC predicts: a whole number from 1",
}


@dataclass(frozen=True)
class Assumptions:
    """What was said; None is what was not."""

    residual: bool | None = None
    shift: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "Assumptions":
        """The assumptions in `values`; ValueError for a key that is unknown and for a value of another kind."""
        for key, value in (values or {}).items():
            if key not in KNOWN:
                raise ValueError(f"{FLAG}: {short(key)} is unknown: expected {', '.join(KNOWN)}")
            if value is None:
                continue
            right = type(value) is bool if key == "residual" else type(value) is int and 1 <= value < 10_000
            if not right:
                raise ValueError(f"{FLAG} {key}={short(value)}: it says {KNOWN[key]}")
        return cls(**(values or {}))

    def given(self) -> dict[str, Any]:
        """What was said, by key."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def check(self, stated: Mapping[str, Any], where: str, by: str = "the file") -> None:
        """Raise ValueError for what contradicts `stated`, or is nothing that such a checkpoint has."""
        for key, value in self.given().items():
            if key not in stated:
                raise ValueError(f"{where}: it has no {key} to assume: leave {FLAG} {key} out")
            if stated[key] != value:
                said = f"{by} says {_word(key, stated[key])}"
                raise ValueError(f"{where}: {said}, not {_word(key, value)}: leave {FLAG} {key} out")


def in_words(values: Mapping[str, Any] | None) -> str:
    """Assumptions as they are typed, empty where there are none."""
    return ",".join(_word(key, value) for key, value in (values or {}).items() if value is not None)


def _word(key: str, value: Any) -> str:
    return f"{key}={str(value).lower()}"


def parse_assumptions(text: str) -> dict[str, Any]:
    """`residual=false,shift=3` as values by key, for a command line."""
    values: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, word = part.strip().partition("=")
        if not equals or key in values:
            raise argparse.ArgumentTypeError(f"expected key=value,key=value with {', '.join(KNOWN)}, got {short(text)}")
        whole = int(word) if word.isdecimal() and len(word) < 6 else word
        values[key] = {"true": True, "false": False}.get(word.lower(), whole)
    try:
        return Assumptions.of(values).given()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix(f"{FLAG} ").removeprefix(f"{FLAG}: ")) from None
