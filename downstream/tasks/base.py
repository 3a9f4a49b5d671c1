"""What a task is: all that a probing run does not know by itself."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, Self, TypeVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from downstream.config import DataConfig, DecodeConfig, DownstreamConfig, ProbeConfig
from downstream.examples import Examples, Use
from downstream.labels.base import Labels, LabelSource
from downstream.metrics.base import Score
from downstream.metrics.controls import Control
from downstream.outcomes import Outcomes
from downstream.splits import Division, Indices
from downstream.utterances import FramedUtterances
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.config import as_dict
from utility.loader import Source
from utility.runs import Metric
from utility.text import short

Pass = Callable[[], Iterable[Batch]]  # each call gives all batches of a part once, in the same order, on the device
Log = Callable[[int, Mapping[str, float]], None]  # the number of a pass, and figures of it
USED_BY_SOME = (
    *(f"data.{name}" for name in ("strip_stress", "subword_model", "min_count", "balance", "max_frames")),
    *(f"probe.{name}" for name in ("solver", "l2", "head", "projector", "pool", "layers", "stack", "skip")),
    *(f"probe.{name}" for name in ("loss", "metric", "bounds", "specaug")),
    *(f"decode.{field.name}" for field in fields(DecodeConfig)),
    *("data.trials", "data.dev_trials", "probe.center"),
)


class Solver(Protocol):
    """What gives a head its weights from the whole training part, without steps."""

    def __call__(self, head: nn.Module, train: Pass, dev: Pass, log: Log) -> Mapping[str, Any]:
        """Set the weights of `head`; a batch holds hidden states [B, T, width] with their target. Gives what a result
        says of it, as plain types: "passes" over the training part, and more. Of that "kept_pass" is the pass whose
        weights are kept, "in_words" a phrase for people, and "warnings" are printed."""


L = TypeVar("L", bound=Labels, contravariant=True)
S = TypeVar("S", bound=Score)


class Task(Protocol[L, S]):
    """A question about utterances, and how well it was answered.

    A run asks in this order: `labels` of the utterances before these are divided by `division`; `source` of each part;
    the `head`; then `loss` of every training batch, and `score` of every batch of dev, whose sum gives `metric`. It
    knows nothing of what labels, outputs and scores hold: they are between the methods of one task. The parts to build
    a task from are in `labels`, `examples`, `heads` and `metrics`."""

    @property
    def name(self) -> str:
        """What --run calls it."""

    @property
    def about(self) -> str:
        """One line for --help."""

    @property
    def metric(self) -> Metric:
        """What dev chooses by, and reports compare."""

    @property
    def item(self) -> str:
        """What is scored, one of them: frame, utterance ..."""

    @property
    def loss_label(self) -> str:
        """The loss on an axis, with its unit."""

    @property
    def columns(self) -> Sequence[str]:
        """Of the files of predictions, after the id."""

    @property
    def watched(self) -> "Task[L, S]":
        """The task that dev is scored by while weights are trained: itself, or one that is quicker to read outputs.

        So how a config has outputs decoded shapes no weights, and a trained probe can be decoded in several ways."""

    @property
    def beside(self) -> Mapping[str, str]:
        """Files that a part leaves beside its predictions, a line `text (id)` for each: their column, by file name."""

    @property
    def uses(self) -> Collection[str]:
        """Of the keys that only some tasks have a use for (`USED_BY_SOME`) those that this one reads."""

    @property
    def division(self) -> Division:
        """How the corpus is divided where the config does not say."""

    def labels(self, utterances: FramedUtterances, config: DataConfig) -> LabelSource:
        """Where the answers come from; ValueError where they do not fit the utterances."""

    def source(self, frames: Source, labels: L, chosen: Indices, use: Use) -> Examples:
        """What the batches of a part are cut from: the utterances `chosen`, by their number in the corpus.

        `frames` are hidden states; with `use.fine_tune` what the upstream makes them from, which is read whole."""

    def head(self, width: int, labels: L, config: ProbeConfig, generator: torch.Generator) -> nn.Module:
        """A module (hidden states [B, T, width], lengths [B]) -> output, its weights drawn from `generator`."""

    def loss(self, output: Any, batch: Batch, labels: L) -> Mapping[str, Tensor]:
        """What training lowers, under "loss", a scalar; other scalars are logged beside it."""

    def score(self, output: Any, batch: Batch, labels: L) -> S:
        """Sums over a batch; their figures hold "loss" and the metric's key."""

    def predictions(self, output: Any, batch: Batch, labels: L) -> Iterable[Sequence[str]]:
        """The `columns` of each utterance of a batch; a batch of dev or test holds whole utterances."""

    def outcomes(self, rows: Iterable[Mapping[str, str]]) -> Outcomes:
        """What the rows of a file of predictions say of the metric, utterance by utterance: for intervals, and for
        comparisons with another run."""

    def solver(self, config: ProbeConfig) -> Solver | None:
        """What gives the head its weights from the training part at once; None where they are trained step by step."""

    def controls(self, score: S, labels: L) -> Mapping[str, Control]:
        """What the metric would be on the same part without a look at the states, by name; empty where nothing says."""

    def figures(self, score: S, labels: L, title: str) -> Mapping[str, Figure]:
        """Pictures of the score of the test part, by file name."""

    def facts(self, labels: L) -> Mapping[str, object]:
        """What a report says of the labels, as plain types: the number of classes ..."""

    def warning(self, labels: L) -> str | None:
        """What of the labels is likely to spoil the result without being an error."""

    def caution(self, features: FeatureConfig | None) -> str | None:
        """What is likely to spoil the result on plain features of that kind without being an error."""


class UsualTask:
    """What most tasks have in common: weights are trained step by step, outputs are read at once, and there is nothing
    more to say. A task overrides what it has of its own."""

    @property
    def watched(self) -> Self:
        """See `Task`."""
        return self

    @property
    def beside(self) -> Mapping[str, str]:
        """See `Task`."""
        return {}

    def solver(self, config: ProbeConfig) -> Solver | None:
        """See `Task`."""
        return None

    def controls(self, score: Any, labels: Any) -> Mapping[str, Control]:
        """See `Task`."""
        return {}

    def warning(self, labels: Any) -> str | None:
        """See `Task`."""
        return None


def chosen_metric(task: str, asked: str | None, known: Iterable[str], usual: str) -> str:
    """What dev chooses by: `probe.metric` if it is `asked`; ValueError for one that the task does not compute."""
    if asked is None:
        return usual
    if asked not in known:
        raise ValueError(f"probe.metric={short(asked)}: {task} computes {', '.join(known)}")
    return asked


def check_used(task: Task, config: DownstreamConfig) -> None:
    """Raise ValueError for a key that is set and that the task has no use for."""
    usual = DownstreamConfig()
    for key in USED_BY_SOME:
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name)
        if key not in task.uses and value != getattr(getattr(usual, section), name):
            value = as_dict(value) if is_dataclass(value) else value
            raise ValueError(f"{key}={short(value)} would change nothing: {task.name} has no use for it")
