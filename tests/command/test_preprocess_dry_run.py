"""`--dry_run` of every script in preprocess/: what would be made of which data, and nothing written."""

import importlib

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.helpers.command_world import tree
from tests.helpers.downstream_corpus import write_store
from tests.helpers.speech import wav

SCRIPTS = {
    "preprocess_libri": (["--data_path", "corpus"], ("kind: mel", "train: 2 utterances, 0.00 hours, 1 not usable")),
    "preprocess_timit": (["--data_path", "timit"], ("kind: mel", "train: 1 utterances, 0.00 hours, 0 not usable")),
    "preprocess_any": (["--data_path", "corpus", "--name", "x"], ("kind: fbank", "2 utterances", "data/x")),
    "preprocess_mosei": (
        ["--data_path", "corpus", "--labels", "mosei.csv", "--min_seconds", "0"],
        (
            "2 segments, 1 taken",
            "test: 1 utterances, 0.00 hours, 0 not usable",
            "labels.csv: 1 rows of id, split, path",
        ),
    ),
    "generate_len_for_bucket": (["--data_path", "corpus"], ("3 recordings, 0.00 hours, 0 failed",)),
    "preprocess_alignment": (["--data_path", "a.ctm"], ("1 files of form ctm: 2 utterances, 0.00 hours, 2 labels",)),
    "preprocess_apc": (["--data_path", "apc.blogmel"], ("apc: 1 utterances, 0.00 hours, 2 frames of 2",)),
    "preprocess_kaldi": (["--data_dir", "kdir"], ("kind: fbank", "kdir: 2 utterances, 0.00 hours, 0 not usable")),
    "preprocess_text": (["--data_path", "corpus/text"], ("kaldi", "2 texts")),
    "export_kaldi": (["--store", "data/mine/train"], ("data/mine-kaldi/train: 2 utterances, 7 frames of 3",)),
    "make_trials": (["--data_path", "data/trials/all", "--output", "t.txt"], ("t.txt would have 5 trials, 1 target",)),
    "demo_corpus": (["--minutes", "2"], ("minutes: 2.0", "data/demo_corpus")),
}


WRITES_NOTHING = {"check_corpus"}  # but what is asked for


def test_every_script_is_tried():
    assert {path.stem for path in (PROJECT / "preprocess").glob("*.py")} == SCRIPTS.keys() | WRITES_NOTHING


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_says_what_would_be_made_and_writes_nothing(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, samples in enumerate((1600, 3200, 100)):
        wav(tmp_path / f"corpus/train/1/2/1-2-{number}.flac", samples)
    wav(tmp_path / "timit/TRAIN/DR1/FAEM0/SI1392.WAV")
    (tmp_path / "a.ctm").write_text("u 1 0 0.5 aa\nv 1 0 0.5 b\n")
    (tmp_path / "kdir").mkdir()
    (tmp_path / "kdir/wav.scp").write_text("a corpus/train/1/2/1-2-0.flac\nb corpus/train/1/2/1-2-1.flac\n")
    (tmp_path / "apc.blogmel").write_text("a\n1 2\n3 4\n.\n")
    (tmp_path / "corpus/text").write_text("1-2-0 one\n1-2-1 two\n")
    write_store(tmp_path / "data/mine", "train", {"1-2-0": np.ones((3, 3)), "1-2-1": np.zeros((4, 3))})
    write_store(tmp_path / "data/trials", "all", {f"{key}": np.ones((3, 3)) for key in ("a-0", "a-1", "b-0")})
    (tmp_path / "mosei.csv").write_text("file,index,start,end,split\n1-2-1,0,0,0.1,2\n1-2-1,1,0,0.1,3\n")
    before = tree(tmp_path)
    words, shown = SCRIPTS[script]
    code = importlib.import_module(f"preprocess.{script}").main([*words, "--dry_run"])
    out = capsys.readouterr().out
    assert not code
    assert not [part for part in shown if part not in out], out
    assert "dry run: nothing is written" in out
    assert tree(tmp_path) == before
