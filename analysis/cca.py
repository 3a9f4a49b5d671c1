"""Canonical correlations from moments: each view is decomposed once, then one SVD per epsilon.

Hotelling 1936; SVCCA: Raghu et al. 2017; projection weights (PWCCA): Morcos et al. 2018, section 3.

Two choices differ from the original's. Dimensions are dropped where they are constant, not where their variance is
below epsilon, so that epsilon regularises and drops nothing. Null directions (one-hot columns sum to 1, so one of them
is known from the rest) are no directions: the original counts them, with a correlation of noise."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from analysis.pair_moments import PairMoments, varies

Measure = Literal["pwcca", "pwcca_x", "pwcca_y", "pwcca_mean", "mean_cca", "mean_squared_cca"]

DEAD = 1e-12  # of the largest variance: below, a dimension is constant
RANK = 1e-12  # of the largest eigenvalue: below, a direction is null
CONDITION = 1e-9  # of the largest eigenvalue: above, a Cholesky factor is as good as eigenvectors
WIDE = 64  # dimensions: below, eigenvectors cost nothing
LEAST_CORRELATION = 1e-3  # of the fit: below, a direction is noise between null spaces
FULL_SHARE = 0.99  # of the variance, that SVCCA keeps


@dataclass(frozen=True)
class Spectrum:
    """One view's covariance, divided by its largest entry, without dead dimensions, as its eigenvalues and vectors."""

    kept: np.ndarray  # [p] bool: dimensions that vary
    scale: float
    values: np.ndarray  # [rank]
    vectors: np.ndarray  # [kept dimensions, rank]

    @property
    def rank(self) -> int:
        """Directions that are not null."""
        return len(self.values)

    def prepared(self, cross: np.ndarray) -> np.ndarray:
        """What of a cross-covariance [kept dimensions, q] serves every epsilon."""
        return self.vectors.T @ cross

    def whitening(self, epsilon: float) -> "EigenWhitening":
        """W with Wᵀ(Σ + ε)W = 1."""
        return EigenWhitening(self.vectors, 1 / np.sqrt(self.values + epsilon))


@dataclass(frozen=True)
class EigenWhitening:
    """W = V (λ + ε)^-½."""

    vectors: np.ndarray
    by: np.ndarray  # [rank]

    def applied(self, prepared: np.ndarray) -> np.ndarray:
        """WᵀM of an M that is prepared, [rank, q]."""
        return self.by[:, None] * prepared

    def directions(self, rotated: np.ndarray) -> np.ndarray:
        """WU, [kept dimensions, m]."""
        return self.vectors @ (self.by[:, None] * rotated)


@dataclass(frozen=True)
class FullRank:
    """One view's covariance, divided by its largest entry, without dead dimensions, which is known to have no null
    directions: a Cholesky factor does for each epsilon, which costs a tenth of the eigenvectors."""

    kept: np.ndarray  # [p] bool
    scale: float
    covariance: np.ndarray  # [rank, rank]

    @property
    def rank(self) -> int:
        return len(self.covariance)

    def prepared(self, cross: np.ndarray) -> np.ndarray:
        """What of a cross-covariance [rank, q] serves every epsilon."""
        return cross

    def whitening(self, epsilon: float) -> "CholeskyWhitening":
        """W with Wᵀ(Σ + ε)W = 1."""
        shifted = self.covariance.copy(order="F")
        shifted[np.diag_indices(self.rank)] += epsilon
        return CholeskyWhitening(cholesky(shifted, lower=True, overwrite_a=True, check_finite=False))


@dataclass(frozen=True)
class CholeskyWhitening:
    """W = L^-ᵀ, with LLᵀ = Σ + ε."""

    lower: np.ndarray

    def applied(self, prepared: np.ndarray) -> np.ndarray:
        """WᵀM, [rank, q]."""
        return solve_triangular(self.lower, prepared, lower=True, check_finite=False)

    def directions(self, rotated: np.ndarray) -> np.ndarray:
        """WU, [rank, m]."""
        return solve_triangular(self.lower, rotated, lower=True, trans="T", check_finite=False)


View = Spectrum | FullRank


def spectrum(covariance: np.ndarray, mean: np.ndarray) -> Spectrum:
    """Decompose a covariance [p, p] of samples with this mean [p]."""
    scale = float(np.abs(covariance).max())
    kept = varies(covariance, mean) & (np.diag(covariance) >= DEAD * scale)
    if not kept.any():
        return Spectrum(kept, 1.0, np.zeros(0), np.zeros((0, 0)))
    values, vectors = np.linalg.eigh(_kept(covariance, kept, kept) / scale)
    real = values > RANK * values[-1]
    return Spectrum(kept, scale, values[real], vectors[:, real])


def decomposed(covariance: np.ndarray, mean: np.ndarray) -> View:
    """A covariance [p, p] of samples with this mean [p], ready for any epsilon.

    Wide ones, if a Cholesky factor shows that no eigenvalue is below CONDITION of the largest, need no eigenvectors."""
    scale = float(np.abs(covariance).max())
    kept = varies(covariance, mean) & (np.diag(covariance) >= DEAD * scale)
    if kept.sum() >= WIDE:
        scaled = _kept(covariance, kept, kept) / scale
        shifted = scaled.copy(order="F")
        shifted[np.diag_indices(len(scaled))] -= CONDITION * np.linalg.norm(scaled)  # at least the largest eigenvalue
        try:
            cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            return spectrum(covariance, mean)
        return FullRank(kept, scale, scaled)
    return spectrum(covariance, mean)


def _kept(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The rows and columns of a matrix that are kept; itself where all are."""
    return matrix if rows.all() and columns.all() else matrix[np.ix_(rows, columns)]


@dataclass(frozen=True)
class CcaFit:
    """Directions of two views, most alike first, and what they were fitted with.

    `alpha_x` and `alpha_y` [m] are the weights of PWCCA that either view supplies; each sums to 1."""

    x: np.ndarray  # [p, m] canonical directions; 0 where a dimension was dropped
    y: np.ndarray  # [q, m]
    singular_values: np.ndarray  # [m] correlations of the fit, shrunk by epsilon
    kept_x: np.ndarray  # [p] bool
    kept_y: np.ndarray  # [q] bool
    ranks: tuple[int, int]  # of the kept dimensions
    moments: PairMoments  # of the samples of the fit
    epsilon: tuple[float, float]

    @property
    def count(self) -> int:
        """Samples of the fit."""
        return self.moments.count

    @cached_property
    def alpha_x(self) -> np.ndarray:
        return _alpha(self.moments.xx, self.x, self.kept_x)

    @cached_property
    def alpha_y(self) -> np.ndarray:
        return _alpha(self.moments.yy, self.y, self.kept_y)

    @property
    def directions(self) -> int:
        """How many correlations there are; 0 where a view is constant."""
        return len(self.singular_values)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the score must know, in words."""
        views = (("first", self.kept_x), ("second", self.kept_y))
        constant = [f"the {name} view is constant: the score is 0" for name, kept in views if not kept.any()]
        dead = [
            f"{np.count_nonzero(~kept)} of {len(kept)} dimensions of the {name} view are constant and left out"
            for name, kept in views
            if kept.any() and not kept.all()
        ]
        return (*constant, *dead)

    def alpha(self, measure: Measure) -> np.ndarray:
        """The weights of the directions in a weighted measure, [m]. By default the view with fewer kept dimensions
        supplies them, on a tie the first."""
        if measure == "pwcca_x":
            return self.alpha_x
        if measure == "pwcca_y":
            return self.alpha_y
        if measure == "pwcca_mean":
            return (self.alpha_x + self.alpha_y) / 2
        if measure == "pwcca":
            return self.alpha_x if self.kept_x.sum() <= self.kept_y.sum() else self.alpha_y
        return np.full(self.directions, 1 / max(self.directions, 1))

    def score(self, correlations: np.ndarray, measure: Measure) -> np.ndarray:
        """The measure of correlations [..., m] -> [...]; 0 where there are no directions."""
        values = correlations**2 if measure == "mean_squared_cca" else correlations
        return values @ self.alpha(measure)

    def correlations(self, moments: PairMoments) -> np.ndarray:
        """Correlations of the directions over other samples (or the same), [m], from their covariances alone.

        A direction that does not vary over these samples has correlation 0."""
        xy = np.einsum("pm,pm->m", self.x, moments.xy @ self.y)
        xx = np.einsum("pm,pm->m", self.x, moments.xx @ self.x)
        yy = np.einsum("qm,qm->m", self.y, moments.yy @ self.y)
        return correlation(xy, xx, yy)


@dataclass(frozen=True)
class CcaProblem:
    """Two views decomposed once, ready for any epsilon."""

    moments: PairMoments
    x: View
    y: View
    cross: np.ndarray  # [rank of x, rank of y]: the scaled cross-covariance, prepared by both views

    def fit(self, epsilon_x: float = 0.0, epsilon_y: float | None = None) -> CcaFit:
        """Directions at an epsilon, relative to the largest variance; one for both views, or one each."""
        epsilon = (epsilon_x, epsilon_x if epsilon_y is None else epsilon_y)
        by_x, by_y = self.x.whitening(epsilon[0]), self.y.whitening(epsilon[1])
        whitened = by_y.applied(by_x.applied(self.cross).T).T
        left, values, right = np.linalg.svd(whitened, full_matrices=False)
        real = values > LEAST_CORRELATION
        x = _expanded(self.x, by_x.directions(left[:, real]))
        y = _expanded(self.y, by_y.directions(right[real].T))
        ranks = self.x.rank, self.y.rank
        return CcaFit(x, y, values[real], self.x.kept, self.y.kept, ranks, self.moments, epsilon)


def prepare(moments: PairMoments) -> CcaProblem:
    """Decompose both views of training samples."""
    return problem_of(moments, decomposed(moments.xx, moments.mean_x), decomposed(moments.yy, moments.mean_y))


def fit_cca(moments: PairMoments, epsilon: float = 0.0) -> CcaFit:
    """Canonical directions of all samples of `moments`."""
    return prepare(moments).fit(epsilon)


def fit_svcca(moments: PairMoments, share: float = FULL_SHARE) -> CcaFit:
    """Canonical directions of each view's leading principal components, the fewest that hold `share` of its
    variance."""
    if not 0 < share <= 1:
        raise ValueError(f"a share of the variance of {share}: expected more than 0, at most 1")
    x, y = spectrum(moments.xx, moments.mean_x), spectrum(moments.yy, moments.mean_y)
    return problem_of(moments, _leading(x, share), _leading(y, share)).fit()


def _leading(view: Spectrum, share: float) -> Spectrum:
    """The fewest eigenvectors with the largest values that hold `share` of the variance."""
    if not len(view.values):
        return view
    held = np.cumsum(view.values[::-1]) / view.values.sum()
    number = min(int(np.searchsorted(held, share)) + 1, len(held))
    return Spectrum(view.kept, view.scale, view.values[-number:], view.vectors[:, -number:])


def mean_cca(moments: PairMoments, epsilon: float = 0.0) -> float:
    """Mean of the canonical correlations of all samples."""
    return _own_score(fit_cca(moments, epsilon), moments, "mean_cca")


def mean_squared_cca(moments: PairMoments, epsilon: float = 0.0) -> float:
    """Mean of the squared canonical correlations of all samples (R²)."""
    return _own_score(fit_cca(moments, epsilon), moments, "mean_squared_cca")


def pwcca(moments: PairMoments, epsilon: float = 0.0, weights: Measure = "pwcca") -> float:
    """Projection-weighted CCA of all samples (Morcos et al. 2018); `weights` says which view supplies the weights."""
    return _own_score(fit_cca(moments, epsilon), moments, weights)


def svcca(moments: PairMoments, share: float = FULL_SHARE) -> float:
    """Mean of the canonical correlations of the leading principal components of all samples (Raghu et al. 2017)."""
    return _own_score(fit_svcca(moments, share), moments, "mean_cca")


def correlation(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    """xy / √(xx yy), and 0 where one of them does not vary."""
    squared = np.maximum(xx, 0) * np.maximum(yy, 0)
    return np.divide(xy, np.sqrt(squared), out=np.zeros_like(xy), where=squared > 0)


def _own_score(fit: CcaFit, moments: PairMoments, measure: Measure) -> float:
    return float(fit.score(fit.correlations(moments), measure))


def problem_of(moments: PairMoments, x: View, y: View) -> CcaProblem:
    """Two views whose decompositions are there."""
    cross = _kept(moments.xy, x.kept, y.kept) / np.sqrt(x.scale * y.scale)
    return CcaProblem(moments, x, y, y.prepared(x.prepared(cross).T).T)


def _expanded(view: View, directions: np.ndarray) -> np.ndarray:
    """Directions of kept dimensions as directions of all dimensions of the view, unscaled, [p, m]."""
    full = np.zeros((len(view.kept), directions.shape[1]))
    full[view.kept] = directions / np.sqrt(view.scale)
    return full


def _alpha(covariance: np.ndarray, directions: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """PWCCA's weights [m]: sum over kept dimensions j of |⟨h_i, x_j⟩|, h_i of unit norm, which the covariance gives as
    Σ_j |(Σxx w_i)_j| / √(w_iᵀ Σxx w_i)."""
    projected = covariance @ directions  # [p, m]
    norms = np.einsum("pm,pm->m", directions, projected)
    weights = np.divide(
        np.abs(projected if kept.all() else projected[kept]).sum(0),
        np.sqrt(np.maximum(norms, 0)),
        out=np.zeros(len(norms)),
        where=norms > 0,
    )
    return weights / weights.sum() if weights.sum() > 0 else weights
