"""The speaker, from the store's speaker column or a table: of every frame, or of an utterance."""

from downstream.config import DataConfig
from downstream.labels import LabelSource, speakers
from downstream.splits import Division
from downstream.table_labels import table_classes, table_speakers
from downstream.tasks.classification import ByFrame, ByUtterance, Classification, Level
from downstream.tasks.table import TASKS
from downstream.utterances import FramedUtterances


def _answers(task: str, utterances: FramedUtterances, config: DataConfig) -> LabelSource:
    """A column of `data.labels` where one is named, else the speakers of the corpus."""
    if utterances.rows is None:
        return speakers(task, utterances, config)
    return (table_classes if config.label_columns else table_speakers)(task, utterances, config)


def _speakers(name: str, level: Level) -> Classification:
    return Classification(name, TASKS[name], _answers, level, Division("utterance", known_speakers=True))


speaker_frame = _speakers("speaker_frame", ByFrame())
speaker_utterance = _speakers("speaker_utterance", ByUtterance())
