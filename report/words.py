"""How a page writes numbers, and paths: none of them says where on a machine the project lies."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report.leaderboard import Difference
from report.runs import Score

ABSOLUTE = re.compile(r"(?<![\w./~-])~?/(?!/)(?:[^\s/'\",:;=\[\]()<>]+/)+([^\s/'\",:;=\[\]()<>]*)")


def relative_to(project: Path) -> Callable[[str], str]:
    """A function that takes the way to the project, and to any other folder, out of a text."""
    own = re.compile(rf"{re.escape(project.resolve().as_posix())}/?")
    return lambda text: ABSOLUTE.sub(lambda match: f"…/{match[1]}" if match[1] else "…", own.sub("", text))


def number(value: float | None, digits: int = 1) -> str:
    """With a minus that is one, but none before zeros; a dash for what is not known."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−" if float(text) else "")


def digits_of(unit: str) -> int:
    """Behind the point: one of percents, three of pure numbers."""
    return 1 if unit == "%" else 3


def interval(one: Score | Difference, digits: int = 1) -> str:
    """In brackets; empty where there is none."""
    if one.low is None or one.high is None:
        return ""
    return f"[{number(one.low, digits)}, {number(one.high, digits)}]"


def signed(one: Difference, digits: int = 1) -> str:
    """A difference with its sign and interval."""
    sign = "+" if one.value > 0 else ""
    return f"{sign}{number(one.value, digits)} {interval(one, digits)}".rstrip()


def amount(value: Any) -> str:
    """A count with its thousands apart: 2.5 M, 310 k."""
    if not isinstance(value, int | float):
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:g}"


def duration(seconds: Any) -> str:
    """Seconds as a reader says them."""
    if not isinstance(seconds, int | float):
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
