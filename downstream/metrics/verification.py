"""Error rates of trials: equal error rate, detection cost, and both where speakers count several times."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from utility.labels.trials import PartTrials
from utility.runs import Metric
from utility.text import short

EER = Metric("eer", "equal error rate", "%", "lower")
PRIOR = 0.05  # of a target, in the detection cost; both errors cost 1
BLOCK = 1 << 13  # trials whose embeddings are multiplied at once


class ErrorCurve:
    """False acceptances and rejections of trials at every threshold.

    A threshold accepts what is not below it. The first is above all scores, the others are the distinct scores, the
    highest first."""

    def __init__(self, scores: np.ndarray, target: np.ndarray):
        self.order = np.argsort(-scores, kind="stable")
        self.target = target[self.order]
        ordered = scores[self.order]
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # where the trials of a score end
        self.thresholds = np.append(np.inf, ordered[self.ends])

    def rates(self, times: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Shares of nontargets accepted and of targets rejected [K + 1], where each trial counts `times` [N] (once).

        NaN where no trial of a kind counts."""
        counts = np.ones(len(self.order)) if times is None else times[self.order].astype(np.float64)
        accepted = [np.append(0.0, np.cumsum(counts * kind)[self.ends]) for kind in (~self.target, self.target)]
        with np.errstate(invalid="ignore"):
            false, true = (each / each[-1] for each in accepted)
        return false, 1 - true


def equal_error_rate(false: np.ndarray, missed: np.ndarray) -> tuple[float, int, float]:
    """Where the lines between the points of a curve cross, falsely accepted = missed, a share; NaN without a curve.

    Also the place of the point behind the crossing, and how far between that and the one before it lies."""
    gap = false - missed  # rises from -1 to 1
    if not np.isfinite(gap[-1]):
        return float("nan"), 1, 1.0
    place = int(np.argmax(gap >= 0))
    share = float(gap[place - 1] / (gap[place - 1] - gap[place]))
    return float(false[place - 1] + share * (false[place] - false[place - 1])), place, share


def detection_cost(false: np.ndarray, missed: np.ndarray) -> float:
    """The lowest cost of any threshold beside that of answering always the same: 1 is no use at all."""
    return float((PRIOR * missed + (1 - PRIOR) * false).min() / min(PRIOR, 1 - PRIOR))


def cosines(embeddings: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of the embeddings [U, D] of each trial [N], float32; 0 where one has no direction."""
    length = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    length[length == 0] = 1
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        one, other = first[start : start + BLOCK], second[start : start + BLOCK]
        products = np.einsum("nd,nd->n", embeddings[one], embeddings[other], dtype=np.float64)
        found[start : start + BLOCK] = products / (length[one] * length[other])
    return found


@dataclass(frozen=True)
class TrialScore:
    """Embeddings of utterances, by id, and the trials of the part they are of: scored when all are there.

    Memory holds the embeddings of one part, float32 [U, D]: 10 MB for 5,000 of 512."""

    parts: Mapping[str, PartTrials]
    ids: Sequence[str]
    embeddings: Sequence[Tensor]  # of batches [B, D]

    def __add__(self, other: "TrialScore") -> "TrialScore":
        return TrialScore(self.parts, [*self.ids, *other.ids], [*self.embeddings, *other.embeddings])

    @property
    def trials(self) -> PartTrials:
        """Those of the part that the utterances are of: dev is never scored with the trials of test."""
        return next(part for part in self.parts.values() if self.ids[0] in part.rows)

    @cached_property
    def _scored(self) -> tuple[np.ndarray, np.ndarray]:
        """The trials of which both embeddings are there, by their places, and their scores."""
        trials, embeddings = self.trials, torch.cat([*self.embeddings]).numpy()
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"the embedding of {short(self.ids[int(np.argmin(finite))])} is not finite: no trial can be scored"
            )
        place = np.full(len(trials.ids), -1)
        place[[trials.rows[key] for key in self.ids]] = np.arange(len(self.ids))
        there = np.flatnonzero((place[trials.first] >= 0) & (place[trials.second] >= 0))
        return there, cosines(embeddings, place[trials.first[there]], place[trials.second[there]])

    @property
    def count(self) -> int:
        """Trials."""
        return len(self._scored[0])

    @cached_property
    def curve(self) -> ErrorCurve:
        """Both kinds of errors at every threshold."""
        there, scores = self._scored
        return ErrorCurve(scores, self.trials.target[there])

    def figures(self) -> dict[str, float]:
        """Equal error rate in percent, its threshold, the detection cost, how many trials of both kinds; and as "loss"
        the cosine loss, 1 - score of targets, what is above 0 of nontargets, both kinds alike."""
        there, scores = self._scored
        target = self.trials.target[there]
        rates = self.curve.rates()
        rate, place, share = equal_error_rate(*rates)
        before, behind = self.curve.thresholds[place - 1 : place + 1].tolist()
        threshold = behind if np.isinf(before) else before + share * (behind - before)
        loss = float(np.mean(1 - scores[target])) / 2 + float(np.mean(np.maximum(scores[~target], 0))) / 2
        cost, targets = detection_cost(*rates), int(target.sum())
        counts = {"targets": targets, "nontargets": len(target) - targets}
        return {"loss": loss, "eer": 100 * rate, "threshold": threshold, "min_dcf": cost, **counts}

    def rows(self) -> Iterable[Sequence[str]]:
        """Of each trial its id, "id id", and what `COLUMNS` names."""
        trials = self.trials
        for at, score in zip(*(each.tolist() for each in self._scored)):
            one, other = int(trials.first[at]), int(trials.second[at])
            label = str(int(trials.target[at]))
            yield (
                f"{trials.ids[one]} {trials.ids[other]}",
                label,
                f"{score:.9g}",
                trials.speakers[one],
                trials.speakers[other],
            )


COLUMNS = ("label", "score", "speaker_1", "speaker_2")


@dataclass(frozen=True)
class TrialOutcomes:
    """The equal error rate in percent as a function of how often each speaker counts: `ids` are the speakers [S].

    A target trial counts as often as its speaker, a nontarget one as often as both together, the product: as if the
    speakers had been drawn anew, of whom two of one name make no trial with each other (the bootstrap of U-statistics,
    Bickel and Freedman 1981)."""

    ids: Sequence[str]
    first: np.ndarray  # the speaker of each trial's utterances [N]
    second: np.ndarray
    curve: ErrorCurve

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, str]]) -> "TrialOutcomes":
        """Those of the rows of a file of predictions."""
        codes: dict[str, int] = {}
        first, second, scores, target = [], [], [], []
        for row in rows:
            first.append(codes.setdefault(row["speaker_1"], len(codes)))
            second.append(codes.setdefault(row["speaker_2"], len(codes)))
            scores.append(np.float32(row["score"]))
            target.append(row["label"] == "1")
        curve = ErrorCurve(np.array(scores, np.float32), np.array(target, bool))
        names = sorted(codes)
        place = np.zeros(len(names), np.int64)
        place[[codes[name] for name in names]] = np.arange(len(names))
        return cls(names, place[first], place[second], curve)

    @property
    def speakers(self) -> Sequence[str]:
        """Who is resampled: the ids themselves."""
        return self.ids

    def values(self, times: np.ndarray) -> np.ndarray:
        """See `Outcomes`; `times` [R, S] are of speakers. Of one speaker alone there is no value: NaN."""
        target = np.empty(len(self.first), bool)
        target[self.curve.order] = self.curve.target
        found = np.empty(len(times))
        for number, row in enumerate(times):
            counts = np.where(target, row[self.first], row[self.first] * row[self.second])
            found[number] = 100 * equal_error_rate(*self.curve.rates(counts))[0]
        return found
