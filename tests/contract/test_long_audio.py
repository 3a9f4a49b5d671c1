"""Long recordings go through an upstream in pieces: the same states as whole, resumed to the byte, in flat memory."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.base import Field
from mockingjay.upstreams.selection import LayerSelection
from tests.conftest import PROJECT
from tests.helpers.bounded import RATE, Bounded
from tests.helpers.files import contents
from utility.audio.waveform import AudioError, read_audio, read_in_pieces
from utility.store.reading import Store
from utility.store.recordings import Recordings

MEMORY = """
import re, sys
from pathlib import Path
import torch
from mockingjay.representation import ExtractionOptions, represent
from tests.helpers.bounded import Bounded
from utility.store.recordings import Recordings
torch.set_num_threads(1)
upstream = Bounded().eval()
upstream.longest = 8000 * 20
corpus = Recordings([sys.argv[1]], None, 8000)
assert represent(upstream, corpus, sys.argv[2], "all", ExtractionOptions(quiet=True))
print("peak", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def noise(file: Path, samples: int, rate: int = RATE, channels: int = 1) -> Path:
    rng = np.random.default_rng(samples)
    values = 0.1 * rng.standard_normal((samples, channels))
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, values, rate)
    return file


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    """Recordings of several rates and formats; some are long for `Bounded`, some are just not."""
    root = tmp_path_factory.mktemp("audio")
    for extra in (-1, 0, 1, 79, 80, 81):
        noise(root / f"edge{extra + 1}.wav", 2 * RATE + extra)
    noise(root / "long.wav", 9 * RATE + 123)
    noise(root / "stereo.flac", 44100 * 7 + 5, 44100, 2)
    noise(root / "vorbis.ogg", 22050 * 5 + 11, 22050)
    noise(root / "short.wav", 300)
    noise(root / "none.wav", 9)
    return root


@pytest.mark.parametrize("label", ["T0", "C2", "C1"])
def test_pieces_give_what_the_whole_gives(audio, tmp_path, label):
    upstream = Bounded().eval()
    corpus = Recordings([audio], None, RATE)
    assert represent(upstream, corpus, tmp_path / "out", "all", ExtractionOptions(LayerSelection(label), quiet=True))
    stored = Store([tmp_path / "out/all"])
    assert set(stored.ids) == set(corpus.ids) - {"none"}
    for name, frames in zip(stored.ids, map(stored.read, range(len(stored)))):
        wave = torch.from_numpy(read_audio(corpus.audio_paths[corpus.index[name]], RATE))
        with torch.inference_mode():
            whole = upstream.encode(wave[None], torch.tensor([len(wave)]), [label])[0][0].numpy()
        assert frames.shape == whole.shape, name
        np.testing.assert_allclose(frames, whole, rtol=0, atol=1e-6, err_msg=name)
    assert "none.wav" in (tmp_path / "out/errors.csv").read_text()


def test_what_is_dropped_of_a_piece_is_all_that_its_ends_would_change(audio, tmp_path):
    """An upstream whose frames see 200 samples to either side: with that overlap the pieces are the whole, without
    they are not."""

    class Centred(Bounded):
        layers, inner = ("T0",), ()

        def field(self, label=None):
            return Field(0, 80, RATE)

        def encode(self, inputs, lengths, labels):
            frames = int(self.num_frames(lengths)[0])
            padded = torch.nn.functional.pad(inputs, (200, 280))
            return [padded.unfold(1, 401, 80)[:, :frames].cumsum(-1)[..., -4:]]

    def states(overlap: int) -> np.ndarray:
        upstream, corpus = Centred().eval(), Recordings([audio / "long.wav"], None, RATE)
        upstream.overlap = overlap
        assert represent(upstream, corpus, tmp_path / str(overlap), "all", ExtractionOptions(quiet=True))
        upstream.longest = None
        wave = read_audio(audio / "long.wav", RATE)
        whole = upstream.from_waveforms([wave])[0][0][0].numpy()
        return np.abs(Store([tmp_path / f"{overlap}/all"])[0] - whole).max(axis=1)

    assert states(240).max() < 1e-5
    assert np.count_nonzero(states(0) > 1e-3) > 8


@pytest.mark.parametrize("field", [Field(45, 80, RATE), Field(400, 320, RATE), Field(0, 80, RATE), Field(10, 5, RATE)])
def test_pieces_of_any_length_hold_each_frame_once(field):
    longest, overlap = 8000, 700
    for samples in [*range(1, 40), *range(longest - 3, longest + 700, 7), 3 * longest + 1, 9 * longest + 77]:
        pieces = field.pieces(samples, longest, overlap)
        total = int(field.num_frames(torch.tensor(samples)))
        assert sum(piece.kept for piece in pieces) == total
        at = 0
        for piece in pieces:
            assert 0 <= piece.start < piece.stop <= samples
            assert piece.stop - piece.start <= longest + (field.stride if not field.size else 0)
            given = int(field.num_frames(torch.tensor(piece.stop - piece.start)))
            assert piece.dropped + piece.kept <= given
            assert piece.start + piece.dropped * field.stride == at * field.stride
            dropped_behind = given - piece.dropped - piece.kept
            assert at == 0 or piece.dropped * field.stride >= overlap
            at += piece.kept
            assert at == total or dropped_behind * field.stride >= min(overlap, (total - at) * field.stride)
        assert at == total


def test_waveforms_in_memory_go_in_pieces_too(audio):
    upstream = Bounded().eval()
    waves = [read_audio(audio / name, RATE) for name in ("short.wav", "long.wav", "edge2.wav")]
    (states,), lengths = upstream.from_waveforms(waves)
    seen = []
    upstream.encode = lambda inputs, *rest: seen.append(inputs.shape[1]) or Bounded.encode(upstream, inputs, *rest)
    assert torch.equal(upstream.from_waveforms(waves)[0][0], states)
    assert max(seen) <= upstream.longest
    upstream.longest = None
    (whole,), same = upstream.from_waveforms(waves)
    assert lengths.tolist() == same.tolist() == [4, 901, 200]
    assert states.shape == whole.shape
    torch.testing.assert_close(states, whole, rtol=0, atol=1e-6)
    for row, length in enumerate(lengths):
        assert not states[row, length:].any()


class Killed(Exception):
    """The end of a process."""


@pytest.mark.parametrize("after", [1, 2, 9, 13])
def test_killed_in_the_middle_of_a_long_recording_and_resumed(audio, tmp_path, after):
    upstream, corpus = Bounded().eval(), Recordings([audio], None, RATE)
    how = ExtractionOptions(quiet=True)
    assert represent(upstream, corpus, tmp_path / "whole", "all", how)
    given = []

    def failing(inputs, *rest):
        given.append(inputs.shape[1])
        if len(given) > after:
            raise Killed
        return Bounded.encode(upstream, inputs, *rest)

    upstream.encode = failing
    with pytest.raises(Killed):
        represent(upstream, corpus, tmp_path / "killed", "all", how)
    assert not (tmp_path / "killed/all.csv").exists()
    del upstream.encode
    assert represent(upstream, corpus, tmp_path / "killed", "all", how)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_long_recording_that_is_cut_off_is_listed_and_the_others_stay(audio, tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    whole = (audio / "stereo.flac").read_bytes()
    (folder / "good.flac").write_bytes(whole)
    middle = bytearray(whole)
    middle[len(whole) // 2 : len(whole) // 2 + 4000] = bytes(4000)
    (folder / "marred.flac").write_bytes(middle)
    upstream, corpus = Bounded().eval(), Recordings([folder], None, RATE)
    assert represent(upstream, corpus, tmp_path / "out", "all", ExtractionOptions(quiet=True))
    assert Store([tmp_path / "out/all"]).ids == ["good"]
    assert re.search(
        r"marred\.flac,.*(truncated or corrupt|cannot be decoded)", (tmp_path / "out/errors.csv").read_text()
    )


FILES = {"wav": (8000, 1), "flac": (44100, 2), "ogg": (22050, 1), "mp3": (16000, 1), "aiff": (11025, 2)}


@pytest.mark.parametrize("extension", FILES)
@pytest.mark.parametrize("span", [(None, None), (1.25, 17.5)])
def test_reading_in_pieces_is_reading_whole(tmp_path, extension, span):
    native, channels = FILES[extension]
    file = noise(tmp_path / f"x.{extension}", native * 19 + 7, native, channels)
    for rate in (native, 16000):
        whole = read_audio(file, rate, span=span)
        parts = [(0, 5), (3, 4000), (3999, 9000), (30000, 100000), (99999, len(whole))]
        pieces = list(read_in_pieces(file, rate, parts, len(whole), span))
        for (start, stop), piece in zip(parts, pieces, strict=True):
            close = 2e-7 if extension == "mp3" else 0  # its decoder rounds by where a read begins
            np.testing.assert_allclose(piece, whole[start:stop], rtol=0, atol=close)


@pytest.mark.slow
def test_reading_in_pieces_near_the_end_of_an_ogg_file(tmp_path):
    """libsndfile does not seek exactly there: it was half a frame off in some of them."""
    file = noise(tmp_path / "x.ogg", 16000 * 19 + 7, 16000)
    for first in range(290000, 302000, 500):
        span = (first / 16000, None)
        whole = read_audio(file, 16000, span=span)
        (piece,) = read_in_pieces(file, 16000, [(0, len(whole))], len(whole), span)
        np.testing.assert_array_equal(piece, whole)


def test_a_file_that_ends_early_is_told(tmp_path, monkeypatch):
    file = noise(tmp_path / "x.wav", 900000)
    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, frames, **how: read(self, frames, **how)[:-1])
    with pytest.raises(AudioError, match=r"x\.wav: truncated or corrupt: 262143 of 262144 samples decoded"):
        list(read_in_pieces(file, 8000, [(0, 900000)], 900000))


def test_a_long_file_is_decoded_once(tmp_path, monkeypatch):
    """Each piece of an OGG file was decoded from the start of the file, one of another rate was held whole."""
    file = noise(tmp_path / "x.ogg", 22050 * 30, 22050)
    read, decoded = soundfile.SoundFile.read, []

    def counting(self, frames=-1, *args, **kwargs):
        decoded.append(frames)
        return read(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    samples = 8000 * 30
    pieces = [(start, min(start + 4000, samples)) for start in range(0, samples, 2000)]
    assert len(list(read_in_pieces(file, 8000, pieces, samples))) == 120
    assert sum(decoded) == 22050 * 30
    assert max(decoded) < 22050 * 15


def test_pieces_of_another_file_than_before_are_refused(tmp_path):
    file = noise(tmp_path / "x.wav", 9000)
    with pytest.raises(AudioError, match=r"x\.wav: has changed: 9000 samples at 8000 Hz, there were 9001"):
        list(read_in_pieces(file, 8000, [(0, 10)], 9001))


def _peak(audio: Path, output: Path) -> float:
    """MiB at the peak of an extraction of its own process."""
    command = [sys.executable, "-c", MEMORY, str(audio), str(output)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(re.search(r"^peak (\d+)$", done.stdout, re.MULTILINE)[1]) / 1024


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "extension"), [(8000, "wav"), (44100, "flac")])
def test_an_hour_in_one_file_takes_the_memory_of_six_minutes(tmp_path, rate, extension, capsys):
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here, which says how much memory a process had")
    minute = 0.1 * np.random.default_rng(0).standard_normal(rate * 60).astype(np.float32)
    peaks = {}
    for minutes in (6, 60):
        folder = tmp_path / str(minutes)
        folder.mkdir()
        with soundfile.SoundFile(folder / f"x.{extension}", "w", rate, 1) as file:
            for _ in range(minutes):
                file.write(minute)
        peaks[minutes] = _peak(folder, folder / "out")
        assert Store([folder / "out/all"]).lengths.tolist() == [minutes * 6000]
    with capsys.disabled():
        print(f"\n{rate} Hz {extension}: {peaks} MiB")
    assert peaks[60] - peaks[6] < 20  # an hour of samples at 8 kHz takes 115 MiB
