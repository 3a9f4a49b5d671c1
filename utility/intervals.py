"""How sure a figure is: intervals by resampling groups, of correlations, and of the difference between two systems.

A group is what is independent of the rest: an utterance, or better a speaker. Scores that are sums (hits of labelled
items, products of two views) are kept as sums per group, so a resample is one product of matrices and no second run.
Efron and Tibshirani 1993 (percentiles, jackknife); Hesterberg 2015 (widened percentiles); Kish 1965 (effective
number); Fisher 1921 (correlations)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import atanh, inf, isfinite, sqrt, tanh

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 1 << 20  # numbers that are held at once, as counts of groups
FEW_GROUPS = 10  # below that, percentiles of resamples are too narrow


@dataclass(frozen=True)
class Interval:
    """From `low` to `high` at `level`, in the unit of the figure; `method` and `groups` say how it was made."""

    low: float
    high: float
    level: float
    method: str
    groups: int

    def covers(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high

    @property
    def note(self) -> str | None:
        """A warning in words where there are too few groups to trust the interval."""
        if self.groups >= FEW_GROUPS:
            return None
        return f"the interval rests on {self.groups} groups and is too narrow: {FEW_GROUPS} or more are wanted"


@dataclass(frozen=True)
class Difference:
    """The figure of one system minus that of another on the same groups, and its interval."""

    value: float
    interval: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0. Two intervals of their own that overlap say nothing about that."""
        return not self.interval.covers(0.0)


def group_sums(values: np.ndarray, groups: Sequence[str] | np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Values of items [n, k], or [n], summed by group -> [G, k] or [G] float64, and the groups' names, sorted.

    ValueError where there is not one group for each item."""
    values = np.asarray(values, np.float64)
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    if len(numbers) != len(values):
        raise ValueError(f"{len(values)} items, but {len(numbers)} groups named")
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, numbers, values)
    return sums, tuple(map(str, names))


def resampled_counts(num_groups: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each group is drawn, with replacement, in each resample: [resamples, num_groups] int64.

    ValueError for fewer than 2 groups, or no resamples."""
    if num_groups < 2 or resamples < 1:
        raise ValueError(f"{num_groups} groups, {resamples} resamples: a bootstrap needs at least 2 groups, 1 resample")
    return generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=resamples)


def resampled_blocks(
    num_groups: int, resamples: int, generator: np.random.Generator, width: int | None = None
) -> Iterator[np.ndarray]:
    """The same counts in blocks [r, num_groups]: all of them at once would be large.

    `width` are the numbers that a resample costs its reader, where they are more than one for each group."""
    rows = max(BLOCK // (width or num_groups), 1)
    for start in range(0, resamples, rows):
        yield resampled_counts(num_groups, min(rows, resamples - start), generator)


def percentile_interval(values: np.ndarray, groups: int, level: float = LEVEL) -> Interval:
    """The middle share `level` of resampled figures [R]. ValueError where one is not finite."""
    if not np.isfinite(values).all():
        raise ValueError("a resample has no finite score: the groups are too few or too small")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        float(low), float(high), level, f"bootstrap of groups, {len(values)} resamples, percentiles", groups
    )


def effective_number(sizes: np.ndarray) -> float:
    """How many groups of one size say as much as groups of these sizes [G]: (Σ s)² / Σ s²."""
    sizes = np.asarray(sizes, np.float64)
    return float(sizes.sum() ** 2 / (sizes @ sizes))


def widened_percentiles(
    values: np.ndarray, groups: int, degrees: float, unit: str = "groups", level: float = LEVEL
) -> Interval:
    """Percentiles of resampled figures [R], as far out as few groups want: those of a mean are near its t interval.

    The tail α becomes Φ(−√(G / (G − 1)) t_{1−α}), t with so many `degrees` of freedom. ValueError as
    `percentile_interval`."""
    quantile = float(stdtrit(degrees, (1 + level) / 2))
    share = 1 - 2 * float(ndtr(-sqrt(groups / (groups - 1)) * quantile))
    inside = percentile_interval(values, groups, share)
    method = (
        f"bootstrap over {groups} {unit}, {len(values)} resamples, percentiles widened by t with {degrees:.1f} degrees"
    )
    return Interval(inside.low, inside.high, level, f"{method} of freedom", groups)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    sums: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """The interval of a score of sums: `statistic` takes sums [R, k] over groups and gives scores [R].

    `sums` [G, k] are those of each group. An accuracy has k = 2: `lambda s: s[:, 0] / s[:, 1]`."""
    blocks = resampled_blocks(len(sums), resamples, generator)
    return percentile_interval(np.concatenate([statistic(counts @ sums) for counts in blocks]), len(sums), level)


def bootstrap_items(
    statistic: Callable[[np.ndarray], float],
    num_items: int,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """The interval of a score that is no function of sums, as a rank correlation over pairs.

    `statistic` takes numbers of items [num_items], drawn with replacement, and gives one score. Resamples without a
    score (nan: all ranks tied) are left out."""
    if num_items < 2:
        raise ValueError(f"{num_items} items: a bootstrap needs at least 2")
    drawn = generator.integers(num_items, size=(resamples, num_items))
    scores = np.array([statistic(items) for items in drawn])
    return percentile_interval(scores[~np.isnan(scores)], num_items, level)


def paired_difference(
    statistic: Callable[[np.ndarray], np.ndarray],
    sums: np.ndarray,
    other: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Difference:
    """`statistic` of one system minus that of another, both resampled by the same draws of the same groups.

    ValueError where the two have not the same number of groups."""
    if len(sums) != len(other):
        raise ValueError(f"{len(sums)} groups beside {len(other)}: a paired difference needs the same groups")
    counts = resampled_counts(len(sums), resamples, generator)
    drawn = statistic(counts @ sums) - statistic(counts @ other)
    value = statistic(sums.sum(0, keepdims=True)) - statistic(other.sum(0, keepdims=True))
    return Difference(float(value[0]), percentile_interval(drawn, len(sums), level))


def jackknife_interval(
    value: float, without: np.ndarray, level: float = LEVEL, degrees: float | None = None, unit: str = "groups"
) -> Interval:
    """`value` ± a quantile times the jackknife's standard error, from the scores without each group [G].

    The quantile is the normal one, or of t with so many `degrees` of freedom. For few groups, and for scores that
    resampling with replacement would raise, because a sample drawn twice equals itself: debiased CKA, mutual
    information. ValueError for fewer than 2 groups."""
    groups = len(without)
    if groups < 2:
        raise ValueError(f"{groups} groups: a jackknife needs at least 2")
    deviation = without - without.mean()
    tail = (1 + level) / 2
    quantile = float(ndtri(tail) if degrees is None else stdtrit(degrees, tail))
    half = quantile * sqrt((groups - 1) / groups * float(deviation @ deviation))
    method = f"jackknife over {unit}"
    if degrees is not None:
        method = f"jackknife over {groups} {unit}, t with {degrees:.1f} degrees of freedom"
    return Interval(value - half, value + half, level, method, groups)


def fisher_interval(correlation: float, count: int, level: float = LEVEL) -> Interval:
    """The interval of a Pearson or Spearman correlation of `count` independent pairs, by Fisher's z.

    ValueError for a value outside [−1, 1], or fewer than 4 pairs."""
    if count < 4 or not isfinite(correlation) or abs(correlation) > 1:
        raise ValueError(f"correlation {correlation} of {count} pairs: expected −1 ... 1 and at least 4 pairs")
    z = atanh(correlation) if abs(correlation) < 1 else inf * correlation
    half = ndtri((1 + level) / 2) / sqrt(count - 3)
    return Interval(tanh(z - half), tanh(z + half), level, "Fisher's z", count)
