"""Classes of numbers from -3 to 3, as sentiment is labelled, and of columns of intensities (CMU-MOSI, CMU-MOSEI)."""

import math
from collections.abc import Sequence
from typing import Literal

Mode = Literal[
    "regression", "positive_negative", "non_negative", "three", "seven", "seven_ceil", "seven_trunc", "emotion"
]
SEVEN = tuple(str(value) for value in range(-3, 4))
MODE_CLASSES: dict[Mode, tuple[str, ...]] = {
    "positive_negative": ("negative", "positive"),
    "non_negative": ("negative", "non_negative"),
    "three": ("negative", "neutral", "positive"),
    "seven": SEVEN,
    "seven_ceil": SEVEN,
    "seven_trunc": SEVEN,
}
COLUMNS = 6  # of mode emotion


def number_class(mode: Mode, value: float) -> str | None:
    """The class of a number under a mode of `MODE_CLASSES`; None where the mode drops it (positive_negative drops 0).

    `seven` rounds halves away from 0 and takes what is beyond 3 for 3, `seven_ceil` rounds away from 0, `seven_trunc`
    toward 0. ValueError for what the mode has no class for."""
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    if mode == "positive_negative":
        return None if value == 0 else MODE_CLASSES[mode][value > 0]
    if mode == "non_negative":
        return MODE_CLASSES[mode][value >= 0]
    if mode == "three":
        return MODE_CLASSES[mode][(value > 0) - (value < 0) + 1]
    size = abs(value)
    if mode != "seven" and size > 3:
        raise ValueError(f"label_mode {mode} takes numbers from -3 to 3")
    whole = {"seven": math.floor(min(size, 3) + 0.5), "seven_ceil": math.ceil(size), "seven_trunc": math.floor(size)}
    return str(int(math.copysign(whole[mode], value)))


def strongest(columns: Sequence[str], values: Sequence[float]) -> str:
    """The column with the largest value, the first of equal ones; ValueError where one is no finite number."""
    if not all(map(math.isfinite, values)):
        raise ValueError("expected finite numbers")
    return columns[max(range(len(values)), key=values.__getitem__)]
