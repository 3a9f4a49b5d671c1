"""Where answers come from: an alignment, or the speaker column; `table_labels` has tables of the user's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from downstream.config import DataConfig
from downstream.splits import Indices, Parts
from downstream.utterances import FramedUtterances
from utility.labels.alignment import IGNORE, Alignment
from utility.temporary_array import TemporaryArray
from utility.text import short

LabelRule = Literal["time", "index"]


class Labels(Protocol):
    """The answers to the utterances of a divided store; what else they give is between a task and its labels."""

    def labelled(self, chosen: Indices) -> int:
        """How many frames of the chosen utterances have an answer."""


class Classes(Labels, Protocol):
    """Labels that are one of some classes, by code."""

    @property
    def classes(self) -> Sequence[str]:
        """Their names, in the order of the codes."""


class FrameClasses(Classes, Protocol):
    """A class for every frame."""

    def frames(self, index: int, start: int, stop: int) -> np.ndarray:
        """Codes of frames `start` to `stop` of an utterance, int64; IGNORE where there is none."""


class UtteranceClasses(Classes, Protocol):
    """A class for every utterance."""

    def utterance(self, index: int) -> np.int64:
        """The code of an utterance, a scalar int64."""


class LabelSource(Protocol):
    """What is known of a corpus' answers before it is divided."""

    @property
    def usable(self) -> np.ndarray:
        """The utterances that have an answer, by their number in the corpus."""

    @property
    def left_out(self) -> dict[str, int]:
        """How many have none, by reason."""

    @property
    def strata(self) -> Sequence[str] | None:
        """Of what each usable utterance is one when `data.label_fraction` takes a share of each; None: of all."""

    def read(self, parts: Parts) -> Labels:
        """The answers of the utterances in the parts; what is learnt from them (classes, means) comes from train."""


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


class NameLabels:
    """A name for each chosen utterance (its speaker, or what a table says), as an index into `classes`.

    `names` [U] and `lengths` [U], in frames, are those of all utterances."""

    def __init__(self, names: Sequence[str], lengths: np.ndarray, classes: Sequence[str], chosen: Indices):
        self.classes, self.lengths = list(classes), lengths
        codes = {name: code for code, name in enumerate(self.classes)}
        self.code = np.full(len(names), IGNORE, np.int32)  # one place for each utterance: folds keep many of these
        self.code[chosen] = [codes[names[index]] for index in chosen]

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
        return NameLabels(self.utterances.speakers, self.utterances.lengths, classes, parts.all())


def aligned_phones(task: str, utterances: FramedUtterances, config: DataConfig) -> PhoneSource:
    """The phones of `data.alignment`; ValueError where it is missing, or foreign to the utterances."""
    if config.labels is not None:
        raise ValueError(
            f"{task}: data.labels has classes of utterances; phones come from data.alignment: leave it out"
        )
    if config.alignment is None:
        raise ValueError(f"{task}: data.alignment is not set: name a folder made by preprocess_alignment.py")
    alignment = Alignment(config.alignment)
    missing = [key for key in utterances.ids if key not in alignment]
    if len(missing) == len(utterances):
        theirs = "the recordings'" if utterances.recorded else "the store's"
        raise ValueError(
            f"{config.alignment} has none of the {len(utterances)} utterances: its ids look like "
            f"{short(alignment.ids[0])}, {theirs} like {short(missing[0])}"
        )
    if missing and config.unaligned == "error":
        raise ValueError(
            f"{config.alignment} lacks {len(missing)} of the {len(utterances)} utterances, {short(missing[0])} for "
            f"one; data.unaligned=leave_out goes on without them"
        )
    usable = np.array([i for i, key in enumerate(utterances.ids) if key in alignment], dtype=np.int64)
    left_out = {"not in the alignment": len(missing)} if missing else {}
    return PhoneSource(task, utterances, alignment, usable, left_out, config.label_rule)


def speakers(task: str, utterances: FramedUtterances, _config: DataConfig) -> SpeakerSource:
    """The speaker column; ValueError where an utterance has no speaker."""
    nameless = [key for key, speaker in zip(utterances.ids, utterances.speakers) if not speaker]
    if nameless:
        what = ""
        if utterances.recorded:
            what = ": a folder of audio says none, a table by preprocess/generate_len_for_bucket.py does"
        raise ValueError(f"{task}: {len(nameless)} utterances have no speaker, {short(nameless[0])} for one{what}")
    return SpeakerSource(task, utterances, np.arange(len(utterances)), utterances.speakers)


def check_classes(task: str, classes: Sequence[str]) -> None:
    """Raise ValueError where there is nothing to tell apart."""
    if len(classes) < 2:
        raise ValueError(f"{task}: needs at least 2 classes, found {len(classes)} ({', '.join(classes)})")
