"""Curves: a whole run for each value of a key, of one upstream or several; what is refused, resumed, said and drawn."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import run_downstream
from commands.curves import curve_in_words
from downstream import curves
from downstream.config import DataConfig
from downstream.crossings import crossings
from downstream.curve_figure import curve_figure
from downstream.experiment import Experiment
from downstream.probe import Sealed
from downstream.splits import Division, Utterances, divide
from mockingjay import states
from tests.conftest import PROJECT
from utility.plot import save_figure

BRIEF = ["trainer.steps=4", "trainer.eval_every=4", "trainer.save_every=4"]
FRACTIONS = ["--each", "data.label_fraction=1,0.25"]


@pytest.fixture(scope="module")
def tiny(small) -> str:
    file = small.root / "tiny_of_curves.yaml"
    file.write_text("model: {layers: 2, hidden_size: 8, heads: 2, ffn_size: 8}\n")
    return f"new=random:{file}"


@pytest.fixture(scope="module")
def drawn(small, tiny) -> Path:
    """A curve of two upstreams with two seeds, killed in the middle and resumed; beside it what each sitting did."""
    folder = small.root / "result/result_curves_phone_linear/both"
    words = [*FRACTIONS, "--upstream", tiny, "--seeds", "2", "--name", "both", *BRIEF]
    patch = pytest.MonkeyPatch()
    trained: list[Path] = []
    tests: Counter[Path] = Counter()
    train, score, ran = Experiment.train, Experiment.score_test, curves.run_rows

    def dying(setting, choices, seeds, directory, opened):
        if directory.parent.name == "new":
            raise KeyboardInterrupt
        return ran(setting, choices, seeds, directory, opened)

    patch.setattr(Experiment, "train", lambda self: trained.append(self.directory) or train(self))
    patch.setattr(Experiment, "score_test", lambda self: tests.update([self.directory]) or score(self))
    patch.setattr(curves, "run_rows", dying)
    try:
        with pytest.raises(KeyboardInterrupt):
            small.run("phone_linear", "baseline", *words)
        first, trained[:] = list(trained), []
        assert not (folder / "curve.json").exists()
        patch.setattr(curves, "run_rows", ran)
        small.run("phone_linear", "baseline", *words, "--resume")
    finally:
        patch.undo()
    (folder / "sittings.json").write_text(json.dumps([[str(path) for path in first], [str(path) for path in trained]]))
    (folder / "tests.json").write_text(json.dumps(list(tests.values())))
    return folder


@pytest.mark.slow
def test_curve_holds_every_value_seed_and_choice(drawn, small):
    content = json.loads((drawn / "curve.json").read_text())
    assert [curve["upstream"] for curve in content["curves"]] == ["baseline", "new"]
    assert (content["kind"], content["key"], content["axis"]) == ("curve", "data.label_fraction", "hours")
    assert content["steps"] == "trainer.steps=4: the same for all values"
    for curve in content["curves"]:
        full, quarter = curve["points"]
        assert (full["value"], quarter["value"]) == (1.0, 0.25)
        assert quarter["folder"] == str(drawn / curve["upstream"] / "label_fraction=0.25")
        assert 4 * quarter["utterances"] - 3 <= full["utterances"] <= 4 * quarter["utterances"]
        for point in (full, quarter):
            summary = json.loads((Path(point["folder"]) / "summary.json").read_text())
            assert (point["test_mean"], point["test_deviation"]) == (summary["test_mean"], summary["test_deviation"])
            assert point["dev_mean"] == summary["dev_mean"]
            assert point["chosen"] == ["", ""]
            assert [seed["test_value"] for seed in point["seeds"]] == [row["test_value"] for row in summary["seeds"]]
            for seed in point["seeds"]:
                result = json.loads((Path(seed["folder"]) / "result.json").read_text())
                assert result["value"] == seed["test_value"]
                train = result["division"]["train"]
                assert train["utterances"] == point["utterances"]
                assert point["hours"] == pytest.approx(train["frames"] * 0.01 / 3600)
                assert (Path(seed["folder"]) / "predictions_test.tsv").is_file()  # for paired comparisons


@pytest.mark.slow
def test_killed_curve_goes_on_and_reads_test_once_a_seed_and_value(drawn):
    first, second = json.loads((drawn / "sittings.json").read_text())
    assert len(first) == len(second) == 2 * 2  # values, seeds
    assert not set(first) & set(second)
    assert json.loads((drawn / "tests.json").read_text()) == [1] * (2 * 2 * 2)  # upstreams, values, seeds


@pytest.mark.slow
def test_value_of_a_curve_is_a_run_by_itself(drawn, small):
    words = ["--name", "apart", "--seed", "1338", "data.label_fraction=0.25", "optimizer.lr=2e-2"]
    small.run("phone_linear", "baseline", *words, *BRIEF)
    alone = json.loads((small.root / "result/result_baseline_phone_linear/apart/result.json").read_text())
    seed = json.loads((drawn / "curve.json").read_text())["curves"][0]["points"][1]["seeds"][1]
    assert (seed["seed"], seed["dev_value"], seed["test_value"]) == (1338, alone["dev_value"], alone["value"])


@pytest.mark.slow
def test_finished_curve_is_only_read(drawn, small, tiny, monkeypatch, capsys):
    before = {name: (drawn / name).read_bytes() for name in ("curve.json", "curve.png", "curve.svg")}
    monkeypatch.setattr(Experiment, "train", None)
    monkeypatch.setattr(Sealed, "score", None)
    words = ["--upstream", tiny, "--seeds", "2", "--name", "both", *BRIEF, "--resume"]
    small.run("phone_linear", "baseline", *FRACTIONS, *words)
    assert {name: (drawn / name).read_bytes() for name in before} == before
    out = capsys.readouterr().out.splitlines()
    assert len([line for line in out if line.startswith(("baseline  ", "new  ")) and " +- " in line]) == 4
    assert " is better" in "\n".join(out[5:-1])  # one of the two, or both where they cross
    assert out[-1].endswith(f"2 seeds, trainer.steps=4: the same for all values; {drawn}/curve.json, curve.png")


@pytest.mark.slow
def test_dev_chooses_a_layer_in_each_value_of_solved_probes(small, tiny):
    words = [word for word in small.words("--layer", "all", "--each", "data.label_fraction=1,0.5", "--name", "solved")
             if not word.startswith(("trainer.", "optimizer."))]  # fmt: skip
    words += ["--run", "phone_linear", "--upstream", tiny, "probe.solver=exact", "probe.l2=[1e-1,1e-3]"]
    words.append(f"data.cache={small.root}/cache_of_solved")  # other tests count who makes the states of such a model
    assert run_downstream.main(words) == 0
    content = json.loads((small.root / "result/result_new_phone_linear/solved/curve.json").read_text())
    assert content["steps"] == "none: the optimum is computed (probe.solver=exact)"
    for point in content["curves"][0]["points"]:
        runs = sorted(Path(point["folder"]).glob("seed_*/layer=*/result.json"))
        by_layer = {run.parent.name: json.loads(run.read_text()) for run in runs}
        assert sorted(by_layer) == ["layer=0", "layer=1", "layer=2"]
        (chosen,) = point["chosen"]
        assert by_layer[chosen]["dev_value"] == max(found["dev_value"] for found in by_layer.values())
        assert point["test_mean"] == by_layer[chosen]["value"]
        assert all((found["value"] is None) == (name != chosen) for name, found in by_layer.items())


@pytest.mark.slow
def test_layers_are_categories_of_one_pass_and_a_dry_run_shows_every_value(small, tiny, monkeypatch, capsys):
    words = ["--each", "layer=0,last", "--name", "layers", "--sweep", "lr=1e-6,2e-2", *BRIEF]
    words.append(f"data.cache={small.root}/cache_of_layers")
    small.run("phone_linear", tiny, *words, "--dry_run")
    out = capsys.readouterr().out
    shown = [line.partition(": train ")[0] for line in out.splitlines() if line.startswith("new ")]
    assert shown == ["new layer=0", "new layer=last"]
    assert "runs: 1 upstreams, 2 values of upstream.layer, 2 settings with 1 seeds each" in out
    folder = small.root / "result/result_new_phone_linear/layers"
    assert not folder.exists()
    made, represent = [], states.represent
    monkeypatch.setattr(states, "represent", lambda *args: made.append(args[4].layers.which) or represent(*args))
    small.run("phone_linear", tiny, *words)
    assert made == [(0, 2)]
    content = json.loads((folder / "curve.json").read_text())
    points = content["curves"][0]["points"]
    assert content["axis"] == "category"
    assert [point["value"] for point in points] == [0, "last"]
    assert points[1]["test_deviation"] is None
    tried = json.loads((folder / "layer=last/summary.json").read_text())["seeds"][0]
    assert points[1]["chosen"] == [tried["chosen"]] == [max(tried["tried"], key=tried["tried"].get)]
    assert tried["chosen"] in capsys.readouterr().out
    axes = curve_figure(content).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "last"]
    assert axes.get_xlabel() == "upstream.layer"


@pytest.mark.slow
def test_folds_have_a_point_for_each_value(small, capsys):
    names = [f"s{speaker}-{number}" for speaker in range(6) for number in range(6)]
    table = small.root / "of_curves.csv"
    table.write_text("id,mood,room\n" + "".join(f"{name},{'ab'[i % 2]},r{i // 12}\n" for i, name in enumerate(names)))
    words = [f"data.labels={table}", "data.label_column=mood", "data.group_column=room", "data.alignment=null"]
    words += ["--folds", "--each", "data.label_fraction=1,0.5", "--name", "folded", "trainer.steps=1"]
    small.run("utterance", "baseline", *words, "--dry_run")
    assert "baseline label_fraction=0.5, fold r2: train " in capsys.readouterr().out
    small.run("utterance", "baseline", *words)
    content = json.loads((small.root / "result/result_baseline_utterance/folded/curve.json").read_text())
    assert content["deviation_over"] == "folds"
    for point in content["curves"][0]["points"]:
        summary = json.loads((Path(point["folder"]) / "summary.json").read_text())
        assert (point["test_mean"], point["test_deviation"]) == (summary["test_mean"], summary["test_deviation"])
        assert point["seeds"][0]["test_value"] == pytest.approx(point["test_mean"])
        train = [
            json.loads((Path(fold["folder"]) / "result.json").read_text())["division"]["train"]
            for fold in summary["folds"]
        ]
        assert point["utterances"] == pytest.approx(np.mean([part["utterances"] for part in train]))


REFUSED = {
    "wrong value": ([*FRACTIONS[:1], "data.label_fraction=1,0"], r"'data.label_fraction' has value 0: must be greater"),
    "layer that is not there": (["--each", "layer=0,9"], r"^baseline, layer=9: layer 9 does not exist"),
    "two keys": ([*FRACTIONS, "--each", "lr=1,2"], r"--each lr=1,2: a curve is over one key"),
    "key of the sweep": ([*FRACTIONS, "--sweep", "label_fraction=1,0.5"], r"^--sweep and --each both set data.label_f"),
    "key of a word": ([*FRACTIONS, "data.label_fraction=0.5"], r"^data.label_fraction=0.5 and --each both set"),
    "key of a flag": (["--layer", "0", "--each", "layer=0,1"], r"^--layer and --each both set upstream.layer"),
    "no values": (["--each", "label_fraction"], r"--each 'label_fraction': expected key=value,value"),
    "unknown key": (["--each", "labels_fraction=1"], r"unknown config key 'labels_fraction'"),
    "value twice": (["--each", "label_fraction=1,0.5,1.0"], r"--each names label_fraction=1.0 twice"),
    "two names": ([*FRACTIONS, "--upstream", "baseline"], r"two upstreams are called baseline: .*NAME=SPEC"),
    "two names as folders": (
        [*FRACTIONS, "--upstream", "Baseline=tests.helpers.downstream_corpus:Doubling"], r"two upstreams are called Bas"
    ),
    "two upstreams": (["--upstream", "x=baseline"], r"--upstream baseline and x=baseline: .*\(--each\)"),
    "checkpoint of neither": ([*FRACTIONS, "--upstream", "x=baseline", "--ckpt", "y"], r"--ckpt y would change not"),
    "section in words": (["curve.seeds=2"], r"curve.seeds=2: type --each, --upstream or --seeds"),
    "layer of one of two": (
        ["--each", "layer=0,1", "--upstream", "x=tests.helpers.downstream_corpus:Doubling"], r"^baseline, layer=1: "
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_curve_is_refused_before_anything_is_trained(case, small, monkeypatch):
    words, line = REFUSED[case]
    monkeypatch.setattr(Experiment, "train", None)
    with pytest.raises(ValueError, match=line) as refused:
        small.run("phone_linear", "baseline", "--name", "refused", *words)
    assert "\n" not in str(refused.value)
    assert not list(small.root.glob("result/*/refused"))


def test_fraction_below_an_utterance_of_each_speaker_is_refused():
    names = [f"s{i % 3}" for i in range(30)]
    corpus = Utterances([f"u{i}" for i in range(30)], names, ["train"] * 30, names)
    speakers, others = Division("utterance", known_speakers=True), Division("speaker")
    least = divide(corpus, speakers, DataConfig(label_fraction=0.125))  # 3 of 24
    assert len(least.train) == 3
    with pytest.raises(ValueError, match=r"label_fraction=0\.12 of 24 .* each of the 3 speakers.*the least is 0\.125"):
        divide(corpus, speakers, DataConfig(label_fraction=0.12))
    assert len(divide(corpus, others, DataConfig(label_fraction=0.01)).train) == 1


def paper(*curves: tuple[str, list[list[float]]], hours=(360, 45, 18, 3.6), better="higher") -> dict:
    """A curve.json: of each upstream the scores of each seed at each value."""
    fractions = ["1", "0.125", "0.05", "0.01"]
    points = {
        name: [
            {
                "value": float(fraction), "name": f"label_fraction={fraction}", "hours": hour, "utterances": 9,
                "test_mean": float(np.mean(scores)), "dev_mean": 1.0, "chosen": [""] * len(scores), "interval": None,
                "test_deviation": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
                "seeds": [{"seed": i, "test_value": score} for i, score in enumerate(scores)],
            }
            for fraction, hour, scores in zip(fractions, hours, values)
        ]
        for name, values in curves
    }  # fmt: skip
    content = {
        "task": "phone_linear", "metric": {"name": "frame accuracy", "unit": "%", "better": better},
        "key": "data.label_fraction", "axis": "hours", "steps": "trainer.steps=9: the same for all values",
        "seeds": [0, 1, 2][: len(curves[0][1][0])], "deviation_over": "seeds",
        "curves": [{"upstream": name, "points": of_one} for name, of_one in points.items()],
    }  # fmt: skip
    return {**content, "crossings": crossings(content)}


APC = ("apc", [[74.1, 74.3], [73.5, 73.3], [70.1, 69.9], [54.2, 57.8]])
BASE = ("base", [[60.9, 61.1], [59.9, 59.7], [59.9, 60.1], [57.7, 57.5]])
MEL = ("mel", [[49.1, 49.1], [49.1, 49.1], [49.2, 49.2], [44.9, 44.9]])


def test_crossing_is_said_in_words_with_its_seeds():
    content = paper(APC, BASE, MEL)
    (found,) = content["crossings"]
    assert found["curves"] == ["apc", "base"]
    assert found["between"] == ["label_fraction=0.05", "label_fraction=0.01"]
    assert found["gains"][0]["seeds"] == pytest.approx([10.2, 9.8])
    assert found["gains"][1]["seeds"] == pytest.approx([-3.5, 0.3])
    words = curve_in_words(content, Path("DIR")).splitlines()
    assert words[-4] == (
        "apc and base cross between label_fraction=0.05 and label_fraction=0.01: at label_fraction=0.05 (18 hours) "
        "apc is better by 10.00 %, in 2 of 2 seeds; at label_fraction=0.01 (3.6 hours) base is better by 1.60 %, in 1 "
        "of 2 seeds"
    )
    assert words[-3:-1] == ["apc is better than mel at every value", "base is better than mel at every value"]
    assert words[-1].startswith("phone_linear over data.label_fraction, 2 seeds, trainer.steps=9: the same")
    rates = paper(APC, BASE, better="lower")
    rates["crossings"] = crossings(rates, lambda one, other: (one["test_mean"] - other["test_mean"] - 1, 20.0))
    said = curve_in_words(rates, Path("DIR")).splitlines()[-2]
    assert "(18 hours) base is better by 10.00 % [9.00, 20.00], in 2 of 2 seeds" in said
    assert "(3.6 hours) apc is better by 1.60 % [-20.00, 2.60], in 1 of 2 seeds" in said
    same = paper(("x", [[1.0], [2.0], [1.0], [1.0]]), ("y", [[1.0], [1.0], [1.0], [1.5]]))
    assert [crossing["between"] for crossing in same["crossings"]] == [["label_fraction=0.125", "label_fraction=0.01"]]
    said = curve_in_words(same, Path("DIR")).splitlines()[-2]
    assert said.endswith("at label_fraction=0.01 (3.6 hours) y is better by 0.50 %")


def test_figure_has_hours_on_a_logarithmic_axis_and_a_line_with_bars_for_each_upstream(tmp_path):
    content = paper(APC, BASE)
    axes = curve_figure(content).axes[0]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "hours of labelled speech")
    assert axes.get_ylabel() == "test frame accuracy (%), higher is better"
    assert axes.get_title() == "phone_linear: mean of 2 seeds, deviation over seeds"
    assert list(axes.xaxis.get_majorticklocs()) == [3.6, 18, 45, 360]
    lines = [container.lines for container in axes.containers]
    assert [list(line[0].get_xdata()) for line in lines] == [[360, 45, 18, 3.6]] * 2
    assert len({line[0].get_marker() for line in lines}) == len({line[0].get_linestyle() for line in lines}) == 2
    low, high = lines[0][2][0].get_segments()[-1][:, 1]  # of apc at 3.6 hours
    assert (low, high) == pytest.approx((56 - np.std([54.2, 57.8], ddof=1), 56 + np.std([54.2, 57.8], ddof=1)))
    for curve in content["curves"]:
        for point in curve["points"]:
            point["interval"] = {"low": point["test_mean"] - 2, "high": point["test_mean"] + 1}
    assert "    56.00 +- 2.55 [54.00, 57.00]\n" in curve_in_words(content, tmp_path)
    axes = curve_figure(content).axes[0]
    assert axes.get_title().endswith(", 95 % intervals")
    assert axes.containers[0].lines[2][0].get_segments()[-1][:, 1] == pytest.approx([54, 57])
    for name in ("one.svg", "two.svg"):
        save_figure(curve_figure(content), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_numbers_have_an_axis_of_their_own():
    content = {**paper(APC), "axis": "number", "key": "optimizer.lr"}
    for point, rate in zip(content["curves"][0]["points"], (1e-4, 4e-2, 1e-3, 1e-2)):
        point["value"] = rate
    axes = curve_figure(content).axes[0]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "optimizer.lr")
    assert list(axes.containers[0].lines[0].get_xdata()) == [4e-2, 1e-2, 1e-3, 1e-4]
    for point, layers in zip(content["curves"][0]["points"], (0, 1, 2, 3)):
        point["value"] = layers
    assert curve_figure(content).axes[0].get_xscale() == "linear"


def test_paper_figure_3_is_one_command(tmp_path, monkeypatch):
    for name in ("figure3_mockingjay", "figure3_apc"):
        (tmp_path / "result/result_mockingjay" / name).mkdir(parents=True)
        (tmp_path / "result/result_mockingjay" / name / "best.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    words = ["--run", "phone_linear", "--config", str(PROJECT / "config/paper_figure3.yaml")]
    settings = run_downstream.read(words)
    assert [upstream.label for upstream in settings.upstreams] == ["mockingjay", "apc", "mel"]
    assert (settings.each, settings.seeds) == ("data.label_fraction=1,0.125,0.05,0.01,0.005,0.001", 3)
    typed = run_downstream.read([*words, "--seeds", "1", "--upstream", "x=baseline", "--each", "lr=1,2"])
    assert ([upstream.label for upstream in typed.upstreams], typed.each, typed.seeds) == (["x"], "lr=1,2", 1)
    with pytest.raises(ValueError, match=r"--ckpt x: .*paper_figure3.yaml lists upstreams"):
        run_downstream.read([*words, "--ckpt", "x"])
    for text, line in (("seeds: 0", "curve.seeds"), ("each: [1]", "curve.each"), ("values: 1", "curve.values")):
        (tmp_path / "bad.yaml").write_text(f"curve: {{{text}}}\n")
        with pytest.raises(ValueError, match=f"bad.yaml: .*{line}"):
            run_downstream.read(["--run", "phone_linear", "--config", "bad.yaml"])
