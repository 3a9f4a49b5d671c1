"""The phone of every frame, from an alignment; the classifiers of the originals."""

from downstream.config import DownstreamConfig
from downstream.labels.aligned import aligned_phones
from downstream.splits import Division
from downstream.tasks.classification import ByFrame, Classification
from downstream.tasks.table import TASKS

LEVELS = {"phone_linear": ByFrame(), "phone_1hidden": ByFrame(hidden_layers=1), "phone_concat": ByFrame(context=9)}


def task(name: str, config: DownstreamConfig) -> Classification:
    """One of `LEVELS`."""
    return Classification(name, TASKS[name], aligned_phones, LEVELS[name], Division("speaker"))
