"""How a layer's states lie in space, from moments: no labels, no second view.

Anisotropy: Ethayarajh 2019, section 3.2. Effective rank: Roy and Vetterli 2007, equation 3, of the covariance.
Participation ratio: Gao et al. 2017."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.moments import Moments
from analysis.pair_moments import varies

DOMINANT = 0.5  # of the variance in one dimension: distances say little else


@dataclass(frozen=True)
class Shape:
    """The shape of one layer's states; `notes` are warnings in words."""

    anisotropy: float  # mean cosine of pairs of different samples; nan with fewer than 2 that are not 0
    effective_rank: float  # exp of the entropy of the covariance's eigenvalues: 0 (constant) ... dimensions
    participation_ratio: float  # (Σ λ)² / Σ λ²: 0 (constant) ... dimensions
    norm: float  # mean |x|
    norm_deviation: float
    norm_of_mean: float
    deviation: float  # √ of the mean variance of a dimension
    largest_share: float  # of the variance, in the dimension that has most
    samples: int
    notes: tuple[str, ...]


def shape(moments: Moments, view: str, sets: Iterable[int] | None = None) -> Shape:
    """The shape of a view over a union of sets. ValueError for fewer than 2 samples."""
    chosen = range(moments.layout.sets) if sets is None else list(sets)
    pair = moments.pair(view, view, chosen)
    sums, numbers = moments.views[view], np.array(chosen)
    direction, nonzero = sums.directions[numbers].sum(0), float(sums.nonzero[numbers].sum())
    norm = float(sums.lengths[numbers].sum()) / pair.count
    variances = np.where(varies(pair.xx, pair.mean_x), np.diag(pair.xx), 0.0)
    total = float(variances.sum())
    squared = float(pair.mean_x @ pair.mean_x) + float(np.trace(pair.xx)) * (pair.count - 1) / pair.count  # mean |x|²
    rank, ratio = _dimensions(pair.xx) if total > 0 else (0.0, 0.0)
    share = float(variances.max()) / total if total > 0 else 0.0
    cosine = (float(direction @ direction) - nonzero) / (nonzero * (nonzero - 1)) if nonzero > 1 else float("nan")
    return Shape(
        anisotropy=cosine,
        effective_rank=rank,
        participation_ratio=ratio,
        norm=norm,
        norm_deviation=float(np.sqrt(max(squared - norm**2, 0.0))),
        norm_of_mean=float(np.linalg.norm(pair.mean_x)),
        deviation=float(np.sqrt(total / len(variances))),
        largest_share=share,
        samples=pair.count,
        notes=_notes(view, total, share, len(variances)),
    )


def _dimensions(covariance: np.ndarray) -> tuple[float, float]:
    """Effective rank and participation ratio."""
    values = np.maximum(np.linalg.eigvalsh(covariance), 0)
    shares = values / values.sum()
    positive = shares[shares > 0]
    return float(np.exp(-positive @ np.log(positive))), float(1 / (shares @ shares))


def _notes(view: str, total: float, share: float, width: int) -> tuple[str, ...]:
    if not total > 0:
        return (f"{view} is constant: every sample gives the same vector",)
    if width > 1 and share > DOMINANT:
        return (f"{view}: one of {width} dimensions holds {share:.0%} of the variance, which distances see alone",)
    return ()
