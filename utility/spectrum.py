"""Frame-wise signal processing: windows, mel filters, cepstra, deltas and normalisation, exact whatever the batch."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import scipy.fft
import torch
from torch import Tensor

DELTA_REACH = 4  # frames either side of the one a delta is fitted at
KALDI_LOW_FREQUENCY = 20.0


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in true float32, whatever autocast or matmul precision the training step around has chosen."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def reflected(index: Tensor, length: Tensor) -> Tensor:
    """Where sample `index` of a signal reflected at both ends for ever lies in it; `numpy.pad` mode reflect."""
    period = (2 * length - 2).clamp(min=1)
    inside = index % period
    return torch.minimum(inside, period - inside)


def kaldi_mel(sample_rate: int, fft_size: int, bands: int) -> np.ndarray:
    """Kaldi's triangles, straight in mel = 1127 ln(1 + f / 700), from 20 Hz to half the rate: float64 [bands, bins]."""
    low, high = (1127 * np.log1p(f / 700) for f in (KALDI_LOW_FREQUENCY, sample_rate / 2))
    edges = np.linspace(low, high, bands + 2)[:, None]
    mel = 1127 * np.log1p(np.arange(fft_size // 2) * (sample_rate / fft_size) / 700)
    width = edges[1] - edges[0]
    filters = np.minimum(mel - edges[:-2], edges[2:] - mel) / width
    return np.pad(filters.clip(min=0), ((0, 0), (0, 1)))  # Kaldi leaves the last bin out


def kaldi_window(size: int) -> np.ndarray:
    """Kaldi's povey window, float64 [size]."""
    return np.hanning(size) ** 0.85


def hann_window(size: int) -> np.ndarray:
    """The periodic Hann window, float64 [size]."""
    return np.hanning(size + 1)[:-1]


def cosine_transform(bands: int, coefficients: int) -> np.ndarray:
    """The orthonormal DCT-II as a matrix for the right-hand side, float64 [bands, coefficients]."""
    return scipy.fft.dct(np.eye(bands), norm="ortho")[:, :coefficients]


def kaldi_lifter(coefficients: int, lifter: float = 22.0) -> np.ndarray:
    """Kaldi's cepstral lifter, float64 [coefficients]."""
    return 1 + 0.5 * lifter * np.sin(np.pi * np.arange(coefficients) / lifter)


def add_deltas(features: Tensor, lengths: Sequence[int], orders: int) -> None:
    """Fill features [B, T, (1 + orders) * dim] behind their first part with its time derivatives of orders 1 (and 2).

    Savitzky-Golay: the derivative of a polynomial of the same order fitted to 9 frames. Edge frames take the polynomial
    fitted to the first or last 9 frames (librosa's and scipy's mode interp), utterances of fewer than 9 frames the one
    fitted to all of theirs, and 0 where they have no more than `order`. As the derivative of order k of a polynomial of
    order k is constant, each takes the value at the nearest centre. Frames beyond lengths are unspecified.
    """
    dim, reach = features.shape[2] // (1 + orders), 2 * DELTA_REACH
    static, derivatives = features[:, :, :dim], features[:, :, dim:]
    for rows, frames in _tiles(static[:, : max(static.shape[1] - reach, 0)]):
        near = static[rows, frames.start : frames.stop + reach].contiguous()
        centres = derivatives[rows, frames.start + DELTA_REACH : frames.stop + DELTA_REACH]
        for derivative, result in zip((_slope, _curvature), centres.split(dim, 2)):
            derivative(near, result)
    ends, side = np.array(lengths)[:, None], np.arange(DELTA_REACH)[None].repeat(len(lengths), 0)
    edges = np.concatenate([side, ends - 1 - side], 1).clip(0, static.shape[1] - 1)  # [B, 8]
    nearest = np.minimum(edges.clip(DELTA_REACH), (ends - 1 - DELTA_REACH).clip(0))
    every = torch.arange(len(lengths), device=features.device)[:, None]
    derivatives[every, torch.from_numpy(edges)] = derivatives[every, torch.from_numpy(nearest)]
    for row, length in enumerate(lengths):
        if length <= reach:
            head = static[row, :length]
            for order, result in enumerate(derivatives[row, :length].split(dim, 1), 1):
                weights = _short_weights(order, length)
                result[:] = sum(weight * (frame - head[0]) for weight, frame in zip(weights[1:], head[1:]))


def _tiles(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut [B, T, D] into tiles of utterances and frames: small enough for a core's cache on the CPU, long elsewhere."""
    values = 1 << 16 if x.device.type == "cpu" else 1 << 25
    frames = max(min(values // x.shape[2], 1024), 1)  # whatever the batch
    rows = max(values // (min(frames, max(x.shape[1], 1)) * x.shape[2]), 1)
    for row in range(0, x.shape[0], rows):
        for frame in range(0, x.shape[1], frames):
            yield slice(row, row + rows), slice(frame, min(frame + frames, x.shape[1]))


# Differences first: a constant dimension has a derivative of exactly 0. Products and sums are rounded one by one, never
# fused, which gives the same bits at any position of any tensor.
def _slope(x: Tensor, out: Tensor) -> None:
    shifted = _shifted(x, out)
    total = shifted(1) - shifted(-1)
    for n in range(2, DELTA_REACH + 1):
        total += (shifted(n) - shifted(-n)).mul_(n)
    torch.div(total, 60, out=out)


def _curvature(x: Tensor, out: Tensor) -> None:
    shifted = _shifted(x, out)
    twice = 2 * shifted(0)
    first, *others = (
        (shifted(n) + shifted(-n)).sub_(twice).mul_(weight) for n, weight in enumerate((-17, -8, 7, 28), 1)
    )
    for other in others:
        first += other
    torch.div(first, 462, out=out)


def _shifted(x: Tensor, out: Tensor) -> Callable[[int], Tensor]:
    return lambda n: x.narrow(1, DELTA_REACH + n, out.shape[1])


@functools.cache
def _short_weights(order: int, length: int) -> list[float]:
    """Derivative of a polynomial of that order fitted to so few frames."""
    if length <= order:
        return [0.0] * length
    return (order * np.linalg.pinv(np.vander(np.arange(length), order + 1, increasing=True))[order]).tolist()


def normalise(features: Tensor, lengths: Sequence[int], parts: int) -> None:
    """Give features [B, T, D], zero beyond lengths, mean 0 and variance 1 over each utterance's frames, in place.

    Statistics are float64, the deviation is the population's plus 1e-16. A dimension that is constant but for rounding
    becomes 0; the `parts` (static, deltas) are judged by the size of the static one. Padding stays zero.
    """
    counts = torch.tensor(lengths, device=features.device, dtype=torch.float64)
    mean, square = _moments(features).div_(counts[:, None])
    deviation = (square - mean * mean).clamp_(min=0).sqrt_()
    size = mean.abs()[:, : features.shape[2] // parts].repeat(1, parts)
    constant = deviation <= torch.finfo(torch.float32).eps * size
    factor = (deviation + 1e-16).reciprocal_().masked_fill_(constant, 0).to(torch.float32)
    near = mean.to(torch.float32)
    rest = (mean - near).to(torch.float32)  # of the mean, which float32 alone would round
    for rows, frames in _tiles(features):
        tile = features[rows, frames]
        tile.sub_(near[rows, None]).sub_(rest[rows, None]).mul_(factor[rows, None])
    clear_padding(features, lengths)


def clear_padding(features: Tensor, lengths: Sequence[int]) -> None:
    """Zero features [B, T, D] beyond lengths."""
    for utterance, length in zip(features, lengths):
        if length < len(utterance):
            utterance[length:] = 0


def _moments(features: Tensor) -> Tensor:
    """Sums of features [B, T, D] and of their squares over T, float64 [2, B, D].

    Everything is added in halves, so errors grow with the logarithm of T only: the difference of the mean square and
    the squared mean of a constant stays below the square of float32's precision.
    """
    tiles = list(_tiles(features))
    starts = sorted({frames.start for _, frames in tiles})
    sums = features.new_zeros(2, len(features), len(starts), features.shape[2], dtype=torch.float64)
    for rows, frames in tiles:
        tile = features[rows, frames]
        powers = torch.empty(2, *tile.shape, dtype=torch.float64, device=tile.device)
        first, second = powers.unbind()
        torch.mul(first.copy_(tile), first, out=second)
        sums[:, rows, starts.index(frames.start)] = _sum_frames(powers)
    return _sum_frames(sums)


def _sum_frames(x: Tensor) -> Tensor:
    """Sum of [..., T, D] over T, overwriting it, in halves: zeros behind an utterance do not change how frames add."""
    count = x.shape[-2]
    while count > 1:
        half = 1 << (count - 1).bit_length() - 1
        x.narrow(-2, 0, count - half).add_(x.narrow(-2, half, count - half))
        count = half
    return x.select(-2, 0)


class Workspace:
    """Memory of one block's Fourier transforms, float64 as in the originals; float32 moves quiet bins by up to 1e-3."""

    def __init__(self, block: int, window: int, fft_size: int, device: torch.device):
        bins = fft_size // 2 + 1
        with torch.inference_mode(False):
            self.padded = torch.zeros(block, fft_size, dtype=torch.float64, device=device)
            self.parts = torch.empty(block, bins, 2, device=device)
            self.powers = torch.empty(block, bins, device=device)
            self.windowed, (self.real, self.imaginary) = self.padded[:, :window], self.parts.unbind(-1)

    def power(self, frames: Tensor, window: Tensor) -> Tensor:
        """Squared magnitudes [block, bins], float32, of float64 frames [block, window]; the next call's replace them."""
        torch.mul(frames, window, out=self.windowed)
        self.parts.copy_(torch.view_as_real(torch.fft.rfft(self.padded)))  # rfft would copy into an `out` as well
        self.parts.mul_(self.parts)
        return torch.add(self.real, self.imaginary, out=self.powers)


def workspace(block: int, window: int, fft_size: int, device: torch.device) -> Workspace:
    """On the CPU kept for each thread, as fresh memory costs more than the transforms; else left to the allocator."""
    if device.type != "cpu":
        return Workspace(block, window, fft_size, device)
    return _thread_workspace(block, window, fft_size, threading.get_ident())


@functools.lru_cache(maxsize=32)
def _thread_workspace(block: int, window: int, fft_size: int, _thread: int) -> Workspace:
    return Workspace(block, window, fft_size, torch.device("cpu"))
