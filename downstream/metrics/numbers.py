"""Metrics of numbers: errors, correlations, and the accuracies that are usual of sentiment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utility.runs import Metric

NUMBER_METRICS = {
    "mae": Metric("mae", "mean absolute error", "", "lower"),
    "mse": Metric("mse", "mean squared error", "", "lower"),
    "pearson": Metric("pearson", "Pearson correlation", "", "higher", best=1.0),
    "spearman": Metric("spearman", "Spearman correlation", "", "higher", best=1.0),
}
LARGEST_SENTIMENT = 3  # classes of `acc7` are -3 ... 3


@dataclass(frozen=True)
class NumberScore:
    """True and predicted numbers of some utterances, float64, in blocks [n] each, and the sum of their losses.

    They are kept, for a correlation of ranks is no sum over batches."""

    loss: float
    true: tuple[np.ndarray, ...]
    predicted: tuple[np.ndarray, ...]
    sentiment: bool = False  # whether the accuracies of sentiment are among the figures

    @property
    def count(self) -> int:
        """Utterances."""
        return sum(map(len, self.true))

    def __add__(self, other: "NumberScore") -> "NumberScore":
        both = self.true + other.true, self.predicted + other.predicted
        return NumberScore(self.loss + other.loss, *both, self.sentiment)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All true and all predicted numbers [N]."""
        return np.concatenate(self.true), np.concatenate(self.predicted)

    def figures(self) -> dict[str, float]:
        """Mean loss and all metrics of the part at once; a correlation with a constant is NaN."""
        true, predicted = self.pairs()
        once = np.ones((1, len(true)))
        values = {key: float(values_of(key, true, predicted, once)[0]) for key in NUMBER_METRICS}
        more = sentiment_accuracies(true, predicted) if self.sentiment else {}
        return {"loss": self.loss / self.count, **values, **more}


@dataclass(frozen=True)
class NumberOutcomes:
    """A metric of numbers as a function of how often each utterance counts (`downstream.outcomes.Outcomes`)."""

    ids: Sequence[str]
    true: np.ndarray
    predicted: np.ndarray
    key: str

    def values(self, times: np.ndarray) -> np.ndarray:
        """The metric where each utterance counts so many `times` [R, U] -> [R]; NaN where it has no value."""
        return values_of(self.key, self.true, self.predicted, times)


def values_of(key: str, true: np.ndarray, predicted: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A metric of `NUMBER_METRICS` where each pair [U] counts so many `times` [R, U] -> [R]."""
    if key in ERRORS:
        total = times.sum(1)
        out = np.full(len(times), np.nan)
        return np.divide(times @ ERRORS[key](predicted - true), total, out=out, where=total > 0)
    if key == "spearman":
        return _correlation(times, mean_ranks(true, times), mean_ranks(predicted, times))
    return _correlation(times, np.broadcast_to(true, times.shape), np.broadcast_to(predicted, times.shape))


ERRORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mae": np.abs, "mse": np.square}


def mean_ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rank of each value [U] where it counts so many `times` [R, U], from 1, equals the mean of theirs -> [R, U]."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.add.reduceat(times[:, order], starts, axis=1)  # [R, different values]
    return (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, group]


def _correlation(times: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's, of values [R, U] that are there so many `times` [R, U] -> [R]; NaN where one side is constant."""
    here = times > 0
    changing = _spread(one, here) & _spread(other, here)
    total = np.where(changing, times.sum(1), 1)[:, None]
    one = one - (times * one).sum(1, keepdims=True) / total
    other = other - (times * other).sum(1, keepdims=True) / total
    product, squares = (times * one * other).sum(1), (times * one**2).sum(1) * (times * other**2).sum(1)
    changing &= squares > 0
    found = np.divide(product, np.sqrt(squares), out=np.full(len(times), np.nan), where=changing)
    return np.clip(found, -1, 1)


def _spread(values: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Whether the values [R, U] that are `here` differ [R]: a sum of squares would say so of equal ones, too."""
    low, high = np.where(here, values, np.inf).min(1), np.where(here, values, -np.inf).max(1)
    return low < high


def sentiment_accuracies(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """In percent: `acc2` of the sign (0 is positive), `acc2_nonzero` without true zeros, `acc7` of rounded numbers."""
    apart = true != 0
    right = {
        "acc2": (true >= 0) == (predicted >= 0),
        "acc2_nonzero": (true[apart] > 0) == (predicted[apart] > 0),
        "acc7": _rounded(true) == _rounded(predicted),
    }
    return {name: float(100 * hits.mean()) if len(hits) else float("nan") for name, hits in right.items()}


def _rounded(values: np.ndarray) -> np.ndarray:
    """Halves away from 0, what is beyond 3 as 3: the classes of label_mode seven."""
    size = np.floor(np.minimum(np.abs(values), LARGEST_SENTIMENT) + 0.5)
    return np.copysign(size, values)
