"""Audio files to mono waveforms: wav, flac, mp3, ogg, NIST SPHERE ... through libsndfile, others through ffmpeg, all
resampled by soxr."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr

from utility.audio.containers import HeaderError, check_size
from utility.audio.extensions import MEDIA_EXTENSIONS
from utility.audio.flac import UNKNOWN, WithLength, flac_length, flac_start
from utility.audio.media import decoded

Count = TypeVar("Count", int, np.ndarray)
LOWEST_RATE, HIGHEST_RATE = 1000, 768000  # Hz; what a header says beyond is damage
Span = tuple[float | None, float | None]  # start and end in seconds; None: of the recording
WHOLE: Span = (None, None)
CHUNK = 1 << 18  # samples decoded at once, where a file is read in pieces
BEYOND = 0.05  # seconds by which a part may reach beyond the end of its recording: times are rounded


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
            raise AudioError(_changed(path, sample_rate, length, expected))
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
    mono = _mono(path, samples[before:], len(samples), stop - start)
    if native != sample_rate:
        mono = _finite(path, _fit(soxr.resample(mono, native, sample_rate), length)[part])
    return np.ascontiguousarray(mono)


def read_in_pieces(
    path: Path | str,
    sample_rate: int,
    pieces: Sequence[tuple[int, int]],
    expected: int | None = None,
    span: Span = WHOLE,
) -> Iterator[np.ndarray]:
    """What `read_audio` gives, in pieces from one sample to before another; the starts rise, and so do the stops.

    The file is decoded once, whatever its rate and format, and never held whole."""
    with _opened(path) as file:
        first, last = _part(path, file.frames, file.samplerate, span)
        length = resampled_length(last - first, file.samplerate, sample_rate)
        if expected not in (None, length):
            raise AudioError(_changed(path, sample_rate, length, expected))
        chunks = _chunks(path, file, first, last)
        if file.samplerate != sample_rate:
            chunks = _resampled(path, chunks, file.samplerate, sample_rate)
        held, at = np.zeros(0, np.float32), 0  # the samples from `at` on
        for start, stop in pieces:
            while at + len(held) < stop and (chunk := next(chunks, None)) is not None:
                kept = held[max(start - at, 0) :]
                at += len(held) - len(kept)
                held = np.concatenate([kept, chunk])
            yield np.pad(held[start - at : stop - at], (0, max(min(stop, length) - at - len(held), 0)))


def _chunks(path: Path | str, file: soundfile.SoundFile, first: int, last: int) -> Iterator[np.ndarray]:
    """Mono samples `first` to `last` at the file's own rate, a part at a time."""
    at = 0 if file.format == "OGG" else first  # libsndfile does not seek exactly there
    try:
        if at:
            file.seek(at)
        while at < last:
            stop = min(at + CHUNK, last) if at >= first else min(at + CHUNK, first)
            samples = file.read(stop - at, dtype="float32", always_2d=True)
            mono = _mono(path, samples, len(samples), stop - at)
            if at >= first:
                yield mono
            at = stop
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: cannot be decoded: {_reason(error)}") from None


def _resampled(path: Path | str, chunks: Iterator[np.ndarray], native: int, rate: int) -> Iterator[np.ndarray]:
    """The chunks at another rate: to the bit what resampling them whole gives."""
    stream = soxr.ResampleStream(native, rate, 1, dtype="float32")
    for chunk in chunks:
        yield _finite(path, stream.resample_chunk(chunk))
    yield _finite(path, stream.resample_chunk(np.zeros(0, np.float32), last=True))


def _mono(path: Path | str, samples: np.ndarray, decoded: int, expected: int) -> np.ndarray:
    """The mean of the channels [N, C]; `AudioError` where not all was decoded, or a sample is not finite."""
    if decoded != expected:
        raise AudioError(f"{path}: truncated or corrupt: {decoded} of {expected} samples decoded")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds samples that are not finite")
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(path, samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1))


def _finite(path: Path | str, mono: np.ndarray) -> np.ndarray:
    if not np.isfinite(mono).all():
        raise AudioError(f"{path}: holds samples whose sum is not finite")
    return mono


def _changed(path: Path | str, sample_rate: int, length: int, expected: int | None) -> str:
    return f"{path}: has changed: {length} samples at {sample_rate} Hz, there were {expected}"


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
    return audio_form(path)[:2]


def audio_form(path: Path | str) -> tuple[int, int, int]:
    """Samples per channel, sample rate and channels, as `audio_header`."""
    with _opened(path) as file:
        return file.frames, file.samplerate, file.channels


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[soundfile.SoundFile]:
    """The file, if its header can be believed."""
    if not os.path.isfile(path):
        raise AudioError(f"{path}: no such audio file")
    with contextlib.ExitStack() as stack:
        try:
            media = Path(path).suffix.lower() in MEDIA_EXTENSIONS
            file = stack.enter_context(soundfile.SoundFile(stack.enter_context(decoded(Path(path))) if media else path))
            if file.format == "FLAC" and file.frames == UNKNOWN:
                file = stack.enter_context(_with_length(Path(path), stack))
            _check(Path(path), file, media)
        except HeaderError as error:
            raise AudioError(f"{path}: {error}") from None
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            raise AudioError(f"{path}: not an audio file that can be read: {_reason(error)}") from None
        yield file


def _with_length(path: Path, stack: contextlib.ExitStack) -> soundfile.SoundFile:
    """A FLAC file that was written into a pipe, its length found by its last frame."""
    length = flac_length(path, UNKNOWN)
    if length is None:
        raise HeaderError("does not say its length, and is cut off or damaged")
    return soundfile.SoundFile(stack.enter_context(WithLength(path, flac_start(path), length)))


def _check(path: Path, file: soundfile.SoundFile, media: bool) -> None:
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise HeaderError(f"sample rate is {file.samplerate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE}")
    flac = file.format == "FLAC"
    if flac and flac_length(path, file.frames) is None:
        raise HeaderError(f"claims {file.frames} samples in {path.stat().st_size} bytes")
    if not flac and not media:  # those are what ffmpeg has just written
        check_size(path, file.format, file.frames, file.subtype)
    if file.frames <= 0:
        raise HeaderError("holds no samples")


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-fill the last sample, where soxr rounds the length differently."""
    return np.pad(samples[:length], (0, max(length - len(samples), 0)))


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")
