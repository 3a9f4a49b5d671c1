"""Features back to sound."""

import librosa
import numpy as np
import scipy.signal
from torch import Tensor

from utility.audio.features import LOG_FLOOR, PRE_EMPHASIS, STATIC_DIM, FeatureConfig


def griffin_lim(
    features: Tensor, config: FeatureConfig, num_samples: int | None = None, iterations: int = 32, seed: int = 0
) -> np.ndarray:
    """A waveform, float32 [N], whose features are close to un-normalised `mel` or `linear` features [T, D].

    Phases by fast Griffin-Lim (Perraudin et al. 2013) from a seeded start; mel bands, deltas ignored, are first spread
    over frequencies by non-negative least squares. N is `num_samples`, or what the frames span. Raises `ValueError` for
    other kinds and for normalised features.
    """
    if config.kind not in ("mel", "linear") or config.cmvn != "none":
        raise ValueError(f"only mel and linear features without cmvn invert, got {config.kind} with cmvn={config.cmvn}")
    if features.dim() != 2 or features.shape[1] != config.dim:
        raise ValueError(f"expected features [T, {config.dim}], got {list(features.shape)}")
    values = features.detach().cpu().numpy().astype(np.float64).T
    if config.kind == "linear":
        magnitudes = 10 ** ((values * 100 - 80) / 20)
    else:
        power = np.exp(values[: STATIC_DIM["mel"]]) - LOG_FLOOR
        filters = librosa.filters.mel(sr=config.sample_rate, n_fft=config.fft_size, n_mels=len(power), dtype=np.float64)
        magnitudes = np.sqrt(librosa.util.nnls(filters, power.clip(min=0)))
    waveform = librosa.griffinlim(
        magnitudes,
        n_iter=iterations,
        hop_length=config.hop,
        win_length=config.window,
        length=num_samples or max((magnitudes.shape[1] - 1) * config.hop, 1),
        pad_mode="reflect",
        random_state=seed,
    )
    if config.kind == "linear":
        waveform = scipy.signal.lfilter([1], [1, -PRE_EMPHASIS], waveform)
    return waveform.astype(np.float32)
