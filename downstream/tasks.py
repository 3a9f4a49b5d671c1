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


TASKS = {
    task.name: task
    for task in (
        Task("phone_linear", "phone", "frame", "phone of each frame, one linear layer"),
        Task("phone_1hidden", "phone", "frame", "phone of each frame, one hidden layer (ReLU)", hidden_layer=True),
        Task("phone_concat", "phone", "frame", "phone of each frame from 9 frames side by side, linear", context=9),
        Task("speaker_frame", "speaker", "frame", "speaker of each frame, one linear layer"),
        Task("speaker_utterance", "speaker", "utterance", "speaker of the mean over an utterance's frames, linear"),
    )
}


def find_task(name: str) -> Task:
    """The task of that name, or a ValueError that lists all."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: expected one of {', '.join(TASKS)}")
    return TASKS[name]
