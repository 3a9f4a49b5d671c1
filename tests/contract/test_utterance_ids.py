"""One id per recording at every door: scripts, --extract from audio, tables, alignments."""

from pathlib import Path

import numpy as np
import pytest

import runner_mockingjay
from preprocess import generate_len_for_bucket, preprocess_alignment, preprocess_any, preprocess_libri, preprocess_timit
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.speech import MEL, wav
from utility.labels.alignment import Alignment
from utility.store.reading import Store, splits_in
from utility.store.recordings import Recordings
from utility.utterance_ids import utterance_ids


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["2033/164914/2033-164914-0002.flac", "a.wav"], ["2033-164914-0002", "a"]),
        (["ann/1.wav", "bob/1.wav", "bob/2.wav"], ["ann_1", "bob_1", "bob_2"]),
        (["a_b.wav", "a/b.wav", "c/b.wav"], ["a_b.wav", "a/b.wav", "c/b.wav"]),
        (["dr1-fvmh0/sa1.wav", "dr2-faem0/sa1.wav"], ["FVMH0_SA1", "FAEM0_SA1"]),
        (["TRAIN/DR1/FVMH0/SI836.WAV", "TEST/DR8/MJLN0/SX9.WAV"], ["FVMH0_SI836", "MJLN0_SX9"]),
        (["dr1-fvmh0/sa1.wav", "other/sa1.wav"], ["dr1-fvmh0_sa1", "other_sa1"]),
    ],
)
def test_the_rule(paths, ids):
    assert utterance_ids(paths) == ids
    assert utterance_ids(paths[:1], "stem") == [Path(paths[0]).stem]


def made(main, *words: object) -> None:
    assert main([str(word) for word in (*words, "--n_jobs=1")]) == 0


def ids_in(root: Path) -> list[str]:
    return sorted(key for split in splits_in(root) for key in Store([root / split]).ids)


def extracted(ckpt: Path, audio: Path, out: Path) -> list[str]:
    words = ["--extract", "--cpu", "--no-msg", "--ckpt", ckpt, "--input", audio, "--output", out]
    assert runner_mockingjay.main([str(word) for word in words]) == 0
    return ids_in(out)


GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
0.3
<exists>
1
"IntervalTier"
"phones"
0
0.3
1
0
0.3
"AA"
"""


def write_grids(audio: Path, root: Path) -> None:
    """A TextGrid for each recording, in folders like those of the recordings."""
    for path in audio.rglob("*.wav"):
        grid = (root / path.relative_to(audio)).with_suffix(".TextGrid")
        grid.parent.mkdir(parents=True, exist_ok=True)
        grid.write_text(GRID)


LIBRI = ["dev-clean/84/1/84-1-0000.wav", "train-clean-100/103/2/103-2-0001.wav"]
REPEATED = ["ann/1.wav", "ann/2.wav", "bob/1.wav"]


@pytest.mark.parametrize(
    ("names", "ids"), [(LIBRI, ["103-2-0001", "84-1-0000"]), (REPEATED, ["ann_1", "ann_2", "bob_1"])]
)
def test_scripts_audio_tables_and_alignments_agree(tmp_path, names, ids):
    audio = tmp_path / "audio"
    for seed, name in enumerate(names):
        wav(audio / name, 4800, seed)
    write_grids(audio, tmp_path / "grids")
    made(preprocess_any.main, "--data_path", audio, "--output_path", tmp_path, "--name", "any", "--delta=False")
    made(generate_len_for_bucket.main, "--data_path", audio, "--output_path", tmp_path, "--name", "table")
    words = ["--data_path", tmp_path / "grids", "--output_path", tmp_path, "--name", "phones"]
    assert preprocess_alignment.main([str(word) for word in words]) == 0
    ckpt = write_checkpoint(tmp_path / "a.ckpt", MEL, model=TRANSFORMER)
    assert ids_in(tmp_path / "any") == ids
    assert sorted(Recordings([audio], MEL).ids) == ids
    assert sorted(Recordings(sorted((tmp_path / "table").glob("*.csv")), MEL).ids) == ids
    assert sorted(Alignment(tmp_path / "phones").ids) == ids
    assert extracted(ckpt, audio, tmp_path / "states") == ids
    states, alignment = (
        Store([next((tmp_path / "states").glob("audio.csv")).with_suffix("")]),
        Alignment(tmp_path / "phones"),
    )
    for key, index in zip(states.ids, range(len(ids))):
        labels = alignment.frame_labels(key, states.frame_times(index), 0.3)
        assert (np.asarray(labels) == 0).any()
    if names is LIBRI:
        made(preprocess_libri.main, "--data_path", audio, "--output_path", tmp_path, "--name", "libri")
        assert ids_in(tmp_path / "libri") == ids


def test_timit_is_called_alike_everywhere(tmp_path):
    names = ["TRAIN/DR1/FVMH0/SA1.WAV", "TRAIN/DR2/FAEM0/SA1.WAV", "TEST/DR1/MDAB0/SI836.WAV"]
    for seed, name in enumerate(names):
        wav(tmp_path / "timit" / name, 4800, seed)
        (tmp_path / "timit" / name).with_suffix(".PHN").write_text("0 4800 aa\n")
    ids = ["FAEM0_SA1", "FVMH0_SA1", "MDAB0_SI836"]
    made(preprocess_timit.main, "--data_path", tmp_path / "timit", "--output_path", tmp_path, "--name", "own")
    made(preprocess_any.main, "--data_path", tmp_path / "timit", "--output_path", tmp_path, "--name", "any")
    words = ["--data_path", tmp_path / "timit", "--output_path", tmp_path, "--name", "phones"]
    assert preprocess_alignment.main([str(word) for word in words]) == 0
    assert ids_in(tmp_path / "own") == ids_in(tmp_path / "any") == ids
    assert sorted(Alignment(tmp_path / "phones").ids) == sorted(Recordings([tmp_path / "timit"], MEL).ids) == ids


def test_folders_given_apart_are_named_together(tmp_path):
    for name in ("train/x.wav", "dev/y.wav", "far/x.wav"):
        wav(tmp_path / name, 4800)
    words = ["--train", tmp_path / "train", "--dev", tmp_path / "dev", "--output_path", tmp_path]
    made(preprocess_any.main, *words, "--name", "apart")
    assert ids_in(tmp_path / "apart") == ["x", "y"]
    words[3] = tmp_path / "far"
    made(preprocess_any.main, *words, "--name", "alike")
    assert ids_in(tmp_path / "alike") == ["dev_x", "train_x"]
    with pytest.raises(ValueError, match=r"utterance id 'x' is not unique in .*: name one folder above them"):
        Recordings([tmp_path / "train", tmp_path / "far"], MEL)
