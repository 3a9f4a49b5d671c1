"""Metrics of classes: accuracy, F1 and recall, and confusions that can be summed over batches and processes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from utility.labels.alignment import IGNORE
from utility.runs import Metric


def accuracy(item: str) -> Metric:
    """The share of correct items, in percent."""
    return Metric("accuracy", f"{item} accuracy", "%", "higher", best=100.0)


# What a metric is made from: of each class [..., C] the hits, the items that are of it, and those taken for it.
ClassFigure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _accuracy(hits: np.ndarray, true: np.ndarray, _predicted: np.ndarray) -> np.ndarray:
    return _share(hits.sum(-1), true.sum(-1))


def _recall(hits: np.ndarray, true: np.ndarray, _predicted: np.ndarray) -> np.ndarray:
    return _share(_share(hits, true, 0.0).sum(-1), (true > 0).sum(-1)) / 100


def _macro_f1(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    both = true + predicted
    return _share(_share(2 * hits, both, 0.0).sum(-1), (both > 0).sum(-1)) / 100


def _weighted_f1(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return _share((_share(2 * hits, true + predicted, 0.0) * true).sum(-1), true.sum(-1)) / 100


def _share(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """In percent; `empty` where there is nothing."""
    return np.divide(100.0 * part, whole, out=np.full(np.shape(whole), empty), where=np.asarray(whole) > 0)


CLASS_METRICS: dict[str, tuple[str, ClassFigure]] = {
    "accuracy": ("accuracy", _accuracy),
    "macro_f1": ("macro F1", _macro_f1),  # over the classes that occur, or are predicted
    "weighted_f1": ("weighted F1", _weighted_f1),  # by how often each occurs
    "uar": ("unweighted average recall", _recall),  # over the classes that occur
}


def class_metric(key: str, item: str) -> Metric:
    """One of `CLASS_METRICS`, in percent."""
    return accuracy(item) if key == "accuracy" else Metric(key, f"{item} {CLASS_METRICS[key][0]}", "%", "higher", 100.0)


def class_figures(confusions: np.ndarray) -> dict[str, float]:
    """All of `CLASS_METRICS` of confusions [C, C]."""
    counts = confusions.diagonal(), confusions.sum(1), confusions.sum(0)
    return {key: float(figure(*counts)) for key, (_, figure) in CLASS_METRICS.items()}


@dataclass(frozen=True)
class Confused:
    """A metric of classes as a function of how often each utterance counts (`downstream.outcomes.Outcomes`).

    `counts` [U, 3 C] are of each utterance the hits, the items and the guesses of every class."""

    ids: Sequence[str]
    counts: sparse.csr_array
    figure: ClassFigure

    @classmethod
    def of(cls, utterances: Iterable[tuple[str, Iterable[tuple[str, str]]]], key: str) -> "Confused":
        """A metric of `CLASS_METRICS`; of each utterance its id, and the true and the predicted class of every item."""
        ids: list[str] = []
        codes: dict[str, int] = {}
        rows: list[int] = []
        kinds: list[int] = []
        columns: list[int] = []
        for row, (name, own) in enumerate(utterances):
            ids.append(name)
            for true, predicted in own:
                entries = [(1, true), (2, predicted), *([(0, true)] if true == predicted else [])]
                rows += [row] * len(entries)
                kinds += [kind for kind, _ in entries]
                columns += [codes.setdefault(label, len(codes)) for _, label in entries]
        places = np.array(kinds, np.int64) * len(codes) + np.array(columns, np.int64)
        ones = np.ones(len(rows))
        counts = sparse.csr_array((ones, (rows, places)), shape=(len(ids), 3 * len(codes)))
        return cls(ids, counts, CLASS_METRICS[key][1])

    def values(self, times: np.ndarray) -> np.ndarray:
        """The metric where each utterance counts so many `times` [R, U] -> [R]."""
        return self.figure(*np.split((self.counts.T @ times.T).T, 3, axis=1))


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
        """Mean loss in nats, `CLASS_METRICS` in percent."""
        figures = {"loss": float(self.loss) / self.count, **class_figures(self.confusions.cpu().numpy())}
        return figures | {"accuracy": 100 * self.correct / self.count}


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
