"""The probing tasks, one declaration each; all are scored by accuracy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """What is predicted from what, by which classifier."""

    name: str
    label: Literal["phone", "speaker"]  # from the alignment, or from the store's speaker column
    level: Literal["frame", "utterance"]  # an utterance is the mean of its real frames
    about: str
    hidden_layer: bool = False  # one hidden layer with ReLU before the output layer
    context: int = 1  # frames side by side that the classifier sees

    @property
    def metric(self) -> str:
        """The name of the score in reports."""
        return f"{self.level} accuracy (%)"
