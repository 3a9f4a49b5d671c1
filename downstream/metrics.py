"""Summable scores."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from utility.labels.alignment import IGNORE


@dataclass(frozen=True)
class Score:
    """Sums over the labelled frames or utterances of some batches: loss, correct predictions, number."""

    loss: Tensor
    correct: Tensor
    count: Tensor

    def __add__(self, other: "Score") -> "Score":
        return Score(self.loss + other.loss, self.correct + other.correct, self.count + other.count)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Cross-entropy and hits of logits [..., C] against labels [...], where a label of IGNORE counts nowhere.

    What counts follows from labels and lengths; the originals looked for zeros in the hidden states, which padding is
    not, and so scored padding with transformers but not with the baseline."""
    logits, labels = logits.flatten(0, -2), labels.flatten()
    loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return Score(loss, (logits.argmax(-1) == labels).sum(), (labels != IGNORE).sum())


def add_confusions(table: Tensor, logits: Tensor, labels: Tensor) -> None:
    """Count in `table`, int64 [C, C], how often true class r was taken for class c."""
    kept = labels != IGNORE
    pairs = labels[kept] * len(table) + logits.argmax(-1)[kept]
    table.view(-1).index_add_(0, pairs, torch.ones_like(pairs))
