"""Mutual information beside its definitions, its floor and its chance; clusters follow from their seed."""

import numpy as np
import pytest
from sklearn import metrics

from analysis.information import (
    KMeansSettings,
    assign_clusters,
    information,
    information_interval,
    layer_information,
    phone_settings,
    word_settings,
)


def scored(clusters: np.ndarray, labels: np.ndarray, **options):
    return information(np.asarray(clusters), np.asarray(labels), np.random.default_rng(0), **options)


def noisy(count: int = 3000, labels: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of which six of ten follow the label."""
    generator = np.random.default_rng(seed)
    label, chance = generator.integers(0, labels, (2, count))
    return np.where(generator.random(count) < 0.6, label, chance), label


def test_scores_are_those_of_their_definitions():
    clusters, labels = noisy()
    clusters[labels == 3] = 99  # numbers need not be dense
    score = scored(clusters, labels)
    assert score.adjusted == pytest.approx(metrics.adjusted_mutual_info_score(labels, clusters))
    assert score.mi_nats == pytest.approx(metrics.mutual_info_score(labels, clusters))
    assert score.mi_normalised == pytest.approx(score.mi_nats / metrics.mutual_info_score(labels, labels))
    assert score.normalised == pytest.approx(metrics.normalized_mutual_info_score(labels, clusters))
    parts = metrics.homogeneity_completeness_v_measure(labels, clusters)
    assert (score.homogeneity, score.completeness, score.v_measure) == pytest.approx(parts)
    assert score.above_floor == pytest.approx((score.mi_normalised - score.floor) / (1 - score.floor))
    assert (score.tokens, score.labels, score.clusters) == (3000, 12, len(set(clusters)))
    names = np.array([f"p{n:02}" for n in range(12)])[labels]
    assert scored(clusters, names) == score


def test_purities_of_a_small_table():
    """Phone purity: the most frequent label of each cluster. Cluster purity: the most frequent cluster of each
    label."""
    table = np.array([[5, 1, 0], [2, 2, 0], [0, 1, 3]])  # clusters x labels
    cells = [(k, y) for (k, y), count in np.ndenumerate(table) for _ in range(count)]
    clusters, labels = map(np.array, zip(*cells))
    score = scored(clusters, labels)
    assert score.phone_purity == pytest.approx((5 + 2 + 3) / 14)
    assert score.cluster_purity == pytest.approx((5 + 2 + 3) / 14)
    table[1] = [4, 0, 0]
    cells = [(k, y) for (k, y), count in np.ndenumerate(table) for _ in range(count)]
    score = scored(*map(np.array, zip(*cells)))
    assert score.phone_purity == pytest.approx((5 + 4 + 3) / 14)
    assert score.cluster_purity == pytest.approx((5 + 1 + 3) / 14)


def test_labels_tell_themselves():
    labels = np.arange(600) % 7
    score = scored(labels, labels)
    assert (score.adjusted, score.mi_normalised, score.v_measure) == pytest.approx((1, 1, 1))
    assert (score.phone_purity, score.cluster_purity) == (1, 1)
    one = scored(np.zeros(600, int), labels)
    assert (one.mi_normalised, one.adjusted, one.floor, one.completeness) == pytest.approx((0, 0, 0, 1), abs=1e-12)
    assert one.phone_purity == pytest.approx(labels.tolist().count(0) / 600)


@pytest.mark.parametrize(
    ("clusters", "tokens", "labels", "floor"), [(500, 7800, 39, 0.31), (5000, 7500, 500, 0.87), (500, 27000, 39, 0.11)]
)
def test_floor_of_independent_labels_is_far_from_0(clusters, tokens, labels, floor):
    """A14: no floor was reported, so curves of other numbers of clusters or tokens could not be compared."""
    generator = np.random.default_rng(0)
    score = scored(
        generator.integers(0, clusters, tokens), generator.integers(0, labels, tokens), num_clusters=clusters
    )
    assert score.mi_normalised == pytest.approx(floor, abs=0.01)
    assert score.floor == pytest.approx(floor, abs=0.01)
    assert abs(score.adjusted) < 0.01
    assert abs(score.above_floor) < 0.03
    assert bool(score.notes) == (tokens < 10 * clusters)


def test_floor_is_the_mean_over_shuffled_labels():
    clusters, labels = noisy(500)
    score = scored(clusters, labels, shuffles=200)
    generator = np.random.default_rng(1)
    entropy = metrics.mutual_info_score(labels, labels)
    each = [metrics.mutual_info_score(generator.permutation(labels), clusters) / entropy for _ in range(200)]
    assert score.floor == pytest.approx(np.mean(each), abs=5 * np.std(each) / 14)
    assert score.floor_deviation == pytest.approx(np.std(each), rel=0.25)
    assert score.mi_normalised > score.floor + 10 * score.floor_deviation


def test_few_tokens_for_the_clusters_are_told():
    clusters, labels = noisy(500)
    assert scored(clusters, labels).notes == ()
    (note,) = scored(clusters, labels, num_clusters=60).notes
    assert note.startswith("500 scored tokens for 60 clusters: below 10 each, chance alone gives 0.")


def test_clusters_fit_the_tokens_by_default():
    assert [phone_settings(tokens).clusters for tokens in (1000, 10_000, 195_000)] == [50, 500, 500]
    assert [word_settings(tokens).clusters for tokens in (1000, 50_000, 400_000)] == [100, 5000, 5000]
    assert (phone_settings(10_000).batch_size, word_settings(10_000).batch_size) == (1500, 4000)
    with pytest.raises(ValueError, match="more training tokens"):
        phone_settings(20)


@pytest.mark.slow
def test_intervals_cover_chance_when_labels_are_shuffled():
    """Of 50 seeds at least 45 intervals hold 0; resampling tokens instead would never."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(50):
        clusters, labels = generator.integers(0, 30, 600), generator.integers(0, 10, 600)
        covered += information_interval(clusters, labels, np.arange(600) % 12).covers(0)
    assert covered >= 45
    drawn = [generator.integers(0, 600, 600) for _ in range(20)]
    assert min(metrics.adjusted_mutual_info_score(labels[rows], clusters[rows]) for rows in drawn) > 0
    clusters, labels = noisy(1000)
    interval = information_interval(clusters, labels, np.arange(1000) % 20)
    assert 0 < interval.low < scored(clusters, labels).adjusted < interval.high < 1
    assert interval.high - interval.low < 0.15


def layer(count: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of 6 labels in 10 dimensions, one of them with a huge variance that tells nothing."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, count)
    states = np.random.default_rng(99).normal(size=(6, 10))[labels] * 2 + generator.normal(size=(count, 10))
    states[:, 0] = 50 * generator.normal(size=count)
    return states.astype(np.float32), labels


def test_a_layer_is_scored_by_other_tokens_with_several_seeds():
    (train, _), (other, labels) = layer(), layer(400, seed=1)
    settings = KMeansSettings(12, standardise=True)
    one, same, next_seed = (
        layer_information(train, other, labels, settings, np.random.default_rng(seed)) for seed in (0, 0, 7)
    )
    assert one.per_seed == same.per_seed != next_seed.per_seed
    assert len(one.per_seed) == 3
    assert len({score.adjusted for score in one.per_seed}) == 3
    assert one.adjusted == pytest.approx(np.mean([score.adjusted for score in one.per_seed]))
    assert one.deviation == pytest.approx(np.std([score.adjusted for score in one.per_seed], ddof=1))
    assert len(one.clusters) == 400
    assert scored(one.clusters, labels).adjusted == pytest.approx(one.per_seed[0].adjusted)
    plain = layer_information(train, other, labels, KMeansSettings(12), np.random.default_rng(0))
    assert one.adjusted > plain.adjusted + 0.3  # one dimension decided all distances


def test_bad_tokens_are_refused():
    (states, _), generator = layer(100), np.random.default_rng(0)
    with pytest.raises(ValueError, match="101 clusters for 100 training tokens"):
        assign_clusters(states, states, KMeansSettings(101), generator)
    with pytest.raises(ValueError, match="expected one width"):
        assign_clusters(states, states[:, 1:], KMeansSettings(5), generator)
    with pytest.raises(ValueError, match="not finite"):
        assign_clusters(states, np.full_like(states, np.nan), KMeansSettings(5), generator)
    with pytest.raises(ValueError, match="3 clusters beside 2 labels"):
        scored([0, 1, 1], [0, 1])
    with pytest.raises(ValueError, match="1 different labels"):
        scored([0, 1, 1], ["aa", "aa", "aa"])
    with pytest.raises(ValueError, match="1 clusters"):
        KMeansSettings(1)
