"""The originals' commands about corpora, labels, texts and Kaldi have rows in docs/originals.md, which run as they
stand on tiny data and leave what the page promises."""

import csv
import importlib
import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.helpers.original_corpora import MATRICES, build_world
from utility.kaldi.archives import read_scp
from utility.labels.alignment import Alignment
from utility.store.reading import Store

DOCUMENTED = """
preprocess_libri.py preprocess_timit.py preprocess_any.py generate_len_for_bucket.py
phoneme char subword word n_tokens
preprocess_mosi.py segment_mosei.py extract_mosei.py length_mosei.py segment_audio.py
speech_commands fluent_commands voxceleb1 emotion test_fold
ark2libri.py ark2timit.py ark2voxceleb.py kaldi_data
make_fbank blogmel prepare_data.py PyTorch-Kaldi
montreal_phone preprocess_alignment.py cpc_phone phone_linear phone_1hidden phone_concat ali-to-phones
""".split()  # noqa: SIM905
SMALLER = {  # by what a command holds
    "run_downstream": ["--cpu", "--no-msg", "trainer.steps=2", "trainer.eval_every=1", "trainer.save_every=1"],
    "runner_mockingjay": ["--cpu", "--no-msg"],
    "--target subword": ["--n_tokens", "20"],
    r"preprocess_(libri|timit|any|mosei)|generate": ["--n_jobs", "1"],
}
NEEDS = {".csd": "h5py", "subword": "sentencepiece"}  # packages that some users have not
EXPECTED = {  # what `found` says of the files that the page promises
    "data/libri_mel160/train-clean-100.npy": "3 of 160: 103-1-0000 to 84-1-0001",
    "data/timit_mel160/train.npy": "1 of 160: FVMH0_SA1 to FVMH0_SA1",
    "data/recordings/all.npy": "1 of 80: a to a",
    "data/len_for_bucket/train-clean-100.csv": "3: path speaker duration rate num_samples",
    "data/libri_phonemes/encoded.tsv": "103-1-0000\t0 10 8 2 4 13 4 2 1",
    "data/libri_phonemes/vocabulary.txt": "<sos> <eos> T B IH1 IY1 UW1 AA1 AE1 AO1 DH N R Z",
    "data/libri_chars/encoded.tsv": "103-1-0000\t0 2 9 8 2 3 7 12 3 7 2 1",
    "data/libri_chars/vocabulary.txt": "<sos> <eos> T | O B E I A H N R S",
    "data/libri_subwords/encoded.tsv": "3 lines",
    "data/libri_subwords/vocabulary.txt": "20 lines",
    "data/libri_words/encoded.tsv": "103-1-0000\t0 9 5 6 1",
    "data/libri_words/vocabulary.txt": "<sos> <eos> <unk> BE TO IS IT NOT OR THAT",
    "data/mosi/all.npy": "7 of 160: a[0] to d[0]",
    "data/mosi/labels.csv": "7: split path video sentiment",
    "data/mosei_legacy/train.npy": "3 of 160: a[2] to d[0]",
    "data/mosei_legacy/test.npy": "2 of 160: b[0] to b[1]",
    "data/mosei_legacy/labels.csv": "5: split path start end video sentiment happy sad anger surprise disgust fear",
    "data/mosei/train.npy": "2 of 160: a_0 to a_2",
    "data/mosei/dev.npy": "2 of 160: b_0 to b_1",
    "data/mosei/test.npy": "1 of 160: c_0 to c_0",
    "data/mosei/labels.csv": "5: split path start end video index label2a label2b label6 label7",
    "data/speech_commands/train.npy": "25 of 80: background_noise_running tap_0000 to yes_00000015_nohash_0",
    "data/speech_commands/dev.npy": "9 of 80: background_noise_running tap_0004 to yes_0000001b_nohash_0",
    "data/speech_commands/test.npy": "3 of 80: test_silence_ffffffff_nohash_0 to test_yes_ffffffff_nohash_0",
    "data/speech_commands/labels.csv": "37: split path start end speaker word class",
    "data/fluent_commands/train.npy": "1 of 80: 0a-b to 0a-b",
    "data/fluent_commands/dev.npy": "1 of 80: 1a-b to 1a-b",
    "data/fluent_commands/test.npy": "1 of 80: 2a-b to 2a-b",
    "data/fluent_commands/labels.csv": "3: split path speaker action object location transcription",
    "data/voxceleb1/train.npy": "2 of 80: id1_v_00001 to id2_w_00001",
    "data/voxceleb1/dev.npy": "1 of 80: id1_v_00002 to id1_v_00002",
    "data/voxceleb1/test.npy": "1 of 80: id2_v_00001 to id2_v_00001",
    "data/voxceleb1/labels.csv": "4: split path speaker",
    "data/iemocap/all.npy": "24 of 80: Ses01F_impro01_F000 to Ses03F_impro03_F007",
    "data/iemocap/labels.csv": "24: split path speaker session dialog emotion annotated valence activation dominance",
    "result/result_baseline_utterance/emotion/summary.json": "Session1 8, Session2 8, Session3 8",
    "data/libri_fmllr_cmvn/train-clean-100.npy": "3 of 40: 84-1-0 to 84-1-2",
    "data/timit_fmllr_cmvn/train.npy": "3 of 40: 84-1-0 to 84-1-2",
    "data/voxceleb_mfcc_kaldi/train.npy": "3 of 40: 84-1-0 to 84-1-2",
    "data/mine_fmllr/train.npy": "3 of 40: 84-1-0 to 84-1-2",
    "data/libri_apc/train-clean-100.npy": "3 of 80: 103-1-0000 to 84-1-0001",
    "data/libri_apc-blogmel/train-clean-100-hires-norm.blogmel": "75 lines",
    "data/apc_mel80/train-clean-100.npy": "3 of 80: 103-1-0000 to 84-1-0001",
    "data/libri_fbank80-kaldi/train-clean-100/feats.scp": "3 of 80: 103-1-0000 to 84-1-0001",
    "data/libri_fbank80-kaldi/train-clean-100/pytorch_kaldi.cfg": "fea_name=libri_fbank80",
    "best-dump/train-clean-100/feats.scp": "3 of 24: 103-1-0000 to 84-1-0001",
    "best-dump/train-clean-100/pytorch_kaldi.cfg": "fea_name=best_dump",
    "data/montreal_phones/segments.npy": "2 of z y b a",
    "data/cpc_phones/segments.npy": "30 of 0 1 2 3",
    "result/result_baseline_phone_linear/cpc/result.json": "train 18, dev 2, test 10",
    "result/result_baseline_phone_1hidden/cpc/result.json": "train 18, dev 2, test 10",
    "result/result_baseline_phone_concat/cpc/result.json": "train 18, dev 2, test 10",
    "data/kaldi_phones/segments.npy": "2 of AH SIL T",
}


def rows(heading: str = "### Corpora, labels, texts and Kaldi") -> list[list[str]]:
    """The cells of the tables below `heading`: the original's command, ours, and what ours leaves."""
    page = (PROJECT / "docs/originals.md").read_text(encoding="utf-8")
    section = re.split(r"\n##+ ", page.partition(f"\n{heading}\n")[2])[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in cells if row[0] != "original" and set(row[0]) != {"-"}]


ROWS = rows()


def in_code(cell: str) -> list[str]:
    """The pieces of code in a cell, which holds nothing else."""
    assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cell), f"{cell}: more than code, or none"
    return re.findall("`([^`]+)`", cell)


def test_every_command_has_a_row_and_every_row_a_command():
    for row in ROWS:
        assert len(row) == 3, row
        assert all(re.match(r"python [\w/]+\.py ", code) for code in in_code(row[1])), row
        assert in_code(row[2]), row
    assert EXPECTED.keys() == {path for row in ROWS for path in in_code(row[2])}
    originals = " ".join(row[0] for row in ROWS)
    for word in DOCUMENTED:
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", originals), f"{word} has no row"
    elsewhere = [row for row in rows("## Commands") if re.search("preprocess|export_kaldi|corpora", " ".join(row[:2]))]
    assert not elsewhere, "rows about corpora stand in the table of corpora"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("originals")
    build_world(root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row[0] for row in ROWS])
def test_the_commands_of_a_row_run(number, world, monkeypatch, capsys):
    """In the order of the page: some rows read what others left."""
    monkeypatch.chdir(world)
    _, commands, left = ROWS[number]
    for word, package in NEEDS.items():
        if word in commands and not find_spec(package):
            pytest.skip(f"{package} absent")
    for command in in_code(commands):
        _, script, *words = shlex.split(command)
        module = script.removesuffix(".py").replace("/", ".")
        smaller = next((more for pattern, more in SMALLER.items() if re.search(pattern, command)), [])
        assert importlib.import_module(module).main([*words, *smaller]) == 0, command
    assert "warning" not in capsys.readouterr().err
    for path in in_code(left):
        assert found(Path(path)) == EXPECTED[path], path


def found(path: Path) -> str:
    """What is in a file that a row promises, in short."""
    if path.name == "segments.npy":
        alignment = Alignment(path.parent)
        return f"{len(alignment.ids)} of {' '.join(alignment.labels)}"
    if path.suffix == ".npy":
        store = Store([path.with_suffix("")])
        assert all(len(store[i]) and np.isfinite(store[i]).all() for i in range(len(store.ids))), path
        if store.ids == sorted(MATRICES):
            assert all(np.array_equal(store[i], MATRICES[key]) for i, key in enumerate(store.ids)), path
        return f"{len(store.ids)} of {store[0].shape[1]}: {store.ids[0]} to {store.ids[-1]}"
    if path.suffix == ".scp":
        matrices = read_scp(path)
        keys = matrices.keys
        assert all(np.isfinite(matrices[key]).all() for key in keys), path
        return f"{len(keys)} of {matrices[keys[0]].shape[1]}: {keys[0]} to {keys[-1]}"
    if path.suffix == ".csv":
        table = list(csv.DictReader(path.open(newline="")))
        return f"{len(table)}: {' '.join(list(table[0])[1:])}"
    if path.suffix == ".json":
        return _scores(json.loads(path.read_text()))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".cfg":
        return " ".join(re.findall(r"fea_name=\S+", text))
    if path.suffix == ".blogmel" or "subwords" in str(path):
        return f"{len(text.splitlines())} lines"
    return text.splitlines()[0] if path.suffix == ".tsv" else " ".join(text.split())


def _scores(result: dict) -> str:
    """The parts or the folds that were scored."""
    if "folds" in result:
        assert all(0 <= fold["test_value"] <= 100 for fold in result["folds"])
        return ", ".join(f"{fold['fold']} {fold['scored']}" for fold in result["folds"])
    assert 0 <= result["value"] <= 100
    return ", ".join(f"{part} {result['division'][part]['utterances']}" for part in ("train", "dev", "test"))
