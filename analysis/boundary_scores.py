"""How well predicted boundaries fit those of an alignment: counts of every utterance, and what follows from their
sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numba import njit

from analysis.boundaries import (
    DISTANCES,
    PROMINENCES,
    WINDOWS,
    BoundaryTimes,
    Distance,
    Peaks,
    Setting,
    Times,
    boundaries_of,
    find_boundaries,
)
from analysis.segments import microseconds
from utility.labels.alignment import TimedLabels
from utility.labels.phone_sets import SILENCES
from utility.text import short

Scoring = Literal["standard", "literature", "original"]
Criterion = Literal["r_value", "f1"]
TOLERANCE = 0.02  # seconds
UTTERANCE = 1 << 40  # on the line of all utterances, from one to the next: no times of two are near


@dataclass(frozen=True)
class References:
    """What an alignment says of utterances `ids` [U]: their boundaries, their tokens (start and end in seconds [n, 2]),
    and `durations` float64 [U] in seconds."""

    ids: tuple[str, ...]
    boundaries: BoundaryTimes
    tokens: tuple[np.ndarray, ...]
    durations: np.ndarray


@dataclass(frozen=True)
class BoundaryCounts:
    """Hits, predicted and reference boundaries of each utterance, int64 [U]; sums and resampled sums give the
    scores."""

    hits: np.ndarray
    predicted: np.ndarray
    reference: np.ndarray

    def take(self, utterances: np.ndarray) -> "BoundaryCounts":
        """The counts of chosen utterances, repeated ones several times: for a bootstrap."""
        return BoundaryCounts(self.hits[utterances], self.predicted[utterances], self.reference[utterances])

    @property
    def precision(self) -> float:
        """Hits over predicted boundaries; 0 without any."""
        return _ratio(self.hits.sum(), self.predicted.sum())

    @property
    def recall(self) -> float:
        """Hits over reference boundaries; 0 without any."""
        return _ratio(self.hits.sum(), self.reference.sum())

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return _ratio(2 * self.hits.sum(), self.predicted.sum() + self.reference.sum())

    @property
    def over_segmentation(self) -> float:
        """Recall over precision, less 1: -1 where nothing is predicted."""
        return _ratio(self.predicted.sum(), self.reference.sum()) - 1

    @property
    def r_value(self) -> float:
        """Both in one; see `r_value`."""
        return r_value(self.recall, self.over_segmentation)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def r_value(recall: float, over_segmentation: float) -> float:
    """1 - (sqrt((1 - R)^2 + OS^2) + |R - 1 - OS| / sqrt(2)) / 2, of fractions (Räsänen et al., Interspeech 2009).

    1 is perfect; far too many boundaries make it negative, though their F1 is high.
    """
    ideal = np.hypot(1 - recall, over_segmentation)
    line = abs(recall - 1 - over_segmentation) / 2**0.5
    return float(1 - (ideal + line) / 2)


def references_of(
    utterances: Sequence[tuple[str, TimedLabels]], durations: Sequence[float]
) -> tuple[References, tuple[str, ...]]:
    """References from (id, labelled segments in seconds), and ids of the utterances that are left out.

    Boundaries are the starts and ends of all segments, each time once; silence has none of its own. Utterances with
    unknown words (`spn`, `<unk>`) are left out, and so are those without a word. `ValueError` for an id that comes
    twice, and where none is left.
    """
    ids, boundaries, tokens, lengths, skipped = [], [], [], [], []
    seen: set[str] = set()
    for (key, segments), duration in zip(utterances, durations, strict=True):
        if key in seen:
            raise ValueError(f"utterance {short(key)} comes twice")
        seen.add(key)
        unknown = any(label.lower() == "spn" or label[:1] + label[-1:] == "<>" for _, _, label in segments)
        spoken = [(start, end) for start, end, label in segments if label.lower() not in SILENCES]
        if unknown or not spoken:
            skipped.append(key)
            continue
        ids.append(key)
        tokens.append(np.array(spoken, dtype=np.float64))
        boundaries.append(np.unique(tokens[-1]))
        lengths.append(duration)
    if not ids:
        raise ValueError(f"no utterance of {len(skipped)} has words, and all of them known: no boundary to score")
    return References(tuple(ids), boundaries_of(boundaries), tuple(tokens), np.array(lengths)), tuple(skipped)


def score_boundaries(
    predicted: BoundaryTimes, references: References, scoring: Scoring = "standard", tolerance: float = TOLERANCE
) -> BoundaryCounts:
    """Counts of predicted against reference boundaries of the same utterances, in the same order.

    `standard`: the greatest number of pairs, one prediction and one reference each, at most `tolerance` seconds apart,
    in whole microseconds. `literature`: the same in 10 ms frames, without what lies on the utterance's last frame.
    `original`: one reference serves many predictions, and recall is right predictions over these and the references
    without any, in floating point; references then counts these. `ValueError` for different numbers of utterances.
    """
    reference, count = references.boundaries, len(references.ids)
    if predicted.num_utterances != count or reference.num_utterances != count:
        raise ValueError(f"boundaries of {predicted.num_utterances} utterances, but references of {count}")
    if scoring == "original":
        return _original(predicted, reference, tolerance)
    width = int(microseconds(tolerance))
    lines = [(some.microseconds, some.utterance) for some in (predicted, reference)]
    if scoring == "literature":
        lines, width = [_in_frames(*line, references.durations) for line in lines], width // 10000
    one, other = (places + UTTERANCE * utterance for places, utterance in lines)
    low, high = np.searchsorted(other, one - width), np.searchsorted(other, one + width, side="right")
    ours, theirs = (utterance for _, utterance in lines)
    return _counts(ours[_matched(low, high)], ours, theirs, count)


def token_scores(predicted: BoundaryTimes, references: References, tolerance: float = TOLERANCE) -> BoundaryCounts:
    """Counts of tokens with both ends right: intervals between neighbouring predictions, with the utterance's ends as
    boundaries, against the tokens of the references, one to one, each end within `tolerance` seconds."""
    spans, owners = [], []
    for index, (times, duration) in enumerate(zip(predicted.of_each, references.durations, strict=True)):
        edges = np.unique([0, *microseconds(times).tolist(), int(microseconds(duration))])
        spans += list(pairwise(edges.tolist()))
        owners += [index] * (len(edges) - 1)
    owner, truth = np.array(owners), np.repeat(np.arange(len(references.ids)), [len(t) for t in references.tokens])
    one = np.array(spans) + UTTERANCE * owner[:, None]
    other = microseconds(np.concatenate(references.tokens)) + UTTERANCE * truth[:, None]
    width = int(microseconds(tolerance))
    low = [np.searchsorted(other[:, side], one[:, side] - width) for side in (0, 1)]
    high = [np.searchsorted(other[:, side], one[:, side] + width, side="right") for side in (0, 1)]
    hits = owner[_matched(np.maximum(*low), np.minimum(*high))]
    return _counts(hits, owner, truth, len(references.ids))


def _counts(hits: np.ndarray, predicted: np.ndarray, reference: np.ndarray, count: int) -> BoundaryCounts:
    return BoundaryCounts(*(np.bincount(whose, minlength=count) for whose in (hits, predicted, reference)))


@njit(nogil=True, cache=True)
def _matched(low, high):
    """Which of N ascending predictions get a reference of their own among low ... high - 1 [N]; both edges ascend, so
    the first that is free is the best, and no other choice matches more."""
    matched = np.zeros(len(low), dtype=np.bool_)
    free = 0
    for i in range(len(low)):
        free = max(free, low[i])
        if free < high[i]:
            matched[i] = True
            free += 1
    return matched


def _in_frames(times: np.ndarray, utterance: np.ndarray, durations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of 10 ms frames, each once, of which a boundary is the last, and whose they are; the utterance's last
    frame is no boundary."""
    frames = np.rint(times / 10000).astype(np.int64) - 1
    inner = frames < np.rint(durations * 100).astype(np.int64)[utterance] - 1
    owners, places = np.unique(np.stack([utterance, frames])[:, inner], axis=1)
    return places, owners


def _original(predicted: BoundaryTimes, reference: BoundaryTimes, tolerance: float) -> BoundaryCounts:
    right, missed = [], []
    for ours, theirs in zip(predicted.of_each, reference.of_each):
        near = np.abs(ours[:, None] - theirs[None]) <= tolerance  # [predictions, references]
        right.append(near.any(1).sum())
        missed.append((~near.any(0)).sum())
    hits = np.array(right, dtype=np.int64)
    owners = np.bincount(predicted.utterance, minlength=predicted.num_utterances)
    return BoundaryCounts(hits, owners, hits + np.array(missed, dtype=np.int64))


@dataclass(frozen=True)
class Segmentation:
    """One layer's distance curves of utterances `ids`: for each distance, as `DISTANCES`, a curve [T - 1] per
    utterance; `times` are the centres [T] of their frames."""

    ids: tuple[str, ...]
    curves: tuple[Sequence[np.ndarray], ...]
    times: Sequence[np.ndarray]

    def peaks(self, distance: str, window: int, rule: Times = "centre") -> Peaks:
        """All peaks under one distance and window."""
        return find_boundaries(self.curves[DISTANCES.index(distance)], self.times, window, rule)


def choose_setting(
    dev: Segmentation,
    references: References,
    criterion: Criterion = "r_value",
    scoring: Scoring = "standard",
    rule: Times = "centre",
    prominences: Sequence[float] = PROMINENCES,
    windows: Sequence[int] = WINDOWS,
    distances: Sequence[Distance] = DISTANCES,
) -> tuple[Setting, BoundaryCounts]:
    """The setting with the best score on dev utterances, the first of equals, and its counts there.

    F1 alone favours too many boundaries. `ValueError` where curves and references are of different utterances.
    """
    _check_ids(dev, references)
    best: tuple[Setting, BoundaryCounts] | None = None
    for distance in distances:
        for window in windows:
            peaks = dev.peaks(distance, window, rule)
            for prominence in prominences:
                counts = score_boundaries(peaks.above(prominence), references, scoring)
                if best is None or getattr(counts, criterion) > getattr(best[1], criterion):
                    best = Setting(distance, window, prominence), counts
    assert best is not None
    return best


def score_setting(
    test: Segmentation,
    references: References,
    setting: Setting,
    chosen_on: Sequence[str],
    scoring: Scoring = "standard",
    rule: Times = "centre",
) -> BoundaryCounts:
    """Counts of a setting on test utterances; `ValueError` where one of them is among those it was chosen on."""
    _check_ids(test, references)
    seen = set(chosen_on) & set(test.ids)
    if seen:
        raise ValueError(f"utterance {short(min(seen))} is scored, but the setting was chosen on it")
    predicted = test.peaks(setting.distance, setting.window, rule).above(setting.prominence)
    return score_boundaries(predicted, references, scoring)


def _check_ids(curves: Segmentation, references: References) -> None:
    if curves.ids != references.ids:
        raise ValueError("curves and references are not of the same utterances in the same order: match them by id")
