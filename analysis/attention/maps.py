"""Attention maps of an utterance, given whole or as blocks of rows, so that a long one never lies in memory.

A map [L, H, T, T] holds the weight of key k in query q for each layer and head, over real frames only; its rows sum to
1. A block [L, H, n, T] holds the next n rows of it. For 12 layers of 12 heads and 1,500 frames the whole map is 1.3 GB,
a block of 64 rows 55 MB."""

from collections.abc import Iterable, Iterator

import numpy as np

IN_CACHE = 1 << 21  # bytes of rows that are worked on at once: twice as fast as a block of 64 MB
ROW_SUM = 1e-2  # how far the sum of a row may be from 1; half precision is within it


class RunningMean:
    """The plain mean over utterances of arrays of one shape, in float64; it holds one array, not the corpus."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """Count the values of one utterance; ValueError where they have another shape than those before."""
        if self._sum is None:
            self._sum = np.zeros(values.shape)
        if values.shape != self._sum.shape:
            raise ValueError(f"an utterance has values of shape {values.shape}, those before {self._sum.shape}")
        self._sum += values
        self.count += 1

    def mean(self) -> np.ndarray:
        """The mean; ValueError before the first utterance."""
        if self._sum is None:
            raise ValueError("no utterance was added: there is nothing to take the mean of")
        return self._sum / self.count


def checked_blocks(blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """(index of the first row, rows in float64) of the blocks of one utterance, a few rows at once.

    Raises ValueError for what is no attention over real frames: another shape than [L, H, n, T], weights that are
    negative or not finite, rows that do not sum to 1, and blocks that do not make up all T rows."""
    first, shape = 0, None
    for block in blocks:
        if block.ndim != 4:
            raise ValueError(f"attention of shape {block.shape}: expected layers, heads, queries, keys")
        shape = shape or (*block.shape[:2], block.shape[3])
        if (*block.shape[:2], block.shape[3]) != shape:
            raise ValueError(f"a block of attention has shape {block.shape}, the first had {shape} without the queries")
        few = max(IN_CACHE // (8 * max(block[:, :, :1].size, 1)), 1)
        for start in range(0, max(block.shape[2], 1), few):
            rows = block[:, :, start : start + few].astype(np.float64)
            _check_rows(rows, first)
            yield first, rows
            first += rows.shape[2]
    if shape is None or first != shape[2]:
        raise ValueError(f"blocks of attention hold {first} of {shape[2] if shape else 0} queries")


def _check_rows(rows: np.ndarray, first: int) -> None:
    if not (rows >= 0).all():  # false for NaN
        raise ValueError(f"attention of queries {first} to {first + rows.shape[2] - 1} is negative or not finite")
    sums = rows.sum(axis=-1)
    if not (np.abs(sums - 1) < ROW_SUM).all():
        worst = sums.flat[np.argmax(np.abs(sums - 1))]
        raise ValueError(f"a row of attention sums to {worst:.3g}, not 1: give real frames only, without pruning")


def upsample(attention: np.ndarray, rate: int) -> np.ndarray:
    """A map [..., T, T] on stacked frames -> [..., T·rate, T·rate] on the frames that they were stacked from.

    Rows and columns are repeated `rate` times, then each row is divided by its sum (Yang et al. 2020, arXiv
    2006.03265)."""
    repeated = attention.repeat(rate, axis=-2).repeat(rate, axis=-1)
    return repeated / repeated.sum(axis=-1, keepdims=True)
