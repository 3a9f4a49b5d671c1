"""Phone boundaries from the blocks of an attention map (Yang et al. 2020, arXiv 2006.03265)."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import find_peaks

ALPHAS = (0.02, 0.04, 0.08, 0.16, 0.32)  # of an up-sampled map; the paper takes 0.08, 2 for MFCC, 500 for states
BETAS = (0.7, 0.8, 0.9, 1.0, 1.1)


@dataclass(frozen=True)
class Blocks:
    """Blocks of like frames along the diagonal, T frames.

    `kernel` [T, T] float64: K[i, j] = exp(-‖v_i - v_j‖/α). `filtered` [T, T] bool: Kf[i, j], whether K[i, k] exceeds
    ε_i = β·mean_j K[i, j] for every k from i to j. `score` [T] int64: S[t] = Σ_k Kf[t - k, t + k], k of either sign.
    `boundaries` [N] float64: the local minima of S in frames, a flat minimum at its middle; the ends do not count."""

    kernel: np.ndarray
    filtered: np.ndarray
    score: np.ndarray
    boundaries: np.ndarray


@dataclass(frozen=True)
class BlockSettings:
    """Width α of the kernel and threshold β, and the score on the utterances that they were chosen on."""

    alpha: float
    beta: float
    score: float


def find_blocks(vectors: np.ndarray, alpha: float, beta: float) -> Blocks:
    """Blocks of `vectors` [T, D]: the rows of an up-sampled map of one head, or MFCCs, or states.

    A boundary b lies at frame_offset + b·frame_shift seconds. Memory grows as T². Raises ValueError for α or β that is
    not above 0, and for vectors that are not finite."""
    return _blocks(_distances(vectors), alpha, beta)


def choose_block_settings(
    utterances: Iterable[np.ndarray],
    score: Callable[[Sequence[np.ndarray]], float],
    alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
) -> BlockSettings:
    """The α and β with the highest `score` of the boundaries, in frames, of all `utterances` [T, D] each.

    Give a few utterances that are not scored later: `score` is the R-value against their phone boundaries. Of equal
    scores the first counts; NaN, the R-value without any boundary, is lower than all. Distances are computed once."""
    settings = list(itertools.product(alphas, betas))
    found: list[list[np.ndarray]] = [[] for _ in settings]
    for vectors in utterances:
        distances = _distances(vectors)
        for boundaries, (alpha, beta) in zip(found, settings):
            boundaries.append(_blocks(distances, alpha, beta).boundaries)
    if not settings or not found[0]:
        raise ValueError("the choice of α and β needs utterances and settings to try")
    scores = np.array([score(boundaries) for boundaries in found])
    best = int(np.nan_to_num(scores, nan=-np.inf, neginf=-np.inf).argmax())
    return BlockSettings(*settings[best], float(scores[best]))


def _distances(vectors: np.ndarray) -> np.ndarray:
    """Euclidean distances [T, T] of rows, by products of matrices: D is large, and pair by pair takes minutes."""
    centred = vectors.astype(np.float64)
    if not np.isfinite(centred).all():
        raise ValueError("vectors for block boundaries are not finite")
    centred -= centred.mean(axis=0)
    squares = np.einsum("td,td->t", centred, centred)
    squared = squares[:, None] + squares - 2 * (centred @ centred.T)
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0))


def _blocks(distances: np.ndarray, alpha: float, beta: float) -> Blocks:
    if not alpha > 0 or not beta > 0:
        raise ValueError(f"α and β must be above 0, got {alpha} and {beta}")
    kernel = np.exp(-distances / alpha)
    near = kernel > beta * kernel.mean(axis=1, keepdims=True)
    filtered = _reached(near)
    centres = np.add(*np.nonzero(filtered))  # i + j; t is its half
    score = np.bincount(centres[centres % 2 == 0] // 2, minlength=len(kernel))
    _, flat = find_peaks(-score, plateau_size=1)
    return Blocks(kernel, filtered, score, (flat["left_edges"] + flat["right_edges"]) / 2)


def _reached(near: np.ndarray) -> np.ndarray:
    """True at [i, j] where row i of `near` is true everywhere from i to j, both included."""
    rows, columns = np.indices(near.shape)
    right = np.logical_and.accumulate(near | (columns < rows), axis=1)
    left = np.logical_and.accumulate((near | (columns > rows))[:, ::-1], axis=1)[:, ::-1]
    return np.where(columns < rows, left, right)
