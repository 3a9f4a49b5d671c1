"""The class of an utterance, from a table of labels: what was said, in which mood, in which room ..."""

from downstream.config import DataConfig, DownstreamConfig
from downstream.labels.table import TableSource, table_classes
from downstream.splits import Division
from downstream.tasks.classification import ByUtterance, Classification
from downstream.tasks.table import TASKS
from downstream.utterances import FramedUtterances


def _answers(task: str, utterances: FramedUtterances, config: DataConfig) -> TableSource:
    if utterances.rows is None:
        raise ValueError(f"{task}: data.labels is not set: name a CSV or TSV table, and data.label_column")
    return table_classes(task, utterances, config)


def task(name: str, config: DownstreamConfig) -> Classification:
    """One class for each utterance."""
    return Classification(name, TASKS[name], _answers, ByUtterance(), Division("speaker", unknown_speakers=True))
