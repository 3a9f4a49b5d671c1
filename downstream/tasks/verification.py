"""Verification: whether two utterances are of one speaker, by the cosine of their embeddings."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from downstream.config import DataConfig, DownstreamConfig, ProbeConfig
from downstream.examples import Examples, Means, Use, Wholes
from downstream.figures import detection_figure
from downstream.heads.centred import Centred
from downstream.heads.pooling import mean_pool, statistics_pool
from downstream.heads.xvector import WIDTH, XVector, am_softmax
from downstream.labels.trials import TrialLabels, TrialSource, trial_labels
from downstream.metrics.controls import Control
from downstream.metrics.verification import COLUMNS, EER, TrialOutcomes, TrialScore
from downstream.splits import Division, Indices
from downstream.tasks.base import Log, Pass, Solver, UsualTask
from downstream.tasks.classification import ByUtterance
from downstream.tasks.table import TASKS
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.loader import Source

CROP = 8.0  # seconds of a training utterance
SAME = 1e-10  # of the mean square: a dimension that varies less than this has one value
FIXED = ("hidden_size", "hidden_layers", "context", "dropout")  # of heads whose layers are what they are


class Embedding(Protocol):
    """What makes an embedding of an utterance."""

    @property
    def trains(self) -> bool:
        """Whether its weights are trained, on telling the training speakers apart."""

    @property
    def uses(self) -> Collection[str]: ...

    @property
    def loss_label(self) -> str: ...

    def source(self, frames: Source, labels: TrialLabels, chosen: Indices, use: Use) -> Examples: ...

    def head(self, width: int, speakers: int, config: ProbeConfig, generator: torch.Generator) -> nn.Module: ...

    def solver(self, config: ProbeConfig) -> Solver | None: ...

    def caution(self, features: FeatureConfig | None) -> str | None: ...


@dataclass(frozen=True)
class Pooled:
    """Mean, or mean and deviation, over an utterance's frames, centred by the training utterances."""

    pool: str = "mean"
    trains: bool = False
    uses: Collection[str] = ("probe.pool", "probe.center")
    loss_label: str = "cosine loss"

    def source(self, frames: Source, labels: TrialLabels, chosen: Indices, use: Use) -> Wholes | Means:
        """Means, made once, where no more is asked for."""
        return (Means if self.pool == "mean" else Wholes)(frames, labels.utterance, chosen)

    def head(self, width: int, speakers: int, config: ProbeConfig, generator: torch.Generator) -> Centred:
        """Nothing in it is drawn."""
        return Centred(mean_pool, width) if self.pool == "mean" else Centred(statistics_pool, 2 * width)

    def solver(self, config: ProbeConfig) -> Solver:
        """Measures the mean and the deviation, or leaves them."""
        return measure if config.center else leave

    def caution(self, features: FeatureConfig | None) -> str | None:
        """Normalised features have no mean."""
        return ByUtterance().caution(features)


@dataclass(frozen=True)
class Trained:
    """An x-vector, trained on crops of utterances of 2 s or more."""

    trains: bool = True
    uses: Collection[str] = ("probe.projector", "data.max_frames")
    loss_label: str = "AM-softmax (nats); of dev the cosine loss"

    def source(self, frames: Source, labels: TrialLabels, chosen: Indices, use: Use) -> Wholes:
        """Whole utterances; in training only those that are long enough, of longer ones random pieces of 8 s."""
        if not use.training:
            return Wholes(frames, labels.utterance, chosen)
        crop = use.data.max_frames or max(round(CROP / labels.shift), 1)
        return Wholes(frames, labels.utterance, labels.long_ones(chosen), crop)

    def head(self, width: int, speakers: int, config: ProbeConfig, generator: torch.Generator) -> XVector:
        """All layers are `probe.projector` wide, else 512."""
        if config.projector == 0:
            raise ValueError("probe.projector=0: an x-vector has no layers without a width; leave it out for 512")
        return XVector(width, speakers, generator, config.projector or WIDTH)

    def solver(self, config: ProbeConfig) -> None:
        """Weights are trained step by step."""

    def caution(self, features: FeatureConfig | None) -> str | None:
        """The mean of an utterance may be lost, not what tells speakers apart; but inputs must lie around 0."""
        if features is not None and features.cmvn in ("speaker", "speaker_mean"):
            return ByUtterance().caution(features)
        if features is not None and features.cmvn == "none":
            return "hardly learns from features far from 0 (cmvn: none): probe a store made with --cmvn global"
        return None


@dataclass(frozen=True)
class Verification(UsualTask):
    """A task of trials, scored by the equal error rate; dev chooses, by trials of its own.

    S3PRL had no dev set: it chose the best checkpoint by the trials of test."""

    name: str
    about: str
    embedding: Embedding
    metric = EER
    item = "trial"
    columns = COLUMNS
    division = Division("speaker")

    @property
    def uses(self) -> Collection[str]:
        """Trials, and what the embedding uses."""
        return ("data.trials", "data.dev_trials", *self.embedding.uses)

    @property
    def loss_label(self) -> str:
        """That of the embedding."""
        return self.embedding.loss_label

    def labels(self, utterances: FramedUtterances, config: DataConfig) -> TrialSource:
        """Speakers, and trials."""
        return trial_labels(self.name, utterances, config, self.embedding.trains)

    def source(self, frames: Source, labels: TrialLabels, chosen: Indices, use: Use) -> Examples:
        """Utterances with the speaker of each, where it trains."""
        return self.embedding.source(frames, labels, chosen, use)

    def head(self, width: int, labels: TrialLabels, config: ProbeConfig, generator: torch.Generator) -> nn.Module:
        """What gives embeddings, in training cosines with the training speakers."""
        usual = ProbeConfig()
        for key in FIXED:
            if getattr(config, key) != getattr(usual, key):
                value = getattr(config, key)
                raise ValueError(
                    f"probe.{key}={value} would change nothing: the layers of {self.name} are what they are"
                )
        return self.embedding.head(width, len(labels.classes), config, generator)

    def loss(self, output: Tensor, batch: Batch, labels: TrialLabels) -> Mapping[str, Tensor]:
        """AM-softmax of the training speakers, and how many utterances are nearest to their own, in percent."""
        assert batch.target is not None, "training utterances have their speaker"
        correct = (output.argmax(-1) == batch.target).float().mean()
        return {"loss": am_softmax(output, batch.target), "accuracy": 100 * correct}

    def score(self, output: Tensor, batch: Batch, labels: TrialLabels) -> TrialScore:
        """The embeddings: trials are scored when all of a part are there."""
        return TrialScore(labels.trials, batch.ids, [output.detach().float().cpu()])

    def predictions(self, output: Tensor, batch: Batch, labels: TrialLabels) -> Iterable[Sequence[str]]:
        """None: the score gives those of the trials at the end."""
        return ()

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> TrialOutcomes:
        """The equal error rate, by speakers."""
        return TrialOutcomes.of(rows)

    def solver(self, config: ProbeConfig) -> Solver | None:
        """That of the embedding."""
        return self.embedding.solver(config)

    def controls(self, score: TrialScore, labels: TrialLabels) -> Mapping[str, Control]:
        """What scores would have that know nothing of the speakers."""
        return {"chance": Control(50.0, "scores that say nothing of the speakers")}

    def figures(self, score: TrialScore, labels: TrialLabels, title: str) -> Mapping[str, Figure]:
        """Both kinds of errors at every threshold."""
        return {"detection": detection_figure(*score.curve.rates(), title)}

    def facts(self, labels: TrialLabels) -> Mapping[str, object]:
        """Training speakers, the trials of dev and test, and utterances that are too short to train."""
        facts: dict[str, object] = {"training_speakers": len(labels.classes)}
        facts["trials"] = {part: dict(trials.about) for part, trials in labels.trials.items()}
        return {**facts, "too_short_to_train": labels.too_short} if self.embedding.trains else facts

    def caution(self, features: FeatureConfig | None) -> str | None:
        """What spoils a result on plain features."""
        return self.embedding.caution(features)


def leave(head: nn.Module, train: Pass, dev: Pass, log: Log) -> Mapping[str, Any]:
    """A solver that changes nothing."""
    log(0, {"utterances": 0})
    return {"passes": 0, "utterances": 0}


def measure(head: nn.Module, train: Pass, dev: Pass, log: Log) -> Mapping[str, Any]:
    """A solver: mean and population deviation of the training utterances in one pass, float64 sums.

    A dimension that all utterances share is not divided."""
    assert isinstance(head, Centred), "the task's own head"
    count, total, squares = 0, torch.zeros_like(head.mean).double(), torch.zeros_like(head.mean).double()
    for batch in train():
        pooled = head.pool(batch.features, batch.lengths).double()
        count, total, squares = count + len(pooled), total + pooled.sum(0), squares + pooled.square().sum(0)
    mean = total / count
    variance = squares / count - mean.square()
    varies = variance > SAME * squares / count
    head.mean.copy_(mean)
    head.deviation.copy_(torch.where(varies, variance, 1).sqrt())
    log(1, {"utterances": count})
    return {"passes": 1, "utterances": count}


def task(name: str, config: DownstreamConfig) -> Verification:
    """One of the two embeddings."""
    if name == "asv_xvector":
        return Verification(name, TASKS[name], Trained())
    pool = config.probe.pool or "mean"
    if pool == "attention":
        raise ValueError("probe.pool='attention' is trained, asv_cosine is not: take mean or statistics")
    return Verification(name, TASKS[name], Pooled(pool))
