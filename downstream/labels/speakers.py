"""A name for each utterance: its speaker, by the corpus' own column."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from downstream.config import DataConfig
from downstream.labels.base import check_classes
from downstream.splits import Indices, Parts
from downstream.utterances import FramedUtterances
from utility.labels.alignment import IGNORE
from utility.text import short


class NameLabels:
    """A name for each chosen utterance (its speaker, or what a table says), as an index into `classes`.

    `names` [U] and `lengths` [U], in frames, are those of all utterances. `majority` is the share of those in `train`
    that have their most frequent name, in percent; None without."""

    def __init__(
        self,
        names: Sequence[str],
        lengths: np.ndarray,
        classes: Sequence[str],
        chosen: Indices,
        train: np.ndarray | None = None,
    ):
        self.classes, self.lengths = list(classes), lengths
        codes = {name: code for code, name in enumerate(self.classes)}
        self.code = np.full(len(names), IGNORE, np.int32)  # one place for each utterance: folds keep many of these
        self.code[chosen] = [codes[names[index]] for index in chosen]
        self.majority = None if train is None else float(100 * np.bincount(self.code[train]).max() / len(train))

    def frames(self, index: int, start: int, stop: int) -> np.ndarray:
        """The code at every frame `start` to `stop`, int64."""
        return np.full(stop - start, self.code[index], dtype=np.int64)

    def utterance(self, index: int) -> np.int64:
        """The code, a scalar int64."""
        return np.int64(self.code[index])

    def labelled(self, chosen: Indices) -> int:
        """How many frames the chosen utterances have: each has a name."""
        return int(self.lengths[np.asarray(chosen)].sum())


@dataclass(frozen=True)
class SpeakerSource:
    """The speaker column of a store, or of a table of recordings."""

    task: str
    utterances: FramedUtterances
    usable: np.ndarray
    strata: Sequence[str]
    left_out: dict[str, int] = field(default_factory=dict)

    def read(self, parts: Parts) -> NameLabels:
        """The speakers; the classes are those of the training part."""
        classes = sorted({self.utterances.speakers[i] for i in parts.train})
        check_classes(self.task, classes)
        return NameLabels(self.utterances.speakers, self.utterances.lengths, classes, parts.all(), parts.train)


def speakers(task: str, utterances: FramedUtterances, _config: DataConfig) -> SpeakerSource:
    """The speaker column; ValueError where an utterance has no speaker."""
    nameless = [key for key, speaker in zip(utterances.ids, utterances.speakers) if not speaker]
    if nameless:
        what = ""
        if utterances.recorded:
            what = ": a folder of audio says none, a table by preprocess/generate_len_for_bucket.py does"
        raise ValueError(f"{task}: {len(nameless)} utterances have no speaker, {short(nameless[0])} for one{what}")
    return SpeakerSource(task, utterances, np.arange(len(utterances)), utterances.speakers)
