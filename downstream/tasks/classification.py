"""Tasks that choose one of some classes, for every frame or for every utterance."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from downstream.config import DataConfig, ProbeConfig
from downstream.exact.checks import check_linear, check_linear_config
from downstream.exact.solver import Exact
from downstream.examples import Examples, Means, Pieces, Use, Wholes
from downstream.figures import confusion_figure
from downstream.heads.linear import Linears, join_context
from downstream.heads.pooling import mean_pool
from downstream.labels.base import Classes, FrameClasses, LabelSource, UtteranceClasses
from downstream.metrics.classes import ClassScore, accuracy, class_loss, class_score
from downstream.outcomes import Summed, percentage
from downstream.splits import Division, Indices
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.labels.alignment import IGNORE
from utility.loader import Source
from utility.runs import Metric

NO_LABEL = "-"


class Level(Protocol):
    """What gets a class: frames, or utterances."""

    @property
    def item(self) -> str: ...

    def source(self, frames: Source, labels: Any, chosen: Indices, use: Use) -> Examples: ...

    def head(self, width: int, outputs: int, config: ProbeConfig, generator: torch.Generator) -> nn.Module: ...

    def predictions(self, logits: Tensor, batch: Batch, classes: Sequence[str]) -> Iterable[Sequence[str]]: ...

    def pairs(self, true: str, predicted: str) -> Iterable[tuple[str, str]]:
        """The true and the predicted class of every item of a row of predictions."""

    def caution(self, features: FeatureConfig | None) -> str | None: ...


@dataclass(frozen=True)
class ByFrame:
    """Every frame gets a class, from `context` frames around it, by one linear layer with `hidden_layers` before it.

    Both are those of the config where it says them."""

    context: int = 1
    hidden_layers: int = 0
    item: str = "frame"

    def source(self, frames: Source, labels: FrameClasses, chosen: Indices, use: Use) -> Pieces:
        """Pieces to train a probe of frozen states, whole utterances else."""
        size = use.data.piece_frames if use.training and not use.fine_tune else None
        return Pieces(frames, labels.frames, chosen, size, reach=(use.probe.context or self.context) // 2)

    def head(self, width: int, outputs: int, config: ProbeConfig, generator: torch.Generator) -> Linears:
        """Class scores [B, T, outputs]."""
        context = config.context or self.context
        sizes = [width * context, *config.hidden(self.hidden_layers), outputs]
        return Linears(partial(join_context, size=context), sizes, config.dropout, generator, config.solver == "exact")

    def predictions(self, logits: Tensor, batch: Batch, classes: Sequence[str]) -> Iterable[Sequence[str]]:
        """True and predicted classes of an utterance's frames, in order, separated by spaces.

        A frame without a label has "-" as its true class; a class whose name has spaces is written with "_"."""
        names = np.array([*(name.replace(" ", "_") for name in classes), NO_LABEL], dtype=object)
        target = _target(batch)
        true = torch.where(target == IGNORE, len(classes), target).cpu().numpy()
        predicted = logits.argmax(-1).cpu().numpy()
        for row, length in enumerate(batch.lengths.tolist()):
            yield " ".join(names[true[row, :length]]), " ".join(names[predicted[row, :length]])

    def pairs(self, true: str, predicted: str) -> Iterable[tuple[str, str]]:
        """Those of the frames."""
        return zip(true.split(" "), predicted.split(" "), strict=True)

    def caution(self, features: FeatureConfig | None) -> None:
        """No kind of features is known to spoil it."""


@dataclass(frozen=True)
class ByUtterance:
    """Every utterance gets a class, from the mean of its frames, by one linear layer, or with hidden ones before it."""

    item: str = "utterance"

    def source(self, frames: Source, labels: UtteranceClasses, chosen: Indices, use: Use) -> Wholes | Means:
        """Means, made once, of frozen states; whole utterances for an upstream that is trained."""
        return (Wholes if use.fine_tune else Means)(frames, labels.utterance, chosen)

    def head(self, width: int, outputs: int, config: ProbeConfig, generator: torch.Generator) -> Linears:
        """Class scores [B, outputs]."""
        if config.context is not None:
            raise ValueError(
                f"probe.context={config.context} would change nothing: the mean over an utterance has none"
            )
        sizes = [width, *config.hidden(0), outputs]
        return Linears(mean_pool, sizes, config.dropout, generator, config.solver == "exact")

    def predictions(self, logits: Tensor, batch: Batch, classes: Sequence[str]) -> Iterable[Sequence[str]]:
        """True and predicted class of an utterance."""
        for true, predicted in zip(_target(batch).tolist(), logits.argmax(-1).tolist()):
            yield classes[true], classes[predicted]

    def pairs(self, true: str, predicted: str) -> Iterable[tuple[str, str]]:
        """One pair."""
        return [(true, predicted)]

    def caution(self, features: FeatureConfig | None) -> str | None:
        """Normalised features have no mean."""
        if features is not None and features.cmvn in ("speaker", "speaker_mean"):
            return (
                f"averages features that were normalised per speaker (cmvn: {features.cmvn}), which removes what tells "
                "speakers apart: probe a store made without CMVN where speakers are asked for"
            )
        if features is None or features.cmvn != "utterance":
            return None
        return (
            "averages features that were normalised per utterance (cmvn: utterance), which removes "
            "their mean: this baseline is close to chance; probe a store made without CMVN"
        )


@dataclass(frozen=True)
class Classification:
    """A task with one class for each frame or utterance, scored by accuracy."""

    name: str
    about: str
    read_labels: Callable[[str, FramedUtterances, DataConfig], LabelSource]
    level: Level
    division: Division
    uses: Collection[str] = ("probe.solver", "probe.l2")
    columns: Sequence[str] = ("true", "predicted")
    loss_label: str = "cross-entropy (nats)"

    @property
    def item(self) -> str:
        """What gets a class."""
        return self.level.item

    @property
    def metric(self) -> Metric:
        """Accuracy over all labelled frames or utterances."""
        return accuracy(self.level.item)

    def labels(self, utterances: FramedUtterances, config: DataConfig) -> LabelSource:
        """The classes' source."""
        return self.read_labels(self.name, utterances, config)

    def source(self, frames: Source, labels: Classes, chosen: Indices, use: Use) -> Examples:
        """Source or utterances with their class."""
        return self.level.source(frames, labels, chosen, use)

    def head(self, width: int, labels: Classes, config: ProbeConfig, generator: torch.Generator) -> nn.Module:
        """A score for every class."""
        head = self.level.head(width, len(labels.classes), config, generator)
        if config.solver == "exact":
            check_linear(self.name, head)
        return head

    def loss(self, output: Tensor, batch: Batch, labels: Classes) -> Mapping[str, Tensor]:
        """Mean cross-entropy over the labelled items, and their accuracy in percent."""
        return class_loss(output, _target(batch))

    def score(self, output: Tensor, batch: Batch, labels: Classes) -> ClassScore:
        """Loss and confusions."""
        return class_score(output, _target(batch))

    def predictions(self, output: Tensor, batch: Batch, labels: Classes) -> Iterable[Sequence[str]]:
        """True and predicted class, or those of all frames, by name."""
        return self.level.predictions(output, batch, labels.classes)

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> Summed:
        """Hits and labelled items of each utterance."""
        ids, sums = [], []
        for row in rows:
            pairs = [pair for pair in self.level.pairs(row["true"], row["predicted"]) if pair[0] != NO_LABEL]
            ids.append(row["id"])
            sums.append((sum(true == predicted for true, predicted in pairs), len(pairs)))
        return Summed(ids, np.array(sums, np.float64).reshape(-1, 2), percentage)

    def solver(self, config: ProbeConfig) -> Exact | None:
        """The optimum of a linear layer where the config asks for it."""
        if config.solver == "sgd":
            return None
        usual = self.level.hidden_layers if isinstance(self.level, ByFrame) else 0
        check_linear_config(self.name, config, usual)
        return Exact(tuple(config.l2), self.metric, lambda output, batch: class_score(output, _target(batch)))

    def figures(self, score: ClassScore, labels: Classes, title: str) -> Mapping[str, Figure]:
        """The confusion matrix."""
        return {"confusion": confusion_figure(score.confusions.cpu().numpy(), labels.classes, title)}

    def facts(self, labels: Classes) -> Mapping[str, object]:
        """The number of classes."""
        return {"classes": len(labels.classes)}

    def caution(self, features: FeatureConfig | None) -> str | None:
        """What spoils a result on plain features."""
        return self.level.caution(features)


def _target(batch: Batch) -> Tensor:
    assert batch.target is not None, "examples have their labels"
    return batch.target
