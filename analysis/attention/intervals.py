"""How sure the metrics of heads are: means over utterances, with intervals by resampling groups of utterances."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

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


def mean_heads(samples: Sequence[MeasuredHeads]) -> MeasuredHeads:
    """The means over samples: of metrics, of the ends of their intervals, of certainties; ranks are those of the mean.

    Samples of one corpus overlap, so no interval is made of their deviation. What one sample lacks the mean lacks."""
    if len(samples) == 1:
        return samples[0]

    def metrics(listed: Sequence[HeadMetrics | None]) -> HeadMetrics | None:
        known = [astuple(one) for one in listed if one is not None]
        return HeadMetrics(*np.mean(known, axis=0)) if len(known) == len(listed) else None

    mean = metrics([one.mean for one in samples])
    assert mean is not None, "every sample has one"
    certainties = [one.certainty for one in samples if one.certainty is not None]
    rows = [one.layers for one in samples if one.layers is not None]
    layers = None
    if len(rows) == len(samples):
        layers = tuple(
            replace(
                several[0],
                low=float(np.mean([one.low for one in several])),
                high=float(np.mean([one.high for one in several])),
            )
            for several in zip(*rows)
        )
    certainty = np.mean(certainties, axis=0) if len(certainties) == len(samples) else None
    low, high = metrics([one.low for one in samples]), metrics([one.high for one in samples])
    return MeasuredHeads(mean, head_ranks(mean), low, high, certainty, layers, samples[0].utterances)
