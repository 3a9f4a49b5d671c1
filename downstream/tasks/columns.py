"""A class for each of several columns of labels, of one utterance; right is who has all."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from downstream.config import DataConfig, ProbeConfig
from downstream.examples import Examples, Use
from downstream.figures import confusion_figure
from downstream.labels.columns import ColumnLabels, ColumnSource, table_columns
from downstream.metrics.classes import ClassScore, accuracy, class_score
from downstream.outcomes import Summed, percentage
from downstream.splits import Division, Indices
from downstream.tasks.base import UsualTask
from downstream.tasks.classification import ByUtterance, target_of
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.loader import Source
from utility.runs import Metric


@dataclass(frozen=True)
class ColumnsScore:
    """The score of each column, and how many utterances are right in all."""

    columns: Mapping[str, ClassScore]
    correct: int

    @property
    def count(self) -> int:
        """Utterances."""
        return next(iter(self.columns.values())).count

    def __add__(self, other: "ColumnsScore") -> "ColumnsScore":
        sums = {name: score + other.columns[name] for name, score in self.columns.items()}
        return ColumnsScore(sums, self.correct + other.correct)

    def figures(self) -> dict[str, float]:
        """The loss, summed over the columns; the share that is right in all columns, and in each, in percent."""
        each = {name: score.figures() for name, score in self.columns.items()}
        loss = sum(figures["loss"] for figures in each.values())
        own = {f"accuracy_{name}": figures["accuracy"] for name, figures in each.items()}
        return {"loss": loss, "accuracy": 100 * self.correct / self.count, **own}


@dataclass(frozen=True)
class Columns(UsualTask):
    """A task with one class of every column for each utterance: a block of outputs for each."""

    name: str
    about: str
    level: ByUtterance
    names: Sequence[str]  # of the columns of labels
    division: Division
    uses: Collection[str]
    loss_label: str = "cross-entropy (nats, summed over the columns)"

    @property
    def item(self) -> str:
        """What gets classes."""
        return self.level.item

    @property
    def metric(self) -> Metric:
        """The share of utterances that are right in all columns."""
        return accuracy(self.level.item)

    @property
    def columns(self) -> Sequence[str]:
        """A pair for each column of labels."""
        return [column for name in self.names for column in _pair(name)]

    def labels(self, utterances: FramedUtterances, config: DataConfig) -> ColumnSource:
        """The classes' source."""
        return table_columns(self.name, utterances, config)

    def source(self, frames: Source, labels: ColumnLabels, chosen: Indices, use: Use) -> Examples:
        """Utterances with the number of their combination of classes."""
        return self.level.source(frames, labels, chosen, use)

    def head(self, width: int, labels: ColumnLabels, config: ProbeConfig, generator: torch.Generator) -> nn.Module:
        """A score for every class of every column [B, sum of the classes]."""
        return self.level.head(width, sum(labels.sizes), config, generator)

    def loss(self, output: Tensor, batch: Batch, labels: ColumnLabels) -> Mapping[str, Tensor]:
        """The mean cross-entropy, summed over the columns, and the share in percent that is right in all."""
        blocks, codes = output.split(labels.sizes, 1), _codes(batch, labels)
        losses = [nn.functional.cross_entropy(block.float(), code) for block, code in zip(blocks, codes)]
        return {"loss": torch.stack(losses).sum(), "accuracy": 100 * _all_right(blocks, codes).float().mean()}

    def score(self, output: Tensor, batch: Batch, labels: ColumnLabels) -> ColumnsScore:
        """Loss and confusions of each column, and hits in all."""
        blocks, codes = output.split(labels.sizes, 1), _codes(batch, labels)
        scores = map(class_score, blocks, codes)
        return ColumnsScore(dict(zip(labels.columns, scores)), int(_all_right(blocks, codes).sum()))

    def predictions(self, output: Tensor, batch: Batch, labels: ColumnLabels) -> Iterable[Sequence[str]]:
        """True and predicted class of each column."""
        predicted = [block.argmax(1).tolist() for block in output.split(labels.sizes, 1)]
        true = [code.tolist() for code in _codes(batch, labels)]
        classes = [own.classes for own in labels.columns.values()]
        for row in range(len(output)):
            pairs = ((names[t[row]], names[p[row]]) for names, t, p in zip(classes, true, predicted))
            yield [name for pair in pairs for name in pair]

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> Summed:
        """Whether an utterance is right in all columns."""
        ids, sums = [], []
        for row in rows:
            ids.append(row["id"])
            sums.append((all(row[true] == row[predicted] for true, predicted in map(_pair, self.names)), 1))
        return Summed(ids, np.array(sums, np.float64).reshape(-1, 2), percentage)

    def figures(self, score: ColumnsScore, labels: ColumnLabels, title: str) -> Mapping[str, Figure]:
        """The confusion matrix of each column."""
        return {
            f"confusion_{place}": confusion_figure(
                score.columns[name].confusions.cpu().numpy(), own.classes, f"{title}\ncolumn {name}"
            )
            for place, (name, own) in enumerate(labels.columns.items(), 1)
        }

    def facts(self, labels: ColumnLabels) -> Mapping[str, object]:
        """The number of classes of each column."""
        return {"classes": dict(zip(labels.columns, labels.sizes))}

    def caution(self, features: FeatureConfig | None) -> str | None:
        """What spoils a result on plain features."""
        return self.level.caution(features)


def _pair(name: str) -> tuple[str, str]:
    """The columns of a file of predictions that a column of labels gives."""
    name = " ".join(name.split())
    return f"true_{name}", f"predicted_{name}"


def _codes(batch: Batch, labels: ColumnLabels) -> list[Tensor]:
    """The class of each column [B], from the numbers of combinations."""
    combined, codes = target_of(batch), []
    for size in reversed(labels.sizes):
        codes.append(combined % size)
        combined = combined // size
    return codes[::-1]


def _all_right(blocks: Sequence[Tensor], codes: Sequence[Tensor]) -> Tensor:
    """Whether an utterance is right in every column [B]."""
    return torch.stack([block.argmax(1) == code for block, code in zip(blocks, codes)]).all(0)
