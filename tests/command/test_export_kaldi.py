"""Stores as Kaldi's data directories and as APC's text, read back by Kaldi's own code and by ours."""

import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import kaldi_native_io as native
import numpy as np
import pytest

import runner_mockingjay
from preprocess import preprocess_apc
from preprocess.export_kaldi import main
from tests.conftest import PROJECT
from tests.contract.test_archive import kill_at
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.files import contents
from tests.helpers.speech import MEL, sparse_store, write_store
from utility.audio.feature_config import FeatureConfig
from utility.kaldi.archives import read_scp
from utility.store.kaldi_directory import FILES, DirectoryOptions, write_directory
from utility.store.reading import Store

FBANK = FeatureConfig(kind="kaldi_fbank", deltas=0, cmvn="none")
LENGTHS = {"b-1": 30, "a-2": 9, "a-10": 12, "B-7": 25}  # in C order: B-7 a-10 a-2 b-1


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Stores of features as computed, of features normalised by speaker, and of none but representations."""
    root = tmp_path_factory.mktemp("export")
    write_store(root / "raw" / "train", LENGTHS, FBANK)
    write_store(root / "raw" / "dev", {"b-3": 9}, FBANK, seed=1)
    write_store(root / "normal" / "train", LENGTHS, replace(FBANK, cmvn="speaker", window_type="hamming"))
    write_store(root / "mel" / "train", {"a-0": 20, "b-0": 30}, MEL)
    (root / "words").mkdir()
    lines = [f"{name}\tWORDS OF {name}" for name in ("other", *LENGTHS)]
    (root / "words" / "text.tsv").write_text("\n".join(lines) + "\n")
    (root / "words" / "text.yaml").write_text("format: kaldi\n")
    return root


def export(words: str) -> int:
    return main(words.split())


def rows(table: Path) -> list[str]:
    return table.read_text().splitlines()


def matrices(path: Path) -> dict[str, np.ndarray]:
    """What Kaldi's own code reads of an scp."""
    kind = native.SequentialDoubleMatrixReader if path.stem == "cmvn" else native.SequentialFloatMatrixReader
    with kind(f"scp:{path}") as reader:
        return {key: np.array(value) for key, value in reader}


def test_a_data_directory_as_kaldis_own_code_reads_it(world, tmp_path, capsys):
    assert export(f"--store {world}/raw/train --output_path {tmp_path} --text {world}/words") == 0
    folder, store = tmp_path / "train", Store([world / "raw" / "train"])
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    feats, order = matrices(folder / "feats.scp"), ["B-7", "a-10", "a-2", "b-1"]
    assert list(feats) == order
    for name, values in feats.items():
        np.testing.assert_array_equal(values, store[store.index[name]])
    assert rows(folder / "utt2spk") == ["B-7 B", "a-10 a", "a-2 a", "b-1 b"]
    assert rows(folder / "spk2utt") == ["B B-7", "a a-10 a-2", "b b-1"]
    assert rows(folder / "utt2num_frames") == [f"{name} {LENGTHS[name]}" for name in order]
    assert rows(folder / "frame_shift") == ["0.01"]
    assert rows(folder / "text") == [f"{name} WORDS OF {name}" for name in order]
    assert rows(folder / "feats.scp")[0].startswith(f"B-7 {folder}/feats.ark:")
    sums = matrices(folder / "cmvn.scp")
    assert list(sums) == ["B", "a", "b"]
    both = np.concatenate([feats["a-10"], feats["a-2"]]).astype(np.float64)
    np.testing.assert_allclose(sums["a"][:, :-1], [both.sum(0), (both**2).sum(0)], rtol=1e-12)
    assert sums["a"][:, -1].tolist() == [21, 0]
    text = (folder / "pytorch_kaldi.cfg").read_text()
    assert f"fea = fea_name=raw\n\tfea_lst={folder}/feats.scp\n" in text
    assert f"fea_opts=apply-cmvn --utt2spk=ark:{folder}/utt2spk ark:{folder}/cmvn.ark ark:- ark:- |\n" in text
    assert capsys.readouterr().out == f"{folder}: 4 utterances, 76 frames of 80\n"


def test_exported_rows_are_normalised_as_the_store_says(world, tmp_path):
    assert export(f"--store {world}/normal/train --output_path {tmp_path}") == 0
    sums = matrices(tmp_path / "train" / "cmvn.scp")
    assert {*sums} == {"B", "a", "b"}
    for values in sums.values():
        np.testing.assert_allclose(values[:, :-1] / values[0, -1], [[0] * 80, [1] * 80], atol=1e-5)
    assert "fea_opts=\n" in (tmp_path / "train" / "pytorch_kaldi.cfg").read_text()


def test_a_store_gives_a_folder_for_each_split_beside_it(world):
    assert export(f"--store {world}/raw --relative") == 0
    assert sorted(path.name for path in (world / "raw-kaldi").iterdir()) == ["dev", "train"]
    moved = shutil.move(world / "raw-kaldi", world / "elsewhere")
    assert [line.split(":")[0] for line in rows(Path(moved) / "dev" / "feats.scp")] == ["b-3 feats.ark"]
    np.testing.assert_array_equal(read_scp(Path(moved) / "dev" / "feats.scp")["b-3"], Store([world / "raw/dev"])[0])


def test_kaldi_wants_speakers_and_utterances_in_one_order(tmp_path, capsys):
    """`c9` says what is sorted first, and comes last among the speakers."""
    path = write_store(tmp_path / "mixed" / "train", {"z-1": 9, "a-2": 12, "a-1": 9}, FBANK)
    table = path.with_suffix(".csv")
    table.write_text(
        table.read_text().replace("a-1,21,9,1440,a,", "a-1,21,9,1440,z,").replace(",12,1920,a,", ",12,1920,,")
    )
    assert export(f"--store {path} --output_path {tmp_path}/plain") == 0
    assert "warning: Kaldi wants utterances and speakers in one order: 'a-1' of 'z' comes before 'a-2'" in (
        capsys.readouterr().err
    )
    assert rows(tmp_path / "plain/train/utt2spk") == ["a-1 z", "a-2 a-2", "z-1 z"]
    assert export(f"--store {path} --output_path {tmp_path}/fixed --prefix_speaker") == 0
    assert rows(tmp_path / "fixed/train/utt2spk") == ["a-2 a-2", "z-a-1 z", "z-z-1 z"]
    assert list(matrices(tmp_path / "fixed/train/cmvn.scp")) == ["a-2", "z"]
    assert "order" not in capsys.readouterr().err


@pytest.mark.parametrize(("form", "loss"), [("two_byte", 0.001), ("speech", 0.3)])
def test_compressed_features_are_what_kaldi_unpacks(world, tmp_path, form, loss):
    assert export(f"--store {world}/raw/train --output_path {tmp_path} --compress {form}") == 0
    store, whole = Store([world / "raw" / "train"]), 4 * 80 * 76
    with native.SequentialFloatMatrixReader(f"scp:{tmp_path}/train/feats.scp") as reader:
        for key, value in reader:
            assert 0 < np.abs(np.array(value) - store[store.index[key]]).max() < loss
    assert (tmp_path / "train" / "feats.ark").stat().st_size < whole * 0.6


def test_frames_that_kaldis_alignments_do_not_fit_are_told(world, tmp_path, capsys):
    assert export(f"--store {world}/mel/train --output_path {tmp_path}") == 0
    warning = "2 of 2 utterances have other numbers of frames than Kaldi gives their recordings, 'a-0' 20 instead of 23"
    assert warning in capsys.readouterr().err


def test_an_export_is_whole_or_not_there(world, tmp_path, monkeypatch):
    assert export(f"--store {world}/raw/train --output_path {tmp_path}") == 0
    before, words = contents(tmp_path), f"--store {world}/normal/train --output_path {tmp_path}"
    for moment, left in (("utility.kaldi.archives.pack", 2), ("utility.store.kaldi_directory.replace_file", 4)):
        with monkeypatch.context() as patch:
            kill_at(patch, moment, left)
            with pytest.raises(KeyboardInterrupt):
                export(words)
        assert contents(tmp_path) == before
    assert export(words) == 0
    assert contents(tmp_path) != before
    assert {path.name for path in (tmp_path / "train").iterdir()} == {*FILES} - {"text"}
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "train" / "split4").mkdir()
    with pytest.raises(ValueError, match="train: holds 'split4', which is no part of an export"):
        export(words)


@pytest.mark.slow
def test_extraction_writes_a_data_directory_whenever_it_was_killed(world, tmp_path, monkeypatch, capsys):
    ckpt = write_checkpoint(tmp_path / "m.ckpt", model=TRANSFORMER, features=FBANK)
    words = f"--extract --ckpt {ckpt} --cpu --no-msg --format kaldi --input {world}/raw/train --output out".split()
    (whole := tmp_path / "whole").mkdir()
    monkeypatch.chdir(whole)
    assert runner_mockingjay.main(words) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["features.yaml", "train"]
    plain = [*words[:-4], "--input", f"{world}/raw/train", "--output", "npy"]
    plain[plain.index("--format") + 1] = "npy"
    assert runner_mockingjay.main(plain) == 0
    store = Store(["npy/train"])
    for name, values in matrices(Path("out/train/feats.scp")).items():
        np.testing.assert_array_equal(values, store[store.index[name]])
    assert rows(Path("out/train/frame_shift")) == ["0.01"]
    with monkeypatch.context() as patch:
        kill_at(patch, "mockingjay.representation.StoreWriter.open", 0)
        assert runner_mockingjay.main(words) == 0  # what is there is not made again
    for number, (moment, left) in enumerate(
        (
            ("mockingjay.representation.StoreWriter.write", 2),
            ("utility.kaldi.archives.pack", 2),
            ("utility.store.files.SplitFiles.remove_rows", 0),
        )
    ):
        (here := tmp_path / f"killed{number}").mkdir()
        monkeypatch.chdir(here)
        with monkeypatch.context() as patch:
            kill_at(patch, moment, left)
            with pytest.raises(KeyboardInterrupt):
                runner_mockingjay.main(words)
        assert runner_mockingjay.main(words) == 0
        for name in ("feats.ark", "utt2spk", "cmvn.ark"):
            assert Path("out/train", name).read_bytes() == (whole / "out/train" / name).read_bytes()
        assert sorted(path.name for path in Path("out").iterdir()) == ["features.yaml", "train"]
    monkeypatch.chdir(whole)
    with pytest.raises(ValueError, match="precision is 'fp32' there, 'bf16' here; choose another --output"):
        runner_mockingjay.main([*words, "--precision", "bf16"])
    assert runner_mockingjay.main([*words, "--precision", "bf16", "--overwrite"]) == 0
    with pytest.raises(ValueError, match="--format kaldi holds one vector per frame, not several layers"):
        runner_mockingjay.main([*words, "--layer", "all"])


def test_blogmel_both_ways(world, tmp_path):
    """What APC's program reads, and what its reader here makes of it."""
    assert export(f"--store {world}/raw/train --output_path {tmp_path} --format blogmel") == 0
    lines = rows(tmp_path / "train-hires-norm.blogmel")
    assert lines[0] == "B-7"
    assert lines[26:28] == [".", "a-10"]
    assert {len(line.split()) for line in lines[1:26]} == {80}
    there = f"--data_path {tmp_path}/train-hires-norm.blogmel --output_path {tmp_path} --name back"
    assert preprocess_apc.main(there.split()) == 0
    first, back = Store([world / "raw" / "train"]), Store([tmp_path / "back" / "train"])
    assert sorted(first.ids) == sorted(back.ids)
    for name, index in first.index.items():
        np.testing.assert_allclose(back[back.index[name]], first[index], rtol=1e-5)


def test_commands_of_the_page_write_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("mine/train", "mine/dev", "mine_apc/train"):
        write_store(Path("data", name), {f"{name[-3]}-1": 9}, FBANK)
    write_checkpoint(Path("best.ckpt"), model=TRANSFORMER, features=FBANK)
    section = (PROJECT / "docs" / "corpora.md").read_text().split("## Export to Kaldi\n")[1].split("\n## ")[0]
    shown = re.findall(r"^\| `python (?:preprocess/)?(\w+)\.py ([^`]*)` \| ([^|]*) \|$", section, re.MULTILINE)
    assert len(shown) == 4
    for script, words, written in shown:
        assert {"export_kaldi": main, "runner_mockingjay": runner_mockingjay.main}[script](words.split()) == 0
        for place in re.findall("`([^`]*)`", written):
            assert Path(place).exists(), f"{words}: {place}"
    assert sorted(path.name for path in Path("exp/data").iterdir()) == ["dev", "train"]


@pytest.mark.slow
def test_memory_does_not_grow_with_frames(tmp_path):
    """Sums of speakers that nobody reads any more lie on disk."""
    path = sparse_store(tmp_path / "big" / "train", np.full(2000, 20), speakers=2000)
    store = Store([path])
    tracemalloc.start()
    write_directory(store, tmp_path / "out", DirectoryOptions())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # the archive has 13 MB, the sums 2.6
    assert len(rows(tmp_path / "out" / "cmvn.scp")) == 2000
