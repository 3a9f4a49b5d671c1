"""Dynamic time warping of many pairs: one matrix product for a token against many others, then a compiled recursion."""

import numpy as np
from numba import njit

BLOCK = 1 << 22  # cosines held at once


def warping_costs(unit: np.ndarray, lengths: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The least summed cost, float64 [P], of aligning tokens `first` [P] with `second` [P].

    `unit` [F, D] holds frames of length 1 of all tokens one after another, `lengths` [N]; a frame costs 1 - cosine,
    steps (1, 0), (0, 1) and (1, 1) weigh 1. Pairs with the same `first` should stand together: they share products.
    """
    starts = np.cumsum(lengths) - lengths
    costs = np.empty(len(first))
    edges = np.flatnonzero(np.append(np.diff(first, prepend=-1) != 0, True))
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        token = first[begin]
        own = unit[starts[token] : starts[token] + lengths[token]]
        for low, high in _blocks(lengths[second[begin:end]], max(BLOCK // len(own), 1)):
            others = second[begin + low : begin + high]
            sizes = lengths[others]
            places = np.cumsum(sizes) - sizes
            rows = np.repeat(starts[others] - places, sizes) + np.arange(sizes.sum())
            cosines = own @ unit[rows].T  # [T, sum of the others' lengths]
            _recur(np.ascontiguousarray(cosines), places, sizes, costs[begin + low : begin + high])
    return costs


def _blocks(sizes: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Runs of `sizes` whose sums stay below `most`, at least one in each."""
    runs, low, total = [], 0, 0
    for k, size in enumerate(sizes.tolist()):
        if k > low and total + size > most:
            runs.append((low, k))
            low, total = k, 0
        total += size
    return [*runs, (low, len(sizes))]


@njit(nogil=True, cache=True)
def _recur(cosines, places, sizes, costs):
    """Fill costs [K] with the cheapest paths through the columns `places` ... `places + sizes` of cosines [T,
    columns]."""
    above = np.empty(sizes.max())
    for k in range(len(places)):
        place, size = places[k], sizes[k]
        total = 0.0
        for b in range(size):
            total += 1.0 - cosines[0, place + b]
            above[b] = total
        for a in range(1, len(cosines)):
            diagonal = above[0]
            left = above[0] + 1.0 - cosines[a, place]
            above[0] = left
            for b in range(1, size):
                best = min(diagonal, above[b], left)
                diagonal = above[b]
                left = best + 1.0 - cosines[a, place + b]
                above[b] = left
        costs[k] = above[size - 1]
