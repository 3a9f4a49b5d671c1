"""Parts of recordings: a manifest with the columns start and end, read by seeking, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from preprocess import generate_len_for_bucket, preprocess_any
from tests.command.test_preprocess import command, contents
from tests.helpers.speech import wav
from utility.audio.features import FeatureExtractor
from utility.audio.waveform import read_audio
from utility.store.reading import Store


@pytest.fixture
def parted(tmp_path) -> Path:
    """A manifest of parts of recordings of 16 and 8 kHz and of Ogg, which does not seek exactly."""
    wav(tmp_path / "x/1.wav", 32000)
    wav(tmp_path / "x/2.wav", 16000, rate=8000)
    soundfile.write(tmp_path / "x/3.ogg", 0.1 * np.random.default_rng(3).standard_normal(24000), 16000)
    table = tmp_path / "parts.csv"
    lines = ["whole,x/1.wav,,", "first,x/1.wav,,0.5", "rest,x/1.wav,0.5,-1", "middle,x/1.wav,0.70003,1.2",
             "slow,x/2.wav,0.25,1.75", "ogg,x/3.ogg,0.5,1.0", "over,x/1.wav,1.5,2.04"]  # fmt: skip
    table.write_text("\n".join(["id,path,start,end", *lines]) + "\n")
    return table


def test_parts_of_recordings_are_utterances(parted, tmp_path, capsys):
    flags = [f"--data_path={parted}", f"--output_path={tmp_path}", "--n_jobs=1", "--name=m"]
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    store = Store([tmp_path / "m/all"])
    spans = dict(zip(store.ids, store.spans))
    assert spans["whole"] == (None, None)
    assert spans["rest"] == (0.5, None)
    assert spans["middle"] == (0.70003, 1.2)
    whole, half, ogg = (read_audio(tmp_path / f"x/{name}", rate) for name, rate in
                        (("1.wav", 16000), ("2.wav", 8000), ("3.ogg", 16000)))  # fmt: skip
    cut = {
        "whole": whole,
        "first": whole[:8000],
        "rest": whole[8000:],
        "middle": whole[11200:19200],
        "slow": soxr.resample(half[2000:14000], 8000, 16000),
        "ogg": ogg[8000:16000],
        "over": whole[24000:],
    }
    extract = FeatureExtractor(store.info.features)
    assert sorted(store.ids) == sorted(cut)
    for name, samples in cut.items():
        expected = extract.of([torch.from_numpy(np.ascontiguousarray(samples))])[0][0].numpy()
        assert store.num_samples[store.index[name]] == len(samples)
        assert np.array_equal(store[store.index[name]], expected), name
    before = contents(tmp_path / "m")
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    assert contents(tmp_path / "m") == before


def test_parts_read_no_more_of_a_file_than_they_are(tmp_path, monkeypatch):
    wav(tmp_path / "1.wav", 160000)
    read, plain = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **more: read.append(n) or plain(self, n, **more))
    assert len(read_audio(tmp_path / "1.wav", 16000, span=(9.0, 9.5))) == 8000
    assert len(read_audio(tmp_path / "1.wav", 8000, span=(9.0, None))) == 8000
    assert len(read_audio(tmp_path / "1.wav", 16000, slice(100, 200), 8000, (9.0, 9.5))) == 100
    assert read == [8000, 16000, 100]


def test_parts_beyond_their_recordings_are_listed(tmp_path, capsys):
    wav(tmp_path / "1.wav", 16000)
    rows = ["a,1.wav,0,0.5", "b,1.wav,0.2,1.06", "c,1.wav,1.5,2", "d,1.wav,0.5,0.51", "e,1.wav,0.1,0.1000001"]
    (tmp_path / "list.csv").write_text("\n".join(["id,path,start,end", *rows]) + "\n")
    flags = [f"--data_path={tmp_path}/list.csv", f"--output_path={tmp_path}", "--n_jobs=1", "--name=m"]
    for _ in range(2):
        code, errors = command(preprocess_any.main, capsys, *flags)
        assert code == 1
        assert errors.startswith("4 not used")
        assert Store([tmp_path / "m/all"]).ids == ["a"]
        assert (tmp_path / "m/errors.csv").read_text().splitlines()[1:] == [
            "all,1.wav from 0.1 s to 0.1000001 s,no samples between 0.1 and 0.1000001 s",
            "all,1.wav from 0.2 s to 1.06 s,ends at 1.06 s beyond the 1.000 s of the recording",
            "all,1.wav from 0.5 s to 0.51 s,too short: 160 samples where one window of fbank features has 400",
            "all,1.wav from 1.5 s to 2.0 s,starts at 1.5 s beyond the 1.000 s of the recording",
        ]


@pytest.mark.parametrize(
    ("rows", "flags", "line"),
    [
        (
            "id,path,start,end\na,x.wav,-0.2,1\n",
            [],
            "line 2: start is -0.2, below 0: correct it, or take 0",
        ),
        ("id,path,start,end\na,x.wav,0.5,0.5\n", [], "line 2: end is 0.5, not after start 0.5"),
        ("id,path,start,end\na,x.wav,1,0.5\n", [], "line 2: end is 0.5, not after start 1"),
        ("id,path,end\na,x.wav,0\n", [], "line 2: end is 0, not after start 0"),
        ("id,path,start,end\na,x.wav,,-2\n", [], "line 2: end is -2, not after start 0"),
        ("id,path,start,end\na,x.wav,now,1\n", [], "line 2: start is 'now', expected seconds"),
        ("id,path,start,end\na,x.wav,nan,1\n", [], "line 2: start is 'nan', expected seconds"),
        ("path,start,end\nx.wav,,\nx.wav,0,1\n", [], "line 3 is a part of a recording, which needs an id"),
        ("id,path\na,x.wav\n", ["--clip"], "--clip is for a manifest with a column start; it has id, path"),
    ],
)
def test_parts_that_make_no_sense_are_one_line(tmp_path, capsys, rows, flags, line):
    wav(tmp_path / "x.wav", 32000)
    (tmp_path / "list.csv").write_text(rows)
    words = [f"--data_path={tmp_path}/list.csv", f"--output_path={tmp_path}/out", "--n_jobs=1", *flags]
    code, errors = command(preprocess_any.main, capsys, *words)
    assert code == 2
    assert line in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_start_below_0_can_be_taken_for_0(tmp_path, capsys):
    wav(tmp_path / "x.wav", 32000)
    (tmp_path / "list.csv").write_text("id,path,start,end\na,x.wav,-0.2,1\n")
    words = [f"--data_path={tmp_path}/list.csv", f"--output_path={tmp_path}", "--n_jobs=1", "--name=m", "--clip"]
    assert command(preprocess_any.main, capsys, *words) == (0, "")
    assert Store([tmp_path / "m/all"]).spans == [(0.0, 1.0)]
    assert Store([tmp_path / "m/all"]).num_samples.tolist() == [16000]
    words = [f"--data_path={tmp_path}", f"--output_path={tmp_path}", "--n_jobs=1", "--clip"]
    assert "--clip is for a manifest" in command(preprocess_any.main, capsys, *words)[1]
    words = [f"--data_path={tmp_path}/list.csv", f"--output_path={tmp_path}", "--n_jobs=1"]
    assert "preprocess_any.py alone" in command(generate_len_for_bucket.main, capsys, *words)[1]
