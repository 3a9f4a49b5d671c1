"""How sure the metrics of heads are: means over utterances, with intervals by resampling groups of utterances."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from analysis.attention.head_metrics import HeadMetrics, HeadRanks, head_ranks
from utility.intervals import Interval, group_sums, percentile_interval, resampled_counts


@dataclass(frozen=True)
class MeasuredHeads:
    """Metrics of heads as the mean over utterances, their ranks, and how sure they are.

    `low` and `high` are the ends of the 95 % interval of each, `certainty` [L, H] is the share of resamples in which a
    head keeps its category; None where there are fewer than two groups, or no resamples. `layers` has for each layer
    the interval of the mean over its heads of the relative globalness."""

    mean: HeadMetrics
    ranks: HeadRanks
    low: HeadMetrics | None
    high: HeadMetrics | None
    certainty: np.ndarray | None
    layers: tuple[Interval, ...] | None
    utterances: int


def measured_heads(
    utterances: Sequence[HeadMetrics], groups: Sequence[str], generator: np.random.Generator, resamples: int
) -> MeasuredHeads:
    """From the metrics of each utterance, and the group (itself or its speaker) that each is of.

    The mean is the plain one over utterances. ValueError for no utterance, or not one group for each."""
    if not utterances:
        raise ValueError("no utterance was measured: there is nothing to take the mean of")
    values = np.stack([np.stack(astuple(one)) for one in utterances])  # [U, metrics, L, H]
    flat = values.reshape(len(values), -1)
    sums, names = group_sums(np.concatenate([flat, np.ones((len(flat), 1))], axis=1), groups)
    mean = HeadMetrics(*values.mean(axis=0))
    ranks = head_ranks(mean)
    if len(names) < 2 or not resamples:
        return MeasuredHeads(mean, ranks, None, None, None, None, len(values))
    drawn = resampled_counts(len(names), resamples, generator) @ sums
    means = (drawn[:, :-1] / drawn[:, -1:]).reshape(resamples, *values.shape[1:])

    def interval(resampled: np.ndarray) -> Interval:
        return percentile_interval(resampled, len(names))

    ends = [interval(column) for column in means.reshape(resamples, -1).T]
    low, high = (np.reshape([getattr(e, end) for e in ends], values.shape[1:]) for end in ("low", "high"))
    kept = np.mean([head_ranks(HeadMetrics(*one)).category == ranks.category for one in means], axis=0)
    relative = means[:, list(HeadMetrics.__dataclass_fields__).index("relative_globalness")].mean(axis=-1)  # [R, L]
    layers = tuple(interval(column) for column in relative.T)
    return MeasuredHeads(mean, ranks, HeadMetrics(*low), HeadMetrics(*high), kept, layers, len(values))
