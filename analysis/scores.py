"""The score of one layer in one experiment, kept on disk as soon as it is there, and differences of such scores."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from utility.intervals import Interval, jackknife_interval, percentile_interval
from utility.runs import read_json, write_json


@dataclass(frozen=True)
class Resampled:
    """Scores of resamples [R]. `key` names the draws: scores with one key were resampled by the same draws.

    `method` bootstrap: each is a resample; jackknife: each leaves one group out."""

    method: Literal["bootstrap", "jackknife"]
    key: str
    groups: int
    values: tuple[float, ...]

    def interval(self, score: float) -> Interval:
        """The 95 % interval of a score."""
        if self.method == "jackknife":
            return jackknife_interval(score, np.array(self.values))
        return percentile_interval(np.array(self.values), self.groups)


@dataclass(frozen=True)
class LayerScore:
    """A score, its interval (None without resampling), what it is of, and what a reader must know."""

    score: float
    samples: int
    low: float | None = None
    high: float | None = None
    per_trial: tuple[float, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    resampled: Resampled | None = None

    @classmethod
    def of(cls, score: float, samples: int, resampled: Resampled | None = None, **more: Any) -> "LayerScore":
        """With the interval of its resamples."""
        if resampled is None:
            return cls(score, samples, **more)
        interval = resampled.interval(score)
        notes = tuple(more.pop("notes", ())) + ((interval.note,) if interval.note else ())
        return cls(score, samples, interval.low, interval.high, notes=notes, resampled=resampled, **more)

    @classmethod
    def read(cls, path: Path) -> "LayerScore":
        """What `keep` wrote."""
        content = read_json(path)
        resampled = content.pop("resampled")
        if resampled is not None:
            resampled = Resampled(**{**resampled, "values": tuple(resampled["values"])})
        for name in ("per_trial", "notes"):
            content[name] = tuple(content[name])
        return cls(**content, resampled=resampled)


def kept(path: Path, make: Callable[[], LayerScore]) -> LayerScore:
    """The score in a file, or a new one, which is put there."""
    if not path.is_file():
        write_json(path, asdict(make()))
    return LayerScore.read(path)  # of new ones too: the same value whether a run was interrupted or not


def layer_row(position: int, label: str, scores: Sequence[LayerScore]) -> dict[str, Any]:
    """One layer as a result has it. Of several samples: the mean of scores and of bounds, for samples of one corpus
    overlap."""
    number = re.search(r"\d+", label)
    values = [one.score for one in scores]
    lows, highs = [one.low for one in scores], [one.high for one in scores]
    known = all(low is not None for low in lows)
    row: dict[str, Any] = {
        "layer": int(number[0]) if number else position,
        "label": label,
        "score": float(np.mean(values)),
        "low": float(np.mean([low for low in lows if low is not None])) if known else None,
        "high": float(np.mean([high for high in highs if high is not None])) if known else None,
        "samples": scores[0].samples,
        "per_trial": [trial for one in scores for trial in one.per_trial],
        "detail": dict(scores[0].detail),
        "notes": list(dict.fromkeys(note for one in scores for note in one.notes)),
    }
    if len(scores) > 1:
        row |= {"per_sample": values, "deviation": float(np.std(values, ddof=1))}
    return row


def difference(one: Sequence[LayerScore], other: Sequence[LayerScore]) -> dict[str, Any] | None:
    """The score of one layer minus that of another over the same samples [S], with its interval; None where the two
    were not resampled by the same draws.

    With several samples value and bounds are means over them."""
    rows = []
    for a, b in zip(one, other, strict=True):
        x, y = a.resampled, b.resampled
        if x is None or y is None or (x.method, x.key, len(x.values)) != (y.method, y.key, len(y.values)):
            return None
        drawn = tuple((np.array(x.values) - np.array(y.values)).tolist())
        interval = Resampled(x.method, x.key, x.groups, drawn).interval(a.score - b.score)
        rows.append((a.score - b.score, interval.low, interval.high))
    value, low, high = np.mean(rows, axis=0).tolist()
    return {"value": value, "low": low, "high": high}
