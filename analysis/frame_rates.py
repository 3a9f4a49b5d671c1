"""Two views of one utterance whose frames come at different rates: paired by the times of their centres.

The original cuts its filterbank to the number of frames of a layer, though librosa's frame t is centred on 10 t ms and
a pooled convolutional frame on 12.5 + 10 t ms. Here centres decide."""

from dataclasses import dataclass

import numpy as np

from analysis.segments import microseconds, nearest

# Average over `kernel` frames every `stride`: the outputs of a wav2vec-like encoder's first six layers every 10 ms.
CONV_POOLING: dict[int, tuple[int, int]] = {1: (79, 32), 2: (39, 16), 3: (19, 8), 4: (9, 4), 5: (4, 2), 6: (2, 1)}
CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)
CONV_KERNELS = (10, 3, 3, 3, 3, 2, 2)


def conv_lengths(num_samples: int) -> list[int]:
    """Frames of a wav2vec-like encoder's seven layers for so many samples at 16 kHz."""
    lengths, frames = [], num_samples
    for kernel, stride in zip(CONV_KERNELS, CONV_STRIDES):
        frames = max((frames - kernel) // stride + 1, 0)
        lengths.append(frames)
    return lengths


def conv_times(layer: int, num_frames: int, sample_rate: int = 16000) -> np.ndarray:
    """Centres in seconds, float64 [T], of frames of layer 1 ... 7 of such an encoder, before pooling."""
    shift, width = 1, 1  # in samples: from frame to frame, and what one frame sees
    for kernel, stride in list(zip(CONV_KERNELS, CONV_STRIDES))[:layer]:
        width += (kernel - 1) * shift
        shift *= stride
    return (width / 2 + shift * np.arange(num_frames, dtype=np.float64)) / sample_rate


def pool_frames(states: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """The mean of `kernel` frames every `stride`, without padding: [T, ...] -> [(T - kernel) // stride + 1, ...].

    Of the dtype of `states`; sums are float64. Applied to frame times [T] it gives the times of the means.
    """
    if len(states) < kernel:
        return states[:0]
    windows = np.lib.stride_tricks.sliding_window_view(states, kernel, axis=0)[::stride]  # [S, ..., kernel]
    return windows.mean(-1, dtype=np.float64).astype(states.dtype)


@dataclass(frozen=True)
class FramePairs:
    """Frames of two views that belong together: `first` and `second` int64 [P], indices into either."""

    first: np.ndarray
    second: np.ndarray


def pair_frames(first: np.ndarray, second: np.ndarray) -> FramePairs:
    """Pairs of the frames with centres `first` [S] and `second` [T] seconds, ascending: each frame of the slower view
    with the nearest of the other.

    A frame that has none within half a shift of the faster view, at an end, is left out. Of two as near, the earlier.
    """
    one, other = microseconds(first), microseconds(second)
    if not len(one) or not len(other):
        return FramePairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    swapped = _shift(one) < _shift(other)
    slow, fast = (other, one) if swapped else (one, other)
    partner = nearest(fast, slow)
    near = 2 * np.abs(fast[partner] - slow) <= max(_shift(fast), 1)
    pair = np.flatnonzero(near), partner[near]
    return FramePairs(*(pair[::-1] if swapped else pair))


def average_onto(frames: np.ndarray, times: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames [T, D] with centres `times` [T] averaged at the slower centres `targets` [S], seconds.

    Each target takes the frames within half a target shift of it; one at exactly half weighs half, so a mean leans to
    neither side. Returns the means [P, D], of the dtype of `frames`, and the targets int64 [P] that had a frame.
    """
    centres, points = microseconds(times), microseconds(targets)
    shift = _shift(points)
    if shift < _shift(centres):
        raise ValueError(f"frames every {_shift(centres)} us cannot be averaged to every {shift} us: swap them")
    totals = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, 0, dtype=np.float64)])
    sums, counts = np.zeros((len(points), frames.shape[1])), np.zeros(len(points), dtype=np.int64)
    first, last = 2 * points - shift, 2 * points + shift
    for within in (True, False):  # with the frames on both edges, then without them
        low = np.searchsorted(2 * centres, first, "left" if within else "right")
        high = np.maximum(np.searchsorted(2 * centres, last, "right" if within else "left"), low)
        sums += totals[high] - totals[low]
        counts += high - low
    kept = np.flatnonzero(counts)
    return (sums[kept] / counts[kept, None]).astype(frames.dtype), kept


def _shift(times: np.ndarray) -> int:
    return int(times[1] - times[0]) if len(times) > 1 else 0
