"""How many frames a module gives for how many samples, and whether a batch changes them: found by calling it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mockingjay.upstreams.base import Field

Call = Callable[[list[Tensor]], Mapping[str, Tensor]]  # 1-D waveforms -> states [B, T, H] by label; or ValueError

LOUDNESS = 0.1
ROUNDING = 1e-5  # of the greatest value of a layer: what the order of additions may change
DOUBLINGS = 4  # of half a second of noise, until a module takes it


def noise(samples: int) -> Tensor:
    """Noise [samples], the same every time."""
    return LOUDNESS * torch.randn(samples, generator=torch.Generator().manual_seed(0))


def trial_samples(call: Call, stride: int, rate: int) -> int:
    """Samples of a waveform that the module takes: half a second, or where it fails on that up to four seconds."""
    first = max(rate // 2, 8 * stride)
    for samples in (first << doubling for doubling in range(DOUBLINGS)):
        try:
            call([noise(samples)])
        except ValueError as error:
            failed = error
        else:
            return samples
    raise failed


def measured_field(call: Call, stride: int, rate: int, samples: int) -> Field:
    """The samples behind a frame: n samples give floor((n - size) / stride) + 1 frames from `shortest` samples on.

    Where the count of frames grows is found by bisection from `samples`, which the module takes, then checked at other
    lengths. A module is believed to take every length above the shortest that it takes.

    Raises ValueError where the frames do not follow this rule."""

    def frames(samples: int) -> int:
        return num_frames(call([noise(samples)]))

    def follows(samples: int) -> bool:
        try:
            return frames(samples) == _expected(field, samples)
        except ValueError:
            return False

    count = frames(samples)
    for more in (8, 1):
        if (longer := frames(samples + more * stride)) != count + more:
            raise ValueError(
                f"gave {count} frames for {samples} samples and {longer} for {samples + more * stride}, "
                f"expected one more for each {stride} samples"
            )
    size = _first(lambda many: frames(many) > count, samples, samples + stride) - count * stride
    if size < 0:
        raise ValueError(f"gave {count} frames for {samples} samples, expected {samples // stride + 1} at most")
    field = Field(size, stride, rate)
    least = max(size, 1)
    field = replace(field, shortest=least if follows(least) else _first(follows, least, samples))
    near = (size + stride - 1, size + stride, field.shortest + 2 * stride - 1)
    far = (size + (count + 5) * stride - 1, size + (2 * count + 1) * stride, samples + samples // 3)
    for many in (*(many for many in near if many >= field.shortest), *far):
        check_frames(field, many, frames(many))
    return field


def num_frames(states: Mapping[str, Tensor]) -> int:
    """Frames of states, which all have as many."""
    return next(iter(states.values())).shape[1]


def check_frames(field: Field, samples: int, frames: int) -> None:
    """ValueError where a waveform gave another number of frames than it should."""
    expected = _expected(field, samples)
    if frames != expected:
        raise ValueError(f"gave {frames} frames for {samples} samples, expected {expected}")


def check_numbers(call: Call, samples: int) -> None:
    """ValueError where the states of noise are not finite, or are others the second time."""
    first, second = call([noise(samples)]), call([noise(samples)])
    for label, state in first.items():
        if not torch.isfinite(state).all():
            raise ValueError(f"gave numbers that are not finite as {label}: look at its weights")
        if not _close(state, second[label]):
            raise ValueError(f"gave other numbers as {label} for the same waveform again: is something in it random?")


def equal_in_batch(call: Call, field: Field, samples: int) -> bool:
    """Whether two waveforms, a long one and a short and soft one, give the same together as alone, but for rounding."""
    waves = [noise(samples), 0.3 * noise(max(samples * 5 // 8, field.shortest)).flip(0)]
    alone = [call([wave]) for wave in waves]
    try:
        together = call(waves)
    except ValueError:
        return False
    return all(
        _close(state[0], together[label][row, : state.shape[1]])
        for row, states in enumerate(alone)
        for label, state in states.items()
    )


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= ROUNDING * one.abs().max())


def _expected(field: Field, samples: int) -> int:
    return int(field.num_frames(torch.tensor(samples)))


def _first(test: Callable[[int], bool], low: int, high: int) -> int:
    """The least number above `low` from which on `test` holds; for `high` it does."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if test(middle) else (middle, high)
    return high
