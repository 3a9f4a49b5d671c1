"""S3PRL's phone protocol on its own lists and on real speech, and alignments that Kaldi's code wrote."""

import csv
import hashlib
import json
import re
import shlex

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


def documented(word: str) -> list[str]:
    """The words of the command in docs/originals.md that is ours for an original's `word`."""
    rows = (PROJECT / "docs/originals.md").read_text(encoding="utf-8").splitlines()
    (row,) = (row for row in rows if row.startswith("| ") and word in row.split(" | ")[0])
    return shlex.split(re.search(r"`python ([^`]+)`", row)[1])


@pytest.fixture(scope="module")
def libri(corpora, tmp_path_factory):
    """What S3PRL has, of libri_mini: lists, a phone for every 10 ms; a store of noise of the true lengths."""
    root = tmp_path_factory.mktemp("cpc")
    (root / "config").symlink_to(PROJECT / "config")
    with (corpora / "libri_mini/utterances.tsv").open() as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["subset"] == "train-clean-100"]
    rng = np.random.default_rng(0)
    sizes = {row["utt_id"]: int(float(row["seconds"]) * 100) - 1 for row in rows}
    frames = {key: rng.standard_normal((size, WIDTH), np.float32) for key, size in sizes.items()}
    write_store(root / "data/libri_fbank", "train-clean-100", frames)
    theirs = root / "data/cpc_phone"
    theirs.mkdir()
    for part in ("train", "test"):
        (theirs / f"{part}_split.txt").symlink_to(corpora / f"lists/cpc_{part}_split.txt")
    grids = corpora / "libri_mini/alignments/pocketsphinx/train-clean-100"
    words = ["--data_path", str(grids), "--output_path", str(root / "data"), "--name", "grids"]
    assert preprocess_alignment.main(words) == 0
    phones = Alignment(root / "data/grids")
    labels = {key: phones.index_labels(key, round(phones.segments(key)["end"][-1] * 100), 0.01) for key in phones.ids}
    lines = [f"{key} {' '.join(map(str, codes))}\n" for key, codes in labels.items()]
    (theirs / "converted_aligned_phones.txt").write_text("".join(lines))
    return root


@pytest.mark.slow
def test_the_whole_protocol_runs_on_the_utterances_that_are_there(libri, monkeypatch):
    monkeypatch.chdir(libri)
    script, *words = documented("`--phone_set cpc_phone`: the labels")
    assert script == "preprocess/preprocess_alignment.py"
    assert preprocess_alignment.main(words) == 0
    script, *words = documented("--run=phone_linear --phone_set=cpc_phone")
    assert script == "run_downstream.py"
    words += ["--cpu", "--no-msg", "--name", "cpc", "trainer.steps=2", "trainer.eval_every=1"]
    with pytest.raises(
        ValueError, match=r"train_split\.txt: data/libri_fbank/train-clean-100 lacks 22676 of its 22830"
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
    dev = set(cpc_cut(read_list(libri / "data/cpc_phone/train_split.txt").ids)[1])
    scored = {line.split("\t")[0] for line in (folder / "predictions_dev.tsv").read_text().splitlines()[1:]}
    assert len(scored) == 16
    assert scored <= dev


@pytest.mark.slow
@pytest.mark.parametrize("run", ["phone_1hidden", "phone_concat"])
def test_longer_probes_of_the_protocol_are_planned(libri, run, monkeypatch, capsys):
    monkeypatch.chdir(libri)
    _, *words = documented("`--run=phone_1hidden`, `phone_concat`")
    words = [run if word == "phone_1hidden" else word for word in words]
    assert (
        run_downstream.main([*words, "--cpu", "--dry_run", "data.unaligned=leave_out", "data.alignment=data/grids"])
        == 0
    )
    plan = capsys.readouterr().out
    assert "train: 138 utterances" in plan
    assert "steps: 1000000" in plan


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
