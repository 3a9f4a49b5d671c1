"""Audio files to mono waveforms: wav, flac, mp3, ogg and NIST SPHERE through libsndfile, resampled by soxr."""

from pathlib import Path

import numpy as np
import soundfile
import soxr


class AudioError(ValueError):
    """An audio file that cannot be used; the message is one line, file and reason."""


def read_audio(path: Path | str, sample_rate: int = 16000) -> np.ndarray:
    """The file as float32 [N] at `sample_rate`, channels averaged, full scale 1; `AudioError` when any of it is bad."""
    frames, native = _header(path)
    try:
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: cannot be decoded: {_reason(error)}") from None
    if len(samples) != frames:
        raise AudioError(f"{path}: truncated or corrupt: {len(samples)} of the {frames} samples in its header decoded")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds samples that are not finite")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if native == sample_rate:
        return np.ascontiguousarray(mono)
    return _fit(soxr.resample(mono, native, sample_rate), _resampled(frames, native, sample_rate))


def audio_length(path: Path | str, sample_rate: int = 16000) -> int:
    """Samples that `read_audio` returns, from the file's header alone."""
    return _resampled(*_header(path), sample_rate)


def _header(path: Path | str) -> tuple[int, int]:
    """Samples per channel and sample rate."""
    if not Path(path).is_file():
        raise AudioError(f"{path}: no such audio file")
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: not an audio file that can be read: {_reason(error)}") from None
    if info.frames <= 0:
        raise AudioError(f"{path}: holds no samples")
    return info.frames, info.samplerate


def _resampled(frames: int, native: int, sample_rate: int) -> int:
    return -(-frames * sample_rate // native)


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-fill the last sample, where soxr rounds the length differently."""
    return np.pad(samples[:length], (0, max(length - len(samples), 0)))


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")
