"""The protocol of tasks: one that the project does not know runs through everything."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.examples import Means
from downstream.heads.linear import Linears
from downstream.heads.pooling import mean_pool
from downstream.metrics.base import selection_error
from downstream.metrics.classes import accuracy, class_score
from downstream.outcomes import Summed
from downstream.report import describe_result
from downstream.splits import Division
from downstream.sweep import Choice, run_many, run_single
from downstream.tasks.base import Task
from downstream.tasks.table import MODULES, TASKS, find_task
from tests.conftest import PROJECT
from utility.labels.alignment import IGNORE
from utility.predictions import read_predictions
from utility.results import read_result
from utility.runs import Metric, with_interval
from utility.store import reading


@dataclass(frozen=True)
class Numbers:
    """The answers of the task below: a number for each utterance, and the mean of those to train on."""

    number: dict[int, float]
    mean: float

    def labelled(self, chosen):
        return len(chosen)


@dataclass(frozen=True)
class FirstFeature:
    store: reading.Store  # answers may come from anything that an utterance has

    @property
    def usable(self):
        return np.arange(1, len(self.store))

    left_out = {"has no number": 1}  # noqa: RUF012
    strata = None

    def read(self, parts):
        number = {int(i): float(self.store[int(i)][:, 0].mean()) for i in parts.all()}
        return Numbers(number, float(np.mean([number[int(i)] for i in parts.train])))


@dataclass(frozen=True)
class Errors:
    """Sums over utterances, and the largest error, which is no sum."""

    absolute: float
    largest: float
    count: int

    def __add__(self, other):
        return Errors(self.absolute + other.absolute, max(self.largest, other.largest), self.count + other.count)

    def figures(self):
        mae = self.absolute / self.count
        return {"loss": -mae, "mae": mae, "largest": self.largest}  # a loss that would choose the worst step


class NumberOfUtterance:
    """Regression: the mean of the first feature, from the mean frame, scored by the mean absolute error."""

    name, about, item = "level", "mean of the first feature", "utterance"
    metric = Metric("mae", "mean absolute error", "", "lower")
    loss_label = "absolute error"
    division = Division("speaker")
    columns = ("true", "predicted", "error")
    beside = {"level.trn": "true"}  # noqa: RUF012
    uses = ("probe.solver",)

    @property
    def watched(self):
        return self

    def labels(self, utterances, config):
        return FirstFeature(utterances.corpus)

    def source(self, frames, labels, chosen, use):
        return Means(frames, lambda index: np.float32(labels.number[index]), chosen)

    def head(self, width, labels, config, generator):
        return Linears(mean_pool, [width, 1], config.dropout, generator)

    def _error(self, output, batch, labels):
        return (output[:, 0] + labels.mean - batch.target).abs()

    def loss(self, output, batch, labels):
        return {"loss": self._error(output, batch, labels).mean()}

    def score(self, output, batch, labels):
        error = self._error(output, batch, labels)
        return Errors(float(error.sum()), float(error.max()), len(error))

    def predictions(self, output, batch, labels):
        for true, value in zip(batch.target.tolist(), (output[:, 0] + labels.mean).tolist()):
            yield f"{true:.4f}", f"{value:.4f}", f"{abs(true - value):.4f}"

    def outcomes(self, rows):
        rows = list(rows)
        errors = [[float(row["error"]), 1] for row in rows]
        return Summed([row["id"] for row in rows], np.array(errors), lambda sums: sums[:, 0] / sums[:, 1])

    def solver(self, config):
        return least_squares if config.solver == "exact" else None

    def controls(self, score, labels):
        return {}

    def figures(self, score, labels, title):
        return {}

    def facts(self, labels):
        return {"mean": labels.mean}

    def warning(self, labels):
        return f"the mean is {labels.mean:.1f}"

    def caution(self, features):
        return None


def least_squares(head, train, dev, log):
    """The weights of one linear layer: targets [N] on means [N, D] and a constant."""
    batches = list(train())
    means = torch.cat([mean_pool(batch.features, batch.lengths) for batch in batches])
    target = torch.cat([batch.target for batch in batches])
    centre = target.mean()
    weights = torch.linalg.lstsq(torch.cat([means, torch.ones(len(means), 1)], 1), target - centre).solution
    head.linears[0].weight.copy_(weights[None, :-1])
    head.linears[0].bias.fill_(float(weights[-1]))
    log(1, {"loss": 0.0})
    return {"passes": 1, "rows": len(means), "dev": sum(len(batch.ids) for batch in dev())}


@pytest.mark.slow
def test_head_that_is_solved_leaves_what_a_training_leaves(small):
    task: Task = NumberOfUtterance()
    steps = {"steps": 3000, "eval_every": 200, "save_every": 1000}  # as usual: nobody reads them
    setting = replace(small.setting("phone_linear", probe={"solver": "exact"}, trainer=steps), task=task)
    folder = small.root / "solved_task" / "run"
    found = run_single(setting, folder)
    assert found == read_result(folder / "result.json")
    assert found["value"] < 0.1 * np.mean([abs(number - found["mean"]) for number in numbers(folder, "test", "true")])
    assert found["solver"]["passes"] == found["steps"] == found["best_step"] == 1
    assert found["solver"]["rows"] == found["division"]["train"]["utterances"]
    assert found["solver"]["dev"] == found["division"]["dev"]["utterances"]
    (folder / "result.json").unlink()
    again = run_single(setting, folder)  # from its checkpoint
    assert (again["value"], again["solver"]) == (found["value"], found["solver"])
    assert again["cost"]["training_seconds"] is None
    other = replace(setting, config=replace(setting.config, data=replace(setting.config.data, split_seed=7)))
    with pytest.raises(ValueError, match=r"cannot be continued: config.data.split_seed was .*, now 7"):
        run_single(other, folder)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"upstream": {"weighted_sum": True}}, "--weighted_sum goes with training by steps"),
        ({"upstream": {"fine_tune": True}}, "--fine_tune goes with training by steps"),
        ({"probe": {"solver": "exact", "dropout": 0.1}}, r"probe\.dropout=0\.1 goes with training by steps"),
        ({"probe": {"solver": "exact", "pool": "mean"}}, r"probe\.pool='mean' would change nothing: level has no use"),
        ({"decode": {"beam": 3}}, r"decode\.beam=3 would change nothing: level has no use"),
    ],
)
def test_what_a_solved_head_or_the_task_has_no_use_for_is_refused(small, changed, line):
    setting = replace(
        small.setting("phone_linear", **{"probe": {"solver": "exact"}, **changed}), task=NumberOfUtterance()
    )
    with pytest.raises(ValueError, match=line):
        run_single(setting, small.root / "solved_task" / "refused")
    assert not (small.root / "solved_task" / "refused").exists()


@pytest.mark.slow
def test_task_of_ones_own_runs_end_to_end(small):
    task: Task = NumberOfUtterance()
    setting = replace(small.setting("phone_linear", optimizer={"lr": 0.1}, trainer={"steps": 150}), task=task)
    folder = small.root / "own_task" / "run"
    found = run_single(setting, folder)
    assert found == read_result(folder / "result.json")
    assert found["metric"] == {"name": "mean absolute error", "unit": "", "better": "lower"}
    assert found["value"] == found["test_mae"] == found["figures"]["test"]["mae"]
    assert found["dev_value"] == found["dev_mae"]
    assert "dev_accuracy" not in found
    assert found["division"]["left_out"] == {"has no number": 1}
    assert found["division"]["rule"] == "speaker"
    assert found["selection_error"] == pytest.approx(found["dev_mae"], rel=1e-5)
    assert "selection_error, dev mean absolute error + 1e-06 * dev loss" in found["selection"]
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    devs = {record["step"]: record["dev_mae"] for record in logged if "dev_mae" in record}
    assert found["dev_value"] == pytest.approx(min(devs.values()), rel=1e-5)  # the lowest was kept
    assert found["best_step"] == min(devs, key=devs.get)
    assert found["value"] < 0.8 * np.mean([abs(number - found["mean"]) for number in numbers(folder, "test", "true")])
    assert np.mean(numbers(folder, "test", "error")) == pytest.approx(found["value"], abs=1e-3)
    assert len(numbers(folder, "test", "error")) == found["scored"]["test"]
    assert not (folder / "confusion.png").exists()
    assert f"test {with_interval(found['value'], found['interval'], '')} (best step" in describe_result(found, folder)
    summary = run_many(setting, [Choice("", setting.config)], [1], folder.parent / "many")
    assert summary["seeds"][0]["test_mae"] == summary["test_mean"] == found["value"]
    assert summary["metric"]["better"] == "lower"


def numbers(folder: Path, part: str, column: str) -> list[float]:
    return [float(row[column]) for row in read_predictions(folder / f"predictions_{part}.tsv")]


def test_lower_is_better_where_the_metric_says_so():
    error = Metric("mae", "mean absolute error", "s", "lower")
    correlation = Metric("r", "correlation", "", "higher", best=1)
    assert selection_error(accuracy("frame"), {"accuracy": 71.5, "loss": 2}) == pytest.approx(28.500002, abs=1e-9)
    assert selection_error(error, {"mae": 0.3, "loss": 0}) < selection_error(error, {"mae": 0.4, "loss": 0})
    assert selection_error(correlation, {"r": 0.9, "loss": 0}) < selection_error(correlation, {"r": -0.9, "loss": 0})
    assert selection_error(error, {"mae": 0.3, "loss": 1}) < selection_error(error, {"mae": 0.3, "loss": 2})


def test_scores_of_batches_add_up_to_that_of_all():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 3, generator=generator), torch.randint(3, (40,), generator=generator)
    labels[::7] = IGNORE
    whole, parts = (
        class_score(logits, labels),
        class_score(logits[:9], labels[:9]) + class_score(logits[9:], labels[9:]),
    )
    assert (parts.confusions == whole.confusions).all()
    assert parts.count == whole.count == int((labels != IGNORE).sum())
    assert parts.figures() == pytest.approx(whole.figures(), rel=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_table_names_where_each_task_is(task):
    found = find_task(task)
    assert (found.name, found.about) == (task, TASKS[task])
    assert MODULES.keys() == TASKS.keys()


def test_table_of_tasks_loads_nothing_heavy():
    code = "import sys, downstream.tasks.table as t; assert t.TASKS; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert not {"torch", "numpy", "pydantic", "matplotlib", "downstream.tasks.base"} & set(loaded.split())


RULES = ("utterance", "emotion")  # of dividing, and of labels: names of tasks, too
KINDS = ("label ==", "level ==", ".task.label", ".task.level", "isinstance(examples", "isinstance(labels")


def test_nothing_outside_the_tasks_asks_what_kind_a_task_is():
    files = [*(PROJECT / "downstream").glob("*.py"), PROJECT / "originals" / "probing.py"]
    assert len(files) > 10
    for path in files:
        text = path.read_text()
        assert not [kind for kind in KINDS if kind in text], path
        names = [name for name in TASKS if f'"{name}"' in text and name not in RULES]
        assert not names, f"{path} names {names}"
