"""80 log-mel bands as the acoustic view of `cca_mel`: Kaldi's framing by default, the original's as it was."""

import numpy as np
import torch

from utility.audio import spectrum
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import PRE_EMPHASIS, FeatureExtractor

RATE = 16000
FFT, WINDOW, HOP, BANDS = 2048, 400, 160, 80  # points, samples, samples
LOWEST = 50.0  # Hz
PEAK = 0.999
FLOOR = 1e-5
RANGE = 80.0  # dB below the loudest band
BLOCK = 256  # frames transformed at once


def filterbank(waveform: np.ndarray, sample_rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Kaldi's 80 log-mel bands of a waveform float32 [N]: float32 [T, 80], and their centres in seconds [T].

    Frame t is centred on 12.5 + 10 t ms, as the pooled convolutional frames of wav2vec-like models are; librosa's, on
    10 t ms, lie 12.5 ms away from every layer. `ValueError` for fewer samples than one window.
    """
    config = FeatureConfig(kind="kaldi_fbank", deltas=0, cmvn="none", sample_rate=sample_rate)
    features, _ = FeatureExtractor(config).of([torch.from_numpy(np.asarray(waveform, dtype=np.float32))])
    return features[0].numpy(), config.frame_times(features.shape[1])


def original_filterbank(waveform: np.ndarray) -> np.ndarray:
    """The original's bands of a waveform [N] at 16 kHz: float32 [1 + N // 160, 80], of which 0 is the floor.

    Peak 0.999; pre-emphasis 0.97; magnitudes of a centred STFT with zeros at the ends (2048 points, Hann window of 400
    in their middle, hop 160); Slaney's bands from 50 to 8000 Hz; decibels, at most 80 below the loudest, over 80, plus
    1.
    """
    signal = np.asarray(waveform, dtype=np.float64)
    peak = np.abs(signal).max(initial=0.0)
    signal = signal / peak * PEAK if peak else signal
    signal = np.append(signal[:1], signal[1:] - PRE_EMPHASIS * signal[:-1])
    window = np.pad(spectrum.hann_window(WINDOW), (FFT - WINDOW) // 2)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(signal, FFT // 2), FFT)[::HOP]  # [T, 2048]
    filters = spectrum.slaney_mel(RATE, FFT, BANDS, LOWEST).astype(np.float64)
    bands = np.empty((len(frames), BANDS))
    for begin in range(0, len(frames), BLOCK):
        magnitudes = np.abs(np.fft.rfft(frames[begin : begin + BLOCK] * window))
        bands[begin : begin + BLOCK] = magnitudes @ filters.T
    decibels = 20 * np.log10(np.maximum(FLOOR, bands))
    return (np.maximum(decibels, decibels.max() - RANGE) / RANGE + 1).astype(np.float32)
