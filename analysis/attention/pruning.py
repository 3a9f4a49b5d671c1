"""Pruning of attention heads and of attention spans: what is cut, in which order, and what it costs.

A pruned weight is 0 and the rest of its row stays as it is (Yang et al. 2020, arXiv 2006.03265), as where a head mask
multiplies the probabilities after the softmax."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.attention.head_metrics import HeadMetrics

PARTS = 6  # of all heads, pruned one after another: 24 of 144 in the paper
RADII = (None, 128, 64, 32, 16, 8, 4, 2)  # None: no span is cut
RANDOM_ORDERS = 3

Score = Callable[[np.ndarray], Mapping[str, float]]  # a mask -> figures by name, as of a loss and of probes


@dataclass(frozen=True)
class PruningOrder:
    """Heads (layer, head) in the order in which they are pruned, and the metric that ordered them."""

    name: str
    heads: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PruningCurve:
    """Figures after each step of pruning: `pruned` heads, or the `radius` of the span, and each figure [steps]."""

    name: str
    steps: tuple[int | None, ...]
    figures: Mapping[str, tuple[float, ...]]


def order_by(name: str, values: np.ndarray) -> PruningOrder:
    """Heads of [L, H] `values` from high to low; of equal ones the lower layer, then the lower head, comes first."""
    flat = np.argsort(-values, axis=None, kind="stable")
    return PruningOrder(name, tuple((int(i) // values.shape[1], int(i) % values.shape[1]) for i in flat))


def pruning_orders(metrics: HeadMetrics, generators: Sequence[np.random.Generator]) -> tuple[PruningOrder, ...]:
    """The orders of the paper (by globalness, verticality, diagonality, and the greatest weight), then a random one for
    each of `generators`, the control."""
    named = {
        "globalness": metrics.globalness,
        "verticality": metrics.verticality,
        "diagonality": metrics.diagonality,
        "weight": metrics.max_weight,
    }
    shape = metrics.globalness.shape
    chance = [order_by(f"random {i}", generator.random(shape)) for i, generator in enumerate(generators)]
    return (*(order_by(name, values) for name, values in named.items()), *chance)


def head_masks(order: PruningOrder, step: int | None = None) -> np.ndarray:
    """Which heads are kept after each step, [steps, L, H] bool: none is pruned, then `step` more, at last all.

    `step` is by default a sixth of the heads, rounded up. ValueError where it is not 1 to all heads."""
    layers, heads = (1 + max(numbers) for numbers in zip(*order.heads))
    total = len(order.heads)
    check_step(step, layers, heads)
    step = -(-total // PARTS) if step is None else step
    ends = [*range(0, total, step), total]
    kept = np.ones((len(ends), layers, heads), dtype=bool)
    for mask, end in zip(kept, ends):
        for layer, head in order.heads[:end]:
            mask[layer, head] = False
    return kept


def check_step(step: int | None, layers: int, heads: int) -> None:
    """ValueError where a step of pruning is no number of heads, 1 to all; None is a number that fits."""
    if step is not None and not 1 <= step <= layers * heads:
        raise ValueError(f"a step of pruning is {step} heads: expected 1 to {layers * heads}")


def pruning_curves(orders: Sequence[PruningOrder], score: Score, step: int | None = None) -> tuple[PruningCurve, ...]:
    """`score` after each step of each order, from a mask [L, H] (True is kept); a mask that several orders share is
    scored once, so the whole model and the one without any head are."""
    known: dict[bytes, Mapping[str, float]] = {}
    curves = []
    for order in orders:
        masks = head_masks(order, step)
        for mask in masks:
            if mask.tobytes() not in known:
                known[mask.tobytes()] = score(mask)
        curves.append(_curve(order.name, [int((~mask).sum()) for mask in masks], [known[m.tobytes()] for m in masks]))
    return tuple(curves)


def span_curve(score: Callable[[int | None], Mapping[str, float]]) -> PruningCurve:
    """`score` of a model whose heads see no further than each radius in frames; None is the whole utterance."""
    return _curve("span", RADII, [score(radius) for radius in RADII])


def prune_heads(attention: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Maps [L, H, q, k] with the heads that a mask [L, H] does not keep set to 0."""
    return attention * kept[:, :, None, None]


def span_mask(queries: int, frames: int, radius: int | None, first: int = 0) -> np.ndarray:
    """Which keys each of some queries sees, [queries, frames] bool: |q - k| ≤ radius, the first query being `first`.

    ValueError for a radius below 0."""
    if radius is not None and radius < 0:
        raise ValueError(f"the radius of a span is {radius} frames: expected 0 or more")
    far = np.abs(np.arange(first, first + queries)[:, None] - np.arange(frames))
    return np.ones(far.shape, dtype=bool) if radius is None else far <= radius


def prune_spans(attention: np.ndarray, radius: int | None, first: int = 0) -> np.ndarray:
    """Maps [L, H, q, k], or a block of their rows from `first` on, with weights further than `radius` set to 0."""
    return np.where(span_mask(attention.shape[-2], attention.shape[-1], radius, first), attention, 0)


def _curve(name: str, steps: Sequence[int | None], figures: Sequence[Mapping[str, float]]) -> PruningCurve:
    return PruningCurve(name, tuple(steps), {key: tuple(one[key] for one in figures) for key in figures[0]})
