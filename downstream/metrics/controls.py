"""What a metric would be without a look at the hidden states: what a score is beside."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from downstream.metrics.classes import ClassScore

EVEN = ("accuracy", "uar")  # figures of which a class drawn evenly is expected to get 100 % / classes


@dataclass(frozen=True)
class Control:
    """The metric of what has not seen the states; `answer` is what it says of every item, if that is one."""

    value: float
    about: str
    answer: str | None = None


def blind_guesses(score: ClassScore, classes: Sequence[str], key: str) -> dict[str, Control]:
    """The figure `key` of a class drawn evenly for every item, and of the most frequent class for all of them."""
    counts = score.confusions.sum(1)
    majority, every = int(counts.argmax()), torch.zeros_like(score.confusions)
    every[:, majority] = counts
    about = "the most frequent true class of the part for every item"
    controls = {"majority": Control(ClassScore(score.loss, every).figures()[key], about, classes[majority])}
    if key not in EVEN:
        return controls
    return {"chance": Control(100 / len(classes), "a class drawn evenly for every item"), **controls}
