"""A probe as the trainer sees it: hidden states in, loss out; and its scores on held-out examples."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from downstream.config import DownstreamConfig
from downstream.heads import LayerSum
from downstream.labels import Labels
from downstream.metrics import Score
from downstream.predictions import PredictionFile
from downstream.tasks.base import Task
from mockingjay.upstreams.base import Upstream
from utility.batches import AnyBatch, Batch
from utility.training.optimization import decay_groups


class Probe(nn.Module):
    """The task's head, learnt layer weights if asked for, and the upstream itself where it is fine-tuned."""

    def __init__(
        self,
        task: Task,
        labels: Labels,
        config: DownstreamConfig,
        layers: int,
        width: int,
        upstream: Upstream | None,
        seed: int,
    ):
        super().__init__()
        self.task, self.labels = task, labels
        generator = torch.Generator().manual_seed(seed)
        self.classifier = task.head(width, labels, config.probe, generator)  # its tensors' name in every checkpoint
        self.layer_sum = LayerSum(layers) if config.upstream.weighted_sum else None
        self.upstream = upstream
        self.layer = None if config.upstream.layer == "last" else config.upstream.layer

    def forward(self, batch: Batch) -> Tensor:
        """The head's output for stored hidden states, or for features where the upstream is tuned."""
        hidden = batch.features
        if self.upstream is not None:
            states = self.upstream(batch.features, batch.lengths)
            hidden = states[-1 if self.layer is None else self.layer] if self.layer_sum is None else states
        if self.layer_sum is not None:
            hidden = self.layer_sum(hidden)
        return self.classifier(hidden, batch.lengths)

    def step(self, batch: AnyBatch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """The task's loss of a batch, and what is logged beside it."""
        assert isinstance(batch, Batch), "examples are features or hidden states"
        return self.task.loss(self(batch), batch, self.labels)

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
    probe: Probe, batches: Iterable[AnyBatch], device: torch.device, predictions: PredictionFile | None = None
) -> Score:
    """Score a probe on batches, whose sizes do not matter, and write what it predicted where that is asked for."""
    probe.eval()
    total: Score | None = None
    for loaded in batches:
        batch = loaded.to(device)
        assert isinstance(batch, Batch), "examples are features or hidden states"
        output = probe(batch)
        score = probe.task.score(output, batch, probe.labels)
        total = score if total is None else total + score
        if predictions is not None:
            predictions.write(batch.ids, probe.task.predictions(output, batch, probe.labels))
    if total is None or not total.count:
        raise ValueError(f"no labelled {probe.task.item} to score on: do the labels fit these recordings?")
    return total
