"""The speaker, from the store's speaker column or a table: of every frame, or of an utterance."""

from downstream.config import DataConfig, DownstreamConfig
from downstream.labels.base import LabelSource
from downstream.labels.speakers import speakers
from downstream.labels.table import table_classes, table_speakers
from downstream.metrics.classes import CLASS_METRICS
from downstream.splits import Division
from downstream.tasks.base import chosen_metric
from downstream.tasks.classification import OF_CLASSES, OF_UTTERANCES, ByFrame, ByUtterance, Classification
from downstream.tasks.table import TASKS
from downstream.utterances import FramedUtterances


def _answers(task: str, utterances: FramedUtterances, config: DataConfig) -> LabelSource:
    """A column of `data.labels` where one is named, else the speakers of the corpus."""
    if utterances.rows is None:
        return speakers(task, utterances, config)
    return (table_classes if config.label_columns else table_speakers)(task, utterances, config)


def task(name: str, config: DownstreamConfig) -> Classification:
    """Of frames, or of utterances."""
    frames = name == "speaker_frame"
    return Classification(
        name,
        TASKS[name],
        _answers,
        ByFrame() if frames else ByUtterance.of(config.probe),
        Division("utterance", known_speakers=True),
        uses=OF_CLASSES if frames else (*OF_CLASSES, *OF_UTTERANCES, "data.balance"),
        chosen=chosen_metric(name, config.probe.metric, CLASS_METRICS, "accuracy"),
    )
