"""Centred kernel alignment with linear kernels, from moments: it needs no split and no regularisation.

Kornblith et al. 2019, equation of linear CKA; the debiased form after Song et al. 2012, equation 5."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.moments import Moments
from analysis.pair_moments import PairMoments, varies
from utility.intervals import Interval, jackknife_interval

LEAST_SAMPLES = 4  # of the debiased estimate


@dataclass(frozen=True)
class SimilarityMap:
    """A matrix of similarities: `values[i, j]` of row i and column j, which are names of layers."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray  # [rows, columns]


def cka(moments: PairMoments) -> float:
    """‖Σxy‖² / (‖Σxx‖ ‖Σyy‖), Frobenius norms. It rises with dimensions per sample, above 0 for independent views; 0
    where a view is constant."""
    if _constant(moments):
        return 0.0
    xx, xy, yy = (float(np.vdot(matrix, matrix)) for matrix in (moments.xx, moments.xy, moments.yy))
    return xy / float(np.sqrt(xx) * np.sqrt(yy))


def cka_debiased(moments: PairMoments) -> float:
    """CKA of the unbiased estimate of HSIC; around 0 for independent views, so it may be negative, and nothing is
    clipped.

    0 where a view is constant. ValueError for fewer than 4 samples, or an own HSIC that is not positive (too few)."""
    if moments.count < LEAST_SAMPLES:
        raise ValueError(f"{moments.count} samples: debiased CKA needs at least {LEAST_SAMPLES}")
    if _constant(moments):
        return 0.0
    free = moments.count - 1
    trace_x, trace_y = free * float(np.trace(moments.xx)), free * float(np.trace(moments.yy))
    xx = _hsic(moments.count, moments.xx, moments.norms_xx, trace_x, trace_x)
    xy = _hsic(moments.count, moments.xy, moments.norms_xy, trace_x, trace_y)
    yy = _hsic(moments.count, moments.yy, moments.norms_yy, trace_y, trace_y)
    if xx <= 0 or yy <= 0:
        raise ValueError(f"{moments.count} samples are too few for debiased CKA: a view is not like itself")
    return xy / float(np.sqrt(xx * yy))


def _constant(moments: PairMoments) -> bool:
    return not (varies(moments.xx, moments.mean_x).any() and varies(moments.yy, moments.mean_y).any())


def _hsic(n: int, covariance: np.ndarray, norms: float, trace_x: float, trace_y: float) -> float:
    """The unbiased HSIC from sums over centred samples; `norms` is the sum of |x_i|² |y_i|²."""
    cross = (n - 1) ** 2 * float(np.vdot(covariance, covariance))
    return (cross - norms + trace_x * trace_y / ((n - 1) * (n - 2)) - 2 * norms / (n - 2)) / (n * (n - 3))


def similarity_map(
    moments: Moments,
    rows: Sequence[str],
    columns: Sequence[str],
    measure: Callable[[PairMoments], float] = cka_debiased,
) -> SimilarityMap:
    """The similarity of every row's layer with every column's over all sets; the layout must have these pairs.

    `measure` is cka_debiased, cka, or svcca."""
    values = np.array([[measure(moments.pair(row, column)) for column in columns] for row in rows])
    return SimilarityMap(tuple(rows), tuple(columns), values)


def cka_interval(moments: Moments, x: str, y: str, sets: Sequence[int] | None = None) -> Interval:
    """The interval of debiased CKA by leaving out one set (group of utterances) at a time.

    A bootstrap would draw samples twice, and a sample is like itself, which is the bias that the estimate removes."""
    chosen = list(range(moments.layout.sets) if sets is None else sets)
    filled = [number for number in chosen if moments.counts[number]]
    without = [cka_debiased(moments.pair(x, y, [s for s in filled if s != left])) for left in filled]
    return jackknife_interval(cka_debiased(moments.pair(x, y, filled)), np.array(without))
