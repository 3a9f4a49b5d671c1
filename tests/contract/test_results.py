"""What a probing run leaves: the header of result.json, predictions by id; old files are still read."""

import json
from pathlib import Path

import pytest
import torch

import run_downstream
from commands.common import parse_layers
from downstream.report import describe_result
from downstream.sweep import run_single
from downstream.tasks.table import find_task
from examples import compare, table_of_tasks
from examples.table import table
from tests.helpers.downstream_corpus import TABLELESS
from utility.batches import Batch
from utility.labels.alignment import IGNORE
from utility.predictions import PredictionFile, read_predictions
from utility.results import read_result
from utility.store import reading


@pytest.fixture(scope="module")
def finished(small) -> dict[str, Path]:
    """A run of every task."""
    folders = {name: small.root / "finished" / name / "run" for name in TABLELESS}
    for name, folder in folders.items():
        run_single(small.setting(name, optimizer={"lr": 0.02}), folder)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("task", TABLELESS)
def test_predictions_of_a_run_give_its_accuracy_again(finished, small, task):
    folder, store = finished[task], reading.Store(f"{small.root}/store/all")
    result = json.loads((folder / "result.json").read_text())
    for part in ("dev", "test"):
        rows = list(read_predictions(folder / f"predictions_{part}.tsv"))
        ids = [row["id"] for row in rows]
        assert ids == sorted(set(ids))
        assert len(ids) == result["division"][part]["utterances"]
        pairs = [pair for row in rows for pair in zip(row["true"].split(" "), row["predicted"].split(" "), strict=True)]
        counted = [true == predicted for true, predicted in pairs if true != "-"]
        assert 100 * sum(counted) / len(counted) == result[f"{part}_accuracy"]
        assert len(counted) == result["scored"][part]
        frames = sum(int(store.lengths[store.index[key]]) for key in ids)
        assert len(pairs) == (frames if result["scored"]["item"] == "frame" else len(ids))
        if task.startswith("speaker"):
            assert all(set(row["true"].split(" ")) == {row["id"].split("-")[0]} for row in rows)


def test_frames_without_a_label_and_names_with_spaces_in_predictions():
    level = find_task("phone_linear").level
    target = torch.tensor([[0, IGNORE, 1], [1, IGNORE, IGNORE]])
    batch = Batch(torch.zeros(2, 3, 1), torch.tensor([3, 1]), ["a", "b"], target)
    logits = torch.eye(2)[torch.tensor([[0, 1, 1], [0, 1, 1]])]
    rows = list(level.predictions(logits, batch, ["aa", "spoken noise"]))
    assert rows == [("aa - spoken_noise", "aa spoken_noise spoken_noise"), ("spoken_noise", "aa")]


def test_predictions_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "predictions_test.tsv"
    path.write_text("old")
    with pytest.raises(ValueError, match="shorter"), PredictionFile(path, ["true"]) as file:
        file.write(["b", "c"], [["x"]])
    assert path.read_text() == "old"
    with PredictionFile(path, ["true"], {"b": "anna"}) as file:
        file.write(["b", "c"], [["x"], ["tab\tand\nline"]])
        file.write(["a"], [["ü"]])
    assert path.read_text() == "id\ttrue\tspeaker\na\tü\t\nb\tx\tanna\nc\ttab and line\t\n"
    assert [row["id"] for row in read_predictions(path)] == ["a", "b", "c"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


HEADER = ["kind", "task", "upstream", "metric", "value", "dev_value", "interval", "controls", "division", "config"]
HEADER += ["seed", "fingerprints", "versions", "command"]


@pytest.mark.slow
def test_result_begins_with_the_header_that_all_results_share(finished, small):
    result = json.loads((finished["phone_linear"] / "result.json").read_text())
    assert list(result)[: len(HEADER)] == HEADER
    assert result["metric"] == {"name": "frame accuracy", "unit": "%", "better": "higher"}
    assert (result["value"], result["dev_value"]) == (result["test_accuracy"], result["dev_accuracy"])
    assert (
        result["interval"]["method"] == "jackknife over 6 utterances, t with 5.0 degrees of freedom"
    )  # of one speaker
    assert result["fingerprints"]["store"]["splits"] == [f"{small.root}/store/all"]
    assert result["fingerprints"]["upstream"].keys() == {"fingerprint", "name", "spec", "checkpoint", "step"}
    assert result["selection_error"] == pytest.approx(100 - result["dev_accuracy"], abs=1e-3)
    assert "100 - dev frame accuracy (%)" in result["selection"]


@pytest.mark.slow
def test_command_of_a_result_repeats_it(finished, small):
    result = json.loads((finished["speaker_utterance"] / "result.json").read_text())
    program, script, *words = result["command"].split()
    assert (program, script) == ("python", "run_downstream.py")
    expdir = small.root / "again"
    assert run_downstream.main([*words, "--no-msg", "--expdir", str(expdir), "--logdir", f"{expdir}/log"]) == 0
    again = json.loads((expdir / "result_baseline_speaker_utterance/exp_000/result.json").read_text())
    assert {key: again[key] for key in ("figures", "division", "config", "seed", "scored", "best_step")} == {
        key: result[key] for key in ("figures", "division", "config", "seed", "scored", "best_step")
    }


OLD = {
    "metric": "frame accuracy (%)", "test_accuracy": 44.5, "dev_accuracy": 50.25, "criterion": 49.750002,
    "layer_weights": [0.25, 0.75], "task": "phone_linear", "upstream": "baseline", "best_step": 3, "steps": 4,
}  # fmt: skip


def test_results_without_a_header_are_still_read(tmp_path):
    file = tmp_path / "result_baseline_phone_linear" / "libri-1_mel" / "result.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(OLD))
    found = read_result(file)
    assert found["metric"] == {"name": "frame accuracy", "unit": "%", "better": "higher"}
    assert (found["value"], found["dev_value"], found["selection_error"]) == (44.5, 50.25, 49.750002)
    assert "dev 50.25 %, test 44.50 %" in describe_result(found, file.parent)
    assert table(tmp_path).splitlines()[-1] == "| 1 mel | 44.5 |"
    assert parse_layers(f"ws:{file}").which == (0.25, 0.75)


WEIGHTS = ["[true, false]", "[-5, 1e300]", "[1e400]", "[1" + "0" * 400 + "]", "[NaN, 1]", '["x"]', "{}", "3", '"ab"']


@pytest.mark.parametrize("weights", WEIGHTS, ids=[text[:12] for text in WEIGHTS])
def test_layer_weights_that_no_probe_learns_are_refused(weights, tmp_path):
    """They were taken for 1 and 0, left files behind, or ended in OverflowError."""
    file = tmp_path / "result.json"
    file.write_text(f'{{"layer_weights": {weights}}}')
    with pytest.raises(ValueError, match=r"--layer ws:.*result\.json: ") as refused:
        parse_layers(f"ws:{file}")
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", "7", "x", '{"layer_weights": null}', "\xff"])
def test_what_is_no_result_gives_no_layer_weights(text, tmp_path):
    file = tmp_path / "result.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="--layer ws:"):
        parse_layers(f"ws:{file}")


NEW = OLD | {
    "metric": {"name": "frame accuracy", "unit": "%", "better": "higher"},
    "value": 44.5, "dev_value": 50.25, "selection_error": 49.75,
}  # fmt: skip
DAMAGED = {
    "nothing": {},
    "a list": [],
    "a number": 7,
    "metric a number": NEW | {"metric": 3},
    "metric without unit": NEW | {"metric": {}},
    "value a text": NEW | {"value": "44.5"},
    "value true": NEW | {"value": True},
    "no dev": {name: value for name, value in NEW.items() if name != "dev_value"},
    "weights a number": NEW | {"layer_weights": 3},
    "weights texts": NEW | {"layer_weights": ["a"]},
    "steps null": NEW | {"steps": None},
    "old, nothing but the metric": {"metric": "x"},
    "old, metric a list": {"metric": []},
    "a long value": NEW | {"best_step": "x" * 5000},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_result_of_foreign_content_is_damaged(content, tmp_path):
    """`{}` and `[]` were KeyError and TypeError."""
    file = tmp_path / "result.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"result\.json: damaged, .*: remove it") as refused:
        read_result(file)
    assert len(str(refused.value)) < 400
    file.write_text(json.dumps(NEW))
    assert read_result(file) == NEW


@pytest.mark.slow
def test_results_side_by_side_say_what_they_gain_over_the_features_and_cost(finished, tmp_path):
    plain = json.loads((finished["phone_linear"] / "result.json").read_text())
    plain["fingerprints"]["upstream"]["spec"] = "filterbank=baseline"
    better = json.loads(json.dumps(plain)) | {"upstream": "ours", "value": plain["value"] + 5}
    better["fingerprints"]["upstream"]["spec"] = "ours=pretrained:best.ckpt"
    better["cost"] |= {"states_seconds": 12.34, "training_seconds": None}
    for result in (plain, better):
        (tmp_path / f"result_{result['upstream']}_phone_linear/run").mkdir(parents=True)
        (tmp_path / f"result_{result['upstream']}_phone_linear/run/result.json").write_text(json.dumps(result))
    title, _, head, _, first, second = compare.table(tmp_path).splitlines()
    assert title == "phone_linear: frame accuracy (%)"
    rows = [dict(zip(head.split(" | "), line.split(" | "))) for line in (first, second)]
    assert [row["above features"] for row in rows] == ["+0.0", "+5.0"]
    assert [row["| upstream"] for row in rows] == [f"| {plain['upstream']}", "| ours"]
    assert rows[0]["test"] == f"{plain['value']:.1f} [{plain['interval']['low']:.1f}, {plain['interval']['high']:.1f}]"
    assert (rows[1]["states s"], rows[1]["training s |"]) == ("12.3", "- |")


def test_table_of_tasks_has_a_column_for_each_system(tmp_path):
    """Seeds have a deviation, folds the score of all their predictions, and what is not finished has an empty cell."""
    rates, hits = ({"name": name, "better": way} for name, way in (("error rate", "lower"), ("accuracy", "higher")))
    interval = {"low": 40.04, "high": 60}
    written = {
        "result_A_ctc_char/an4-1_a": ("result", {"value": 49.96, "metric": rates, "interval": None}),
        "result_B_ctc_char/an4-2_b": ("summary", {"test_mean": 50, "test_deviation": 0.5, "metric": rates}),
        "result_B_speaker_utterance/x_y-2_b": ("result", {"value": None, "metric": hits}),
        "result_B_utterance/x_y-2_b": (
            "summary",
            {"test_mean": 41, "test_deviation": 9.0, "pooled": 51.0, "folds": [], "metric": hits, "interval": interval},
        ),
    }
    for folder, (name, found) in written.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.json").write_text(json.dumps(found))
    assert table_of_tasks.table(tmp_path).splitlines() == [
        "| task | a | b |",
        "| --- | ---: | ---: |",
        "| `ctc_char` an4, error rate ↓ | 50.0 | 50.0 ± 0.5 |",
        "| `utterance` x y, accuracy ↑ |  | 51.0 [40.0, 60.0] |",
    ]
