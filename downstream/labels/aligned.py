"""The phone of every frame, from an alignment."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from downstream.config import DataConfig
from downstream.labels.base import check_classes
from downstream.labels.matching import known_utterances
from downstream.splits import Indices, Parts
from downstream.utterances import FramedUtterances
from utility.labels.alignment import IGNORE, Alignment
from utility.temporary_array import TemporaryArray

LabelRule = Literal["time", "index"]


class PhoneLabels:
    """The phone of every frame of the chosen utterances: at the frames' own times, or by their numbers."""

    def __init__(self, utterances: FramedUtterances, alignment: Alignment, chosen: Indices, rule: LabelRule = "time"):
        self.classes = alignment.labels
        lengths = utterances.lengths[chosen]
        self.start = dict(zip(map(int, chosen), (np.cumsum(lengths) - lengths).tolist()))
        self.codes = TemporaryArray(np.int16)
        self.counts: dict[int, int] = {}
        for index in map(int, chosen):
            seconds = float(utterances.durations[index])
            duration = None if np.isnan(seconds) else seconds
            key, times = utterances.ids[index], utterances.frame_times(index)
            if rule == "time":
                labels = alignment.frame_labels(key, times, duration)
            else:
                labels = alignment.index_labels(key, len(times), utterances.info.frame_shift, duration)
            self.codes.append(labels)
            self.counts[index] = int((labels != IGNORE).sum())

    def frames(self, index: int, start: int, stop: int) -> np.ndarray:
        """Class of frames `start` to `stop`, int64; IGNORE where the alignment has no segment."""
        begin = self.start[index]
        return self.codes.read(begin + start, begin + stop).astype(np.int64)

    def labelled(self, chosen: Indices) -> int:
        """How many frames of the chosen utterances lie in a segment."""
        return sum(self.counts[int(index)] for index in chosen)


@dataclass(frozen=True)
class PhoneSource:
    """Phones of an alignment."""

    task: str
    utterances: FramedUtterances
    alignment: Alignment
    usable: np.ndarray
    left_out: dict[str, int]
    rule: LabelRule = "time"
    strata: None = None

    def read(self, parts: Parts) -> PhoneLabels:
        """The phones of all frames; the classes are the alignment's."""
        check_classes(self.task, self.alignment.labels)
        return PhoneLabels(self.utterances, self.alignment, parts.all(), self.rule)


def aligned_phones(task: str, utterances: FramedUtterances, config: DataConfig) -> PhoneSource:
    """The phones of `data.alignment`; ValueError where it is missing, or foreign to the utterances."""
    if config.labels is not None:
        raise ValueError(
            f"{task}: data.labels has classes of utterances; phones come from data.alignment: leave it out"
        )
    if config.alignment is None:
        raise ValueError(f"{task}: data.alignment is not set: name a folder made by preprocess_alignment.py")
    alignment = Alignment(config.alignment)
    usable, missing = known_utterances(config.alignment, alignment, utterances, config)
    left_out = {"not in the alignment": missing} if missing else {}
    return PhoneSource(task, utterances, alignment, usable, left_out, config.label_rule)
