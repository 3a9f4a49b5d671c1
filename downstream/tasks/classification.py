"""Tasks that choose one of some classes, for every frame or for every utterance."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

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
from downstream.heads.pooling import AttentivePool, Pool, Projected, mean_pool, statistics_pool
from downstream.heads.recurrent_pooling import LastState
from downstream.labels.base import Classes, FrameClasses, LabelSource
from downstream.labels.speakers import NameLabels
from downstream.metrics.classes import ClassScore, Confused, class_loss, class_metric, class_score
from downstream.metrics.controls import Control, blind_guesses
from downstream.outcomes import Outcomes, Summed, percentage
from downstream.splits import Division, Indices
from downstream.tasks.base import UsualTask
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.labels.alignment import IGNORE
from utility.loader import Source
from utility.runs import Metric

NO_LABEL = "-"
OF_CLASSES = ("probe.metric", "probe.solver", "probe.l2")  # keys that a choice between classes uses,
OF_UTTERANCES = ("probe.head", "probe.projector", "probe.pool", "probe.skip", "data.max_frames")  # and what pools
GRU_SIZE, GRU_SKIP = 32, 5  # of the original's RnnClassifier


class Level(Protocol):
    """What gets a class: frames, or utterances."""

    @property
    def item(self) -> str: ...

    @property
    def hidden_layers(self) -> int:
        """How many there usually are."""

    def source(self, frames: Source, labels: Any, chosen: Indices, use: Use) -> Examples: ...

    def head(self, width: int, outputs: int, config: ProbeConfig, generator: torch.Generator) -> nn.Module: ...

    def predictions(self, logits: Tensor, batch: Batch, classes: Sequence[str]) -> Iterable[Sequence[str]]: ...

    def pairs(self, true: str, predicted: str) -> Iterable[tuple[str, str]]:
        """The true and the predicted class of every item of a row of predictions."""

    def facts(self, labels: Any) -> Mapping[str, object]: ...

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
        target = target_of(batch)
        true = torch.where(target == IGNORE, len(classes), target).cpu().numpy()
        predicted = logits.argmax(-1).cpu().numpy()
        for row, length in enumerate(batch.lengths.tolist()):
            yield " ".join(names[true[row, :length]]), " ".join(names[predicted[row, :length]])

    def pairs(self, true: str, predicted: str) -> Iterable[tuple[str, str]]:
        """Those of the frames that have a label."""
        answers, guesses = true.split(" "), predicted.split(" ")
        if len(answers) != len(guesses):
            raise ValueError(f"{len(answers)} answers, {len(guesses)} predicted")
        return (pair for pair in zip(answers, guesses, strict=True) if pair[0] != NO_LABEL)

    def facts(self, labels: FrameClasses) -> Mapping[str, object]:
        """Nothing more."""
        return {}

    def caution(self, features: FeatureConfig | None) -> None:
        """No kind of features is known to spoil it."""


@dataclass(frozen=True)
class ByUtterance:
    """Every utterance gets an answer, from all its frames by one linear layer, or with hidden ones before it.

    `projector` is the width of a linear layer before the frames are pooled, 0 for none, where the config does not say
    it. `averages` says whether features without a mean leave nothing to answer from."""

    projector: int = 0
    averages: bool = field(default=True, compare=False)  # settings of a sweep that differ in it are of one task
    item: str = "utterance"
    hidden_layers: ClassVar[int] = 0

    @classmethod
    def of(cls, config: ProbeConfig, projector: int = 0) -> "ByUtterance":
        """With what the config says of pooling."""
        projected = projector if config.projector is None else config.projector
        plain = config.pool == "statistics" and not projected
        return cls(projector, config.head != "gru" and (config.pool in (None, "mean") or plain))

    def source(self, frames: Source, labels: Any, chosen: Indices, use: Use) -> Wholes | Means:
        """Means, made once, of frozen states that are averaged; whole utterances for any other head, for crops of them,
        and for an upstream that is trained."""
        crop = use.data.max_frames if use.training else None
        means = use.probe.head != "gru" and use.probe.pool in (None, "mean")
        if means and crop is None and not use.fine_tune:
            return Means(frames, labels.utterance, chosen)
        return Wholes(frames, labels.utterance, chosen, crop)

    def head(self, width: int, outputs: int, config: ProbeConfig, generator: torch.Generator) -> Linears:
        """Outputs [B, outputs], such as class scores."""
        self._check(config)
        recurrent = config.head == "gru"
        size = (0 if recurrent else self.projector) if config.projector is None else config.projector
        seen = size or width
        pool: Pool = mean_pool
        if recurrent:
            state = config.hidden_size or GRU_SIZE
            hidden = config.hidden(1, GRU_SIZE)  # the first of them is part of what pools: no dropout before it
            pool = LastState(seen, state, config.skip or GRU_SKIP, bool(hidden), generator)
            sizes = [state, *hidden[1:], outputs]
        else:
            if config.pool == "attention":
                pool = AttentivePool(seen, generator)
            elif config.pool == "statistics":
                pool = statistics_pool
            sizes = [seen * (2 if config.pool == "statistics" else 1), *config.hidden(0), outputs]
        if size:
            pool = Projected(width, size, pool, config.dropout, generator)
        return Linears(pool, sizes, config.dropout, generator, config.solver == "exact")

    def _check(self, config: ProbeConfig) -> None:
        """Raise ValueError for keys that another one leaves no use for."""
        if config.context is not None:
            raise ValueError(f"probe.context={config.context} would change nothing: an utterance is seen whole")
        if config.head not in (None, "linear", "gru"):
            raise ValueError(f"probe.head={config.head} is of recognition: utterances have linear and gru")
        if config.head == "gru" and config.pool is not None:
            raise ValueError(f"probe.pool={config.pool} would change nothing: probe.head=gru takes the last state")
        if config.head != "gru" and config.skip is not None:
            raise ValueError(f"probe.skip={config.skip} would change nothing: it goes with probe.head=gru")

    def predictions(self, logits: Tensor, batch: Batch, classes: Sequence[str]) -> Iterable[Sequence[str]]:
        """True and predicted class of an utterance."""
        for true, predicted in zip(target_of(batch).tolist(), logits.argmax(-1).tolist()):
            yield classes[true], classes[predicted]

    def pairs(self, true: str, predicted: str) -> Iterable[tuple[str, str]]:
        """One pair."""
        return [(true, predicted)]

    def facts(self, labels: NameLabels) -> Mapping[str, object]:
        """The share of the training utterances that is of their most frequent class, in percent."""
        return {"train_majority": labels.majority}

    def caution(self, features: FeatureConfig | None) -> str | None:
        """Normalised features have no mean."""
        if not self.averages:
            return None
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
class Classification(UsualTask):
    """A task with one class for each frame or utterance; dev chooses by `chosen`, one of `CLASS_METRICS`."""

    name: str
    about: str
    read_labels: Callable[[str, FramedUtterances, DataConfig], LabelSource]
    level: Level
    division: Division
    uses: Collection[str] = OF_CLASSES
    chosen: str = "accuracy"
    columns: Sequence[str] = ("true", "predicted")
    loss_label: str = "cross-entropy (nats)"

    @property
    def item(self) -> str:
        """What gets a class."""
        return self.level.item

    @property
    def metric(self) -> Metric:
        """Over all labelled frames or utterances at once."""
        return class_metric(self.chosen, self.level.item)

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
        return class_loss(output, target_of(batch))

    def score(self, output: Tensor, batch: Batch, labels: Classes) -> ClassScore:
        """Loss and confusions."""
        return class_score(output, target_of(batch))

    def predictions(self, output: Tensor, batch: Batch, labels: Classes) -> Iterable[Sequence[str]]:
        """True and predicted class, or those of all frames, by name."""
        return self.level.predictions(output, batch, labels.classes)

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> Outcomes:
        """Hits and labelled items of each utterance, or what another metric is made from."""
        utterances = ((row["id"], self.level.pairs(row["true"], row["predicted"])) for row in rows)
        if self.chosen != "accuracy":
            return Confused.of(utterances, self.chosen)
        ids, sums = [], []
        for name, pairs in utterances:
            hits = [true == predicted for true, predicted in pairs]
            ids.append(name)
            sums.append((sum(hits), len(hits)))
        return Summed(ids, np.array(sums, np.float64).reshape(-1, 2), percentage)

    def solver(self, config: ProbeConfig) -> Exact | None:
        """The optimum of a linear layer where the config asks for it."""
        if config.solver == "sgd":
            return None
        check_linear_config(self.name, config, self.level.hidden_layers)
        return Exact(tuple(config.l2), self.metric, lambda output, batch: class_score(output, target_of(batch)))

    def controls(self, score: ClassScore, labels: Classes) -> Mapping[str, Control]:
        """Of one class for everything, and of any."""
        return blind_guesses(score, labels.classes, self.metric.key)

    def figures(self, score: ClassScore, labels: Classes, title: str) -> Mapping[str, Figure]:
        """The confusion matrix."""
        return {"confusion": confusion_figure(score.confusions.cpu().numpy(), labels.classes, title)}

    def facts(self, labels: Classes) -> Mapping[str, object]:
        """The number of classes, and what the level says of them."""
        return {"classes": len(labels.classes), **self.level.facts(labels)}

    def caution(self, features: FeatureConfig | None) -> str | None:
        """What spoils a result on plain features."""
        return self.level.caution(features)


def target_of(batch: Batch) -> Tensor:
    """The answers of a batch, which examples have."""
    assert batch.target is not None, "examples have their labels"
    return batch.target
