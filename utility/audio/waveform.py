"""Audio files to mono waveforms: wav, flac, mp3, ogg and NIST SPHERE through libsndfile, resampled by soxr."""

import os
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import soundfile
import soxr

Count = TypeVar("Count", int, np.ndarray)
STREAMED = 0x7FFFF000
SPHERE_COUNTS = (b"sample_count", b"channel_count", b"sample_n_bytes")
Span = tuple[float | None, float | None]  # start and end in seconds; None: of the recording
WHOLE: Span = (None, None)
BEYOND = 0.05  # seconds by which a part may reach beyond the end of its recording: times are rounded
OGG_PAGE = 27 + 255 + 255 * 255  # bytes, at most


class AudioError(ValueError):
    """An audio file that cannot be used; the message is one line, file and reason."""


def read_audio(
    path: Path | str,
    sample_rate: int = 16000,
    part: slice = slice(None),
    expected: int | None = None,
    span: Span = WHOLE,
) -> np.ndarray:
    """The file as float32 [N] at `sample_rate`, channels averaged, full scale 1; `AudioError` when any of it is bad.

    `span` is what is read of the file, as if nothing else were in it. Of that `part` gives some samples, and reads no
    more where the file has that rate; `expected` is how many samples the caller believes it has.
    """
    with _opened(path) as file:
        native = file.samplerate
        first, last = _part(path, file.frames, native, span)
        frames = last - first
        length = resampled_length(frames, native, sample_rate)
        if expected not in (None, length):
            raise AudioError(f"{path}: has changed: {length} samples at {sample_rate} Hz, there were {expected}")
        start, stop, _ = part.indices(frames) if native == sample_rate else (0, frames, 1)
        start, stop = first + start, first + stop
        before = start if file.format == "OGG" else 0  # libsndfile does not seek exactly there
        start -= before
        try:
            if start:
                file.seek(start)
            samples = file.read(stop - start, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            raise AudioError(f"{path}: cannot be decoded: {_reason(error)}") from None
    if len(samples) != stop - start:
        raise AudioError(f"{path}: truncated or corrupt: {len(samples)} of {stop - start} samples decoded")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds samples that are not finite")
    mono = samples[before:, 0] if samples.shape[1] == 1 else samples[before:].mean(axis=1)
    if native == sample_rate:
        return np.ascontiguousarray(mono)
    return _fit(soxr.resample(mono, native, sample_rate), length)[part]


def audio_length(path: Path | str, sample_rate: int = 16000, span: Span = WHOLE) -> int:
    """Samples that `read_audio` returns, from the file's header alone."""
    frames, native = audio_header(path)
    first, last = _part(path, frames, native, span)
    return resampled_length(last - first, native, sample_rate)


def _part(path: Path | str, frames: int, native: int, span: Span) -> tuple[int, int]:
    try:
        return span_samples(frames, native, span)
    except ValueError as error:
        raise AudioError(f"{path}: {error}") from None


def span_samples(frames: int, native: int, span: Span) -> tuple[int, int]:
    """First sample and the one after the last of a part of a recording of `frames` samples at the rate `native`.

    Raises ValueError, without naming a file, for a part that is not in it."""
    start, stop = span
    first = 0 if start is None else round(start * native)
    last = frames if stop is None else round(stop * native)
    if frames < last <= frames + BEYOND * native:
        last = frames
    for name, seconds, beyond in (("starts", start, first >= frames), ("ends", stop, last > frames)):
        if beyond:
            raise ValueError(f"{name} at {seconds} s beyond the {frames / native:.3f} s of the recording")
    if last <= first:
        raise ValueError(f"no samples between {start or 0} and {stop} s")
    return first, last


def resampled_length(frames: Count, native: Count, sample_rate: int) -> Count:
    """Samples at `sample_rate` of `frames` at the rate `native`: rounded, at least 1."""
    length = (2 * frames * sample_rate + native) // (2 * native)
    return length + (length < 1)


def audio_header(path: Path | str) -> tuple[int, int]:
    """Samples per channel and sample rate; `AudioError` for a file that has none, or ends before its header says."""
    with _opened(path) as file:
        return file.frames, file.samplerate


def _opened(path: Path | str) -> soundfile.SoundFile:
    if not os.path.isfile(path):
        raise AudioError(f"{path}: no such audio file")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: not an audio file that can be read: {_reason(error)}") from None
    if file.format != "FLAC" and _cut_short(Path(path)):
        raise AudioError(f"{path}: truncated: it ends before its header says")
    if file.frames <= 0:
        raise AudioError(f"{path}: holds no samples")
    return file


def _cut_short(path: Path) -> bool:
    """Whether a wav, SPHERE or ogg file ends before its header says; libsndfile would read what is there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        if start[:4] == b"RIFF":
            return size < _riff_size(file)
        if start[:7] == b"NIST_1A":
            return size < _sphere_size(file, int(start[8:]))
        return start[:4] == b"OggS" and not _ogg_ends(file, size)


def _riff_size(file: BinaryIO) -> int:
    """Bytes up to the end of the samples; 0 where a program that wrote into a pipe left the greatest length."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return 0 if length >= STREAMED else file.tell() + length
        file.seek(length + length % 2, 1)
    return 0


def _sphere_size(file: BinaryIO, header: int) -> int:
    file.seek(0)
    fields = {words[0]: words[2] for line in file.read(header).split(b"\n") if len(words := line.split()) == 3}
    samples, channels, width = (int(fields.get(name, 1)) for name in SPHERE_COUNTS)
    return header + samples * channels * width


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Whether the last page is whole and marked as the last."""
    file.seek(max(size - OGG_PAGE, 0))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-fill the last sample, where soxr rounds the length differently."""
    return np.pad(samples[:length], (0, max(length - len(samples), 0)))


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")
