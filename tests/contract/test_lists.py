"""Lists of utterances at every door, the cut of S3PRL's phone protocol, and Kaldi's archives of phones."""

import gzip
import json
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import run_analysis
import run_downstream
import runner_mockingjay
from downstream.config import DataConfig
from downstream.splits import Division, Utterances, cpc_cut, divide
from preprocess import generate_len_for_bucket, preprocess_alignment, preprocess_any
from tests.helpers.downstream_corpus import small_corpus, write_store
from tests.helpers.speech import wav
from utility.kaldi.archives import write_ark
from utility.labels.alignment import Alignment, write_alignment
from utility.store.lists import read_list, rows_listed, without_list
from utility.store.reading import Store, is_split
from utility.store.recordings import Recordings
from utility.training.checkpoint import load_checkpoint

MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six speakers with six utterances in one split, a list of two thirds of them, another of the rest."""
    small = small_corpus(tmp_path_factory.mktemp("lists"))
    ids = Store(small.root / "store/all").ids
    (small.root / "some.txt").write_text("".join(f"{key}\n" for key in ids if key[-1] in "0123"))
    (small.root / "rest.txt").write_text("\n".join(key for key in ids if key[-1] in "45"))
    return small


@pytest.mark.parametrize(
    "text",
    ["b\na\n", "\ufeffb\r\na\r\n", "# first\n\nb\n  # more\n   a   ", "\n\nb\na"],
    ids=["plain", "dos", "notes", "end"],
)
def test_a_list_is_ids_one_a_line(tmp_path, text):
    file = tmp_path / "list.txt"
    file.write_bytes(text.encode())
    assert read_list(file).ids == ("b", "a")


def test_an_at_sign_in_the_name_of_a_folder_is_no_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_store(tmp_path / "me@home", "all", {"a": np.zeros((3, 2), np.float32), "b": np.ones((4, 2), np.float32)})
    (tmp_path / "x@y").mkdir()
    for name in ("some.txt", "x@y/some.txt"):
        (tmp_path / name).write_text("b\n")
    whole = {name: without_list(name) for name in ("me@home/all", "x@y", "me@home/later", "plain/all")}
    assert all((str(path), file) == (name, None) for name, (path, file) in whole.items())
    assert Store("me@home/all").ids == ["a", "b"]
    for name in ("me@home/all@some.txt", "me@home/all@x@y/some.txt", f"{tmp_path}/me@home/all@{tmp_path}/some.txt"):
        assert is_split(name)
        store = Store(name)
        assert (store.ids, store.names, store.paths[0].name) == (["b"], [name], "all")
        assert (store[0] == 1).all()
        assert store[0].shape == (4, 2)


def test_the_order_of_a_list_has_no_effect_and_what_is_in_it_has(corpus):
    root, whole = corpus.root, Store(corpus.root / "store/all")
    some = Store(f"{root}/store/all@{root}/some.txt")
    assert some.ids == [key for key in whole.ids if key[-1] in "0123"]
    assert all((some[i] == whole[whole.index[key]]).all() for i, key in enumerate(some.ids))
    lines = list(read_list(root / "some.txt").ids)
    random.Random(0).shuffle(lines)
    (root / "shuffled.txt").write_text("\n".join(lines))
    other = Store(f"{root}/store/all@{root}/shuffled.txt")
    assert (other.ids, other.fingerprint()) == (some.ids, some.fingerprint())
    assert other.lists[0].digest == some.lists[0].digest
    assert other.lists[0].ordered_digest != some.lists[0].ordered_digest
    assert len({store.fingerprint() for store in (whole, some, Store(f"{root}/store/all@{root}/rest.txt"))}) == 3


def test_utterances_that_a_store_lacks_are_an_error_or_counted(corpus):
    root = corpus.root
    (root / "more.txt").write_text("s0-0\nx-1\ns0-1\nx-2\n")
    name = f"{root}/store/all@{root}/more.txt"
    with pytest.raises(ValueError, match=r"lacks 2 of its 4 utterances, 'x-1' for one$"):
        Store(name)
    with pytest.raises(ValueError, match=r"'x-1' for one; data\.unaligned=leave_out goes on"):
        Store(name, unaligned="error")
    store = Store(name, unaligned="leave_out")
    assert (store.ids, store.lists[0].missing) == (["s0-0", "s0-1"], 2)


@pytest.mark.slow
def test_a_probe_reads_lists_and_says_so(corpus, monkeypatch, capsys):
    monkeypatch.chdir(corpus.root)
    (corpus.root / "train.txt").write_text((corpus.root / "some.txt").read_text() + "x-1\n")
    lists = ["data.train=[store/all@train.txt]", "data.test=[store/all@rest.txt]", "data.unaligned=leave_out"]
    words = ["--run", "phone_linear", "--upstream", "baseline", "--name", "listed", *corpus.words(*lists)]
    assert run_downstream.main([*words, "--dry_run"]) == 0
    plan = capsys.readouterr().out
    assert "list train.txt: 25 ids, 1 not there" in plan
    assert "test: 12 utterances" in plan
    assert re.search(r"dev: .* 1 speakers, 0 of them in train\n", plan)  # whole speakers of the list
    assert re.search(r"test: .* 6 speakers, 5 of them in train\n", plan)
    assert run_downstream.main(words) == 0
    folder = corpus.root / "result/result_baseline_phone_linear/listed"
    result = json.loads((folder / "result.json").read_text())
    assert result["division"]["lists"]["store/all@train.txt"]["missing"] == 1
    assert result["division"]["left_out"] == {"listed, but not there": 1}
    assert result["division"]["test"]["speakers_of_train"] == 5
    scored = [line.split("\t")[0] for line in (folder / "predictions_test.tsv").read_text().splitlines()[1:]]
    assert set(scored) <= set(read_list(corpus.root / "rest.txt").ids)
    given = [word for word in corpus.words(*lists) if word not in ("--expdir", str(corpus.root / "result"))]
    again = ["--run", "phone_linear", "--upstream", "baseline", "--resume", str(folder), *given]
    (corpus.root / "train.txt").write_text((corpus.root / "some.txt").read_text().replace("s0-0\n", "") + "x-1\n")
    with pytest.raises(ValueError, match=r"lists\.store/all@train\.txt was '\w{16}', now '\w{16}'"):
        run_downstream.main(again)


@pytest.mark.slow
def test_hidden_states_of_two_lists_of_one_split_stay_apart(corpus, monkeypatch):
    monkeypatch.chdir(corpus.root)
    lists = ["data.train=[store/all@some.txt]", "data.test=[store/all@rest.txt]", "data.cache=states_of_lists"]
    (corpus.root / "tiny.yaml").write_text(yaml.safe_dump({"model": MODEL}))
    words = ["--run", "phone_linear", "--upstream", "random:tiny.yaml", "--name", "listed", *corpus.words(*lists)]
    assert run_downstream.main([*words, "trainer.steps=2", "trainer.eval_every=1"]) == 0
    kept = {tuple(sorted(Store(path.with_suffix("")).ids)) for path in corpus.root.glob("states_of_lists/*/all.npy")}
    assert kept == {tuple(sorted(read_list(corpus.root / f"{name}.txt").ids)) for name in ("some", "rest")}
    (table,) = corpus.root.glob("result/result_random*_phone_linear/listed/predictions_test.tsv")
    scored = {line.split("\t")[0] for line in table.read_text().splitlines()[1:]}
    assert scored == set(read_list(corpus.root / "rest.txt").ids)


@pytest.mark.slow
def test_pre_training_extraction_and_analysis_read_lists(corpus, monkeypatch, capsys):
    monkeypatch.chdir(corpus.root)
    config = {"data": {"train": ["store/all@some.txt"], "dev": ["store/all@rest.txt"]}, "model": MODEL}
    config |= {"trainer": {"steps": 1, "eval_every": 1, "precision": "fp32"}}
    (corpus.root / "pretrain.yaml").write_text(yaml.safe_dump(config))
    common = ["--cpu", "--no-msg"]
    train = ["--train", *common, "--config", "pretrain.yaml", "--ckpdir", "ckpt", "--logdir", "log", "--name", "listed"]
    assert runner_mockingjay.main([*train, "--dry_run"]) == 0
    plan = capsys.readouterr().out
    assert "train store/all@some.txt: 24 utterances" in plan
    assert "dev store/all@rest.txt: 12 utterances" in plan
    assert runner_mockingjay.main(train) == 0
    saved = load_checkpoint(corpus.root / "ckpt/listed/best.ckpt", "pretrain")
    assert saved["lists"] == {f"store/all@{name}.txt": read_list(f"{name}.txt").digest for name in ("some", "rest")}
    extract = ["--extract", *common, "--upstream", "baseline", "--input", "store/all@rest.txt", "--output", "states"]
    assert runner_mockingjay.main(extract) == 0
    assert sorted(Store("states/all").ids) == sorted(read_list(corpus.root / "rest.txt").ids)
    analysis = ["--run", "cca_mel", "--upstream", "baseline", *common, "--dry_run", "data.store=[store/all@some.txt]"]
    capsys.readouterr()
    assert run_analysis.main(analysis) == 0
    assert "24 utterances" in capsys.readouterr().out


def test_an_utterance_has_one_id_in_stores_tables_folders_lists_and_alignments(tmp_path):
    """Files of one name in several folders: every door calls them by their paths."""
    audio, texts = tmp_path / "audio", tmp_path / "texts"
    names = [f"{speaker}/{take}" for speaker in ("ann", "bob") for take in (1, 2)]
    for number, name in enumerate(names):
        for folder in (audio, texts):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        wav(audio / f"{name}.wav", 4000 + number)
        (texts / f"{name}.txt").write_text("0.0 0.1 aa\n0.1 0.2 b\n")
    out = str(tmp_path / "data")
    assert preprocess_any.main(["--data_path", str(audio), "--output_path", out, "--name", "mel", "--n_jobs=1"]) == 0
    table = ["--data_path", str(audio), "--output_path", out, "--name", "table", "--n_jobs=1"]
    assert generate_len_for_bucket.main(table) == 0
    aligning = ["--data_path", str(texts), "--output_path", out, "--name", "phones"]
    assert preprocess_alignment.main(aligning) == 0
    write_ark(tmp_path / "ali.ark", ((key, np.array([1, 1, 2])) for key in Alignment(f"{out}/phones").ids), scp=False)
    (tmp_path / "phones.txt").write_text("<eps> 0\naa 1\nb 2\n")
    kaldi = ["--format", "kaldi", "--phones", str(tmp_path / "phones.txt"), "--data_path", str(tmp_path / "ali.ark")]
    assert preprocess_alignment.main([*kaldi, "--output_path", out, "--name", "kaldi"]) == 0
    ids = ["ann_1", "ann_2", "bob_1", "bob_2"]
    assert Alignment(f"{out}/phones").ids == Alignment(f"{out}/kaldi").ids == ids
    (tmp_path / "list.txt").write_text("\n".join(Alignment(f"{out}/phones").ids[1:]))
    (split,) = (tmp_path / "data/mel").glob("*.npy")
    (rows,) = (tmp_path / "data/table").glob("*.csv")
    assert Store(f"{split.with_suffix('')}@{tmp_path}/list.txt").ids == ids[1:]
    for source in (audio, rows):
        heard = Recordings([f"{source}@{tmp_path}/list.txt"], None, 16000)
        assert (heard.ids, [path.stem for path in heard.audio_paths]) == (ids[1:], ["2", "1", "2"])
        assert heard.num_samples.tolist() == [4001, 4002, 4003]


def test_a_hundred_thousand_ids_are_found_at_once(tmp_path):
    ids = [f"{n % 2000:04d}-{n:06d}-{n % 60:04d}" for n in range(100_000)]
    (tmp_path / "list.txt").write_text("\n".join(ids[::-2]))
    start = time.process_time()
    rows, listed = rows_listed(tmp_path / "list.txt", ids, "store")
    assert time.process_time() - start < 2
    assert (len(rows), rows[0], listed.missing) == (50_000, 1, 0)


def cpc_parts(order, there, **config):
    """The ids of train, dev and test of a corpus that has the utterances `there`, and one of test."""
    utterances = Utterances([*there, "t"], [""] * (len(there) + 1), ["train"] * len(there) + ["test"], order=order)
    parts = divide(utterances, Division("speaker"), DataConfig(split="cpc", **config))
    return [[utterances.ids[i] for i in part] for part in (parts.train, parts.dev, parts.test)]


def test_the_cut_comes_before_utterances_that_are_not_there_leave():
    order = [f"u{n}" for n in range(40)]
    train, dev = cpc_cut(order)
    assert (len(train), len(dev)) == (36, 4)
    assert set(train) | set(dev) == set(order)
    there = [key for key in reversed(order) if key not in (train[3], dev[1])]
    assert list(map(set, cpc_parts(order, there))) == [{*train} - {train[3]}, {*dev} - {dev[1]}, {"t"}]
    assert cpc_cut(order[::-1])[1] != dev  # of this list the order counts


def test_cpc_needs_a_list_an_open_dev_and_a_test(corpus):
    with pytest.raises(ValueError, match=r"cuts a list of utterances: name one, as data\.train="):
        cpc_parts((), ["a", "b"])
    parts = Utterances(["a", "b"], ["", ""], ["train", "train"], order=["a", "b"])
    with pytest.raises(ValueError, match=r"leave data\.dev empty, list data\.test"):
        divide(parts, Division("speaker"), DataConfig(split="cpc"))
    with pytest.raises(ValueError, match=r"the dev part is empty: data\.split 'cpc' found none"):
        cpc_parts(["a", "b"], cpc_cut(["a", "b"])[0])


@pytest.mark.parametrize("offset", [0.0, 0.0125])
def test_labels_by_number_are_the_originals_wherever_centres_are(tmp_path, offset):
    """Frame i has label i; frames beyond the last label repeat it."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, 50)
    (tmp_path / "cpc.txt").write_text(f"u {' '.join(map(str, codes))}\n")
    words = ["--data_path", str(tmp_path / "cpc.txt"), "--output_path", str(tmp_path), "--name", "cpc"]
    assert preprocess_alignment.main(words) == 0
    alignment = Alignment(tmp_path / "cpc")
    expected = np.append(codes, [codes[-1]] * 7)
    assert (alignment.index_labels("u", 57, 0.01) == expected).all()
    assert (alignment.index_labels("u", 44, 0.01, 0.51) == codes[:44]).all()
    by_time = alignment.frame_labels("u", offset + 0.01 * np.arange(50), 0.51)
    assert (by_time == expected[:50]).all() == (offset == 0)


def test_labels_by_number_are_of_ten_milliseconds(tmp_path):
    write_alignment(tmp_path / "phones", [("u", [(0.0, 0.035, "a"), (0.035, 0.075, "b")])])
    with pytest.raises(ValueError, match=r"u: a segment begins or ends at 0\.035000 s: .* use data\.label_rule=time"):
        Alignment(tmp_path / "phones").index_labels("u", 7, 0.01)
    with pytest.raises(ValueError, match=r"label_rule index would change nothing: data\.alignment is not set"):
        DataConfig(label_rule="index")


PHONES = "<eps> 0\nSIL 1\nAH0_B 2\nAH0_E 3\nT_S 4\nN_I 7\n#0 8\n"


def kaldi_flags(folder: Path) -> list[str]:
    """Of an alignment `k` by Kaldi."""
    return ["--format", "kaldi", "--phones", str(folder / "phones.txt"), "--output_path", str(folder), "--name", "k"]


def aligned(tmp_path, archives, *words):
    """The segments that `preprocess_alignment.py` makes of archives, each a dict, all files named on one command."""
    (tmp_path / "phones.txt").write_text(PHONES)
    files = []
    for number, (items, form) in enumerate(archives):
        files.append(tmp_path / f"ali.{number}.ark")
        write_ark(files[-1], ((key, np.array(codes, np.int32)) for key, codes in items.items()), False, form=form)
        if number % 2:
            packed = files[-1].with_suffix(".gz")
            packed.write_bytes(gzip.compress(files.pop().read_bytes()))
            files.append(packed)
    code = preprocess_alignment.main(["--data_path", *map(str, files), *kaldi_flags(tmp_path), *words])
    alignment = Alignment(tmp_path / "k")
    return code, {
        key: [(float(s), float(e), alignment.labels[label]) for s, e, label in alignment.segments(key).tolist()]
        for key in alignment.ids
    }


def test_runs_of_kaldis_phones_become_segments(tmp_path):
    archives = [({"a": [1, 1, 2, 3, 3, 3]}, "float"), ({"b": [4, 7], "c": [4]}, "text")]
    code, segments = aligned(tmp_path, archives, "--frame_shift", "0.02")
    assert code == 0
    assert segments == {
        "a": [(0.0, 0.04, "SIL"), (0.04, 0.06, "AH0"), (0.06, 0.12, "AH0")],
        "b": [(0.0, 0.02, "T"), (0.02, 0.04, "N")],
        "c": [(0.0, 0.02, "T")],
    }
    _, folded = aligned(tmp_path, archives, "--phone_set", "arpabet39")
    assert folded["a"] == [(0.0, 0.02, "sil"), (0.02, 0.03, "AH"), (0.03, 0.06, "AH")]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([1, 900], "900 is more than 7, .* transition ids cannot be mapped without the model"),
        ([1, 5], "5 is no phone of the table of --phones"),
        ([0, 1], "0 is no phone"),
        ([1.5, 2.5], "expected a whole number for every frame"),
    ],
)
def test_numbers_that_are_no_phones_end_it_and_leave_nothing(tmp_path, codes, message):
    (tmp_path / "phones.txt").write_text(PHONES)
    items = [
        ("good", np.array([1, 2], np.int32)),
        ("bad", np.array(codes, np.float32 if codes[0] == 1.5 else np.int32)),
    ]
    write_ark(tmp_path / "ali.ark", items, scp=False)
    with pytest.raises(ValueError, match=rf"ali\.ark: bad: {message}"):
        preprocess_alignment.main(["--data_path", str(tmp_path / "ali.ark"), *kaldi_flags(tmp_path)])
    assert not (tmp_path / "k").exists()


def test_utterances_are_excluded_and_labels_come_in_order(tmp_path, capsys):
    """Montreal's text: `unaligned.txt` has utterances at the start of its lines."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, phones in {"a": "z y", "b": "x x", "c": "b a"}.items():
        first, second = phones.split()
        (texts / f"{name}.txt").write_text(f"0.0 0.1 {first}\n0.1 0.2 {second}\n")
    (texts / "unaligned.txt").write_text("b\tno alignment\n\nq was never there\n")
    words = ["--data_path", str(texts), "--output_path", str(tmp_path), "--exclude", str(texts / "unaligned.txt")]
    for name in ("sorted", "first"):
        assert preprocess_alignment.main([*words, "--name", name, "--order", name]) == 0
    assert "1 utterances left out" in capsys.readouterr().out
    one, other = Alignment(tmp_path / "sorted"), Alignment(tmp_path / "first")
    assert one.ids == other.ids == ["a", "c"]
    assert (one.labels, other.labels) == (["a", "b", "y", "z"], ["z", "y", "b", "a"])
    for key in one.ids:
        named = [[alignment.labels[code] for code in alignment.segments(key)["label"]] for alignment in (one, other)]
        assert named[0] == named[1]
