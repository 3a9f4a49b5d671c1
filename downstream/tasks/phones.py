"""The phone of every frame, from an alignment; the classifiers of the originals."""

from downstream.labels import aligned_phones
from downstream.splits import Division
from downstream.tasks.classification import ByFrame, Classification
from downstream.tasks.table import TASKS


def _phones(name: str, level: ByFrame) -> Classification:
    return Classification(name, TASKS[name], aligned_phones, level, Division("speaker"))


phone_linear = _phones("phone_linear", ByFrame())
phone_1hidden = _phones("phone_1hidden", ByFrame(hidden_layers=1))
phone_concat = _phones("phone_concat", ByFrame(context=9))
