"""How far from its own frame a head looks most: heads near the diagonal are seldom exactly on it."""

from collections.abc import Iterable, Iterator

import numpy as np

REACH = 16  # frames to either side


class Offsets:
    """Mean attention [L, H, 2·REACH + 1] from a frame to the one `d` frames behind it, over all utterances."""

    def __init__(self, reach: int = REACH):
        self.reach = reach
        self._sums: np.ndarray | None = None
        self._counts = np.zeros(2 * reach + 1)

    def passing(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks of rows [L, H, n, T] of one utterance's map, counted on their way."""
        first = 0
        for block in blocks:
            if self._sums is None:
                self._sums = np.zeros((*block.shape[:2], 2 * self.reach + 1))
            queries = np.arange(block.shape[2])
            for column in range(2 * self.reach + 1):
                keys = queries + first + column - self.reach
                inside = (keys >= 0) & (keys < block.shape[3])
                self._sums[:, :, column] += block[:, :, queries[inside], keys[inside]].sum(axis=-1, dtype=np.float64)
                self._counts[column] += inside.sum()
            yield block
            first += block.shape[2]

    def greatest(self) -> np.ndarray:
        """The offset with the greatest mean attention of each head, int64 [L, H]; of equal ones the nearest.

        ValueError before the first utterance."""
        if self._sums is None:
            raise ValueError("no utterance was looked at: there is no offset")
        means = np.round(self._sums / np.maximum(self._counts, 1), 9)  # float32 has no more
        offsets = np.arange(-self.reach, self.reach + 1)
        near = np.argsort(np.abs(offsets), kind="stable")
        return offsets[near][means[:, :, near].argmax(axis=-1)]
