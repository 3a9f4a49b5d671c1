"""The original's procedure of a held-out CCA score, step by step as it runs there, and ours beside it on the same
arrays.

The original's: for each trial and each pair of epsilons a covariance of both views from the samples, two
pseudo-inverses, two square roots and a full SVD; both projection matrices to disk; QR of the projected samples; the
matrices read back to score the development part, and once more for the test part. Written apart from
analysis/original_cca, as a second reading."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.folds import Trial
from analysis.moments import Moments, with_reference
from analysis.similarity import CcaSettings, Similarity, cross_validated_cca


@dataclass(frozen=True)
class OriginalRun:
    """The score, one for each trial, and the bytes of the matrices on disk."""

    score: float
    per_trial: tuple[float, ...]
    bytes_on_disk: int


def original_procedure(
    x: np.ndarray,
    y: np.ndarray,
    fold_of_sample: np.ndarray,
    pairs: np.ndarray,
    epsilons: Sequence[Sequence[Sequence[float]]],
    folder: Path,
) -> OriginalRun:
    """Score samples x [n, p] and y [n, q]: three trials of six pairs of epsilons are 18 fits."""
    view1, view2 = x.T.astype(np.float64), y.T.astype(np.float64)  # dims x samples, as there
    scores = []
    for (dev, test), tried in zip(pairs, epsilons, strict=True):
        training = ~np.isin(fold_of_sample, (dev, test))
        on_dev = []
        for ex, ey in tried:
            name = f"{ex}_{ey}_{dev}_{test}"
            _fit(view1[:, training], view2[:, training], ex, ey, folder, name)
            on_dev.append(_evaluate(view1[:, fold_of_sample == dev], view2[:, fold_of_sample == dev], folder, name))
        ex, ey = tried[on_dev.index(max(on_dev))]
        held_out = fold_of_sample == test
        scores.append(_evaluate(view1[:, held_out], view2[:, held_out], folder, f"{ex}_{ey}_{dev}_{test}"))
    written = sum(path.stat().st_size for path in folder.glob("*.npy"))
    return OriginalRun(float(np.mean(scores)), tuple(scores), written)


def original_extraction(
    utterances: Iterable[int],
    layers: int,
    states: Callable[[int, int], np.ndarray],
    segments: Callable[[int], Sequence[tuple[int, int]]],
    frames: Path,
    means: Path,
) -> None:
    """One utterance after another: `states` (utterance, layer) [T, D] of every layer is appended to a list, so are the
    means of its `segments` (first, stop); at the end each layer is one file, layer_<n>.npy."""
    of_frames: dict[int, list[np.ndarray]] = {layer: [] for layer in range(layers)}
    of_segments: dict[int, list[np.ndarray]] = {layer: [] for layer in range(layers)}
    for utterance in utterances:
        for layer in range(layers):
            state = states(utterance, layer)
            of_frames[layer].append(state)
            for first, stop in segments(utterance):
                of_segments[layer].append(np.mean(state[first:stop], axis=0, keepdims=True))
    for folder, lists in ((frames, of_frames), (means, of_segments)):
        folder.mkdir()
        for layer, parts in lists.items():
            np.save(folder / f"layer_{layer}.npy", np.concatenate(parts, axis=0))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T


def _fit(view1: np.ndarray, view2: np.ndarray, ex: float, ey: float, folder: Path, name: str) -> None:
    covariance = np.cov(view1, view2)
    p = len(view1)
    xx, xy, yy = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
    xmax, ymax = np.max(np.abs(xx)), np.max(np.abs(yy))
    xx, yy, xy = xx / xmax, yy / ymax, xy / np.sqrt(xmax * ymax)
    x_idxs, y_idxs = np.diag(xx) >= ex, np.diag(yy) >= ey
    xx, yy, xy = xx[x_idxs][:, x_idxs], yy[y_idxs][:, y_idxs], xy[x_idxs][:, y_idxs]
    inverse_x = _root(np.linalg.pinv(xx + ex * np.eye(len(xx))))
    inverse_y = _root(np.linalg.pinv(yy + ey * np.eye(len(yy))))
    left, _, right = np.linalg.svd(inverse_x @ xy @ inverse_y)
    np.save(folder / f"proj_x_{name}.npy", left.T @ inverse_x)
    np.save(folder / f"proj_y_{name}.npy", right @ inverse_y)
    np.save(folder / f"idxs_x_{name}.npy", x_idxs)
    np.save(folder / f"idxs_y_{name}.npy", y_idxs)


def _evaluate(view1: np.ndarray, view2: np.ndarray, folder: Path, name: str) -> float:
    proj_x, proj_y, x_idxs, y_idxs = (
        np.load(folder / f"{kind}_{name}.npy") for kind in ("proj_x", "proj_y", "idxs_x", "idxs_y")
    )
    view1, view2 = view1[x_idxs], view2[y_idxs]
    m = min(len(view1), len(view2))
    mean1, mean2 = view1.mean(1, keepdims=True), view2.mean(1, keepdims=True)
    projected1, projected2 = proj_x[:m] @ (view1 - mean1), proj_y[:m] @ (view2 - mean2)
    correlations = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(projected1, projected2)])
    if len(view1) < len(view2):
        projected, dims = projected1 + mean1[:m], view1
    else:
        projected, dims = projected2 + mean2[:m], view2
    orthonormal, _ = np.linalg.qr(projected.T)
    weights = np.array([sum(abs(orthonormal[:, i] @ dims[j]) for j in range(m)) for i in range(m)])
    return float(weights @ correlations / weights.sum())


def moments_procedure(
    x: np.ndarray, y: np.ndarray, set_of_sample: np.ndarray, trials: Sequence[Trial], block: int = 1000
) -> Similarity:
    """Ours: moments of blocks of samples, then the score; no matrix goes to disk."""
    sets = int(set_of_sample.max()) + 1
    moments = Moments(with_reference({"x": x.shape[1]}, "y", y.shape[1], sets))
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        moments.add({"x": x[rows], "y": y[rows]}, set_of_sample[rows])
    return cross_validated_cca(moments, "x", "y", trials, CcaSettings())
