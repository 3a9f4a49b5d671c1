"""What every finished run says of itself: the head of result.json, the same for probes, analyses and pre-training.

It stands in `utility` because those three may not import each other, and the report reads all of them."""

import json
import math
import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any, Literal

from utility.files import replacing
from utility.text import parse_json, read_text

LIBRARIES = ("torch", "numpy", "pandas", "matplotlib")


@dataclass(frozen=True)
class Metric:
    """A figure by which runs are compared; `key` is its name among the figures of a score."""

    key: str  # accuracy
    name: str  # frame accuracy
    unit: str  # %; empty for a pure number
    better: Literal["higher", "lower"]
    best: float = 0.0  # the best value that there is

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def limits(self) -> tuple[float, float]:
        """Between which its values lie: a share in percent whose best is 100 is never below 0."""
        if self.better == "lower":
            return self.best, inf
        return (0.0 if self.unit == "%" and self.best == 100 else -inf), self.best

    def about(self) -> dict[str, str]:
        """As a result says it."""
        return {"name": self.name, "unit": self.unit, "better": self.better}

    def error(self, value: float) -> float:
        """How far a value is from the best one; lower is better, whatever the metric."""
        return self.best - value if self.better == "higher" else value - self.best


def with_unit(value: float | None, unit: str, digits: int = 2) -> str:
    """A value as it is printed, as `71.20 %`; a metric may have none."""
    return "undefined" if value is None else f"{value:.{digits}f} {unit}".rstrip()


def defined(value: float) -> float | None:
    """None for a figure that is not defined (NaN), as files say it."""
    return None if math.isnan(value) else value


def mean(values: Iterable[float | None]) -> float | None:
    """Of the values that are defined; None where there is none."""
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def deviation(values: Iterable[float | None]) -> float | None:
    """The sample deviation of the values that are defined; None of fewer than two."""
    there = [value for value in values if value is not None]
    return statistics.stdev(there) if len(there) > 1 else None


def with_interval(value: float | None, interval: Mapping[str, Any] | None, unit: str, digits: int = 2) -> str:
    """A value with the interval that a result states of it, as `71.20 % [69.10, 73.30]`."""
    return with_unit(value, unit, digits) + in_brackets(interval, digits)


def in_brackets(interval: Mapping[str, Any] | None, digits: int = 2) -> str:
    """An interval behind a value, a space before it; nothing where there is none."""
    return f" [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]" if interval else ""


@dataclass(frozen=True)
class Origin:
    """Something that a run was made from: its fingerprint, and in words what that stands for."""

    fingerprint: str
    words: Mapping[str, Any]  # a checkpoint's path and step, a store's paths


def header(
    *,
    kind: Literal["probe", "analysis", "pretraining"],
    task: str,
    upstream: str,
    metric: Metric,
    value: float | None,
    dev_value: float | None,
    division: Mapping[str, Any],
    config: Mapping[str, Any],
    seed: int,
    origins: Mapping[str, Origin],
    command: str,
    interval: Mapping[str, Any] | None = None,
    controls: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The fields that every result.json begins with, as plain types.

    `value` is of the test part, None while that is unread. `interval` is its 95 % interval, None where there is
    none; `controls` are the same metric of features, random weights and chance."""
    return {
        "kind": kind,
        "task": task,
        "upstream": upstream,
        "metric": metric.about(),
        "value": value,
        "dev_value": dev_value,
        "interval": interval,
        "controls": controls,
        "division": division,
        "config": config,
        "seed": seed,
        "fingerprints": {name: {"fingerprint": o.fingerprint, **o.words} for name, o in origins.items()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "command": command,
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON; a reader sees the old file or the whole new one."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; ValueError names a damaged file."""
    try:
        content = parse_json(read_text(path))
    except ValueError:
        raise ValueError(f"{path}: damaged, no JSON: remove it, and it is written again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: damaged, it holds no fields: remove it, and it is written again")
    return content
