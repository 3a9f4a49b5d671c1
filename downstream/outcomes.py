"""What predictions are worth, utterance by utterance: what intervals and comparisons are computed from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


class Outcomes(Protocol):
    """The metric of a part as a function of how often each of its utterances counts."""

    @property
    def ids(self) -> Sequence[str]:
        """The utterances [U]."""

    def values(self, times: np.ndarray) -> np.ndarray:
        """The metric where each utterance counts so many `times` [R, U] -> [R]; NaN where it has no value."""


@runtime_checkable
class SpeakerOutcomes(Outcomes, Protocol):
    """Outcomes that are of speakers, not of utterances, as those of trials: `ids` are the speakers."""

    @property
    def speakers(self) -> Sequence[str]:
        """Who they are, in the order of `ids`."""


@dataclass(frozen=True)
class Summed:
    """A metric of sums over utterances: `sums` [U, k] are those of each, `statistic` makes metrics [R] of sums [R, k].

    An accuracy has hits and items."""

    ids: Sequence[str]
    sums: np.ndarray
    statistic: Callable[[np.ndarray], np.ndarray]

    def values(self, times: np.ndarray) -> np.ndarray:
        """See `Outcomes`."""
        return self.statistic(times @ self.sums)


def percentage(sums: np.ndarray) -> np.ndarray:
    """Hits of items in percent, of sums [R, 2] of both -> [R]; NaN where there is no item."""
    hits, items = sums.T
    return np.divide(100.0 * hits, items, out=np.full(len(sums), np.nan), where=items > 0)
