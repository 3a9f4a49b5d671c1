"""Frame-wise signal processing: windows, mel filters, cepstra, deltas and normalisation, exact whatever the batch."""

import functools
import threading
from collections.abc import Iterator
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


def add_deltas(features: Tensor, lengths: Tensor, orders: int) -> None:
    """Fill features [B, T, (1 + orders) * dim] behind their first part with its time derivatives of orders 1 (and 2).

    Savitzky-Golay: the derivative of a polynomial of the same order fitted to 9 frames. Edge frames take the polynomial
    fitted to the first or last 9 frames (librosa's and scipy's mode interp), utterances of fewer than 9 frames the one
    fitted to all of theirs, and 0 where they have no more than `order`. As the derivative of order k of a polynomial of
    order k is constant, each takes the value at the nearest centre. Frames beyond lengths are unspecified.
    """
    static, *derivatives = features.unflatten(2, (1 + orders, -1)).unbind(2)
    reach = 2 * DELTA_REACH
    for rows, frames in _tiles(static[:, : max(static.shape[1] - reach, 0)]):
        near = static[rows, frames.start : frames.stop + reach].contiguous()
        for result, derivative in zip(derivatives, (_slope, _curvature)):
            derivative(near, result[rows, frames.start + DELTA_REACH : frames.stop + DELTA_REACH])
    for order, result in enumerate(derivatives, 1):
        _fill_edges(static, lengths, order, result)


def _fill_edges(static: Tensor, lengths: Tensor, order: int, result: Tensor) -> None:
    """Complete the derivative [B, T, dim] of one order, known at the centres of 9 frames."""
    width, device = 2 * DELTA_REACH + 1, static.device
    every = torch.arange(len(static), device=device)[:, None]
    edges = torch.arange(DELTA_REACH, device=device).expand(len(static), -1)
    edges = torch.cat([edges, lengths[:, None] - 1 - edges], 1).clamp(0, static.shape[1] - 1)  # [B, 8]
    nearest = torch.minimum(edges.clamp(min=DELTA_REACH), (lengths[:, None] - 1 - DELTA_REACH).clamp(min=0))
    result[every, edges] = result[every, nearest]
    head = torch.nn.functional.pad(static[:, : width - 1], (0, 0, 0, max(width - 1 - static.shape[1], 0)))
    weights = _short_weights(order).to(static)[lengths.clamp(max=width)]  # [B, 9]
    whole = sum(weights[:, n, None] * (head[:, n] - head[:, 0]) for n in range(1, width - 1))
    start = result[:, : width - 1]
    start.copy_(torch.where((lengths < width)[:, None, None], whole[:, None], start))


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
    centre, count = DELTA_REACH, out.shape[1]
    total = x[:, centre + 1 :][:, :count] - x[:, centre - 1 :][:, :count]
    for n in range(2, DELTA_REACH + 1):
        total += (x[:, centre + n :][:, :count] - x[:, centre - n :][:, :count]).mul_(n)
    torch.div(total, 60, out=out)


def _curvature(x: Tensor, out: Tensor) -> None:
    centre, count = DELTA_REACH, out.shape[1]
    twice = 2 * x[:, centre:][:, :count]
    total = torch.zeros_like(twice)
    for n, weight in enumerate((-17, -8, 7, 28), 1):
        pair = x[:, centre + n :][:, :count] + x[:, centre - n :][:, :count]
        total += pair.sub_(twice).mul_(weight)
    torch.div(total, 462, out=out)


@functools.cache
def _short_weights(order: int) -> Tensor:
    """Derivative of a polynomial of that order fitted to n < 9 frames, in row n: float64 [10, 9], last row unused."""
    width = 2 * DELTA_REACH + 1
    table = np.zeros((width + 1, width))
    for length in range(order + 1, width):
        fit = np.linalg.pinv(np.vander(np.arange(length), order + 1, increasing=True))
        table[length, :length] = order * fit[order]
    return torch.from_numpy(table)


def normalise(features: Tensor, lengths: Tensor, parts: int) -> None:
    """Give features [B, T, D], zero beyond lengths, mean 0 and variance 1 over each utterance's frames, in place.

    Statistics are float64, the deviation is the population's plus 1e-16. A dimension that is constant but for rounding
    becomes 0; the `parts` (static, deltas) are judged by the size of the static one. Padding stays zero.
    """
    mean, square = _moments(features) / lengths.to(torch.float64)[:, None]
    deviation = (square - mean.square()).clamp_(min=0).sqrt()
    size = mean.abs().view(len(mean), parts, -1)[:, :1].expand(-1, parts, -1).reshape(mean.shape)
    scale = torch.where(deviation <= torch.finfo(torch.float32).eps * size, torch.inf, deviation + 1e-16)
    factor, near = scale.reciprocal().to(torch.float32)[:, None], mean.to(torch.float32)[:, None]
    rest = (mean[:, None] - near).to(torch.float32)  # of the mean, which float32 alone would round
    real = (torch.arange(features.shape[1], device=features.device) < lengths[:, None])[:, :, None]
    for rows, frames in _tiles(features):
        features[rows, frames].sub_(near[rows]).sub_(rest[rows]).mul_(factor[rows]).mul_(real[rows, frames])


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
        torch.square(powers[0].copy_(tile), out=powers[1])
        sums[:, rows, starts.index(frames.start)] = _sum_frames(powers)
    return _sum_frames(sums)


def _sum_frames(x: Tensor) -> Tensor:
    """Sum of [..., T, D] over T, overwriting it, in halves: zeros behind an utterance do not change how frames add."""
    count = x.shape[-2]
    while count > 1:
        half = 1 << (count - 1).bit_length() - 1
        x[..., : count - half, :].add_(x[..., half:count, :])
        count = half
    return x[..., 0, :]


class Workspace:
    """Memory of one block's Fourier transforms, float64 as in the originals; float32 moves quiet bins by up to 1e-3."""

    def __init__(self, block: int, fft_size: int, device: torch.device):
        bins = fft_size // 2 + 1
        with torch.inference_mode(False):
            self.windowed = torch.zeros(block, fft_size, dtype=torch.float64, device=device)
            self.parts = torch.empty(block, bins, 2, device=device)
            self.powers = torch.empty(block, bins, device=device)

    def power(self, frames: Tensor, window: Tensor) -> Tensor:
        """Squared magnitudes [block, bins], float32, of float64 frames [block, window]; the next call overwrites them."""
        torch.mul(frames, window, out=self.windowed[:, : len(window)])
        spectra = torch.fft.rfft(self.windowed)  # faster than into `out`, which copies
        parts = self.parts.copy_(torch.view_as_real(spectra)).square_()
        return torch.add(parts[..., 0], parts[..., 1], out=self.powers)


def workspace(block: int, fft_size: int, device: torch.device) -> Workspace:
    """On the CPU kept for each thread, as fresh memory costs more than the transforms; else left to the allocator."""
    if device.type != "cpu":
        return Workspace(block, fft_size, device)
    return _thread_workspace(block, fft_size, threading.get_ident())


@functools.lru_cache(maxsize=32)
def _thread_workspace(block: int, fft_size: int, _thread: int) -> Workspace:
    return Workspace(block, fft_size, torch.device("cpu"))
