"""Features back to sound."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utility.audio.feature_config import STATIC_DIM, FeatureConfig
from utility.audio.features import LOG_FLOOR, PRE_EMPHASIS
from utility.audio.spectrum import slaney_mel

SPREADING = 20  # iterations of `_spread`; 60 gain 0.7 % of the error of mel features made again
MOMENTUM = 0.99  # of fast Griffin-Lim, as the paper found best
TINY = 1e-12


def griffin_lim(
    features: Tensor, config: FeatureConfig, num_samples: int | None = None, iterations: int = 32, seed: int = 0
) -> np.ndarray:
    """A waveform, float32 [N], whose features are close to un-normalised `mel` or `linear` features [T, D].

    Phases by fast Griffin-Lim (Perraudin et al. 2013) from a seeded start; mel bands, deltas ignored, are first spread
    over frequencies. N is `num_samples`, or what the frames span. Raises `ValueError` for other kinds and for
    normalised features.
    """
    if config.kind not in ("mel", "linear") or config.cmvn != "none":
        raise ValueError(f"only mel and linear features without cmvn invert, got {config.kind} with cmvn={config.cmvn}")
    if features.dim() != 2 or features.shape[1] != config.dim:
        raise ValueError(f"expected features [T, {config.dim}], got {list(features.shape)}")
    values = features.detach().cpu().T
    if config.kind == "linear":
        magnitudes = 10 ** ((values * 100 - 80) / 20)
    else:
        magnitudes = _mel_magnitudes(values[: STATIC_DIM["mel"]], config)
    length = num_samples or max((len(features) - 1) * config.hop, 1)
    waveform = _with_phases(magnitudes.float(), config, length, iterations, seed).numpy()
    if config.kind == "linear":
        from scipy.signal import lfilter  # half a second to load, and every training would

        waveform = lfilter([1], [1, -PRE_EMPHASIS], waveform)
    return waveform.astype(np.float32)


def _mel_magnitudes(values: Tensor, config: FeatureConfig) -> Tensor:
    """Magnitudes [bins, T] of which these are the log mel energies [80, T], by the shortest transform of a window:
    it has half the points of the features', and so half of their energy."""
    points = config.fft_size // 2
    filters = slaney_mel(config.sample_rate, points, len(values))
    energies = (values.double().exp() - LOG_FLOOR).clamp(min=0) / 2
    return _spread(energies, torch.from_numpy(filters).double()).sqrt()


def _spread(energies: Tensor, filters: Tensor) -> Tensor:
    """Power x >= 0 [bins, T] with `filters @ x` close to the energies [bands, T].

    The multiplicative updates of Lee & Seung (2001) for the Kullback-Leibler divergence: errors count by their share of
    a band, as they do in a logarithm. (Least squares, as by librosa, fit the loud bands and leave the quiet ones.)"""
    total = filters.sum(0)[:, None].clamp(min=TINY)  # [bins, 1]
    power = filters.T @ energies / (filters.T @ filters.sum(1, keepdim=True)).clamp(min=TINY)
    for _ in range(SPREADING):
        power *= filters.T @ (energies / (filters @ power).clamp(min=TINY)) / total
    return power


def _with_phases(magnitudes: Tensor, config: FeatureConfig, length: int, iterations: int, seed: int) -> Tensor:
    """A waveform [length] with these magnitudes [bins, T]."""
    points, hop, window = 2 * (len(magnitudes) - 1), config.hop, torch.hann_window(config.window)
    frames = max(magnitudes.shape[1], length // hop + 1, points // hop + 2)  # enough of them to be reflected
    magnitudes = F.pad(magnitudes, (0, frames - magnitudes.shape[1]))
    size = max(length, (frames - 1) * hop)

    def sound(spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, points, hop, config.window, window, length=size)

    generator = torch.Generator().manual_seed(seed)
    phases = torch.polar(torch.ones_like(magnitudes), 2 * torch.pi * torch.rand(magnitudes.shape, generator=generator))
    last = torch.zeros_like(phases)
    for _ in range(iterations):
        heard = torch.stft(sound(magnitudes * phases), points, hop, config.window, window, return_complex=True)
        phases = heard - MOMENTUM / (1 + MOMENTUM) * last
        phases /= phases.abs().clamp(min=TINY)
        last = heard
    return sound(magnitudes * phases)[:length]
