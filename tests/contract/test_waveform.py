"""Audio files of every kind, their lengths from the header, and the one line that a bad one gives."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from utility.audio.waveform import AudioError, audio_length, read_audio


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    phases = np.arange(channels)[None]
    return 0.5 * np.sin(2 * np.pi * 300 * time[:, None] + phases)


def sphere(path: Path, samples: np.ndarray, count: int | None = None) -> None:
    """A NIST SPHERE file with 16-bit big-endian samples."""
    fields = f"channel_count -i 1\nsample_count -i {count or len(samples)}\nsample_rate -i 16000\n"
    fields += "sample_n_bytes -i 2\nsample_byte_format -s2 10\nsample_sig_bits -i 16\nend_head\n"
    path.write_bytes(f"NIST_1A\n   1024\n{fields}".ljust(1024).encode() + samples.astype(">i2").tobytes())


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (16000, 2), (8000, 1), (44100, 2)])
def test_every_format_is_read(tmp_path, extension, rate, channels):
    file = tmp_path / f"tone.{extension}"
    soundfile.write(file, tone(0.5, rate, channels), rate)
    waveform = read_audio(file)
    assert waveform.dtype == np.float32
    assert waveform.shape == (audio_length(file),) == (8000,)
    expected = tone(0.5, 16000, channels).mean(1)
    tolerance = 0.1 if extension in ("mp3", "ogg") else 0.01
    assert np.abs(waveform - expected)[400:-400].max() < tolerance


def test_sphere_is_read(tmp_path):
    samples = (tone(0.1, 16000)[:, 0] * 32767).astype(np.int16)
    sphere(tmp_path / "tone.wav", samples)
    np.testing.assert_array_equal(read_audio(tmp_path / "tone.wav"), samples.astype(np.float32) / 32768)


def test_sphere_of_timit_is_read(corpora):
    real = corpora / "timit_sample/dr1-fvmh0/si836.wav"
    assert len(read_audio(real)) == audio_length(real) == 68813


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("count", [1, 2, 3, 100, 999, 16001])
def test_length_from_the_header_is_the_length_read(tmp_path, rate, count):
    file = tmp_path / "noise.wav"
    samples = np.random.default_rng(count).normal(0, 0.1, count).astype(np.float32)
    soundfile.write(file, samples, rate, subtype="FLOAT")
    waveform = read_audio(file)
    assert len(waveform) == audio_length(file) >= 1
    resampled = soxr.resample(samples, rate, 16000)
    np.testing.assert_array_equal(waveform[: len(resampled)], resampled)
    assert len(waveform) - len(resampled) <= 1


def test_a_stream_without_a_length_is_read(tmp_path):
    file = tmp_path / "piped.wav"
    soundfile.write(file, tone(0.1, 16000), 16000)
    content = bytearray(file.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    file.write_bytes(content)
    assert len(read_audio(file)) == 1600


def _cut(file: Path, share: float) -> None:
    soundfile.write(file, tone(1, 16000), 16000)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def _not_finite(file: Path) -> None:
    soundfile.write(file, np.array([0.1, np.nan], np.float32), 16000, subtype="FLOAT")


BAD = {
    "missing.wav": (lambda file: None, "no such audio file"),
    "folder.wav": (lambda file: file.mkdir(), "no such audio file"),
    "nothing.flac": (lambda file: file.write_bytes(b""), "not an audio file that can be read"),
    "text.wav": (lambda file: file.write_text("hello, this is not audio at all"), "not an audio file that can be read"),
    "silent.wav": (lambda file: soundfile.write(file, np.zeros(0), 16000), "holds no samples"),
    "nan.wav": (_not_finite, "holds samples that are not finite"),
    "cut.wav": (lambda file: _cut(file, 0.6), "truncated"),
    "cut.flac": (lambda file: _cut(file, 0.6), "cannot be decoded"),
    "cut.mp3": (lambda file: _cut(file, 0.6), "truncated or corrupt"),
    "cut.ogg": (lambda file: _cut(file, 0.6), "malformed"),
    "end.ogg": (lambda file: _cut(file, 0.995), "truncated"),
    "cut.sph": (lambda file: sphere(file, np.ones(500), count=800), "truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_line(tmp_path, name):
    make, reason = BAD[name]
    make(tmp_path / name)
    with pytest.raises(AudioError, match=reason) as caught:
        read_audio(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
