"""Tables of labels: rows meet utterances, labels become classes, columns divide; and runs over folds."""

import json
import resource
import shutil
import time
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import run_downstream
from downstream import experiment as experiments
from downstream.config import DataConfig
from downstream.corpus import open_corpus
from downstream.folds import fold_names, fold_parts
from downstream.label_modes import MODE_CLASSES, number_class
from downstream.labels.table import in_order, listed_parts, read_rows, table_classes
from downstream.splits import Division, Utterances, divide
from downstream.tasks.table import find_task
from downstream.utterances import FramedUtterances
from examples import compare
from preprocess import preprocess_any
from tests.helpers.downstream_corpus import EACH, SPEAKERS, Small, write_store
from utility.config import build
from utility.labels.table import match_rows
from utility.predictions import read_predictions
from utility.seeds import text_order
from utility.training.trainer import Trainer

UTTERANCE = Division("speaker", unknown_speakers=True)
IDS = [f"u{number}" for number in range(6)]


def write(folder: Path, text: str, name: str = "labels.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def corpus(ids: list[str], paths: list[str] | None = None, speakers: list[str] | None = None) -> FramedUtterances:
    """Utterances without frames to read."""
    made = SimpleNamespace(ids=ids, speakers=speakers or ["s"] * len(ids), paths_in_table=paths or ids)
    return FramedUtterances(made, np.full(len(ids), 5), np.ones(len(ids)), None)


def labelled(folder: Path, text: str, ids: list[str] = IDS, **keys):
    """What the task has of a table with the column `label`."""
    config = build(DataConfig, {"labels": write(folder, text), "label_column": "label", **keys})
    framed = corpus(ids)
    rows = read_rows(config, framed.corpus)
    return table_classes("utterance", replace(framed, rows=rows), config)


class Listed(list):
    """The utterances of a split, which no list names."""

    lists = (None,)


def parts_of(train: list[int], dev: list[int], test: list[int]) -> SimpleNamespace:
    return SimpleNamespace(
        train=np.array(train), dev=np.array(dev), test=np.array(test), all=lambda: np.array([*train, *dev, *test])
    )


@pytest.mark.parametrize("name", ["id", "utt_id", "utterance", "key"])
def test_rows_are_matched_by_id_in_any_order(name, tmp_path):
    file = write(tmp_path, f"\ufefflabel,{name},path\nb,u1,u0\n\n a ,u0,u1\nc,x,u2\n")
    rows = match_rows(file, ["label"], ["u0", "u1", "u2"], ["u0", "u1", "u2"])
    assert rows.values["label"] == ["a", "b", ""]
    assert rows.lines.tolist() == [4, 2, 0]
    assert rows.spare == 1


def test_tabs_know_no_quotes_and_csv_does(tmp_path):
    tabs = write(tmp_path, 'id\tlabel\nu0\t"a\nu1\tb,"c"\n', "labels.TSV")
    assert match_rows(tabs, ["label"], ["u0", "u1"], ["", ""]).values["label"] == ['"a', 'b,"c"']
    commas = write(tmp_path, 'id,label\nu0,"a,\nb"\nu1,"b""c"\n')
    assert match_rows(commas, ["label"], ["u0", "u1"], ["", ""]).values["label"] == ["a,\nb", 'b"c']


def test_rows_without_an_id_are_matched_by_path_whichever_is_longer(tmp_path):
    paths = ["one/a.wav", "two/a.wav", "/root/corpus/b.wav", "c.wav", "d.wav"]
    file = write(tmp_path, "path,label\n/else/one/a.wav,1\ntwo\\a.wav,2\ncorpus/b.wav,3\n./c.wav,4\nxd.wav,5\n")
    rows = match_rows(file, ["label"], IDS[:5], paths)
    assert rows.values["label"] == ["1", "2", "3", "4", ""]
    assert rows.spare == 1
    several = write(tmp_path, "path,label\nb.wav,1\na.wav,2\n")
    with pytest.raises(ValueError, match=r"line 3: several utterances have the path 'a\.wav': add a column id"):
        match_rows(several, ["label"], IDS[:5], paths)


def test_unlabelled_utterances_are_an_error_or_left_out_and_counted(tmp_path):
    text = "id,label\nu0,a\nu1,b\nu2,\nu3,a\nu4,c\nzz,a\n"
    with pytest.raises(ValueError, match=r"lacks 1 of the 6 utterances, 'u5' for one; data\.unaligned=leave_out"):
        labelled(tmp_path, text)
    with pytest.raises(ValueError, match=r"labels\.csv: line 4: label is empty"):
        labelled(tmp_path, text, IDS[:5])
    found = labelled(tmp_path, text, unaligned="leave_out", classes=["b", "a"])
    assert found.usable.tolist() == [0, 1, 3]
    assert found.strata == ["a", "b", "a"]
    assert found.left_out == {
        "not in the table of labels": 1,
        "rows of the table without an utterance": 1,
        "without a label": 1,
        "label not in data.classes": 1,
    }
    assert found.read(parts_of([0, 1], [3], [3])).classes == ["b", "a"]


def test_order_of_classes_and_names_that_yaml_reads_as_numbers(tmp_path):
    assert in_order({"10", "9", "-1", "1.5"}) == ["-1", "1.5", "9", "10"]
    assert in_order({"10", "9", "x"}) == ["10", "9", "x"]
    text = "id,label\n" + "".join(f"u{i},{value}\n" for i, value in enumerate(("10", "9", "exc", "hap", "9", "10")))
    found = labelled(tmp_path, text, label_map={"exc": "hap", 10: 11})
    labels = found.read(parts_of([0, 1, 2], [3], [4, 5]))
    assert labels.classes == ["11", "9", "hap"]
    assert [int(labels.utterance(i)) for i in range(6)] == [0, 1, 2, 2, 1, 0]
    assert labels.labelled([0, 3]) == 10
    some = labelled(tmp_path, text, classes=[9, 10, 11])
    assert some.strata == ["10", "9", "9", "10"]
    assert some.read(parts_of([0, 1], [4], [5])).classes == ["9", "10", "11"]  # one of them without utterances
    with pytest.raises(ValueError, match=r"label 'hap' of the dev part \(.*: line 5\) is not in train"):
        labelled(tmp_path, text).read(parts_of([0, 1, 2], [3], [4]))


VALUES = [-3, -2.5, -1.2, -0.5, -0.2, 0, 0.2, 0.5, 1.2, 2.5, 3]
BY_HAND = {
    "positive_negative": "negative " * 5 + "None " + "positive " * 5,
    "non_negative": "negative " * 5 + "non_negative " * 6,
    "three": "negative " * 5 + "neutral " + "positive " * 5,
    "seven": "-3 -3 -1 -1 0 0 0 1 1 3 3",
    "seven_ceil": "-3 -3 -2 -1 -1 0 1 1 2 3 3",
    "seven_trunc": "-3 -2 -1 0 0 0 0 0 1 2 3",
}


@pytest.mark.parametrize("mode", MODE_CLASSES)
def test_numbers_become_classes(mode, tmp_path):
    found = [number_class(mode, value) for value in VALUES]
    assert [str(name) for name in found] == BY_HAND[mode].split()
    assert set(found) - {None} <= set(MODE_CLASSES[mode])
    ids = [f"v{i}" for i in range(len(VALUES))]
    text = "id,label\n" + "".join(f"{key},{value}\n" for key, value in zip(ids, VALUES))
    source = labelled(tmp_path, text, ids, label_mode=mode)
    assert source.strata == [name for name in found if name is not None]
    assert source.left_out == ({"label 0, which positive_negative drops": 1} if None in found else {})
    assert source.read(parts_of([0, 10], [1], [9])).classes == list(MODE_CLASSES[mode])
    assert number_class("seven", 7.5) == "3"
    for value in (3.5, float("nan")):
        with pytest.raises(ValueError, match=r"expected a finite number|takes numbers from -3 to 3"):
            number_class("seven_trunc", value)


def test_emotion_is_the_strongest_of_six_columns(tmp_path):
    columns = ["happy", "sad", "anger", "surprise", "disgust", "fear"]
    text = f"id,{','.join(columns)}\nu0,0,0,2,1,0,0\nu1,0,1,0,0,0,1\nu2,0,0,0,0,0,.3\n"
    found = labelled(tmp_path, text, IDS[:3], label_column=columns, label_mode="emotion")
    assert found.strata == ["anger", "sad", "fear"]
    assert found.read(parts_of([0, 1], [1], [2])).classes == columns


def test_a_column_divides_and_other_values_are_left_out(tmp_path):
    text = "id,label,part\nu0,a,Train\nu1,b,train\nu2,a,valid\nu3,b,eval\nu4,a,other\nu5,,\n"
    found = labelled(tmp_path, text, split_column="part")
    assert found.usable.tolist() == [0, 1, 2, 3]
    assert found.left_out == {"part is no part": 2}
    config = DataConfig(labels=str(tmp_path / "labels.csv"), label_column="label", split_column="part")
    parts = listed_parts(config, found.rows)
    assert parts == ["train", "train", "dev", "test", None, None]
    chosen = found.usable.tolist()
    utterances = Utterances([IDS[i] for i in chosen], ["s"] * 4, [parts[i] for i in chosen], found.strata)
    divided = divide(utterances, UTTERANCE, config)
    assert (divided.rule, divided.train.tolist()) == ("given", [0, 1])
    assert (divided.dev.tolist(), divided.test.tolist()) == ([2], [3])


def grouped(counts: list[int], **more) -> Utterances:
    groups = [f"g{k}" for k, count in enumerate(counts) for _ in range(count)]
    ids = [f"{group}-{i}" for i, group in enumerate(groups)]
    return Utterances(ids, **{"speakers": [""] * len(ids), "listed": ["train"] * len(ids), "groups": groups, **more})


def test_groups_are_kept_together_instead_of_speakers_and_unknown_ones_are_warned_of():
    one = grouped([3, 4, 5, 6, 2], speakers=["s"] * 20, strata=["a", "b"] * 10)
    divided = divide(one, UTTERANCE, DataConfig())
    assert (divided.rule, divided.warning) == ("speaker", None)
    found = [{one.groups[i] for i in getattr(divided, part)} for part in ("train", "dev", "test")]
    assert sum(map(len, found)) == len(set().union(*found)) == 5
    unknown = divide(grouped([20], groups=None), UTTERANCE, DataConfig())
    assert unknown.rule == "utterance"
    assert "speakers are unknown" in unknown.warning
    assert min(len(unknown.train), len(unknown.dev), len(unknown.test)) > 0
    with pytest.raises(ValueError, match="1 speakers are too few"):
        divide(grouped([20], groups=None), Division("speaker"), DataConfig())
    half = divide(one, UTTERANCE, DataConfig(label_fraction=0.5))
    full, some = (Counter(one.strata[i] for i in parts.train) for parts in (divided, half))
    assert some == {label: -(-count // 2) for label, count in full.items()}  # within each class


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=3, max_size=7),
    share=st.sampled_from([0.1, 0.2, 0.5]),
    dev_groups=st.integers(0, 2),
    seed=st.integers(0, 3),
)
def test_every_group_is_the_test_part_of_one_fold(counts, share, dev_groups, seed):
    one = grouped(counts)
    order = np.random.default_rng(seed).permutation(len(one.ids))
    ids, groups = [one.ids[i] for i in order], [one.groups[i] for i in order]
    names, tested = fold_names(ids, groups, "groups"), []
    dev_groups = min(dev_groups, len(names) - 2)
    for at, name in enumerate(names):
        config = DataConfig(fold=name, dev_share=share, dev_groups=dev_groups)
        parts = {part: [ids[i] for i in found] for part, found in fold_parts(ids, groups, config).items()}
        assert sorted(chain(*parts.values())) == sorted(ids)
        assert min(map(len, parts.values())) > 0
        assert parts["test"] == [key for key, group in zip(ids, groups) if group == name]
        tested += parts["test"]
        rest = sorted(set(ids) - set(parts["test"]), key=text_order)
        near = {names[(at + 1 + step) % len(names)] for step in range(dev_groups)}
        expected = {key for key in rest if key.split("-")[0] in near}
        if not dev_groups:
            expected = set(rest[: min(max(1, round(share * len(rest))), len(rest) - 1)])
        assert set(parts["dev"]) == expected
    assert sorted(tested) == sorted(ids)


@pytest.fixture
def moods(small: Small) -> list[str]:
    """Words for a table of the small corpus: the voices are of two moods, rooms are its speakers by twos."""
    lines = ["id,mood,room,who"]
    for speaker in range(SPEAKERS):
        for number in range(EACH):
            lines.append(f"s{speaker}-{number},{'gay' if speaker % 2 else 'sad'},r{speaker // 2},p{speaker % 3}")
    (small.root / "moods.csv").write_text("\n".join(lines))
    return [f"data.labels={small.root}/moods.csv", "data.label_column=mood", "data.group_column=room"]


@pytest.mark.slow
def test_folds_run_with_seeds_and_a_sweep_and_go_on_where_they_were(small, moods, monkeypatch, capsys):
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)
    words = [*moods, "--name", "folds", "--folds", "trainer.steps=10"]
    small.run("utterance", "baseline", *words, "--dry_run")
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith(("fold ", "runs:"))] == [
        *(f"fold r{k}: train 19, dev 5, test 12 utterances" for k in range(3)),
        "runs: 3 folds, 1 settings with 1 seeds each",
    ]
    folder = small.root / "result/result_baseline_utterance/folds"
    assert not folder.exists()
    small.run("phone_linear", "baseline", "--folds", "--dry_run", "data.dev_groups=2")  # of speakers, without a table
    assert capsys.readouterr().out.count(": train 18, dev 12, test 6 utterances") == SPEAKERS
    trained, fit = [], Trainer.fit

    def stopping(self):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(self.run.directory.name)
        return fit(self)

    monkeypatch.setattr(Trainer, "fit", stopping)
    with pytest.raises(KeyboardInterrupt):
        small.run("utterance", "baseline", *words)
    monkeypatch.setattr(Trainer, "fit", lambda self: trained.append(self.run.directory.name) or fit(self))
    small.run("utterance", "baseline", *words, "--resume")
    assert trained == ["fold_r0", "fold_r1", "fold_r2"]
    summary = json.loads((folder / "summary.json").read_text())
    results = [json.loads((folder / f"fold_r{k}" / "result.json").read_text()) for k in range(3)]
    values = [result["value"] for result in results]
    assert [fold["test_value"] for fold in summary["folds"]] == values
    assert summary["test_mean"] == pytest.approx(np.mean(values))
    assert summary["test_deviation"] == pytest.approx(np.std(values, ddof=1))
    rows = [row for k in range(3) for row in read_predictions(folder / f"fold_r{k}/predictions_test.tsv")]
    assert sorted(row["id"] for row in rows) == sorted(f"s{s}-{n}" for s in range(SPEAKERS) for n in range(EACH))
    assert summary["pooled"] == pytest.approx(100 * np.mean([row["true"] == row["predicted"] for row in rows]))
    assert {result["division"]["rule"] for result in results} == {"fold"}
    assert "over 3 folds, of all their predictions" in capsys.readouterr().out

    many = [*moods, "--name", "many", "--folds", "trainer.steps=4", "trainer.eval_every=4", "--seeds", "2"]
    small.run("utterance", "baseline", *many, "--sweep", "lr=1e-5,2e-2", "data.dev_groups=1")
    summary = json.loads((folder.parent / "many/summary.json").read_text())
    assert summary["runs"] == 6
    assert [len(fold["seeds"]) for fold in summary["folds"]] == [2, 2, 2]
    chosen = [Path(row["folder"]) / "result.json" for fold in summary["folds"] for row in fold["seeds"]]
    tests = [json.loads(path.read_text())["value"] for path in chosen]
    assert summary["pooled"] == pytest.approx(np.mean(tests))  # folds of one size
    assert len(compare.results_of(folder.parent / "many")) == 6


@pytest.mark.slow
def test_unknown_speakers_are_warned_of_in_a_line(tmp_path, capsys):
    frames = {f"u-{number}": np.full((3, 2), number % 2, np.float32) for number in range(12)}
    write_store(tmp_path / "store", "all", frames)
    table = tmp_path / "store/all.csv"
    table.write_text(table.read_text().replace(",u,", ",,"))
    file = write(tmp_path, "id,mood\n" + "".join(f"{key},m{number % 2}\n" for number, key in enumerate(frames)))
    words = [f"data.train=[{tmp_path}/store/all]", f"data.labels={file}", "data.label_column=mood", "--expdir"]
    words += [str(tmp_path), "--logdir", f"{tmp_path}/log", "--cpu", "--no-msg", "trainer.steps=4"]
    words += ["trainer.eval_every=4"]
    assert run_downstream.main(["--run", "utterance", "--upstream", "baseline", *words]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("warning: speakers are unknown: utterances are divided") for line in lines] == [True]


def test_a_run_knows_when_its_labels_changed(small, moods, monkeypatch):
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)
    words = [*moods, "--name", "known", "trainer.steps=4", "trainer.eval_every=4"]
    small.run("utterance", "baseline", *words)
    file = small.root / "moods.csv"
    file.write_text(file.read_text().replace("s0-0,sad", "s0-0,gay"))
    with pytest.raises(ValueError, match="cannot be continued: labels was"):
        small.run("utterance", "baseline", *words, "--resume")


def test_speaker_tasks_take_a_column_or_only_the_division(small, moods):
    data = dict(word.removeprefix("data.").split("=") for word in moods)
    group = {"group_column": None, "split": "auto"}
    made = experiments.Experiment(
        small.setting("speaker_frame", data={**data, **group, "label_column": "who", "min_utterances": 8}),
        small.root / "unused",
    )
    assert made.corpus.labels.classes == ["p0", "p1", "p2"]
    assert made.corpus.parts.rule == "utterance"
    index = int(made.corpus.parts.test[0])
    speaker = int(made.corpus.utterances.speakers[index][1:])
    assert made.corpus.labels.frames(index, 2, 5).tolist() == [speaker % 3] * 3
    assert made.corpus.parts.left_out == {}  # each label has 12 utterances, each speaker of the store 6
    plain = small.setting("speaker_utterance", data={**data, **group, "label_column": None})
    assert experiments.Experiment(plain, small.root / "unused").corpus.labels.classes[0] == "s0"


def test_planning_of_20000_rows_is_fast_and_small(tmp_path):
    count = 20_000
    ids = [f"speaker{i % 300}-{i}" for i in range(count)]
    lines = [f"{key},{i % 30},{'train' if i % 50 else 'none'},r{i % 49}" for i, key in enumerate(ids)]
    write(tmp_path, "\n".join(["id,label,part,room", *lines]))
    keys = {"labels": str(tmp_path / "labels.csv"), "label_column": "label", "train": ["x"]}
    config = build(DataConfig, {**keys, "split_column": "part", "group_column": "room"})
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    framed = corpus(ids)
    framed = replace(framed, rows=read_rows(config, framed.corpus))
    made = open_corpus(
        find_task("utterance"), config, SimpleNamespace(splits=[Listed(ids)], whole=framed.corpus, lists=dict), framed
    )
    assert time.process_time() - start < 4  # a second for 100,000 rows is usual
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    assert len(made.labels.classes) == 30
    assert sum(len(getattr(made.parts, part)) for part in ("train", "dev", "test")) == count - count // 50
    assert made.parts.left_out == {"part is no part": count // 50}


REAL = {
    "fsdd": (["digit", "split_column=split"], ["jackson", "theo"], "0123", 40),
    "nemo_pl": (["emotion"], ["EB0", "IC0", "KS0"], ("anger", "sadness"), 60),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_table_to_store_to_probe(name, corpora, tmp_path, monkeypatch, capsys):
    (column, *more), speakers, classes, chance = REAL[name]
    if not (corpora / name).is_dir():
        pytest.skip(f"no {name}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)
    for speaker in speakers:
        files = [path for path in sorted((corpora / name / speaker).iterdir()) if _taken(name, path.stem, classes)]
        Path("some", speaker).mkdir(parents=True)
        for path in files:
            shutil.copy(path, Path("some", speaker))
    recipe = ["--feature_type", "kaldi_fbank", "--apply_cmvn", "False", "--n_jobs", "1"]
    assert preprocess_any.main(["--data_path", "some", "--name", "some", *recipe]) in (None, 0)
    table = corpora / name / "utterances.tsv"
    words = ["data.train=[data/some/all]", f"data.labels={table}", f"data.label_column={column}"]
    words += [f"data.{key}" for key in more]
    words += ["--cpu", "--no-msg", "--name", "x", "trainer.steps=100", *([] if more else ["--folds"])]
    assert run_downstream.main(["--run", "utterance", "--upstream", "baseline", *words]) == 0
    folder = Path("result/result_baseline_utterance/x")
    if more:
        result = json.loads((folder / "result.json").read_text())
        assert result["division"]["rule"] == "given"
        assert result["value"] > chance
        assert result["division"]["left_out"] == {"rows of the table without an utterance": 640}
    else:
        summary = json.loads((folder / "summary.json").read_text())
        assert [fold["fold"] for fold in summary["folds"]] == speakers
        assert [fold["scored"] for fold in summary["folds"]] == [20, 20, 20]
        assert summary["pooled"] > chance


def _taken(name: str, stem: str, classes: str | tuple[str, ...]) -> bool:
    words = stem.split("_")
    return words[0] in classes if name == "fsdd" else words[1] in classes
