"""Globalness, verticality and diagonality of attention heads, their ranks and categories (Yang et al. 2020,
"Understanding Self-Attention of Self-Supervised Audio Transformers", arXiv 2006.03265)."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from scipy.special import entr
from scipy.stats import rankdata

from analysis.attention.maps import RunningMean, checked_blocks

CATEGORIES = ("global", "vertical", "diagonal")  # in this order where a head ranks equally well in several


@dataclass(frozen=True)
class HeadMetrics:
    """Metrics of each head, [L, H] float64, natural logarithm: of one utterance, or the mean over several.

    H(p) = -Σ p ln p, A[q, k] the attention of query q to key k, T the number of frames:
    globalness (1/T) Σ_q H(A[q]); verticality -H((1/T) Σ_q A[q]); diagonality -(1/T²) Σ_q Σ_k |q - k| A[q, k].
    The first two grow with ln T. The relative ones are divided by it, for corpora of mixed length."""

    globalness: np.ndarray
    verticality: np.ndarray
    diagonality: np.ndarray
    relative_globalness: np.ndarray  # 0 to 1
    relative_verticality: np.ndarray  # -1 to 0
    max_weight: np.ndarray  # the greatest weight of the map
    mean_row_max_weight: np.ndarray  # the mean over queries of the row's greatest weight


@dataclass(frozen=True)
class HeadRanks:
    """Rank of each head among all L·H by a metric, [L, H] int64: 1 is the greatest, equal heads share the best rank.

    `category` [L, H] is what a head ranks best in; of equal ranks the first of global, vertical, diagonal counts."""

    globalness: np.ndarray
    verticality: np.ndarray
    diagonality: np.ndarray
    category: np.ndarray


def utterance_metrics(blocks: Iterable[np.ndarray]) -> HeadMetrics:
    """The metrics of one utterance from consecutive blocks of rows [L, H, n, T] of its map; `[map]` is the whole.

    Frames are the model's own, so after stacking. Raises ValueError for what is no attention over real frames, and for
    an utterance of one frame, where ln T is 0."""
    entropy = keys = distance = greatest = row_max = np.zeros(())
    frames = 0
    for first, rows in checked_blocks(blocks):
        queries, frames = np.arange(first, first + rows.shape[2]), rows.shape[3]
        far = np.abs(queries[:, None] - np.arange(frames))  # [n, T]
        maxima = rows.max(axis=-1)  # [L, H, n]
        entropy = entropy + entr(rows).sum(axis=(-2, -1))
        keys = keys + rows.sum(axis=-2)  # [L, H, T]
        distance = distance + np.einsum("lhqk,qk->lh", rows, far)
        greatest = np.maximum(greatest, maxima.max(axis=-1))
        row_max = row_max + maxima.sum(axis=-1)
    if frames < 2:
        raise ValueError("an utterance of one frame has no globalness: leave it out")
    globalness, verticality = entropy / frames, -entr(keys / frames).sum(axis=-1)
    return HeadMetrics(
        globalness=globalness,
        verticality=verticality,
        diagonality=-distance / frames**2,
        relative_globalness=globalness / np.log(frames),
        relative_verticality=verticality / np.log(frames),
        max_weight=greatest,
        mean_row_max_weight=row_max / frames,
    )


def mean_metrics(utterances: Iterable[HeadMetrics]) -> HeadMetrics:
    """The plain mean over utterances, whatever their lengths; holds one of them at a time."""
    running = RunningMean()
    for metrics in utterances:
        running.add(np.stack(astuple(metrics)))
    return HeadMetrics(*running.mean())


def head_ranks(metrics: HeadMetrics) -> HeadRanks:
    """Ranks and categories of the heads by the means over utterances."""
    ranked = [ranks(values) for values in (metrics.globalness, metrics.verticality, metrics.diagonality)]
    return HeadRanks(ranked[0], ranked[1], ranked[2], np.array(CATEGORIES)[np.argmin(ranked, axis=0)])


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of `values` of any shape among all of them, int64: 1 is the greatest, equal ones share the best rank."""
    return rankdata(-values, method="min").reshape(values.shape).astype(np.int64)


def length_band(lengths: Sequence[int], ratio: float = 1.5) -> np.ndarray:
    """Which utterances to compare models on: True for those of the band [T, ratio·T] that holds most of them.

    Globalness and verticality grow with ln T, so models are compared on utterances of like length. Of equally full
    bands the shortest one is taken. `lengths` are frames [N]; ValueError for none and for a ratio below 1."""
    frames = np.asarray(lengths)
    if not len(frames) or ratio < 1:
        raise ValueError(f"a band of lengths needs utterances and a ratio of at least 1, got {len(frames)} and {ratio}")
    ordered = np.sort(frames)
    held = np.searchsorted(ordered, ordered * ratio, side="right") - np.arange(len(ordered))
    lowest = ordered[held.argmax()]
    return (frames >= lowest) & (frames <= lowest * ratio)
