"""The level of speech, and noise at a signal-to-noise ratio."""

import math
from pathlib import Path

import torch
from torch import Tensor

from utility.audio.headers import audio_files
from utility.audio.online_config import GAUSSIAN
from utility.audio.waveform import audio_length, read_audio
from utility.batches import real_frames
from utility.device import sent
from utility.text import short

GAUSSIAN_SECONDS = 240  # made once, and entered anywhere
NOISE_SECONDS = 1800  # held of a folder of noise; of more, every recording gives its share


def levelled(waveforms: Tensor, num_samples: Tensor, level: float) -> Tensor:
    """Waveforms [B, N] brought to an RMS of `level` dB of full scale over their true lengths [B]; silence stays."""
    rms = _norm(waveforms) / _on(num_samples, waveforms).sqrt()
    gain = torch.where(rms > 0, 10 ** (level / 20) / rms, 1.0)
    return waveforms * gain.to(waveforms.dtype)[:, None]


def add_noise(speech: Tensor, num_samples: Tensor, noise: Tensor, snrs: Tensor) -> Tensor:
    """Speech [B, N] and noise [B, N] so loud that over the true lengths [B] their energies are `snrs` [B] dB apart."""
    noise = noise * real_frames(_on(num_samples, speech), speech.shape[1])
    ratio = 10 ** (-_on(snrs, speech) / 20)
    gain = ratio * _norm(speech) / _norm(noise).clamp(min=torch.finfo(torch.float32).tiny)
    return speech + noise * gain.to(speech.dtype)[:, None]


def read_noise(kind: str, sample_rate: int) -> Tensor:
    """Noise float32 [M] to be read as a loop: `gaussian`, or the recordings of a folder one after another."""
    if kind == GAUSSIAN:
        return torch.randn(GAUSSIAN_SECONDS * sample_rate, generator=torch.Generator().manual_seed(0))
    paths = [Path(kind) / name for name in audio_files(Path(kind))]
    if not paths:
        raise ValueError(f"online.noise_type {short(kind)}: neither gaussian nor a folder of noise recordings")
    lengths = [audio_length(path, sample_rate) for path in paths]
    share = min(1.0, NOISE_SECONDS * sample_rate / sum(lengths))
    parts = [slice(math.ceil(share * length)) for length in lengths]
    return torch.cat([torch.from_numpy(read_audio(path, sample_rate, part)) for path, part in zip(paths, parts)])


def _norm(waveforms: Tensor) -> Tensor:
    """Root of the energy of each, float64 [B]."""
    return torch.linalg.vector_norm(waveforms, dim=1, dtype=torch.float64)


def _on(values: Tensor, other: Tensor) -> Tensor:
    (there,) = sent([values], other.device)
    return there
