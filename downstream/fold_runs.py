"""One run for each fold: every group is the test part once; mean and spread over the folds, and the pooled score."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from downstream.experiment import Experiment
from downstream.intervals import of_runs
from downstream.layers import ProbedLayers
from downstream.opened import Opened
from downstream.setting import Setting
from downstream.sweep import Choice, run_rows, warn
from downstream.tasks.base import Task
from utility.results import read_result
from utility.runs import deviation, mean, write_json
from utility.seeds import text_seed
from utility.text import short


def fold_settings(setting: Setting, opened: Opened) -> dict[str, Setting]:
    """The setting of each fold by its name; ValueError for a config that says a fold, or where there are none."""
    if setting.config.data.fold is not None:
        raise ValueError(f"data.fold={setting.config.data.fold} is one fold, --folds runs all: leave one of them out")
    upstream, sources = opened.upstream(setting)
    layers = ProbedLayers.of(setting.config.upstream, upstream, short(str(setting.upstream)))
    framed = opened.utterances(upstream, sources, layers.labels[0])
    names = opened.folds(setting.task, setting.config.data, sources, framed)
    return {name: replace(setting, config=of_fold(Choice("", setting.config), name).config) for name in names}


def of_fold(choice: Choice, fold: str) -> Choice:
    """A choice of a sweep for one fold."""
    return replace(choice, config=replace(choice.config, data=replace(choice.config.data, fold=fold)))


def fold_folders(names: Sequence[str], directory: Path) -> dict[str, Path]:
    """Where each fold's run is; a name that is no name of a folder, or is like another's, is told by a number."""
    words = {name: re.sub(r"[^\w.-]+", "-", name)[:80] for name in names}
    alike = [word.lower() for word in words.values()]
    plain = {name: word == name and alike.count(word.lower()) == 1 for name, word in words.items()}
    return {
        name: directory / (f"fold_{word}" if plain[name] else f"fold_{word}_{text_seed(name):08x}")
        for name, word in words.items()
    }


def run_folds(
    setting: Setting,
    choices: Sequence[Choice],
    seeds: Sequence[int],
    directory: Path,
    shared: Opened | None = None,
    warned: bool = True,
) -> dict[str, Any]:
    """Train and score every fold, each with every seed, whose choices dev decides between.

    A fold is a folder with what a single run leaves, or with what `run_many` leaves. What a finished run has reported
    is only read. Writes summary.json: the folds, mean and deviation over them, and the score of all together. With what
    is `shared` these are of one value of several, and who runs them has `warned`."""
    opened = shared or Opened()
    settings = fold_settings(setting, opened)
    folders = fold_folders(list(settings), directory)
    warned = shared is not None and warned
    for name, folder in folders.items():  # what can be refused is refused before anything is trained
        for choice in choices:
            checked = replace(of_fold(choice, name).of(setting), seed=seeds[0])
            experiment = _named(name, checked, folder, opened)
            if not warned:
                warn(experiment)
            warned = True
    folds = []
    for name, folder in folders.items():
        _, rows = run_rows(settings[name], [of_fold(choice, name) for choice in choices], seeds, folder, opened)
        folds.append(_fold(name, folder, rows, setting.task))
    content = _summary(setting, folds, len(seeds))
    write_json(directory / "summary.json", content)
    return content


def _named(name: str, setting: Setting, folder: Path, opened: Opened) -> Experiment:
    """The experiment of a fold; what is refused names the fold."""
    try:
        return Experiment(setting, folder, opened)
    except ValueError as error:
        raise ValueError(f"fold {short(name)}: {error}") from None


def _fold(name: str, folder: Path, rows: Sequence[Mapping[str, Any]], task: Task) -> dict[str, Any]:
    scored = [read_result(Path(row["folder"]) / "result.json").get("scored", {}).get("test") for row in rows]
    tests = [row["test_value"] for row in rows]
    return {
        "fold": name,
        "folder": str(folder),
        "dev_value": mean(row["dev_value"] for row in rows),
        "test_value": mean(tests),
        "test_deviation": deviation(tests),
        "test_interval": rows[0]["test_interval"]
        if len(rows) == 1
        else of_runs(task, [[Path(row["folder"])] for row in rows])[1].about()["interval"],
        "scored": scored[0],
        "seeds": [*rows],
    }


def _summary(setting: Setting, folds: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """Mean and sample deviation are over the folds, of which each is the mean over its seeds."""
    metric = setting.task.metric
    devs, tests = ([fold[key] for fold in folds] for key in ("dev_value", "test_value"))
    return {
        "task": setting.task.name,
        "metric": metric.about(),
        "upstream": setting.upstream.label,
        "selection": f"each {setting.config.data.group_column or 'speaker'} is the test part once; in each fold dev "
        f"{metric.name} chooses step and setting, and test is read once per seed, after the choice",
        "runs": len(folds) * seeds,
        "test_mean": mean(tests),
        "test_deviation": deviation(tests),
        "dev_mean": mean(devs),
        "dev_deviation": deviation(devs),
        **_pooled(setting.task, folds),
        "folds": [*folds],
    }


def _pooled(task: Task, folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The score of all test predictions together, the mean over the seeds, and its interval; None where one is gone."""
    by_seed = zip(*(fold["seeds"] for fold in folds), strict=True)
    value, sure = of_runs(task, [[Path(row["folder"]) for row in rows] for rows in by_seed])
    return {"pooled": value, "interval_of": "pooled", **sure.about()}
