"""Audio files of every kind, their lengths from the header, and the one line that a bad one gives."""

import struct
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


def _sphere_with(file: Path, old: str, new: str) -> None:
    sphere(file, np.ones(500))
    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode(), 1))


def _rate(file: Path, rate: int) -> None:
    """A wav file whose header says another rate."""
    soundfile.write(file, tone(1, 16000), 16000)
    content = bytearray(file.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    file.write_bytes(content)


def with_length(file: Path, samples: int, seconds: float = 1.0, **options) -> np.ndarray:
    """A FLAC file whose header claims so many samples, 0: none, as one written into a pipe; what it really holds."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(round(16000 * seconds))
    soundfile.write(file, sound, 16000, **options)
    true = soundfile.read(file, dtype="float32")[0]
    content = bytearray(file.read_bytes())
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36
    content[18:26] = (packed | samples).to_bytes(8, "big")
    file.write_bytes(content)
    return true


def _cut_pipe(file: Path) -> None:
    with_length(file, 0)
    file.write_bytes(file.read_bytes()[:-5])


def _cut_tagged(file: Path) -> None:
    """An MP3 behind an ID3 tag that lacks its last one."""
    soundfile.write(file, tone(0.5, 16000), 16000)
    whole = b"ID3\4\0\0\0\0\2\44" + bytes(2 * 128 + 36) + file.read_bytes()
    file.write_bytes(whole)
    assert len(read_audio(file)) == 8000
    file.write_bytes(whole[:-1])


def _float_w64(file: Path) -> None:
    """As ffmpeg writes it: an extensible format chunk, which libsndfile does not read to its end."""
    soundfile.write(file, tone(0.1, 16000), 16000, format="W64", subtype="FLOAT")
    content = file.read_bytes()
    guid = content[40:56]
    where = content.index(b"data\xf3\xac\xd3\x11")
    fields = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16000, 64000, 4, 32, 22, 32, 4)
    fmt = fields + bytes.fromhex("0300000000001000800000aa00389b71")
    size = 24 + len(fmt)
    body = content[:40] + guid + size.to_bytes(8, "little") + fmt + content[where:]
    file.write_bytes(body[:16] + len(body).to_bytes(8, "little") + body[24:])
    assert soundfile.info(file).subtype == "PCM_32"  # garbage


def _not_finite(file: Path) -> None:
    soundfile.write(file, np.array([0.1, np.nan], np.float32), 16000, subtype="FLOAT")


def _large(file: Path, rate: int, channels: int) -> None:
    """Floats that are finite, and whose mean, or what a filter makes of them, is not."""
    soundfile.write(file, np.full((4000, channels), 3.3e38, np.float32), rate, subtype="FLOAT")


BAD = {
    "mean.wav": (lambda file: _large(file, 16000, 2), "holds samples whose sum is not finite"),
    "filter.wav": (lambda file: _large(file, 22050, 1), "holds samples whose sum is not finite"),
    "missing.wav": (lambda file: None, "no such audio file"),
    "folder.wav": (lambda file: file.mkdir(), "no such audio file"),
    "nothing.flac": (lambda file: file.write_bytes(b""), "not an audio file that can be read"),
    "text.wav": (lambda file: file.write_text("hello, this is not audio at all"), "not an audio file that can be read"),
    "silent.wav": (lambda file: soundfile.write(file, np.zeros(0), 16000), "holds no samples"),
    "nan.wav": (_not_finite, "holds samples that are not finite"),
    "cut.wav": (lambda file: _cut(file, 0.6), "truncated"),
    "cut.flac": (lambda file: _cut(file, 0.6), "cannot be decoded"),
    "cut.mp3": (lambda file: _cut(file, 0.6), "truncated: it ends before"),
    "tagged.mp3": (_cut_tagged, "truncated: it ends before"),
    "cut.ogg": (lambda file: _cut(file, 0.6), "malformed"),
    "end.ogg": (lambda file: _cut(file, 0.995), "truncated"),
    "cut.sph": (lambda file: sphere(file, np.ones(500), count=800), "truncated"),
    "count.sph": (lambda file: _sphere_with(file, "-i 500\n", "-i 5x0\n"), "sample_count is '5x0', expected a number"),
    "real.sph": (lambda file: _sphere_with(file, "-i 500\n", "-r 5e2\n"), "sample_count is '5e2', expected a number"),
    "width.sph": (lambda file: _sphere_with(file, "bytes -i 2", "bytes -i t"), "sample_n_bytes is 't'"),
    "size.sph": (lambda file: _sphere_with(file, "   1024", "   abcd"), "not an audio file|the size of its header"),
    "slow.wav": (lambda file: _rate(file, 1), "sample rate is 1 Hz, expected 1000 to 768000"),
    "fast.wav": (lambda file: _rate(file, 800_000), "sample rate is 800000 Hz, expected 1000 to 768000"),
    "pipe.flac": (_cut_pipe, "does not say its length, and is cut off or damaged"),
    "huge.flac": (lambda file: with_length(file, 1 << 33), "claims 8589934592 samples in [0-9]+ bytes"),
    "large.flac": (lambda file: with_length(file, 1 << 28), "claims 268435456 samples in [0-9]+ bytes"),
    "float.w64": (_float_w64, "takes its floats for integers: convert it"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_line(tmp_path, name):
    make, reason = BAD[name]
    make(tmp_path / name)
    with pytest.raises(AudioError, match=reason) as caught:
        read_audio(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
    if name not in ("nan.wav", "mean.wav", "filter.wav", "cut.flac", "cut.ogg"):
        with pytest.raises(AudioError, match=reason):
            audio_length(tmp_path / name)  # headers alone tell


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "W64", "CAF", "RIFX", "dns."])
def test_a_file_that_ends_before_its_header_says_is_refused(tmp_path, kind, subtype):  # M3
    """RF64, AIFF and AU files that were cut passed for shorter recordings."""
    file, little = tmp_path / "tone", {"RIFX": "BIG", "dns.": "LITTLE"}
    sound, known = tone(0.2, 16000)[:3199], {"RIFX": "WAV", "dns.": "AU"}.get(kind, kind)
    soundfile.write(file, sound, 16000, format=known, subtype=subtype, endian=little.get(kind, "FILE"))
    assert len(read_audio(file)) == len(sound)
    content = file.read_bytes()
    for size in (int(len(content) * 0.3), int(len(content) * 0.9), len(content) - 9):
        file.write_bytes(content[:size])
        with pytest.raises(AudioError, match=r"truncated|not an audio file|holds no samples"):
            read_audio(file)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("samples", [10, 4096, 4097, 50001])
def test_flac_that_was_written_into_a_pipe_is_read(tmp_path, samples, subtype, channels):  # H3
    """Its header says no length: one such file stopped the job with "needs 17592186044416.2 MiB"."""
    file = tmp_path / "piped.flac"
    true = with_length(file, 0, samples / 16000, subtype=subtype) if channels == 1 else stereo(file, samples, subtype)
    assert soundfile.info(file).frames > 1 << 60
    assert audio_length(file) == samples
    np.testing.assert_array_equal(read_audio(file), true)
    np.testing.assert_array_equal(read_audio(file, part=slice(5, 9)), true[5:9])
    if samples > 1600:
        np.testing.assert_array_equal(read_audio(file, span=(0.05, 0.1)), true[800:1600])


def stereo(file: Path, samples: int, subtype: str) -> np.ndarray:
    soundfile.write(file, np.random.default_rng(0).uniform(-0.1, 0.1, (samples, 2)), 16000, subtype=subtype)
    true = soundfile.read(file, dtype="float32")[0].mean(axis=1)
    content = bytearray(file.read_bytes())
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    file.write_bytes(content)
    return true


def test_silence_is_no_damage(tmp_path):
    """A header is doubted where it claims many samples in few bytes; of silence that is true."""
    for extension in ("flac", "ogg", "mp3"):
        soundfile.write(tmp_path / f"a.{extension}", np.zeros(16000 * 60), 16000)
        assert len(read_audio(tmp_path / f"a.{extension}")) == 960000
    assert (tmp_path / "a.flac").stat().st_size < 960000 / 16
