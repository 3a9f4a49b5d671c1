"""How sure a score is, from the files of predictions: over speakers, or over the utterances of too few speakers.

A score of few speakers has an interval of t around the score itself, from the scores without each speaker; one of many
has percentiles of resampled speakers. Both count speakers of unequal sizes as fewer: docs/tasks.md has the coverage."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from downstream.outcomes import Outcomes, SpeakerOutcomes
from downstream.tasks.base import Task
from utility.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    effective_number,
    jackknife_interval,
    resampled_blocks,
    widened_percentiles,
)
from utility.predictions import AGAIN, SPEAKER, predictions_of, read_predictions
from utility.seeds import numpy_generator
from utility.text import short

MANY, FEW = 20, 4  # speakers: from MANY on they are resampled, below FEW the utterances are
SEED = 0


@dataclass(frozen=True)
class Predicted:
    """What files of predictions say: outcomes of utterances, who speaks them, and the answers of all rows by id.

    `speakers` are in the order of the outcomes' ids, empty where unknown. An answer is only told from others.
    `by_utterance` is false where the outcomes are of speakers, so that utterances cannot be resampled."""

    outcomes: Outcomes
    speakers: Sequence[str]
    answers: Mapping[str, int]
    by_utterance: bool = True

    @classmethod
    def read(cls, task: Task, files: Iterable[Path]) -> "Predicted":
        """All rows of some files together, as of the folds of a run, whose utterances differ.

        ValueError says the file, and where it can the line, of what is not of the task."""
        reading = _Reading(task, files)
        try:
            outcomes = task.outcomes(reading.rows())
        except ValueError as error:
            if str(error).startswith(str(reading.file)):
                raise
            raise ValueError(f"{reading.place}: damaged, {error}; {AGAIN}") from None
        if not reading.answers:
            raise ValueError(f"{reading.file}: no prediction in it; {AGAIN}")
        if isinstance(outcomes, SpeakerOutcomes):
            return cls(outcomes, outcomes.speakers, reading.answers, by_utterance=False)
        return cls(outcomes, [reading.speakers.get(key, "") for key in outcomes.ids], reading.answers)

    @property
    def value(self) -> float:
        """The metric, every utterance counted once; NaN where it has no value."""
        return float(self.outcomes.values(np.ones((1, len(self.outcomes.ids))))[0])


class _Reading:
    """Rows on their way to a task, of which speakers and answers are kept."""

    def __init__(self, task: Task, files: Iterable[Path]):
        self.columns, self.files = task.columns, files
        self.speakers: dict[str, str] = {}
        self.answers: dict[str, int] = {}
        self.file, self.place = Path(), ""

    def rows(self) -> Iterator[Mapping[str, str]]:
        for file in self.files:
            self.file = file
            for number, row in enumerate(read_predictions(file), 2):
                self.place = f"{file}:{number}"
                for column in self.columns:
                    if column not in row:
                        raise ValueError(f"{file}:1: no column {column!r}: predictions of another task")
                if row["id"] in self.answers:
                    raise ValueError(
                        f"{self.place}: {short(row['id'])} is in another fold too: they are not of one run"
                    )
                self.answers[row["id"]] = hash(row[self.columns[0]])
                self.speakers[row["id"]] = row.get(SPEAKER, "")
                yield row
            self.place = str(file)


@dataclass(frozen=True)
class Weighed:
    """A sum of the metrics of several runs on the same utterances: their mean, or a difference."""

    parts: Sequence[Outcomes]
    weights: Sequence[float]
    orders: Sequence[np.ndarray]  # for each part, where its utterances are among those of the first

    @property
    def ids(self) -> Sequence[str]:
        """The utterances."""
        return self.parts[0].ids

    def values(self, times: np.ndarray) -> np.ndarray:
        """See `Outcomes`."""
        parts = zip(self.parts, self.weights, self.orders, strict=True)
        return sum((weight * part.values(times[:, order]) for part, weight, order in parts), np.zeros(len(times)))


def lacking(run: Predicted, other: Predicted) -> str | None:
    """An utterance that only one of two runs was scored on."""
    return min(run.answers.keys() ^ other.answers.keys(), default=None)


def weighed(runs: Sequence[Predicted], weights: Sequence[float]) -> Predicted:
    """Several runs on the same utterances as one."""
    first, orders = runs[0], []
    number = {key: place for place, key in enumerate(first.outcomes.ids)}
    for run in runs:
        assert lacking(first, run) is None, "who asks has looked"
        orders.append(np.array([number[key] for key in run.outcomes.ids], np.int64))
    speakers = [next(filter(None, known), "") for known in zip(*(_ordered(run, first) for run in runs), strict=True)]
    outcomes = Weighed([run.outcomes for run in runs], weights, orders)
    return Predicted(outcomes, speakers, first.answers, first.by_utterance)


def _ordered(run: Predicted, first: Predicted) -> list[str]:
    named = dict(zip(run.outcomes.ids, run.speakers, strict=True))
    return [named[key] for key in first.outcomes.ids]


def mean_of(runs: Sequence[Predicted]) -> Predicted:
    """The mean of the metrics of several seeds."""
    return weighed(runs, [1 / len(runs)] * len(runs))


def difference(run: Predicted, other: Predicted) -> Predicted:
    """The metric of a run minus that of another."""
    return weighed([run, other], [1.0, -1.0])


def stated(result: Mapping[str, Any]) -> str:
    """How the interval of a result, or of a summary, was made, in words, or why it has none."""
    if (interval := result.get("interval")) is not None:
        return f"{100 * interval['level']:g} % interval: {interval['method']}"
    return f"no interval: {result.get('no_interval') or 'of an earlier version'}"


@dataclass(frozen=True)
class Sureness:
    """An interval, or why there is none."""

    interval: Interval | None
    reason: str | None = None

    def about(self, name: str = "interval") -> dict[str, Any]:
        """As a result says it."""
        return {name: self.interval and asdict(self.interval), f"no_{name}": self.reason}

    @property
    def in_words(self) -> str:
        """How it was made, or why there is none."""
        return stated(self.about())


def sureness(predicted: Predicted, limits: tuple[float, float] = (-inf, inf)) -> Sureness:
    """The 95 % interval of a metric that has values between `limits`."""
    if not predicted.by_utterance and len(predicted.speakers) < FEW:
        return Sureness(None, f"{len(predicted.speakers)} speakers, of whom {FEW} or more are wanted")
    names, unit = _units(predicted)
    kinds, codes, sizes = np.unique(np.array(names), return_inverse=True, return_counts=True)
    if len(kinds) < 2:
        return Sureness(None, f"{len(names)} utterance{'s' * (len(names) != 1)} in the part")
    degrees = max(effective_number(sizes) - 1, 1.0)
    if len(kinds) < MANY:
        interval = _left_out(predicted, codes, degrees, unit)
    else:
        interval = _resampled(predicted.outcomes, codes, degrees, unit)
    if interval is None:
        return Sureness(None, f"the metric has no value on parts of these {len(kinds)} {unit}")
    if interval.high - interval.low < 1e-9:
        return Sureness(None, f"no {unit.removesuffix('s')} differs from the others, so that resampling says nothing")
    low, high = limits
    return Sureness(replace(interval, low=max(interval.low, low), high=min(interval.high, high)))


def of_runs(task: Task, seeds: Sequence[Sequence[Path]], part: str = "test") -> tuple[float | None, Sureness]:
    """The mean over seeds of the metric of a part, and its interval; of each seed the folders of its folds, or one."""
    files = [[predictions_of(folder, part) for folder in folders] for folders in seeds]
    if missing := next((file for file in chain.from_iterable(files) if not file.is_file()), None):
        return None, Sureness(None, f"{missing} is not there")
    runs = [Predicted.read(task, of_seed) for of_seed in files]
    if any(lacking(runs[0], run) for run in runs[1:]):
        return None, Sureness(None, f"the seeds have other utterances in the {part} part")
    mean = mean_of(runs)
    return (mean.value if isfinite(mean.value) else None), sureness(mean, task.metric.limits)


def _units(predicted: Predicted) -> tuple[Sequence[str], str]:
    """What is resampled, for each utterance, and what it is called."""
    speakers = predicted.speakers
    if not predicted.by_utterance or (all(speakers) and len(set(speakers)) >= FEW):
        return speakers, "speakers"
    return predicted.outcomes.ids, "utterances"


def _left_out(predicted: Predicted, codes: np.ndarray, degrees: float, unit: str) -> Interval | None:
    groups = int(codes.max()) + 1
    without = predicted.outcomes.values((codes != np.arange(groups)[:, None]).astype(np.float64))
    value = predicted.value
    if not np.isfinite(without).all() or not isfinite(value):
        return None
    return jackknife_interval(value, without, LEVEL, degrees, unit)


def _resampled(outcomes: Outcomes, codes: np.ndarray, degrees: float, unit: str) -> Interval | None:
    """In blocks of resamples: all times of all utterances at once would be large."""
    groups = int(codes.max()) + 1
    blocks = resampled_blocks(groups, RESAMPLES, numpy_generator(SEED), len(codes))
    known = np.concatenate([outcomes.values(counts.astype(np.float64)[:, codes]) for counts in blocks])
    known = known[np.isfinite(known)]
    return widened_percentiles(known, groups, degrees, unit) if len(known) else None
