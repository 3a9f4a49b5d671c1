"""Which frames of an utterance a token has, and the mean of a token's frames.

The default rule asks where a frame's centre lies. The original takes frame t for the interval [t, t + 1) strides: 12.5
ms early where a frame sees 25 ms. `original` keeps its rule in whole microseconds, `original_float` to the letter."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from utility.labels.alignment import TOLERANCE
from utility.text import cut

Rule = Literal["centre", "original", "original_float"]
Part = Literal[
    "mean", "middle_third", "first", "place25", "center", "place75", "last", "q1", "q2", "q3", "q4"
]  # of a token: all of it, its middle third, the frame at one of five places, a quarter
PARTS: tuple[Part, ...] = get_args(Part)
ORIGINAL_PARTS: tuple[Part, ...] = ("mean", "middle_third")  # of the original's rules of frames
TWELFTHS = {  # from and to which twelfth of a token a part reaches
    "mean": (0, 12),
    "middle_third": (4, 8),
    "q1": (0, 3),
    "q2": (3, 6),
    "q3": (6, 9),
    "q4": (9, 12),
}
PLACES = {"first": 0, "place25": 3, "center": 6, "place75": 9, "last": 12}  # in twelfths of a token


@dataclass(frozen=True)
class FrameRanges:
    """The frames of tokens: `first` int64 [N], and `stop` int64 [N], the one after the last; never empty."""

    first: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def token_frames(
    start: np.ndarray,
    end: np.ndarray,
    times: np.ndarray,
    part: Part = "mean",
    rule: Rule = "centre",
    duration: float | None = None,
    utterance: str = "",
) -> FrameRanges:
    """Frames of the tokens [start, end) float64 [N] seconds of one utterance whose frames have centres `times` [T].

    By `centre` a frame belongs to the part that holds its centre; where a part holds none, it has the frame nearest to
    its midpoint. Places (`first` ... `last`) have the nearest frame. The original's rules know `mean` and
    `middle_third`. A token that outlasts the audio (`duration` in seconds, else the end of the last frame) by up to 0.1
    s is cut. `ValueError` for one that goes further, or that does not end after it starts, or for a part the rule
    lacks.
    """
    start, end, times = (np.asarray(x, dtype=np.float64) for x in (start, end, times))
    if not len(times):
        raise ValueError(f"{cut(utterance) or 'an utterance'}: no frames, so no token has any")
    shift = round(float(times[1] - times[0]), 9) if len(times) > 1 else 0.0  # 0.045 - 0.025 is not 0.02
    if rule == "centre":
        start, end = _inside(start, end, float(times[-1]) + shift if duration is None else duration, utterance)
        return _by_centre(start, end, times, part)
    if part not in ORIGINAL_PARTS:
        raise ValueError(f"part {part} of a token needs the rule centre, not {rule}")
    if shift <= 0:
        raise ValueError(f"{cut(utterance) or 'an utterance'}: {len(times)} frames do not say their shift")
    return original_frames(start, end, len(times), shift, part == "middle_third", rule == "original", utterance)


def original_frames(
    start: np.ndarray,
    end: np.ndarray,
    num_frames: int,
    stride: float,
    middle_third: bool = False,
    exact: bool = True,
    utterance: str = "",
) -> FrameRanges:
    """The original's rule for tokens [start, end) float64 [N] seconds of frames every `stride` seconds.

    first = floor(start / stride), stop = ceil(end / stride); the middle third loses floor((stop - first + 1) / 3)
    frames at each end; an empty range gets one frame. `exact` counts whole microseconds; without it times are divided
    in floating point, where 0.58 / 0.02 is less than 29. `ValueError` as of `token_frames`.
    """
    if exact:
        start, end = _inside(start, end, num_frames * stride, utterance)
        step = round(stride * 1e6)
        if abs(stride * 1e6 - step) > 1e-3:
            raise ValueError(f"frames every {stride:g} s, no whole microseconds: the original's rule would drift")
        first, stop = microseconds(start) // step, -(-microseconds(end) // step)
    else:
        first, stop = (np.floor(start / stride)).astype(np.int64), np.ceil(end / stride).astype(np.int64)
    if middle_third:
        outer = (stop - first + 1) // 3
        first, stop = first + outer, stop - outer
    stop = stop + (stop == first)
    stop = np.where(stop == num_frames + 1, num_frames, stop)
    if exact:  # a token that starts in what is cut has the last frame
        first, stop = np.minimum(first, num_frames - 1), np.minimum(stop, num_frames)
    outside = (first < 0) | (stop > num_frames) | (stop <= first)
    if outside.any():
        raise ValueError(_beyond(utterance, start[outside][0], end[outside][0], num_frames * stride))
    return FrameRanges(first, stop)


def microseconds(seconds: np.ndarray | float) -> np.ndarray:
    """Seconds as whole microseconds, int64: comparisons and quotients of these are exact."""
    return np.rint(np.asarray(seconds, dtype=np.float64) * 1e6).astype(np.int64)


def nearest(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """For each of `points` [N] the index int64 [N] of the nearest of the ascending `values` [T]; the earlier of two."""
    right = np.searchsorted(values, points).clip(1, max(len(values) - 1, 1))
    if len(values) == 1:
        return np.zeros(len(points), dtype=np.int64)
    return right - (points - values[right - 1] <= values[right] - points)


def _by_centre(start: np.ndarray, end: np.ndarray, times: np.ndarray, part: Part) -> FrameRanges:
    """All in twelfths of a microsecond: thirds and quarters of whole microseconds are whole numbers of these."""
    centres, begin = 12 * microseconds(times), 12 * microseconds(start)
    twelfth = microseconds(end) - microseconds(start)
    if part in PLACES:
        first = nearest(centres, begin + PLACES[part] * twelfth)
        return FrameRanges(first, first + 1)
    low, high = (begin + edge * twelfth for edge in TWELFTHS[part])
    first, stop = np.searchsorted(centres, low), np.searchsorted(centres, high)
    middle = nearest(centres, (low + high) // 2)
    empty = first == stop
    return FrameRanges(np.where(empty, middle, first), np.where(empty, middle + 1, stop))


def _inside(start: np.ndarray, end: np.ndarray, duration: float, utterance: str) -> tuple[np.ndarray, np.ndarray]:
    """Start and end [N] within the audio; `ValueError` for tokens beyond it, or empty."""
    late = microseconds(end) > microseconds(duration + TOLERANCE)
    if late.any():
        raise ValueError(_beyond(utterance, start[late][0], end[late][0], duration))
    wrong = ~((start >= 0) & (end > start))
    if wrong.any():
        what = f"a token from {start[wrong][0]:g} to {end[wrong][0]:g} s"
        raise ValueError(f"{cut(utterance) or 'an utterance'}: {what}: must start at 0 or later and end after that")
    return np.minimum(start, duration), np.minimum(end, duration)


def _beyond(utterance: str, start: float, end: float, duration: float) -> str:
    what = f"a token from {start:g} to {end:g} s, but the audio ends at {duration:.3f} s"
    return f"{cut(utterance) or 'an utterance'}: {what}; they are not of the same recording"


def pool_segments(states: np.ndarray, ranges: FrameRanges) -> np.ndarray:
    """The unweighted mean of each token's frames: states [T, ...] of one utterance -> float32 [N, ...].

    Sums are float64. Nothing but one utterance is held: call it for each and append.
    """
    pooled = np.empty((len(ranges), *states.shape[1:]), dtype=np.float32)
    for mean, first, stop in zip(pooled, ranges.first.tolist(), ranges.stop.tolist(), strict=True):
        mean[...] = states[first:stop].mean(0, dtype=np.float64)
    return pooled
