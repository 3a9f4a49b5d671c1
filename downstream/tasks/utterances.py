"""What a table of labels says of an utterance: a class, classes of several columns, or a number."""

from dataclasses import dataclass
from typing import Literal

from downstream.config import DataConfig, DownstreamConfig
from downstream.labels.table import table_classes
from downstream.metrics.classes import CLASS_METRICS
from downstream.metrics.numbers import NUMBER_METRICS
from downstream.splits import Division
from downstream.tasks.base import Task, chosen_metric
from downstream.tasks.classification import OF_CLASSES, OF_UTTERANCES, ByUtterance, Classification
from downstream.tasks.columns import Columns
from downstream.tasks.regression import Regression
from downstream.tasks.table import TASKS

DIVISION = Division("speaker", unknown_speakers=True)


@dataclass(frozen=True)
class Preset:
    """What a task has where the config does not say it; a YAML of config/ says the rest."""

    projector: int = 256
    kind: Literal["class", "number"] = "class"
    metric: str = "mae"  # of numbers
    sentiment: bool = False  # numbers from -3 to 3


PRESETS = {
    "utterance": Preset(projector=0),
    "keyword_spotting": Preset(),
    "intent": Preset(),
    "emotion": Preset(),
    "sentiment": Preset(sentiment=True),
    "mos": Preset(kind="number", metric="spearman"),
}


def task(name: str, config: DownstreamConfig) -> Task:
    """One class for each utterance, one of each column where several are named, or one number."""
    preset, data, probe = PRESETS[name], config.data, config.probe
    level = ByUtterance.of(probe, preset.projector)
    if _kind(preset, data) == "number":
        return Regression(
            name,
            TASKS[name],
            level,
            DIVISION,
            uses=("probe.metric", "probe.loss", "probe.bounds", *OF_UTTERANCES),
            chosen=chosen_metric(name, probe.metric, NUMBER_METRICS, preset.metric),
            lowers=probe.loss or "mse",
            bounds=tuple(probe.bounds),
            sentiment=preset.sentiment,
        )
    if len(data.label_columns) > 1 and data.label_mode != "emotion":
        chosen_metric(f"{name} of several columns", probe.metric, ["accuracy"], "accuracy")
        of_columns = ("probe.metric", "data.balance", *OF_UTTERANCES)
        return Columns(name, TASKS[name], level, tuple(data.label_columns), DIVISION, of_columns)
    chosen = chosen_metric(name, probe.metric, CLASS_METRICS, "accuracy")
    uses = (*OF_CLASSES, *OF_UTTERANCES, "data.balance")
    return Classification(name, TASKS[name], table_classes, level, DIVISION, uses, chosen)


def _kind(preset: Preset, data: DataConfig) -> str:
    """What labels are; a mode of numbers says it, too."""
    if data.label_kind is not None:
        return data.label_kind
    if data.label_mode is not None:
        return "number" if data.label_mode == "regression" else "class"
    return preset.kind
