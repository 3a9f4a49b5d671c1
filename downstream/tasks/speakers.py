"""The speaker, from the store's speaker column or a table: of every frame, or of an utterance."""

from downstream.config import DataConfig, DownstreamConfig
from downstream.labels.base import LabelSource
from downstream.labels.speakers import speakers
from downstream.labels.table import table_classes, table_speakers
from downstream.splits import Division
from downstream.tasks.classification import ByFrame, ByUtterance, Classification, Level
from downstream.tasks.table import TASKS
from downstream.utterances import FramedUtterances


def _answers(task: str, utterances: FramedUtterances, config: DataConfig) -> LabelSource:
    """A column of `data.labels` where one is named, else the speakers of the corpus."""
    if utterances.rows is None:
        return speakers(task, utterances, config)
    return (table_classes if config.label_columns else table_speakers)(task, utterances, config)


LEVELS: dict[str, Level] = {"speaker_frame": ByFrame(), "speaker_utterance": ByUtterance()}


def task(name: str, config: DownstreamConfig) -> Classification:
    """One of `LEVELS`."""
    return Classification(name, TASKS[name], _answers, LEVELS[name], Division("utterance", known_speakers=True))
