"""The CCA of the original program, with its faults, for comparison with its figures only (`cca.scheme=original`).

It needs the samples, for its held-out score adds what moments do not hold:
- the mean of kept dimension i is added to projected direction i, so a constant added to a view changes the score;
- the weights sum over the first m kept dimensions only, so the order of dimensions changes the score;
- dimensions of a variance below epsilon are dropped, and no epsilon above 1e-9 is ever tried unless the solver fails;
- null directions count. analysis/similarity does all of this right."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

TRIES = 6
FIRST_EPSILONS = (1e-10, 1e-11, 1e-9)
LATER_EPSILONS = (1e-8, 1e-7, 1e-6, 1e-5)


@dataclass(frozen=True)
class OriginalFit:
    """Projections of two views as the original makes them; rows are directions."""

    x: np.ndarray  # [m, kept p]
    y: np.ndarray  # [m, kept q]
    singular_values: np.ndarray  # [m], m = min of the kept dimensions
    kept_x: np.ndarray  # [p] bool
    kept_y: np.ndarray  # [q] bool

    @property
    def mean_cca(self) -> float:
        """Mean of all m singular values."""
        return float(self.singular_values.mean())


@dataclass(frozen=True)
class OriginalScore:
    """Correlations of the projected samples [m], and their weighted mean."""

    correlations: np.ndarray
    score: float


@dataclass(frozen=True)
class OriginalResult:
    """The mean of the trials' test scores, and for each trial its score and the pair of epsilons that dev chose."""

    score: float
    per_trial: tuple[float, ...]
    epsilons: tuple[tuple[float, float], ...]


def original_fit(x: np.ndarray, y: np.ndarray, epsilon_x: float, epsilon_y: float) -> OriginalFit:
    """Fit samples x [n, p] and y [n, q]. ValueError where every dimension is dropped; LinAlgError as the solver has
    it."""
    joint = np.cov(np.asarray(x, np.float64), np.asarray(y, np.float64), rowvar=False)
    p = x.shape[1]
    xx, yy = joint[:p, :p], joint[p:, p:]
    scale_x, scale_y = np.abs(xx).max(), np.abs(yy).max()
    if not scale_x > 0 or not scale_y > 0:
        raise ValueError("a view is constant: the original's scheme has no score for it")
    kept_x, kept_y = np.diag(xx) / scale_x >= epsilon_x, np.diag(yy) / scale_y >= epsilon_y
    cross = joint[:p, p:][np.ix_(kept_x, kept_y)] / np.sqrt(scale_x * scale_y)
    root_x = _inverse_root(xx[np.ix_(kept_x, kept_x)] / scale_x, epsilon_x)
    root_y = _inverse_root(yy[np.ix_(kept_y, kept_y)] / scale_y, epsilon_y)
    left, values, right = np.linalg.svd(root_x @ cross @ root_y, full_matrices=False)
    return OriginalFit(left.T @ root_x, right @ root_y, values, kept_x, kept_y)


def _inverse_root(covariance: np.ndarray, epsilon: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values + epsilon)) @ vectors.T


def too_few(samples: int, directions: int) -> str:
    """What is said of a fold that the original fails on."""
    return (
        f"cca.scheme=original: a fold of {samples} samples has no score in {directions} directions: take more tokens "
        "or data, or cca.scheme=standard"
    )


def original_score(fit: OriginalFit, x: np.ndarray, y: np.ndarray, mean_score: bool = False) -> OriginalScore:
    """Score samples x [n, p] and y [n, q], those of the fit or others.

    The view with fewer kept dimensions supplies the weights, the second of equals; `mean_score` averages both.
    ValueError for fewer samples than directions, where the original fails."""
    directions = len(fit.singular_values)
    if len(x) < directions:
        raise ValueError(too_few(len(x), directions))
    kept_x = np.asarray(x, np.float64).T[fit.kept_x]  # [kept p, n]
    kept_y = np.asarray(y, np.float64).T[fit.kept_y]
    a, b = _projected(fit.x, kept_x), _projected(fit.y, kept_y)  # [m, n]
    correlations = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    by_x = float(_weights(a, kept_x) @ correlations)
    by_y = float(_weights(b, kept_y) @ correlations)
    if mean_score:
        return OriginalScore(correlations, (by_x + by_y) / 2)
    return OriginalScore(correlations, by_x if len(kept_x) < len(kept_y) else by_y)


def _projected(directions: np.ndarray, view: np.ndarray) -> np.ndarray:
    return directions @ (view - view.mean(1, keepdims=True))


def _weights(projected: np.ndarray, view: np.ndarray) -> np.ndarray:
    m = len(projected)
    orthonormal = np.linalg.qr((projected + view[:m].mean(1, keepdims=True)).T)[0]  # [n, m]
    weights = np.abs(view[:m] @ orthonormal).sum(0)
    return weights / weights.sum()


def original_epsilons(generator: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """The 25 pairs of epsilons in the order in which the original tries them, until six have not failed."""
    first, later = list(product(FIRST_EPSILONS, repeat=2)), list(product(LATER_EPSILONS, repeat=2))
    return (*map(tuple, generator.permutation(first)), *map(tuple, generator.permutation(later)))


def original_cross_validation(
    x: np.ndarray,
    y: np.ndarray,
    fold_of_sample: np.ndarray,
    pairs: np.ndarray,
    epsilons: Sequence[Sequence[Sequence[float]]],
    mean_score: bool = False,
) -> OriginalResult:
    """The original's score of samples x [n, p] and y [n, q] in folds [n].

    `pairs` [trials, 2] are the (dev, test) folds, `epsilons` the pairs to try in each trial, in order, of which the
    first six count that do not fail. The first of equals on dev is scored on test. ValueError where all fail."""
    scores, chosen = [], []
    for (dev, test), tried in zip(pairs, epsilons, strict=True):
        train = (fold_of_sample != dev) & (fold_of_sample != test)
        fits: list[tuple[tuple[float, float], OriginalFit]] = []
        for epsilon_x, epsilon_y in tried:
            try:
                fits.append(
                    ((float(epsilon_x), float(epsilon_y)), original_fit(x[train], y[train], epsilon_x, epsilon_y))
                )
            except np.linalg.LinAlgError:
                continue
            if len(fits) == TRIES:
                break
        if not fits:
            raise ValueError("the original's scheme: the solver failed for every pair of epsilons")
        on_dev = [original_score(fit, *_part(x, y, fold_of_sample == dev), mean_score).score for _, fit in fits]
        best, fit = fits[int(np.argmax(on_dev))]
        scores.append(original_score(fit, *_part(x, y, fold_of_sample == test), mean_score).score)
        chosen.append(best)
    return OriginalResult(float(np.mean(scores)), tuple(scores), tuple(chosen))


def _part(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x[rows], y[rows]
