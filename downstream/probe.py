"""A probe as the trainer sees it: hidden states in, loss out; and its scores on held-out examples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from downstream.config import DownstreamConfig
from downstream.heads import Classifier, LayerSum
from downstream.metrics import Score, add_confusions, score
from downstream.tasks.base import Task
from mockingjay.upstreams.base import Upstream
from utility.loader import Batch
from utility.training.optimization import decay_groups

TIE = 1e-6  # weight of the dev loss in the choice: it only decides between equal accuracies


class Probe(nn.Module):
    """Classifier, learnt layer weights if asked for, and the upstream itself where it is fine-tuned."""

    def __init__(
        self,
        task: Task,
        config: DownstreamConfig,
        layers: int,
        width: int,
        classes: int,
        upstream: Upstream | None,
        seed: int,
    ):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.classifier = Classifier(task, width, classes, config.probe, generator)
        self.layer_sum = LayerSum(layers) if config.upstream.weighted_sum else None
        self.upstream = upstream
        self.layer = None if config.upstream.layer == "last" else config.upstream.layer

    def forward(self, batch: Batch) -> Tensor:
        """Class scores [B, T, C] or [B, C] of stored hidden states, or of features for an upstream being tuned."""
        hidden = batch.features
        if self.upstream is not None:
            states = self.upstream(batch.features, batch.lengths)
            hidden = states[-1 if self.layer is None else self.layer] if self.layer_sum is None else states
        if self.layer_sum is not None:
            hidden = self.layer_sum(hidden)
        return self.classifier(hidden, batch.lengths)

    def step(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Mean cross-entropy over the labelled frames or utterances of a batch, and the accuracy in percent."""
        found = score(self(batch), batch.target)
        count = found.count.clamp(min=1)
        return {"loss": found.loss / count, "accuracy": 100 * found.correct / count}

    def groups(self, config: DownstreamConfig) -> list[dict]:
        """Parameter groups: probe and layer weights at `optimizer.lr`, a tuned upstream at `probe.upstream_lr`."""
        named = list(self.named_parameters())
        own = decay_groups([(n, p) for n, p in named if not n.startswith("upstream.")], config.optimizer.weight_decay)
        if self.upstream is None:
            return [group for group in own if group["params"]]
        tuned = decay_groups([(n, p) for n, p in named if n.startswith("upstream.")], config.optimizer.weight_decay)
        tuned = [{**group, "lr": config.probe.upstream_lr} for group in tuned]
        return [group for group in own + tuned if group["params"]]


@dataclass(frozen=True)
class Result:
    """Scores on one part: accuracy in percent, mean loss, how many frames or utterances, and confusions [C, C]."""

    accuracy: float
    loss: float
    count: int
    confusions: Tensor

    def figures(self) -> dict[str, float]:
        """What the trainer logs and chooses by; `criterion` falls with accuracy, ties go to the lower loss."""
        criterion = 100 - self.accuracy + TIE * min(self.loss, 1e3)
        return {"loss": self.loss, "accuracy": self.accuracy, "criterion": criterion}


@torch.no_grad()
def evaluate(probe: Probe, batches: Iterable[Batch], device: torch.device) -> Result:
    """Score a probe on batches; the sums are over labelled frames, so batching does not matter."""
    probe.eval()
    total: Score | None = None
    seen: Tensor | None = None
    for batch in batches:
        batch = batch.to(device)
        logits = probe(batch)
        found = score(logits, batch.target)
        found = Score(found.loss.double(), found.correct, found.count)
        total = found if total is None else total + found
        if seen is None:
            seen = torch.zeros(logits.shape[-1], logits.shape[-1], dtype=torch.int64, device=device)
        add_confusions(seen, logits, batch.target)
    if total is None or not int(total.count):
        raise ValueError("no labelled frame to score on: do the alignment's times fit these recordings?")
    count = int(total.count)
    return Result(100 * int(total.correct) / count, float(total.loss) / count, count, seen.cpu())
