"""Pairs of views with something in common, and their held-out score."""

import numpy as np

from analysis.folds import Division, divide
from analysis.moments import Moments, with_reference
from analysis.similarity import (
    CcaSettings,
    Similarity,
    cross_validated_cca,
)

UNREGULARISED = CcaSettings(epsilons=(1e-8,))


def moments_of(x: np.ndarray, y: np.ndarray, division: Division) -> Moments:
    moments = Moments(with_reference({"x": x.shape[1]}, "y", y.shape[1], division.num_sets))
    moments.add({"x": x, "y": y}, division.set_of_unit)
    return moments


def held_out(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 0, settings: CcaSettings | None = None
) -> Similarity:
    division = divide(groups, np.random.default_rng(seed))
    return cross_validated_cca(moments_of(x, y, division), "x", "y", division.trials, settings)


def related(count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two views of 9 and 6 dimensions that share three, at unequal scales."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(count, 3))
    x = np.concatenate([shared + 0.5 * generator.normal(size=(count, 3)), generator.normal(size=(count, 6))], 1)
    y = np.concatenate([shared + 0.5 * generator.normal(size=(count, 3)), generator.normal(size=(count, 3))], 1)
    return x @ generator.normal(size=(9, 9)), y @ generator.normal(size=(6, 6))


def changed(x: np.ndarray) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(9)
    return {
        "shift": x + 20,
        "scale": x * 1e3,
        "permutation": x[:, generator.permutation(x.shape[1])],
        "rotation": x @ np.linalg.qr(generator.normal(size=(x.shape[1],) * 2))[0],
        "any map": x @ generator.normal(size=(x.shape[1],) * 2) + generator.normal(size=x.shape[1]),
    }
