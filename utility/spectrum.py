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


def delta(features: Tensor, lengths: Tensor, order: int) -> Tensor:
    """Time derivative of `order` 1 or 2 of features [B, T, D] by Savitzky-Golay: 9 frames, polynomial of that order.

    Edge frames take the polynomial fitted to the first or last 9 frames (librosa's and scipy's mode interp), utterances
    of fewer than 9 frames the one fitted to all of theirs, and 0 where they have no more than `order`. The derivative
    of order k of a polynomial of order k is constant, so each takes the value at the nearest centre. Frames beyond
    lengths are unspecified.
    """
    _, steps, dim = features.shape
    width = 2 * DELTA_REACH + 1
    head = torch.nn.functional.pad(features, (0, 0, 0, max(width - steps, 0)))
    # Differences first: a constant dimension has a derivative of exactly 0.
    middle = _slope(head) if order == 1 else _curvature(head)  # [B, T - 8, D]
    nearest = torch.arange(-DELTA_REACH, steps - DELTA_REACH, device=features.device).clamp(min=0)
    nearest = torch.minimum(nearest, (lengths[:, None] - width).clamp(min=0))  # [B, T]
    result = middle.gather(1, nearest[:, :, None].expand(-1, -1, dim))
    weights = _short_weights(order).to(features)[lengths.clamp(max=width)]  # [B, 9]
    short = sum(weights[:, n, None] * (head[:, n] - head[:, 0]) for n in range(1, width - 1))
    return torch.where((lengths < width)[:, None, None], short[:, None], result)


def _slope(x: Tensor) -> Tensor:
    centre = x.shape[1] - 2 * DELTA_REACH
    ahead = [
        x[:, DELTA_REACH + n :][:, :centre] - x[:, DELTA_REACH - n :][:, :centre] for n in range(1, DELTA_REACH + 1)
    ]
    return sum(n * difference for n, difference in enumerate(ahead, 1)) / 60


def _curvature(x: Tensor) -> Tensor:
    centre = x.shape[1] - 2 * DELTA_REACH
    twice = 2 * x[:, DELTA_REACH:][:, :centre]
    both = [
        x[:, DELTA_REACH + n :][:, :centre] + x[:, DELTA_REACH - n :][:, :centre] for n in range(1, DELTA_REACH + 1)
    ]
    return sum(weight * (pair - twice) for weight, pair in zip((-17, -8, 7, 28), both)) / 462


def _short_weights(order: int) -> Tensor:
    """Derivative of a polynomial of that order fitted to n < 9 frames, in row n: float64 [10, 9], last row unused."""
    width = 2 * DELTA_REACH + 1
    table = np.zeros((width + 1, width))
    for length in range(order + 1, width):
        fit = np.linalg.pinv(np.vander(np.arange(length), order + 1, increasing=True))
        table[length, :length] = order * fit[order]
    return torch.from_numpy(table)


def normalise(features: Tensor, lengths: Tensor, groups: int) -> Tensor:
    """Zero mean and unit variance of features [B, T, D] over the frames of each utterance, per dimension.

    Padding is and stays zero. Statistics are float64, the deviation is the population's plus 1e-16. A dimension that is
    constant but for rounding becomes 0; `groups` static and delta parts share that judgement.
    """
    count = lengths.to(torch.float64)[:, None]
    real = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    exact = features.to(torch.float64)
    mean = _sum_frames(exact) / count
    centred = (exact - mean[:, None]).masked_fill_(~real[:, :, None], 0)
    deviation = (_sum_frames(centred * centred) / count).sqrt()
    size = mean.abs().view(len(mean), groups, -1)[:, :1].expand(-1, groups, -1).reshape(mean.shape)
    flat = deviation <= torch.finfo(torch.float32).eps * size
    scale = torch.where(flat, torch.inf, deviation + 1e-16)
    return (centred / scale[:, None]).to(features.dtype)


def _sum_frames(x: Tensor) -> Tensor:
    """Sum of [B, T, D] over T in halves, so that zeros behind an utterance do not change the order of its additions."""
    while x.shape[1] > 1:
        half = 1 << (x.shape[1] - 1).bit_length() - 1
        upper = x[:, half:]
        x = torch.cat([x[:, : upper.shape[1]] + upper, x[:, upper.shape[1] : half]], 1)
    return x[:, 0]


class Workspace:
    """Memory of one block's Fourier transforms, float64 as in the originals; float32 moves quiet bins by up to 1e-3."""

    def __init__(self, block: int, fft_size: int, device: torch.device):
        bins = fft_size // 2 + 1
        with torch.inference_mode(False):
            self.windowed = torch.zeros(block, fft_size, dtype=torch.float64, device=device)
            self.spectra = torch.empty(block, bins, dtype=torch.complex128, device=device)
            self.parts = torch.empty(block, bins, 2, device=device)

    def power(self, frames: Tensor, window: Tensor) -> Tensor:
        """Squared magnitudes [block, bins], float32, of frames [block, window]."""
        torch.mul(frames, window, out=self.windowed[:, : len(window)])
        torch.fft.rfft(self.windowed, out=self.spectra)
        parts = self.parts.copy_(torch.view_as_real(self.spectra)).square_()
        return parts[..., 0] + parts[..., 1]


def workspace(block: int, fft_size: int, device: torch.device) -> Workspace:
    """On the CPU kept for each thread, as fresh memory costs more than the transforms; else left to the allocator."""
    if device.type != "cpu":
        return Workspace(block, fft_size, device)
    return _thread_workspace(block, fft_size, threading.get_ident())


@functools.lru_cache(maxsize=32)
def _thread_workspace(block: int, fft_size: int, _thread: int) -> Workspace:
    return Workspace(block, fft_size, torch.device("cpu"))
