"""Curves: a whole run for each of several values of a config key, of one upstream or of several."""

import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from downstream.config import DownstreamConfig
from downstream.crossings import crossings
from downstream.curve_figure import curve_figure
from downstream.experiment import Experiment
from downstream.fold_runs import fold_folders, fold_settings, of_fold, run_folds
from downstream.intervals import Predicted, difference, lacking, mean_of, sureness
from downstream.opened import Opened
from downstream.report import folder_word
from downstream.setting import Setting
from downstream.sweep import Choice, parse_sweep, run_rows
from downstream.tasks.base import Task
from utility.config import as_dict
from utility.plot import save_figure
from utility.predictions import predictions_of
from utility.runs import deviation, mean, write_json

CURVES = "curves"  # in the place of an upstream's name, where there are several
FRACTION, LAYER, MEAN = "data.label_fraction", "upstream.layer", "test_mean"


@dataclass(frozen=True)
class Value:
    """A value of the key: its name in tables and as a folder (`label_fraction=0.05`), and the settings that dev chooses
    between there."""

    name: str
    task: Task
    choices: Sequence[Choice]

    @property
    def folder(self) -> str:
        """Its folder's name."""
        return self.name.replace("/", "-")


@dataclass(frozen=True)
class CurvePlan:
    """What is run: each of the `values` of a config `key` with all `seeds`, in each fold where there are `folds`."""

    key: str
    values: Sequence[Value]
    seeds: Sequence[int]
    folds: bool = False

    def at(self, value: Value) -> Any:
        """The value itself, as plain types."""
        section, _, name = self.key.partition(".")
        return as_dict(value.choices[0].config)[section][name]


@dataclass(frozen=True)
class Amount:
    """How much a run trains on; hours are None where nobody knows how long a frame is."""

    utterances: float
    hours: float | None
    dev: int = 0
    test: int = 0

    @classmethod
    def of(cls, experiment: Experiment) -> "Amount":
        """That of a run which is opened."""
        framed, parts = experiment.corpus.utterances, experiment.corpus.parts
        hours = float(framed.lengths[parts.train].sum()) * framed.info.frame_shift / 3600
        return cls(len(parts.train), hours if hours > 0 else None, len(parts.dev), len(parts.test))


Amounts = Mapping[tuple[str, str], Amount]  # by (fold, setting of the sweep)


@dataclass(frozen=True)
class Checked:
    """What is known of an upstream's runs before the first: what each value trains on, the layers that are read one by
    one, so that they are computed at once, and what is likely to spoil the results."""

    amounts: Sequence[Amounts]
    layers: tuple[int, ...]
    warnings: tuple[str, ...]


def each_key(word: str) -> str:
    """The config key of `--each KEY=A,B`, as `section.key`."""
    return parse_each(word)[0].partition("=")[0]


def parse_each(word: str, said: Mapping[str, str] | None = None) -> list[str]:
    """The values of `--each KEY=A,B` as overrides `section.key=A`; `said` are keys that something else sets."""
    words = [override for (override,) in parse_sweep([word], "--each")]
    key = words[0].partition("=")[0]
    if said and key in said:
        raise ValueError(f"{said[key]} and --each both set {key}: leave one of them out")
    return words


def run_curve(plan: CurvePlan, settings: Sequence[Setting], directory: Path) -> dict[str, Any]:
    """Train and score every value with every upstream (a setting each); what finished runs have reported is only read.

    dev chooses between the settings of a value, never between values. Writes curve.json, curve.png and curve.svg."""
    folders = curve_folders(plan, settings, directory)
    opened = Opened()
    checked = [check(plan, setting, folder, opened) for setting, folder in zip(settings, folders, strict=True)]
    for line in dict.fromkeys(line for of_one in checked for line in of_one.warnings):
        print(f"warning: {line}", file=sys.stderr)
    curves = []
    for setting, folder, known in zip(settings, folders, checked, strict=True):
        opened.together = known.layers
        points = [
            _point(plan, value, setting, folder / value.folder, of_value, opened)
            for value, of_value in zip(plan.values, known.amounts, strict=True)
        ]
        curves.append({"upstream": setting.upstream.label, "spec": str(setting.upstream), "points": points})
    content = _content(plan, curves)
    save_figure(curve_figure(content), directory / "curve.png")
    save_figure(curve_figure(content), directory / "curve.svg")
    write_json(directory / "curve.json", content)
    return content


def curve_folders(plan: CurvePlan, settings: Sequence[Setting], directory: Path) -> list[Path]:
    """Where the runs of each upstream are; ValueError where two upstreams, or two values, are the same."""
    labels = [setting.upstream.label for setting in settings]
    if (twice := _twice([folder_word(label) for label in labels])) is not None:
        raise ValueError(f"two upstreams are called {labels[twice]}: give each a name, --upstream NAME=SPEC")
    values, metrics = [plan.at(value) for value in plan.values], [value.task.metric for value in plan.values]
    twice = _twice([value.folder for value in plan.values])
    twice = next((i for i, value in enumerate(values) if value in values[:i]), None) if twice is None else twice
    if twice is not None:
        raise ValueError(f"--each names {plan.values[twice].name} twice")
    for value, metric in zip(plan.values, metrics):
        if metric != metrics[0]:
            raise ValueError(
                f"--each: {value.name} is scored by {metric}, {plan.values[0].name} by {metrics[0]}: no curve joins "
                "them"
            )
    return [directory] if len(settings) == 1 else [directory / folder_word(label) for label in labels]


def _twice(names: Sequence[str]) -> int | None:
    """The first name that was there before, upper and lower case alike; None where all differ."""
    lower = [name.lower() for name in names]
    return next((i for i, name in enumerate(lower) if name in lower[:i]), None)


def check(plan: CurvePlan, setting: Setting, folder: Path, opened: Opened) -> Checked:
    """Refuse what can be refused of an upstream before anything is trained."""
    amounts: list[Amounts] = []
    layers, warnings = set(), ""
    for value in plan.values:
        of_value = {}
        for fold, choice, experiment in _experiments(plan, value, setting, folder / value.folder, opened):
            of_value[fold, choice] = Amount.of(experiment)
            if not experiment.setting.config.upstream.fine_tune and experiment.layers.number is not None:
                layers.add(experiment.layers.number)
            warnings = warnings or experiment.warning() or ""
        amounts.append(of_value)
    return Checked(amounts, tuple(sorted(layers)) if len(layers) > 1 else (), tuple(warnings.splitlines()))


def _experiments(
    plan: CurvePlan, value: Value, setting: Setting, folder: Path, opened: Opened
) -> Iterator[tuple[str, str, Experiment]]:
    """The experiments of a value with the first seed, by fold and setting; a refusal names both upstream and value."""
    try:
        setting = replace(setting, task=value.task, config=value.choices[0].config, seed=plan.seeds[0])
        names = list(fold_settings(setting, opened)) if plan.folds else []
        folders = fold_folders(names, folder) if plan.folds else {"": folder}
        for name, place in folders.items():
            for choice in value.choices:
                config = of_fold(choice, name).config if plan.folds else choice.config
                yield name, choice.name, Experiment(replace(setting, config=config), place, opened)
    except ValueError as error:
        raise ValueError(f"{setting.upstream.label}, {value.name}: {error}") from None


def _point(
    plan: CurvePlan, value: Value, setting: Setting, folder: Path, amounts: Amounts, opened: Opened
) -> dict[str, Any]:
    """Run a value, and say what came of it; each seed has its folder, whose predictions a comparison may read."""
    setting = replace(setting, task=value.task, config=value.choices[0].config)
    if plan.folds:
        content = run_folds(setting, value.choices, plan.seeds, folder, opened)
        by_fold = {fold["fold"]: fold["seeds"] for fold in content["folds"]}
    else:
        content, rows = run_rows(setting, value.choices, plan.seeds, folder, opened)
        by_fold = {"": rows}
    amount = _mean_amount([amounts[fold, row["chosen"]] for fold, rows in by_fold.items() for row in rows])
    seeds = [_of_seed(number, by_fold) for number in range(len(plan.seeds))]
    return {
        "value": plan.at(value),
        "name": value.name,
        "folder": str(folder),
        "hours": amount.hours,
        "utterances": amount.utterances,
        **_means(seeds, content),
        "interval": content.get("interval")
        if content.get("interval_of", MEAN) == MEAN
        else None,  # not of a pooled one
        "chosen": [seed["chosen"] for seed in seeds],
        "seeds": seeds,
    }


def _of_seed(number: int, by_fold: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """A seed's scores, the means over the folds where there are some."""
    rows = {fold: rows[number] for fold, rows in by_fold.items()}
    first = next(iter(rows.values()))
    folded = list(rows) != [""]
    return {
        "seed": first["seed"],
        "dev_value": mean(row["dev_value"] for row in rows.values()),
        "test_value": mean(row["test_value"] for row in rows.values()),
        "chosen": {fold: row["chosen"] for fold, row in rows.items()} if folded else first["chosen"],
        "folder": {fold: row["folder"] for fold, row in rows.items()} if folded else first["folder"],
    }


def _means(seeds: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> dict[str, float | None]:
    """Mean and sample deviation of both parts: over the folds where there are some, else over the seeds."""
    if "folds" in content:
        return {
            f"{part}_{name}": content[f"{part}_{name}"] for part in ("test", "dev") for name in ("mean", "deviation")
        }
    means: dict[str, float | None] = {}
    for part in ("test", "dev"):
        values = [seed[f"{part}_value"] for seed in seeds]
        means[f"{part}_mean"] = mean(values)
        means[f"{part}_deviation"] = deviation(values)
    return means


def _mean_amount(amounts: Sequence[Amount]) -> Amount:
    """The mean over folds, and over the settings that dev chose."""
    hours = [amount.hours for amount in amounts if amount.hours is not None]
    utterances = statistics.fmean(amount.utterances for amount in amounts)
    whole = int(utterances) if utterances == int(utterances) else utterances
    return Amount(whole, statistics.fmean(hours) if len(hours) == len(amounts) else None)


def _content(plan: CurvePlan, curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    task, config = plan.values[0].task, plan.values[0].choices[0].config
    metric, values = task.metric, [plan.at(value) for value in plan.values]
    content = {
        "kind": "curve",
        "task": task.name,
        "metric": metric.about(),
        "key": plan.key,
        "axis": _axis(plan.key, values, curves),
        "selection": f"in each value, and for each seed, dev {metric.name} chooses step and setting, and test is read "
        "once, after the choice; nothing chooses between values",
        "steps": _steps(plan.key, config),
        "seeds": list(plan.seeds),
        "deviation_over": "folds" if plan.folds else "seeds",
        "curves": list(curves),
    }
    return {**content, "crossings": crossings(content, partial(_paired, task))}


def _paired(task: Task, one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of the metric of a point minus that of another; None where their predictions are not of the same
    utterances."""
    first, second = ([_predicted(task, seed["folder"]) for seed in point["seeds"]] for point in (one, other))
    if any(lacking(first[0], run) for run in (*first, *second)):
        return None
    interval = sureness(difference(mean_of(first), mean_of(second))).interval
    return None if interval is None else (interval.low, interval.high)


def _predicted(task: Task, folder: str | Mapping[str, str]) -> Predicted:
    """The test predictions of a seed, of all its folds where there are some."""
    folders = [folder] if isinstance(folder, str) else folder.values()
    return Predicted.read(task, [predictions_of(Path(one), "test") for one in folders])


def _steps(key: str, config: DownstreamConfig) -> str:
    """How long the values train, in words."""
    if config.probe.solver == "exact":
        return "none: the optimum is computed (probe.solver=exact)"
    if key in ("trainer.steps", "trainer.epochs"):
        return "as the value says"
    trainer = config.trainer
    if trainer.epochs is not None:
        return (
            f"trainer.epochs={trainer.epochs}: the same passes for all values, and so fewer steps of fewer utterances"
        )
    return f"trainer.steps={trainer.steps}: the same for all values"


def _axis(key: str, values: Sequence[Any], curves: Sequence[Mapping[str, Any]]) -> str:
    """What lies along the axis: hours, numbers, or categories in their order."""
    if key == FRACTION and all(point["hours"] for curve in curves for point in curve["points"]):
        return "hours"
    number = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )
    return "number" if number and key != LAYER else "category"
