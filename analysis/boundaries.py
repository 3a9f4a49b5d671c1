"""Word boundaries without training: where neighbouring frames change most."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import scipy.signal

from analysis.centring import DimensionStatistics, centred
from analysis.segments import microseconds

Distance = Literal["euclidean", "cosine"]
Times = Literal["centre", "original", "literature"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)
WINDOWS = (1, 2, 4, 6, 8, 16)
PROMINENCES = (0.0, 1e-5, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Setting:
    """Which distance of neighbouring frames, averaged over how many, and how far a peak must stand out."""

    distance: Distance
    window: int
    prominence: float


@dataclass(frozen=True)
class BoundaryTimes:
    """Boundaries of several utterances: seconds float64 [N], ascending in each, and whose they are int64 [N]."""

    seconds: np.ndarray
    utterance: np.ndarray
    num_utterances: int

    @property
    def microseconds(self) -> np.ndarray:
        """Whole microseconds int64 [N], in which distances are compared."""
        return microseconds(self.seconds)

    @property
    def of_each(self) -> list[np.ndarray]:
        """The seconds of each utterance, float64 [n]."""
        return _split(self.seconds, self.utterance, self.num_utterances)


@dataclass(frozen=True)
class Peaks:
    """All peaks of one smoothed distance in all utterances, with their prominences float64 [N]."""

    times: BoundaryTimes
    prominence: np.ndarray

    def above(self, prominence: float) -> BoundaryTimes:
        """The boundaries that stand out at least so far."""
        kept = self.prominence >= prominence
        return BoundaryTimes(self.times.seconds[kept], self.times.utterance[kept], self.times.num_utterances)


def distance_curves(states: np.ndarray, statistics: DimensionStatistics) -> np.ndarray:
    """Distances of neighbouring frames of one utterance: states [T, L, D] -> float32 [2, L, T - 1], as `DISTANCES`.

    Dimensions are z-scored by `statistics` of rows [L, D] over all frames of all utterances, which a first pass
    gathers; a constant dimension adds nothing. Cosine: 1 - cos, and 1 beside a zero frame. Nothing else of the states
    is kept.
    """
    scored = centred(states, statistics, "standard")
    one, other = scored[:-1], scored[1:]
    lengths = np.linalg.norm(scored, axis=2)
    product, scale = np.einsum("tld,tld->tl", one, other), lengths[:-1] * lengths[1:]
    cosine = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    return np.stack([np.linalg.norm(other - one, axis=2).T, 1 - cosine.T]).astype(np.float32)


def smoothed(curve: np.ndarray, window: int) -> np.ndarray:
    """Means of `window` neighbours of a curve [S], without padding: float64 [S - window + 1], empty where that is
    none."""
    if len(curve) < window:
        return np.zeros(0)
    sums = np.append(0.0, np.cumsum(curve, dtype=np.float64))
    return (sums[window:] - sums[:-window]) / window


def boundary_times(peaks: np.ndarray, window: int, times: np.ndarray, rule: Times = "centre") -> np.ndarray:
    """Times in seconds, float64 [N], of peaks [N] of a curve smoothed over `window`; frames have centres `times` [T].

    A peak i is the mean of distances between frames i ... i + window, so by `centre` its time is the mean of the
    centres of frames i and i + window. `original`: (i + window // 2) shifts, which is early by half of what a frame
    sees and more. `literature`: half a shift after that, as the original writes it for the scoring of others.
    """
    if rule == "centre":
        return (times[peaks] + times[peaks + window]) / 2
    shift = round(float(times[1] - times[0]), 9) if len(times) > 1 else 0.0
    frames = peaks + window // 2
    return frames * shift if rule == "original" else (frames + 0.5) * shift


def find_boundaries(
    curves: Sequence[np.ndarray], times: Sequence[np.ndarray], window: int, rule: Times = "centre"
) -> Peaks:
    """All peaks of the distance curves [T - 1] of several utterances, smoothed over `window`, at any prominence.

    One search serves all utterances and all prominences. `times`: centres [T] of each utterance's frames. `ValueError`
    where curves and times do not fit.
    """
    parts: list[np.ndarray] = []
    for curve, centres in zip(curves, times, strict=True):
        if len(centres) != len(curve) + 1:
            raise ValueError(f"a curve of {len(curve)} distances does not fit {len(centres)} frame times")
        parts += [smoothed(curve, window), np.array([np.inf])]  # no peak, and no search for its feet, goes beyond
    line = np.concatenate(parts) if parts else np.zeros(0)
    peaks, _ = scipy.signal.find_peaks(line)
    peaks = peaks[np.isfinite(line[peaks])]
    prominence = scipy.signal.peak_prominences(line, peaks)[0]
    starts = np.cumsum([0, *(len(part) for part in parts)])[:-1:2]
    utterance = np.searchsorted(starts, peaks, side="right") - 1
    found = [
        boundary_times(own, window, centres, rule)
        for own, centres in zip(_split(peaks - starts[utterance], utterance, len(curves)), times)
    ]
    seconds = np.concatenate(found) if found else np.zeros(0)
    return Peaks(BoundaryTimes(seconds, utterance, len(curves)), prominence)


def _split(values: np.ndarray, utterance: np.ndarray, count: int) -> list[np.ndarray]:
    return np.split(values, np.searchsorted(utterance, np.arange(1, count))) if count else []


def interval_lines(boundaries: np.ndarray, num_frames: int, shift: float = 0.02) -> list[str]:
    """What the original writes for the scoring of others: lines `start stop xxx` in 10 ms, for frames of 20 ms.

    Boundary frame b becomes 2 b + 1, the middle of its interval of `shift` seconds (half units are rounded up); the
    first interval starts at 0, the last ends at the middle of the last frame and is there once: the original writes it
    twice (fault A23).
    """
    middles = (np.append(boundaries, num_frames - 1) + 0.5) * shift
    edges = [0, *np.floor(middles * 100 + 0.5 + 1e-6).astype(int).tolist()]
    return [f"{start} {stop} xxx" for start, stop in pairwise(edges) if stop > start]


def uniform_boundaries(durations: np.ndarray, rate: float) -> BoundaryTimes:
    """`rate` boundaries a second at equal distances in utterances of `durations` [U] seconds: a baseline."""
    return boundaries_of(
        [(np.arange(round(d * rate)) + 0.5) * (d / max(round(d * rate), 1)) for d in durations.tolist()]
    )


def random_boundaries(durations: np.ndarray, rate: float, generator: np.random.Generator) -> BoundaryTimes:
    """As many, at times drawn uniformly."""
    return boundaries_of([np.sort(generator.uniform(0, d, round(d * rate))) for d in durations.tolist()])


def boundaries_of(seconds: Sequence[np.ndarray]) -> BoundaryTimes:
    """Times in seconds of each utterance as `BoundaryTimes`."""
    counts = [len(own) for own in seconds]
    joined = np.concatenate([np.zeros(0), *seconds])
    return BoundaryTimes(joined, np.repeat(np.arange(len(counts)), counts), len(counts))
