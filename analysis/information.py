"""What clusters of a layer tell about labels: mutual information, normalised and adjusted for chance, and purities.

Clusters are fitted on training tokens and assigned to other tokens, which are scored. Mutual information of many
clusters and few tokens is far above 0 for independent labels (0.87 of the labels' entropy for 5,000 clusters, 7,500
tokens and 500 labels), so the main score is the adjusted one (Vinh et al. 2010), and the floor over shuffled labels
stands beside the original's number. Purities: Hsu et al. 2021 (HuBERT), section 4.1. Natural logarithms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import random_table
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information

from utility.centres import seeded_centres
from utility.intervals import Interval, jackknife_interval

SHUFFLES = 20
TOKENS_PER_CLUSTER = 10  # of the scored tokens; fewer are warned of
SEEDS = 3


@dataclass(frozen=True)
class KMeansSettings:
    """Mini-batch k-means with the original's settings; `n_init` is stated because the library's default has changed.

    `standardise` divides each dimension by its deviation over the training tokens: without it a few dimensions of huge
    variance decide all distances. The original does not."""

    clusters: int
    batch_size: int = 1500
    max_iter: int = 500
    n_init: int = 3
    max_no_improvement: int = 10
    reassignment_ratio: float = 0.01
    standardise: bool = False

    def __post_init__(self) -> None:
        if self.clusters < 2:
            raise ValueError(f"{self.clusters} clusters: mutual information needs at least 2, so more training tokens")


def phone_settings(train_tokens: int) -> KMeansSettings:
    """For phones: 500 clusters as in Pasad et al. 2021, or fewer, so that each has 20 training tokens on average."""
    return KMeansSettings(min(500, train_tokens // 20), batch_size=1500)


def word_settings(train_tokens: int) -> KMeansSettings:
    """For words: 5,000 clusters as in Pasad et al. 2021, or fewer, so that each has 10 training tokens on average."""
    return KMeansSettings(min(5000, train_tokens // 10), batch_size=4000)


def assign_clusters(
    train: np.ndarray, evaluation: np.ndarray, settings: KMeansSettings, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fit clusters on tokens [n, width]; the cluster of each of them [n], and of each scored token [k].

    ValueError for more clusters than training tokens, unequal widths, or values that are not finite."""
    if train.ndim != 2 or evaluation.ndim != 2 or train.shape[1] != evaluation.shape[1]:
        raise ValueError(f"tokens of shape {list(train.shape)} and {list(evaluation.shape)}: expected one width")
    if len(train) < settings.clusters:
        raise ValueError(f"{settings.clusters} clusters for {len(train)} training tokens: ask for fewer")
    if not np.isfinite(train).all() or not np.isfinite(evaluation).all():
        raise ValueError("tokens hold values that are not finite")
    if settings.standardise:
        deviation = train.std(0, dtype=np.float64)
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0).astype(train.dtype)
        train, evaluation = train * scale, evaluation * scale
    means = MiniBatchKMeans(
        settings.clusters,
        init=seeded_centres,
        batch_size=settings.batch_size,
        max_iter=settings.max_iter,
        n_init=settings.n_init,
        max_no_improvement=settings.max_no_improvement,
        reassignment_ratio=settings.reassignment_ratio,
        random_state=int(generator.integers(2**31)),
    ).fit(train)
    return means.predict(train).astype(np.int64), means.predict(evaluation).astype(np.int64)


@dataclass(frozen=True)
class Information:
    """Scores of clusters beside labels, all shares of 1; `notes` are warnings in words."""

    adjusted: float  # AMI, arithmetic average of the entropies; 0 at chance; may be negative
    mi_normalised: float  # the original's: mutual information / entropy of the labels
    floor: float  # mean of mi_normalised over shuffled labels
    floor_deviation: float
    above_floor: float  # (mi_normalised − floor) / (1 − floor)
    normalised: float  # NMI, arithmetic average
    homogeneity: float  # mutual information / entropy of the labels, 1 where that is 0
    completeness: float  # mutual information / entropy of the clusters, 1 where that is 0
    v_measure: float
    phone_purity: float  # Σ_k max_y n_ky / n: the most frequent label of each cluster
    cluster_purity: float  # Σ_y max_k n_ky / n: the most frequent cluster of each label
    mi_nats: float
    label_entropy_nats: float
    tokens: int
    labels: int
    clusters: int  # that occur
    notes: tuple[str, ...]


def information(
    clusters: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    generator: np.random.Generator,
    shuffles: int = SHUFFLES,
    num_clusters: int | None = None,
) -> Information:
    """Score clusters [n] beside labels [n]. `num_clusters` is how many were fitted, those that occur where None.

    ValueError for unequal n, and for fewer than 2 labels."""
    (k, cluster), (y, label) = _numbered(clusters), _numbered(labels)
    if len(cluster) != len(label):
        raise ValueError(f"{len(cluster)} clusters beside {len(label)} labels")
    if y < 2:
        raise ValueError(f"{y} different labels: mutual information needs at least 2")
    table = np.bincount(cluster * y + label, minlength=k * y).reshape(k, y)
    adjusted = float(adjusted_mutual_info_score(label, cluster))
    return _scored(table, _shuffled_information(cluster, label, y, generator, shuffles), adjusted, num_clusters)


def table_information(
    table: np.ndarray, generator: np.random.Generator, shuffles: int = SHUFFLES, num_clusters: int | None = None
) -> Information:
    """Score how often each cluster and label come together, [clusters, labels] of whole numbers: as `information`
    scores the items one by one, in memory that does not grow with them.

    Shuffled labels are tables with the same sums (Patefield 1981). ValueError for fewer than 2 labels that occur."""
    table = table[table.any(1)][:, table.any(0)].astype(np.int64)
    if table.shape[1] < 2:
        raise ValueError(f"{table.shape[1]} different labels: mutual information needs at least 2")
    drawn = random_table(table.sum(1), table.sum(0), seed=generator)
    shuffled = np.array([_mutual_information(drawn.rvs(1)[0]) for _ in range(shuffles)])
    return _scored(table, shuffled, _adjusted(table), num_clusters)


def share_of_labels(table: np.ndarray) -> float:
    """Mutual information over the entropy of the labels, of a table [clusters, labels]; NaN for one label alone."""
    entropy = _entropy(table.sum(0))
    return _mutual_information(table) / entropy if entropy > 0 else float("nan")


def purities(table: np.ndarray) -> tuple[float, float]:
    """Phone purity and cluster purity of a table [clusters, labels]; NaN for one of nothing."""
    n = int(table.sum())
    return (float(table.max(1).sum() / n), float(table.max(0).sum() / n)) if n else (float("nan"), float("nan"))


def perplexity(counts: np.ndarray) -> float:
    """The exponential of the entropy of classes: how many equally frequent ones would be as uncertain."""
    return float(np.exp(_entropy(counts)))


def _adjusted(table: np.ndarray) -> float:
    """The adjusted score of a table whose rows and columns all occur (Vinh et al. 2010, arithmetic average)."""
    if len(table) < 2:
        return 0.0
    expected = expected_mutual_information(table, int(table.sum()))
    greatest = (_entropy(table.sum(1)) + _entropy(table.sum(0))) / 2
    parts = np.array([_mutual_information(table) - expected, greatest - expected])
    above, range_ = np.copysign(np.maximum(np.abs(parts), np.finfo(np.float64).eps), parts)  # 0 / 0: they are alike
    return float(above / range_)


def _mutual_information(table: np.ndarray) -> float:
    """In nats, of a table [clusters, labels]."""
    return max(_entropy(table.sum(1)) + _entropy(table.sum(0)) - _entropy(table.ravel()), 0.0)


def _scored(table: np.ndarray, shuffled: np.ndarray, adjusted: float, num_clusters: int | None) -> Information:
    """The scores of a table [k, y], with the mutual information of shuffled labels [shuffles] in nats."""
    (k, y), n = table.shape, int(table.sum())
    h_cluster, h_label = _entropy(table.sum(1)), _entropy(table.sum(0))
    mi = _mutual_information(table)
    shuffled = shuffled / h_label
    floor = float(shuffled.mean())
    score = mi / h_label
    fitted = num_clusters or k
    notes: tuple[str, ...] = ()
    if n < TOKENS_PER_CLUSTER * fitted:
        notes = (
            f"{n} scored tokens for {fitted} clusters: below {TOKENS_PER_CLUSTER} each, chance alone gives {floor:.2f}",
        )
    phone_purity, cluster_purity = purities(table)
    return Information(
        adjusted=adjusted,
        mi_normalised=score,
        floor=floor,
        floor_deviation=float(shuffled.std(ddof=1)) if len(shuffled) > 1 else 0.0,
        above_floor=(score - floor) / (1 - floor) if floor < 1 else 0.0,
        normalised=2 * mi / (h_cluster + h_label),
        homogeneity=score,
        completeness=mi / h_cluster if h_cluster > 0 else 1.0,
        v_measure=2 * mi / (h_cluster + h_label),
        phone_purity=phone_purity,
        cluster_purity=cluster_purity,
        mi_nats=mi,
        label_entropy_nats=h_label,
        tokens=n,
        labels=y,
        clusters=k,
        notes=notes,
    )


def information_interval(
    clusters: np.ndarray, labels: Sequence[str] | np.ndarray, groups: Sequence[int] | np.ndarray, level: float = 0.95
) -> Interval:
    """The interval of the adjusted score by leaving out one group of tokens (of utterances, of speakers) at a time.

    A bootstrap would draw tokens twice, which makes clusters and labels agree by itself. Some 20 to 50 groups are
    right: each costs one score."""
    whole = float(adjusted_mutual_info_score(_numbered(labels)[1], _numbered(clusters)[1]))
    return jackknife_interval(whole, left_out_scores(clusters, labels, groups), level)


def left_out_scores(
    clusters: np.ndarray, labels: Sequence[str] | np.ndarray, groups: Sequence[int] | np.ndarray
) -> np.ndarray:
    """The adjusted score without each group of tokens, float64 [G], groups in sorted order."""
    cluster, label, group = _numbered(clusters)[1], _numbered(labels)[1], np.asarray(groups)
    return np.array(
        [adjusted_mutual_info_score(label[group != left], cluster[group != left]) for left in np.unique(group)]
    )


@dataclass(frozen=True)
class LayerInformation:
    """One layer's scores, one for each seed of k-means, and the assignments of the first, for an interval."""

    per_seed: tuple[Information, ...]
    clusters: np.ndarray  # [scored tokens]

    @property
    def adjusted(self) -> float:
        """Mean over seeds of the adjusted score."""
        return float(np.mean([one.adjusted for one in self.per_seed]))

    @property
    def deviation(self) -> float:
        """Sample deviation over seeds of the adjusted score; 0 for one seed."""
        return float(np.std([one.adjusted for one in self.per_seed], ddof=1)) if len(self.per_seed) > 1 else 0.0


def layer_information(
    train: np.ndarray,
    evaluation: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    settings: KMeansSettings,
    generator: np.random.Generator,
    seeds: int = SEEDS,
) -> LayerInformation:
    """Cluster a layer's training tokens [n, width] with several seeds, and score other tokens [k, width] with labels
    [k]."""
    scores, first = [], None
    for _ in range(seeds):
        _, assigned = assign_clusters(train, evaluation, settings, generator)
        scores.append(information(assigned, labels, generator, num_clusters=settings.clusters))
        first = assigned if first is None else first
    assert first is not None
    return LayerInformation(tuple(scores), first)


def _numbered(values: Sequence[str] | np.ndarray) -> tuple[int, np.ndarray]:
    """How many different values, and the number of each."""
    names, numbers = np.unique(np.asarray(values), return_inverse=True)
    return len(names), numbers.astype(np.int64)


def _entropy(counts: np.ndarray) -> float:
    """Of counts of classes, in nats."""
    counts = counts[counts > 0].astype(np.float64)
    n = counts.sum()
    return float(np.log(n) - counts @ np.log(counts) / n)


def _shuffled_information(
    cluster: np.ndarray, label: np.ndarray, num_labels: int, generator: np.random.Generator, shuffles: int
) -> np.ndarray:
    """Mutual information in nats with labels in random orders, [shuffles].

    Only the joint entropy changes. It comes from runs of equal pairs after a sort, so no table of clusters x labels is
    filled for each shuffle."""
    n = len(label)
    drawn = generator.permuted(np.broadcast_to(label, (shuffles, n)), axis=1)
    codes = np.sort(cluster * num_labels + drawn, axis=1)  # [shuffles, n]
    first = np.concatenate([np.ones((shuffles, 1), bool), codes[:, 1:] != codes[:, :-1]], axis=1)
    starts = np.flatnonzero(first)  # of runs; each row begins with one
    lengths = np.diff(starts, append=first.size).astype(np.float64)
    joint = np.log(n) - np.bincount(starts // n, lengths * np.log(lengths), minlength=shuffles) / n
    return _entropy(np.bincount(cluster)) + _entropy(np.bincount(label)) - joint
