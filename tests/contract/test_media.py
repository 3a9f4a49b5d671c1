"""Sound that libsndfile does not read: decoded by ffmpeg where the machine has it, named where it has not."""

import os
import subprocess
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import soundfile

from preprocess import generate_len_for_bucket, preprocess_any
from tests.contract.test_waveform import tone
from tests.helpers.speech import MEL, wav
from utility.audio.headers import audio_files
from utility.audio.waveform import AudioError, audio_length, read_audio
from utility.store.reading import Store
from utility.store.recordings import Recordings

FAKE = """#!/bin/sh
# Stands for ffmpeg: its input is a wav file with two bytes before; XX is one that cannot be read to its end.
while [ "$1" != -i ]; do shift; done
path=${2#file:}
[ "$path" != "$2" ] || exit 9
tail -c +3 "$path"
if [ "$(head -c 2 "$path")" = XX ]; then echo "moov atom not found" >&2; exit 1; fi
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch) -> None:
    """A program of that name, before all others."""
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def film(path: Path, seconds: float, seed: int = 0, good: bool = True, rate: int = 44100) -> np.ndarray:
    """What the program above reads as noise, which is returned at its own rate."""
    beside = wav(path.with_suffix(".tmp.wav"), round(seconds * rate), seed, rate)
    path.write_bytes((b"__" if good else b"XX") + beside.read_bytes())
    sound = soundfile.read(beside, dtype="float32")[0]
    beside.unlink()
    return sound


def test_films_are_recordings_where_ffmpeg_reads_them(tmp_path, ffmpeg, capsys):  # F10
    wav(tmp_path / "in/a.wav", 8000)
    true = film(tmp_path / "in/b.M4A", 0.5, rate=16000)
    film(tmp_path / "in/c.webm", 0.5)
    film(tmp_path / "in/bad.mp4", 0.5, good=False)
    film(tmp_path / "in/a.mp4", 0.5)  # the film whose sound is a.wav
    np.testing.assert_array_equal(read_audio(tmp_path / "in/b.M4A"), true)
    np.testing.assert_array_equal(read_audio(tmp_path / "in/b.M4A", part=slice(100, 200)), true[100:200])
    assert audio_length(tmp_path / "in/c.webm") == len(read_audio(tmp_path / "in/c.webm")) == 8000
    flags = [f"--data_path={tmp_path}/in", f"--output_path={tmp_path}", "--n_jobs=1"]
    assert preprocess_any.main([*flags, "--name=store"]) == 1
    assert generate_len_for_bucket.main([*flags, "--name=table"]) == 1
    assert "not read" not in capsys.readouterr().out
    assert Store([tmp_path / "store/all"]).ids == ["a", "b", "c"]
    reason = "split,path,reason\nall,bad.mp4,ffmpeg cannot read it: moov atom not found\n"
    assert (tmp_path / "store/errors.csv").read_text() == (tmp_path / "table/errors.csv").read_text() == reason
    assert Recordings([tmp_path / "in"], MEL).num_samples.tolist() == [8000, 8000, 0, 8000]
    assert not (tmp_path / "store/not_read.txt").exists()


def test_films_are_listed_where_there_is_no_ffmpeg(tmp_path, without_ffmpeg, capsys):  # F10
    wav(tmp_path / "in/a.wav", 8000)
    for name in ("x/b.m4a", "c.webm", "a.mp4"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    flags = [f"--data_path={tmp_path}/in", f"--output_path={tmp_path}", "--n_jobs=1"]
    for main, name in ((preprocess_any.main, "store"), (generate_len_for_bucket.main, "table")):
        assert main([*flags, f"--name={name}"]) == 0
        assert "1 .m4a, 1 .mp4, 1 .webm not read: install ffmpeg, or convert them" in capsys.readouterr().out
        assert (tmp_path / name / "not_read.txt").read_text() == "a.mp4\nc.webm\nx/b.m4a\n"
    with pytest.raises(AudioError, match=r"c.webm: .webm is read by ffmpeg, which is not here: install it"):
        read_audio(tmp_path / "in/c.webm")
    assert preprocess_any.main([*flags, "--name=asked", "--audio_extension", "webm", "wav"]) == 1
    assert 'c.webm,".webm is read by ffmpeg' in (tmp_path / "asked/errors.csv").read_text()


def test_other_files_of_libsndfile_are_found(tmp_path):
    for name, kind in (("a.caf", "CAF"), ("b.w64", "W64"), ("c.au", "AU")):
        soundfile.write(tmp_path / name, tone(0.5, 16000), 16000, format=kind)
        assert len(read_audio(tmp_path / name)) == 8000
    assert audio_files(tmp_path) == ["a.caf", "b.w64", "c.au"]


@pytest.mark.skipif(which("ffmpeg") is None, reason="no ffmpeg here")
@pytest.mark.parametrize("ending", ["m4a", "mp4", "webm", "aac"])
def test_ffmpeg_itself(tmp_path, ending):
    soundfile.write(tmp_path / "a.wav", tone(0.5, 16000), 16000)
    made = subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / f"b.{ending}"], check=False)
    if made.returncode:
        pytest.skip(f"this ffmpeg writes no {ending}")
    sound = read_audio(tmp_path / f"b.{ending}")
    assert len(sound) == audio_length(tmp_path / f"b.{ending}")
    assert 0.3 < np.abs(sound[2000:6000]).max() < 0.7
    content = (tmp_path / f"b.{ending}").read_bytes()
    if ending in ("m4a", "mp4"):
        (tmp_path / f"c.{ending}").write_bytes(content[: len(content) // 2])
        with pytest.raises(AudioError, match="ffmpeg cannot read it"):
            read_audio(tmp_path / f"c.{ending}")
