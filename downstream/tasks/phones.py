"""The phone of every frame, from an alignment; the classifiers of the originals."""

from downstream.config import DownstreamConfig
from downstream.labels.aligned import aligned_phones
from downstream.metrics.classes import CLASS_METRICS
from downstream.splits import Division
from downstream.tasks.base import chosen_metric
from downstream.tasks.classification import ByFrame, Classification
from downstream.tasks.table import TASKS

LEVELS = {"phone_linear": ByFrame(), "phone_1hidden": ByFrame(hidden_layers=1), "phone_concat": ByFrame(context=9)}


def task(name: str, config: DownstreamConfig) -> Classification:
    """One of `LEVELS`."""
    chosen = chosen_metric(name, config.probe.metric, CLASS_METRICS, "accuracy")
    return Classification(name, TASKS[name], aligned_phones, LEVELS[name], Division("speaker"), chosen=chosen)
