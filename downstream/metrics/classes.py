"""Metrics of classes: accuracy, and confusions that can be summed over batches and processes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from utility.labels.alignment import IGNORE
from utility.runs import Metric


def accuracy(item: str) -> Metric:
    """The share of correct items, in percent."""
    return Metric("accuracy", f"{item} accuracy", "%", "higher", best=100.0)


def class_loss(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy and accuracy in percent of logits [..., C] against labels [...], without those of IGNORE."""
    logits, labels = logits.flatten(0, -2), labels.flatten()
    count = (labels != IGNORE).sum().clamp(min=1)
    correct = (logits.argmax(-1) == labels).sum()
    return {"loss": _cross_entropy(logits, labels) / count, "accuracy": 100 * correct / count}


@dataclass(frozen=True)
class ClassScore:
    """Sums over labelled frames or utterances: loss (float64) and confusions [C, C], true class by predicted class."""

    loss: Tensor
    confusions: Tensor

    @property
    def count(self) -> int:
        """Labelled items."""
        return int(self.confusions.sum())

    @property
    def correct(self) -> int:
        """Items whose class was predicted."""
        return int(self.confusions.diagonal().sum())

    def __add__(self, other: "ClassScore") -> "ClassScore":
        return ClassScore(self.loss + other.loss, self.confusions + other.confusions)

    def figures(self) -> dict[str, float]:
        """Mean loss in nats, accuracy in percent."""
        return {"loss": float(self.loss) / self.count, "accuracy": 100 * self.correct / self.count}


def class_score(logits: Tensor, labels: Tensor) -> ClassScore:
    """Score logits [..., C] against labels [...], where a label of IGNORE counts nowhere.

    What counts follows from labels and lengths; the originals looked for zeros in the hidden states, which padding is
    not, and so scored padding with transformers but not with the baseline."""
    logits, labels = logits.flatten(0, -2), labels.flatten()
    classes, kept = logits.shape[-1], labels != IGNORE
    pairs = labels[kept] * classes + logits.argmax(-1)[kept]
    confusions = torch.zeros(classes * classes, dtype=torch.int64, device=logits.device)
    confusions.index_add_(0, pairs, torch.ones_like(pairs))
    return ClassScore(_cross_entropy(logits, labels).double(), confusions.view(classes, classes))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
