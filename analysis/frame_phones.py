"""The phones of frames, from an alignment."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.attention.relation_maps import UNLABELLED
from utility.labels.alignment import IGNORE, Alignment


@dataclass(frozen=True)
class FramePhones:
    """The phone of each frame of an utterance, from an alignment: an index into `names`, or -1.

    `codes` [labels] is the index of each label of the alignment, -1 for one that is left out."""

    alignment: Alignment
    names: tuple[str, ...]
    codes: np.ndarray

    @classmethod
    def of(cls, alignment: Alignment, rule: Callable[[str], str | None]) -> "FramePhones":
        """`rule` gives the phone of a label of the alignment, None where it is none."""
        phones = [rule(label) for label in alignment.labels]
        names = tuple(sorted({phone for phone in phones if phone is not None}))
        codes = np.array([UNLABELLED if phone is None else names.index(phone) for phone in phones], np.int64)
        return cls(alignment, names, codes)

    def labels(self, name: str, times: np.ndarray, duration: float | None = None) -> np.ndarray:
        """Phones [T] of frames with centres `times` [T] in seconds of the utterance `name`, whose audio lasts
        `duration` seconds; ValueError as of `Alignment.frame_labels`."""
        labels = self.alignment.frame_labels(name, times, duration)
        return np.where(labels == IGNORE, UNLABELLED, self.codes[labels])
