"""Intervals hold the truth as often as they say, differences are paired, and too few groups are told."""

import numpy as np
import pytest
from scipy import stats

from utility.intervals import (
    bootstrap,
    bootstrap_items,
    fisher_interval,
    group_sums,
    jackknife_interval,
    paired_difference,
    percentile_interval,
    resampled_counts,
)


def accuracy(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def speakers(generator: np.random.Generator, count: int = 40) -> np.ndarray:
    """Hits and items of speakers who differ: 0.7 on average."""
    items = generator.integers(20, 60, count)
    hits = generator.binomial(items, np.clip(generator.normal(0.7, 0.15, count), 0, 1))
    return np.stack([hits, items], 1).astype(float)


def test_sums_by_group():
    sums, names = group_sums(np.array([[1, 1], [0, 1], [1, 1]]), ["b", "a", "b"])
    assert names == ("a", "b")
    assert sums.tolist() == [[0, 1], [2, 2]]
    assert group_sums(np.array([1.0, 2.0]), np.array([3, 3]))[0].tolist() == [3]
    with pytest.raises(ValueError, match="2 items, but 3 groups"):
        group_sums(np.ones(2), ["a", "b", "c"])


def test_resamples_draw_as_many_groups_as_there_are():
    counts = resampled_counts(7, 500, np.random.default_rng(0))
    assert counts.shape == (500, 7)
    assert (counts.sum(1) == 7).all()
    assert np.abs(counts.mean(0) - 1).max() < 0.2
    for groups, resamples in ((1, 10), (5, 0)):
        with pytest.raises(ValueError, match="at least 2 groups, 1 resample"):
            resampled_counts(groups, resamples, np.random.default_rng(0))


@pytest.mark.slow
def test_bootstrap_over_speakers_holds_the_truth_in_95_of_100():
    generator = np.random.default_rng(0)
    by_speaker, by_item = 0, 0
    for _ in range(100):
        sums = speakers(generator)
        by_speaker += bootstrap(accuracy, sums, generator, 200).covers(0.7)
        hits = np.repeat([1.0, 0.0], [int(sums[:, 0].sum()), int((sums[:, 1] - sums[:, 0]).sum())])
        by_item += bootstrap(accuracy, np.stack([hits, np.ones_like(hits)], 1), generator, 50).covers(0.7)
    assert 89 <= by_speaker < 100
    assert by_item < by_speaker - 10  # items of one speaker are no independent evidence


def test_interval_says_how_it_was_made():
    interval = bootstrap(accuracy, speakers(np.random.default_rng(0)), np.random.default_rng(1), 250, 0.9)
    assert (interval.level, interval.groups, interval.note) == (0.9, 40, None)
    assert interval.method == "bootstrap of groups, 250 resamples, percentiles"
    assert interval == bootstrap(accuracy, speakers(np.random.default_rng(0)), np.random.default_rng(1), 250, 0.9)
    wider = bootstrap(accuracy, speakers(np.random.default_rng(0)), np.random.default_rng(1), 250, 0.99)
    assert wider.low < interval.low < interval.high < wider.high
    few = bootstrap(accuracy, speakers(np.random.default_rng(0), 5), np.random.default_rng(1))
    assert few.note == "the interval rests on 5 groups and is too narrow: 10 or more are wanted"
    with pytest.raises(ValueError, match="no finite score"):
        percentile_interval(np.array([0.0, np.nan]), 3)


def test_paired_difference_is_surer_than_two_intervals():
    generator = np.random.default_rng(0)
    one = speakers(generator)
    other = one + np.stack([generator.binomial((one[:, 1] - one[:, 0]).astype(int), 0.1), np.zeros(40)], 1)
    difference = paired_difference(accuracy, other, one, np.random.default_rng(0))
    intervals = [bootstrap(accuracy, sums, np.random.default_rng(0)) for sums in (one, other)]
    assert intervals[1].low < intervals[0].high
    assert difference.clear
    assert difference.value == pytest.approx(accuracy(other.sum(0)[None])[0] - accuracy(one.sum(0)[None])[0])
    assert difference.interval.low < difference.value < difference.interval.high
    turned = paired_difference(accuracy, one, other, np.random.default_rng(0))
    assert turned.interval.high == pytest.approx(-difference.interval.low)
    assert not paired_difference(accuracy, one, one, np.random.default_rng(0)).clear
    with pytest.raises(ValueError, match="40 groups beside 39"):
        paired_difference(accuracy, one, one[1:], np.random.default_rng(0))


@pytest.mark.slow
def test_items_are_resampled_where_a_score_is_no_sum():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(40):
        x, noise = generator.normal(size=(2, 80))
        y = 0.6 * x + 0.8 * noise
        interval = bootstrap_items(lambda rows, x=x, y=y: stats.spearmanr(x[rows], y[rows])[0], 80, generator, 60)
        covered += interval.covers(6 / np.pi * np.arcsin(0.3))
    assert covered >= 33
    tied = bootstrap_items(lambda rows: np.nan if rows[0] == 0 else 1.0, 3, generator, 50)
    assert (tied.low, tied.high) == (1, 1)
    with pytest.raises(ValueError, match="1 items"):
        bootstrap_items(lambda rows: 0.0, 1, generator)


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(5, 2, 30)
    without = (values.sum() - values) / 29
    interval = jackknife_interval(values.mean(), without)
    half = stats.norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(30)
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half))
    with pytest.raises(ValueError, match="1 groups"):
        jackknife_interval(0.0, np.zeros(1))


def test_fisher_interval_is_the_usual_one():
    x, noise = np.random.default_rng(0).normal(size=(2, 50))
    expected = stats.pearsonr(x, x + noise)
    interval = fisher_interval(expected.statistic, 50, 0.9)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert (fisher_interval(1.0, 50).low, fisher_interval(-1.0, 50).high) == (1, -1)
    for correlation, count in ((1.1, 50), (np.nan, 50), (0.5, 3)):
        with pytest.raises(ValueError, match="at least 4 pairs"):
            fisher_interval(correlation, count)
