"""The tasks by name."""

from downstream.tasks.base import Task

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
