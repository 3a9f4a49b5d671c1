"""S3PRL's phone protocol on its own lists and on real speech, and alignments that Kaldi's code wrote."""

import csv
import hashlib
import json

import numpy as np
import pytest

import run_downstream
from downstream.splits import cpc_cut
from preprocess import preprocess_alignment
from tests.conftest import PROJECT
from tests.helpers.downstream_corpus import WIDTH, write_store
from utility.labels.alignment import Alignment
from utility.store.lists import read_list


def beginning(ids) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def test_the_lists_are_cut_as_the_original_cuts_them(corpora):
    listed = read_list(corpora / "lists/cpc_train_split.txt")
    train, dev = cpc_cut(listed.ids)
    assert (len(listed.ids), len(train), len(dev)) == (22_830, 20_547, 2_283)
    assert dev[:3] == ["7367-86737-0057", "4397-15678-0037", "7059-77897-0021"]
    assert beginning(dev) == "c600571a44e982c9"
    assert beginning(sorted(dev)) == "3ab66272a9f3d299"
    speakers = [{key.split("-")[0] for key in ids} for ids in (train, dev)]
    assert speakers[0] == speakers[1]
    test = read_list(corpora / "lists/cpc_test_split.txt").ids
    assert len(test) == 5_708
    assert {key.split("-")[0] for key in test} == speakers[0]
    assert len(speakers[0]) == 251
    assert not set(test) & set(listed.ids)


@pytest.fixture(scope="module")
def libri(corpora, tmp_path_factory):
    """What S3PRL's config names, of libri_mini: a store of noise of the true lengths, and phones every 10 ms."""
    root = tmp_path_factory.mktemp("cpc")
    (root / "lists").symlink_to(corpora / "lists")
    with (corpora / "libri_mini/utterances.tsv").open() as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["subset"] == "train-clean-100"]
    rng = np.random.default_rng(0)
    sizes = {row["utt_id"]: int(float(row["seconds"]) * 100) - 1 for row in rows}
    frames = {key: rng.standard_normal((size, WIDTH), np.float32) for key, size in sizes.items()}
    write_store(root / "data/libri", "train-clean-100", frames)
    grids = corpora / "libri_mini/alignments/pocketsphinx/train-clean-100"
    words = ["--data_path", str(grids), "--output_path", str(root / "data"), "--name", "cpc_phones"]
    assert preprocess_alignment.main(words) == 0
    return root


@pytest.mark.slow
def test_the_whole_protocol_runs_on_the_utterances_that_are_there(libri, monkeypatch, capsys):
    monkeypatch.chdir(libri)
    config = str(PROJECT / "config/s3prl_phone_linear.yaml")
    words = [
        "--run",
        "phone_linear",
        "--upstream",
        "baseline",
        "--config",
        config,
        "--cpu",
        "--no-msg",
        "--name",
        "cpc",
    ]
    words += ["trainer.steps=2", "trainer.eval_every=1"]
    with pytest.raises(
        ValueError, match=r"lists/cpc_train_split\.txt: data/libri/train-clean-100 lacks 22676 of its 22830"
    ):
        run_downstream.main(words)
    assert run_downstream.main([*words, "data.unaligned=leave_out"]) == 0
    folder = libri / "result/result_baseline_phone_linear/cpc"
    result = json.loads((folder / "result.json").read_text())
    parts = result["division"]
    assert [parts[part]["utterances"] for part in ("train", "dev", "test")] == [138, 16, 51]
    assert parts["rule"] == "cpc"
    assert parts["left_out"] == {"listed, but not there": 22_830 - 154 + 5_708 - 51}
    assert parts["dev"]["speakers_of_train"] > 0
    assert result["config"]["optimizer"]["schedule"] == "constant"
    dev = set(cpc_cut(read_list(libri / "lists/cpc_train_split.txt").ids)[1])
    scored = {line.split("\t")[0] for line in (folder / "predictions_dev.tsv").read_text().splitlines()[1:]}
    assert len(scored) == 16
    assert scored <= dev


def test_kaldis_own_archives_of_phones(kaldi_dir, tmp_path):
    """Plain, packed and as text: each frame has the phone that Kaldi reads."""
    (tmp_path / "phones.txt").write_text("".join(f"P{code}_{'BIES'[code % 4]} {code}\n" for code in range(1, 40)))
    expected = {
        key.partition("/")[2]: value
        for key, value in np.load(kaldi_dir / "expected.npz").items()
        if key.startswith("ali/")
    }
    for number, name in enumerate(("ali.ark", "ali.1.gz", "ali_text.ark")):
        words = ["--format", "kaldi", "--phones", str(tmp_path / "phones.txt"), "--data_path", str(kaldi_dir / name)]
        assert preprocess_alignment.main([*words, "--output_path", str(tmp_path), "--name", str(number)]) == 0
        alignment = Alignment(tmp_path / str(number))
        assert alignment.ids == list(expected)
        for key, codes in expected.items():
            labels = alignment.index_labels(key, len(codes), 0.01)
            assert [alignment.labels[label] for label in labels] == [f"P{code}" for code in codes]
