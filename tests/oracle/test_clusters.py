"""k-means beside a slow one in float64 and beside scikit-learn's; the nearest centroid beside exact sums."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Full

from utility.clusters import KMeans, Totals, first_centroids, nearest, pass_over, pieces


def mixture(seed: int, count: int = 6000, width: int = 12, kinds: int = 40) -> np.ndarray:
    """Rows of a mixture, far from 0, float32 [count, width]."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(kinds, width)) * 2 + 30
    rows = centres[generator.integers(kinds, size=count)] + 0.7 * generator.normal(size=(count, width))
    return rows.astype(np.float32)


def exact(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Squared distances in long doubles, [N, K]."""
    wide = rows.astype(np.longdouble)
    return np.stack([np.square(wide - one.astype(np.longdouble)).sum(1) for one in centroids], 1)


def test_iterations_are_those_of_a_slow_k_means_in_float64():
    rows = mixture(0, 900)
    slow = rows[:7].astype(np.float64)
    fast = torch.from_numpy(rows[:7])
    for _ in range(5):
        distance = np.array([[((row - centre) ** 2).sum() for centre in slow] for row in rows.astype(np.float64)])
        labels = distance.argmin(1)
        totals = pass_over([torch.from_numpy(part) for part in np.array_split(rows, 4)], fast)
        assert np.array_equal(totals.counts.numpy(), np.bincount(labels, minlength=7))
        assert totals.inertia(fast) == pytest.approx(distance.min(1).mean(), rel=1e-6)
        slow = np.stack([rows[labels == k].astype(np.float64).mean(0) for k in range(7)])
        fast = totals.moved(fast, lambda: rows, np.random.default_rng(0))
        np.testing.assert_allclose(fast.numpy(), slow, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [12, 40, 100])
def test_inertia_is_within_a_hundredth_of_scikit_learn_s_full_k_means(clusters):
    for seed in range(2):
        rows = mixture(seed)
        centroids, tried = first_centroids(rows, KMeans(clusters, seed=seed))
        ours = pass_over(pieces(rows, "cpu"), centroids).inertia(centroids)
        theirs = Full(clusters, n_init=10, random_state=seed).fit(rows.astype(np.float64)).inertia_ / len(rows)
        assert ours <= min(tried) * (1 + 1e-9)
        assert ours < 1.01 * theirs


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_nearest_is_the_first_of_the_exactly_nearest(level):
    generator = np.random.default_rng(1)
    centroids = (generator.normal(size=(50, 33)) + level).astype(np.float32)
    centroids[7] = centroids[3]  # the first of equal ones is taken
    between = (centroids[generator.integers(50, size=2000)] + centroids[generator.integers(50, size=2000)]) / 2
    rows = np.concatenate([between, generator.normal(size=(2000, 33)) + level, centroids]).astype(np.float32)
    found = nearest(torch.from_numpy(rows), torch.from_numpy(centroids)).numpy()
    distances = exact(rows, centroids)
    first = distances.argmin(1)
    same = found == first
    chosen, least = distances[np.arange(len(rows)), found], distances.min(1)
    assert same.mean() > 0.999
    assert (chosen <= least * (1 + 1e-14)).all()  # the last bits of float64
    assert 7 not in found
    assert list(found[-50:]) == [*range(7), 3, *range(8, 50)]


def test_a_row_gets_the_same_centroid_alone_padded_and_in_any_batch():
    """Products are rounded otherwise in another batch: a plain argmin of them fails here."""
    generator = np.random.default_rng(2)
    centroids = torch.from_numpy(generator.normal(size=(200, 80)).astype(np.float32) + 5)
    ends = generator.integers(200, size=(2, 3000))
    rows = (centroids[ends[0]] + centroids[ends[1]]) / 2 + 1e-7 * torch.from_numpy(generator.normal(size=(3000, 80)))
    rows = rows.float()
    whole = nearest(rows, centroids)
    for size in (1, 7, 500, 2999):
        parts = torch.cat([nearest(part, centroids) for part in rows[: 60 * size].split(size)])
        assert torch.equal(parts, whole[: len(parts)])
    padded = torch.nn.functional.pad(rows[:10], (0, 0, 0, 990))
    assert torch.equal(nearest(padded, centroids)[:10], whole[:10])
    assert torch.equal(nearest(rows.flip(0), centroids).flip(0), whole)


def test_inexact_products_do_not_decide(monkeypatch):
    """Where a process lets PyTorch round float32 to bfloat16 the codes are the same."""
    rows, centroids = torch.from_numpy(mixture(3, 500)), torch.from_numpy(mixture(4, 60))
    usual = nearest(rows, centroids)
    asked = []
    monkeypatch.setattr("utility.clusters.exact_float32", lambda *words: asked.append(words))
    assert torch.equal(nearest(rows, centroids), usual)
    assert asked == [("cpu", torch.get_float32_matmul_precision())]


def test_an_empty_cluster_becomes_a_distant_row_of_the_sample_by_the_seed():
    rows = np.concatenate([np.zeros((99, 2)), np.full((1, 2), 9)]).astype(np.float32)
    centroids = torch.tensor([[0.0, 0.0], [50.0, 50.0]])
    totals = Totals(2, 2)
    totals.add(torch.from_numpy(rows[:99]), torch.zeros(99, dtype=torch.int64))
    moved = totals.moved(centroids, lambda: rows, np.random.default_rng(0))
    assert moved.tolist() == [[0.0, 0.0], [9.0, 9.0]]
