"""What answers are, and where they come from; the modules beside this one have the kinds."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from downstream.splits import Indices, Parts


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


def check_classes(task: str, classes: Sequence[str]) -> None:
    """Raise ValueError where there is nothing to tell apart."""
    if len(classes) < 2:
        raise ValueError(f"{task}: needs at least 2 classes, found {len(classes)} ({', '.join(classes)})")
