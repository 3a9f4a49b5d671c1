"""A probe as the trainer sees it: hidden states in, loss out; and its scores on held-out examples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downstream.config import DownstreamConfig
from downstream.heads.layer_sum import LayerSum
from downstream.heads.specaug import mask_states
from downstream.labels.base import Labels
from downstream.layers import ProbedLayers
from downstream.metrics.base import RowsAtEnd, Score
from downstream.tasks.base import Task
from downstream.tuning import freeze
from mockingjay.inputs import PAD_MULTIPLE
from mockingjay.upstreams.base import Upstream
from utility.audio.features import FeatureExtractor
from utility.batches import AnyBatch, Batch
from utility.loader import Loader
from utility.predictions import PredictionFile
from utility.training.optimization import decay_groups


class Probe(nn.Module):
    """The task's head, learnt layer weights if asked for, and the upstream itself where it is fine-tuned."""

    def __init__(
        self,
        task: Task,
        labels: Labels,
        config: DownstreamConfig,
        layers: ProbedLayers,
        width: int,
        upstream: Upstream | None,
        seed: int,
    ):
        super().__init__()
        self.task, self.labels, self.layers, self.specaug = task, labels, layers, config.probe.specaug
        generator = torch.Generator().manual_seed(seed)
        self.classifier = task.head(width, labels, config.probe, generator)  # its tensors' name in every checkpoint
        self.layer_sum = LayerSum(len(layers.labels)) if layers.weighted else None
        self.upstream = upstream
        self.frozen: tuple[nn.Module, ...] = ()
        if upstream is not None:
            chosen = config.upstream.freeze
            self.frozen = tuple(freeze(upstream, upstream.frozen_by_default if chosen is None else chosen))
            if config.upstream.gradient_checkpointing:
                upstream.gradient_checkpointing(True)

    def train(self, mode: bool = True) -> "Probe":
        """As of every module; what is frozen computes as in evaluation: no dropout, no new running means."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, batch: AnyBatch, generator: torch.Generator | None = None) -> tuple[Any, Batch]:
        """The head's output, and the batch as hidden states [B, T, H] that it is of; with a `generator`, as training
        has it, masks of the states are drawn where the config says so.

        A batch holds stored states, [B, T, n, H] of several layers; or where the upstream is tuned what that takes."""
        states: Tensor | Sequence[Tensor]
        if self.upstream is None:
            assert isinstance(batch, Batch), "frozen hidden states are stored"
            states = batch.features
        else:
            states = self.layers.combine(self.upstream(*self._inputs(batch), self.layers.labels))
        if self.layer_sum is not None:
            states = self.layer_sum(states)
        assert isinstance(states, Tensor), "several states are weighed"
        if self.specaug is not None and generator is not None:
            states = mask_states(states, batch.lengths, generator, **asdict(self.specaug))
        seen = replace(batch, features=states) if isinstance(batch, Batch) else batch.with_features(states, None)
        return self.classifier(states, batch.lengths), seen

    def _inputs(self, batch: AnyBatch) -> tuple[Tensor, Tensor]:
        """What the upstream takes, and its true lengths [B]: features, or waveforms."""
        assert self.upstream is not None, "it is tuned"
        if isinstance(batch, Batch):
            return batch.features, batch.lengths
        if self.upstream.takes == "waveform":
            return batch.samples, batch.num_samples.to(batch.samples.device)
        assert self.upstream.feature_config is not None, "recordings have known features"
        with torch.no_grad():
            features, _ = FeatureExtractor(self.upstream.feature_config)(batch.samples, batch.num_samples)
        return F.pad(features, (0, 0, 0, -features.shape[1] % PAD_MULTIPLE)), batch.lengths

    def step(self, batch: AnyBatch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """The task's loss of a batch, and what is logged beside it."""
        output, seen = self(batch, generator)
        return self.task.loss(output, seen, self.labels)

    def groups(self, config: DownstreamConfig) -> list[dict]:
        """Parameter groups: probe and layer weights at `optimizer.lr`, a tuned upstream at `probe.upstream_lr`."""
        named = list(self.named_parameters())
        own = decay_groups([(n, p) for n, p in named if not n.startswith("upstream.")], config.optimizer.decay)
        if self.upstream is None:
            return [group for group in own if group["params"]]
        tuned = decay_groups([(n, p) for n, p in named if n.startswith("upstream.")], config.optimizer.decay)
        tuned = [{**group, "lr": config.probe.upstream_lr} for group in tuned]
        return [group for group in own + tuned if group["params"]]


@torch.no_grad()
def evaluate(
    probe: Probe,
    batches: Iterable[AnyBatch],
    device: torch.device,
    predictions: PredictionFile | None = None,
    task: Task | None = None,
) -> Score:
    """Score a probe on batches, whose sizes do not matter, and write what it predicted where that is asked for.

    A `task` reads the outputs in the place of the probe's own."""
    probe.eval()
    task = probe.task if task is None else task
    total: Score | None = None
    for loaded in batches:
        output, batch = probe(loaded.to(device))
        score = task.score(output, batch, probe.labels)
        total = score if total is None else total + score
        if predictions is not None and not isinstance(score, RowsAtEnd):
            predictions.write(batch.ids, task.predictions(output, batch, probe.labels))
    if total is None or not total.count:
        raise ValueError(f"no labelled {task.item} to score on: do the labels fit these recordings?")
    if predictions is not None and isinstance(total, RowsAtEnd):
        for key, *row in total.rows():
            predictions.write([key], [row])
    return total


class Sealed:
    """The test part: it can be scored once, after the choice."""

    def __init__(self, loader: Callable[[], Loader]):
        self._loader: Callable[[], Loader] | None = loader

    def score(self, probe: Probe, device: torch.device, predictions: PredictionFile | None = None) -> Score:
        """Score the chosen probe, write what it predicts where that is asked for, and close for good."""
        assert self._loader is not None, "the test part is read once"
        loader, self._loader = self._loader, None
        return evaluate(probe, loader().once(), device, predictions)
