"""Frame-wise signal processing: windows, mel filters, cepstra, deltas and normalisation, exact whatever the batch."""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from utility.audio import frame_kernels
from utility.audio.kinds import WindowType
from utility.batches import real_frames
from utility.device import sent

DELTA_REACH = 4  # frames either side of the one a delta is fitted at
KALDI_LOW_FREQUENCY = 20.0
SUM_BINS = 192  # bins of a power spectrum that are summed before others are added


def reflected(index: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Where sample `index` of a signal reflected at both ends for ever lies in it; `numpy.pad` mode reflect."""
    period = np.maximum(2 * length - 2, 1)
    inside = index % period
    return np.minimum(inside, period - inside)


def kaldi_mel(sample_rate: int, fft_size: int, bands: int) -> np.ndarray:
    """Kaldi's triangles, straight in mel = 1127 ln(1 + f / 700), from 20 Hz to half the rate: float64 [bands, bins]."""
    edges = _kaldi_edges(sample_rate, bands)[:, None]
    mel = 1127 * np.log1p(np.arange(fft_size // 2) * (sample_rate / fft_size) / 700)
    width = edges[1] - edges[0]
    filters = np.minimum(mel - edges[:-2], edges[2:] - mel) / width
    return np.pad(filters.clip(min=0), ((0, 0), (0, 1)))  # Kaldi leaves the last bin out


def kaldi_centres(sample_rate: int, bands: int) -> np.ndarray:
    """The tops of Kaldi's triangles in Hz, float64 [bands]."""
    return 700 * np.expm1(_kaldi_edges(sample_rate, bands)[1:-1] / 1127)


def _kaldi_edges(sample_rate: int, bands: int) -> np.ndarray:
    """In mel, float64 [bands + 2]: triangle k reaches from edge k to edge k + 2."""
    low, high = (1127 * np.log1p(f / 700) for f in (KALDI_LOW_FREQUENCY, sample_rate / 2))
    return np.linspace(low, high, bands + 2)


def slaney_mel(sample_rate: int, fft_size: int, bands: int, lowest: float = 0.0) -> np.ndarray:
    """Slaney's triangles of equal area, straight below 1 kHz and logarithmic above, from `lowest` Hz (below 1 kHz) to
    half the rate: float32 [bands, bins]. The bits are those of `librosa.filters.mel`, which takes a second to load."""
    edges = _slaney_edges(sample_rate, bands, lowest)
    distance, width = np.subtract.outer(edges, np.fft.rfftfreq(fft_size, 1 / sample_rate)), np.diff(edges)[:, None]
    filters = np.maximum(0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:])).astype(np.float32)
    return (filters * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def slaney_centres(sample_rate: int, bands: int) -> np.ndarray:
    """The tops of Slaney's triangles in Hz, float64 [bands]."""
    return _slaney_edges(sample_rate, bands)[1:-1]


def _slaney_edges(sample_rate: int, bands: int, lowest: float = 0.0) -> np.ndarray:
    """In Hz, float64 [bands + 2]: triangle k reaches from edge k to edge k + 2."""
    step, log_step, first = 200 / 3, np.log(6.4) / 27, 1000.0 / (200 / 3)  # Hz per mel, and above mel `first`: 1 kHz
    mels = np.linspace(lowest / step, first + np.log(sample_rate / 2 / 1000) / log_step, bands + 2)
    return np.where(mels < first, step * mels, 1000 * np.exp(log_step * (mels - first)))


def kaldi_window(size: int, shape: WindowType = "povey") -> np.ndarray:
    """A window of Kaldi's, float64 [size]: 0.54 - 0.46 cos, 0.5 - 0.5 cos (hann), or that to the power of 0.85."""
    if shape == "hamming":
        return np.hamming(size)
    return np.hanning(size) ** (0.85 if shape == "povey" else 1)


def hann_window(size: int) -> np.ndarray:
    """The periodic Hann window, float64 [size]."""
    return np.hanning(size + 1)[:-1]


def cosine_transform(bands: int, coefficients: int) -> np.ndarray:
    """The orthonormal DCT-II as a matrix for the right-hand side, float64 [bands, coefficients]."""
    return scipy.fft.dct(np.eye(bands), norm="ortho")[:, :coefficients]


def kaldi_lifter(coefficients: int, lifter: float = 22.0) -> np.ndarray:
    """Kaldi's cepstral lifter, float64 [coefficients]."""
    return 1 + 0.5 * lifter * np.sin(np.pi * np.arange(coefficients) / lifter)


class FilterBank:
    """Triangles `filters` [bands, bins] over power spectra; sums have its `dtype`, whatever the process has set."""

    def __init__(self, filters: np.ndarray, device: torch.device, dtype: type[np.floating] = np.float32):
        self.filters = filters.astype(dtype)
        self._edges = np.array([_support(row) for row in filters != 0])
        bins = filters.shape[1]
        self._block = bins if bins <= SUM_BINS else min(SUM_BINS, bins // 2)
        # Float64 products ignore TF32 and autocast; a CPU has a kernel of its own.
        self._matrix = None if device.type == "cpu" else torch.from_numpy(self.filters.T).to(device, torch.float64)

    def __call__(self, powers: Tensor) -> Tensor:
        """Powers [F, bins] -> bands [F, bands], both of the `dtype`."""
        if self._matrix is not None:
            return (powers.to(torch.float64) @ self._matrix).to(powers.dtype)
        bands = torch.empty(len(powers), len(self.filters), dtype=powers.dtype)
        frame_kernels.filter_bands(powers.numpy(), self.filters, self._edges, self._block, bands.numpy())
        return bands


def _support(weighed: np.ndarray) -> tuple[int, int]:
    """The first of the bins [bins] that are weighed, and the one after the last; (0, 0) where there is none."""
    bins = np.flatnonzero(weighed)
    return (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 0)


def transform(x: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Fill out [F, N] with x [F, K] times the matrix [K, N], all in float64."""
    if x.is_cpu:
        frame_kernels.transform(x.numpy(), matrix.numpy(), out.numpy())
    else:
        out.copy_(x.to(torch.float64) @ matrix)


def add_deltas(features: Tensor, lengths: Sequence[int], orders: int) -> None:
    """Fill features [B, T, (1 + orders) * dim] behind their first part with its time derivatives of orders 1 (and 2).

    Savitzky-Golay: the derivative of a polynomial of the same order fitted to 9 frames. Edge frames take the polynomial
    fitted to the first or last 9 frames (librosa's and scipy's mode interp), utterances of fewer than 9 frames the one
    fitted to all of theirs, and 0 where they have no more than `order`. As the derivative of order k of a polynomial of
    order k is constant, each takes the value at the nearest centre. Frames beyond lengths are zero and stay zero.
    """
    dim, width = features.shape[2] // (1 + orders), 2 * DELTA_REACH + 1
    static, derivatives = features[:, :, :dim], features[:, :, dim:]
    if static.shape[1] >= width:
        centres = derivatives[:, DELTA_REACH:-DELTA_REACH].split(dim, 2)
        for derivative, result in zip((_slope, _curvature), centres):
            result.copy_(derivative(static))
    ends, side = np.array(lengths)[:, None], np.arange(DELTA_REACH)[None].repeat(len(lengths), 0)
    edges = np.concatenate([side, ends - 1 - side], 1).clip(0, static.shape[1] - 1)  # [B, 8]
    nearest = np.minimum(edges.clip(DELTA_REACH), (ends - 1 - DELTA_REACH).clip(0))
    every = torch.arange(len(lengths), device=features.device)[:, None]
    host = [torch.from_numpy(edges), torch.from_numpy(nearest), torch.tensor(lengths)]
    to, source, counts = sent(host, features.device)
    derivatives[every, to] = derivatives[every, source]
    for row, length in enumerate(lengths):
        if length < width:
            head = static[row, :length]
            for order, result in enumerate(derivatives[row, :length].split(dim, 1), 1):
                weights = _short_weights(order, length)
                result[:] = sum(weight * (frame - head[0]) for weight, frame in zip(weights[1:], head[1:]))
    derivatives.mul_(_real(features, counts))


# Differences first: a constant dimension has a derivative of exactly 0. Products and sums are rounded one by one, never
# fused, which gives the same bits at any position of any tensor.
def _slope(x: Tensor) -> Tensor:
    shifted = _shifted(x)
    total = shifted(1) - shifted(-1)
    for n in range(2, DELTA_REACH + 1):
        total += (shifted(n) - shifted(-n)).mul_(n)
    return total.div_(60)


def _curvature(x: Tensor) -> Tensor:
    shifted = _shifted(x)
    twice = 2 * shifted(0)
    total = torch.zeros_like(twice)
    for n, weight in enumerate((-17, -8, 7, 28), 1):
        total += (shifted(n) + shifted(-n)).sub_(twice).mul_(weight)
    return total.div_(462)


def _shifted(x: Tensor) -> Callable[[int], Tensor]:
    return lambda n: x.narrow(1, DELTA_REACH + n, x.shape[1] - 2 * DELTA_REACH)


@functools.cache
def _short_weights(order: int, length: int) -> tuple[float, ...]:
    """Derivative of a polynomial of that order fitted to `length` frames, for fewer than 9 of them: 9 values."""
    weights = np.zeros(2 * DELTA_REACH + 1)
    if order < length < len(weights):
        fit = np.linalg.pinv(np.vander(np.arange(length), order + 1, increasing=True))
        weights[:length] = order * fit[order]
    return tuple(weights.tolist())


class Deviation(NamedTuple):
    """How a deviation is taken: the square sum over so many frames less than there are, and what is added to it."""

    fewer: int
    floor: float


POPULATION = Deviation(0, 1e-16)


def normalise(features: Tensor, lengths: Sequence[int], parts: int, how: Deviation = POPULATION) -> None:
    """Give features [B, T, D], zero beyond lengths, mean 0 and variance 1 over each utterance's frames, in place.

    Statistics are float64. A dimension that is constant but for rounding becomes 0; the `parts` (static, deltas) are
    judged by the size of the static one. Padding stays zero.
    """
    if features.is_cpu:
        for utterance, length in zip(features.numpy(), lengths):
            frame_kernels.normalise(utterance[:length], parts, *how)
    else:
        normalise_at_once(features, lengths, parts, how)


def normalise_at_once(features: Tensor, lengths: Sequence[int], parts: int, how: Deviation = POPULATION) -> None:
    """`normalise` in operations on the whole batch: what an accelerator is good at."""
    (counts,) = sent([torch.tensor(lengths)], features.device)
    count, real = counts.to(torch.float64)[:, None], _real(features, counts)
    mean = _sum_frames(features.to(torch.float64, copy=True)) / count
    variance = _sum_frames((features - mean[:, None]).mul_(real).square_()) / (count - how.fewer).clamp(min=1)
    deviation = variance.sqrt()
    size = mean.abs()[:, : features.shape[2] // parts].repeat(1, parts)
    constant = deviation <= torch.finfo(torch.float32).eps * size
    scale = (deviation + how.floor).reciprocal().masked_fill(constant, 0)
    features.copy_((features - mean[:, None]).mul_(scale[:, None]).mul_(real))


def _real(features: Tensor, lengths: Tensor) -> Tensor:
    """Which frames of features [B, T, D] with lengths [B] are real: bool [B, T, 1]."""
    return real_frames(lengths, features.shape[1])[:, :, None]


def _sum_frames(x: Tensor) -> Tensor:
    """Sum of [B, T, D] over T, overwriting it, in halves: zeros behind an utterance do not change how frames add."""
    count = x.shape[1]
    while count > 1:
        half = 1 << (count - 1).bit_length() - 1
        x[:, : count - half].add_(x[:, half:count])
        count = half
    return x[:, 0]


class Workspace:
    """Memory of one block's Fourier transforms, float64 as in the originals; float32 moves quiet bins by up to 1e-3.

    Powers are of `dtype`."""

    def __init__(self, block: int, fft_size: int, device: torch.device, dtype: torch.dtype = torch.float32):
        with torch.inference_mode(False):
            self.padded = torch.zeros(block, fft_size, dtype=torch.float64, device=device)
            self.powers = torch.empty(block, fft_size // 2 + 1, dtype=dtype, device=device)

    def power(
        self, signal: Tensor, hop: int, offsets: Tensor | None, window: Tensor, first: Tensor | None = None
    ) -> Tensor:
        """Squared magnitudes [block, bins] of windowed frames of the signal, less offsets [block] float64, the first
        windowed value of each frame perhaps another, [block] float64.

        The next call overwrites them."""
        frames = signal.unfold(0, len(window), hop)
        frames = frames if offsets is None else frames - offsets[:, None]
        torch.mul(frames, window, out=self.padded[:, : len(window)])
        if first is not None:
            self.padded[:, 0] = first
        parts = torch.view_as_real(torch.fft.rfft(self.padded)).to(self.powers.dtype)
        real, imaginary = parts.square_().unbind(-1)
        return torch.add(real, imaginary, out=self.powers)


def workspace(
    block: int, window: int, fft_size: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Workspace:
    """On the CPU kept for each thread, as fresh memory costs more than the transforms; else left to the allocator.

    Behind frames of the `window` its memory stays zero: windows of other sizes have others."""
    if device.type != "cpu":
        return Workspace(block, fft_size, device, dtype)
    return _thread_workspace(block, window, fft_size, dtype, threading.get_ident())


@functools.lru_cache(maxsize=32)
def _thread_workspace(block: int, _window: int, fft_size: int, dtype: torch.dtype, _thread: int) -> Workspace:
    return Workspace(block, fft_size, torch.device("cpu"), dtype)
