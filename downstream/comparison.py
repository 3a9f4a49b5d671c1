"""Finished runs beside each other: their scores, and paired differences on the same utterances with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.config import DownstreamConfig
from downstream.intervals import Predicted, Sureness, difference, lacking, mean_of, sureness
from downstream.tasks.base import Task
from downstream.tasks.table import find_task
from utility.config import as_dict, build, differences
from utility.predictions import predictions_of
from utility.results import RESULT, SUMMARY, read_result, summary_folders
from utility.text import short


@dataclass(frozen=True)
class FinishedRun:
    """What a folder holds: the result of its first seed and fold, and the folders of all, of each seed those of its
    folds."""

    name: str
    result: Mapping[str, Any]
    seeds: Sequence[Sequence[Path]]

    @classmethod
    def read(cls, path: Path) -> "FinishedRun":
        """The run in a folder that run_downstream.py wrote, or of a file in it; ValueError where none has finished."""
        folder = path if path.is_dir() else path.parent
        wanted = None if path.is_dir() else path.name
        if wanted not in (None, RESULT, SUMMARY, predictions_of(folder, "test").name) or not folder.is_dir():
            raise ValueError(f"--compare {path}: no such run: name a folder that run_downstream.py wrote")
        if wanted in (None, SUMMARY) and (folder / SUMMARY).is_file():
            seeds = summary_folders(folder / SUMMARY)
        elif (folder / RESULT).is_file():
            seeds = [[folder]]
        else:
            raise ValueError(
                f"--compare {path}: no {RESULT} or {SUMMARY} there: the run has not finished, or is no run"
            )
        if any(read_result(one / RESULT)["value"] is None for folds in seeds for one in folds):
            raise ValueError(
                f"--compare {path}: its test part is unread, dev chose another setting: name the whole sweep"
            )
        result = read_result(seeds[0][0] / RESULT)
        for one in (one for folds in seeds for one in folds):
            if not predictions_of(one, "test").is_file():
                file = predictions_of(one, "test")
                raise ValueError(f"--compare {path}: {file} is not there: run it again, under another --name")
        return cls(str(path), result, seeds)

    def task(self) -> Task:
        """Its task, made for its config."""
        config = self.result.get("config")
        if not isinstance(config, Mapping):
            raise ValueError(f"--compare {self.name}: of a version that kept no config: run it again")
        try:
            return find_task(self.result["task"], build(DownstreamConfig, config))
        except ValueError as error:
            raise ValueError(f"--compare {self.name}: {error}") from None

    def predicted(self, task: Task) -> Predicted:
        """The mean over its seeds of what was predicted in all folds; ValueError where the seeds do not go together."""
        runs = [Predicted.read(task, [predictions_of(folder, "test") for folder in folds]) for folds in self.seeds]
        for run in runs[1:]:
            if (key := lacking(runs[0], run)) is not None:
                raise ValueError(
                    f"--compare {self.name}: its seeds have other test parts, {short(key)} is not in all: name one seed"
                )
        return mean_of(runs)

    def settings(self) -> dict[str, Any]:
        """What a run was asked for, of the first seed and fold: what may differ between two runs."""
        upstream = self.result.get("fingerprints", {}).get("upstream", {})
        about = {"upstream": upstream.get("spec", self.result["upstream"]), "checkpoint step": upstream.get("step")}
        config = as_dict(build(DownstreamConfig, self.result["config"]))
        about |= {"seed": self.result.get("seed"), "seeds": len(self.seeds)}
        return {**about, "folds": len(self.seeds[0]), "config": config}


@dataclass(frozen=True)
class Beside:
    """A run beside the first: its score, and its score minus that of the first; of the first itself that is None."""

    run: FinishedRun
    value: float
    sure: Sureness
    minus_first: float | None = None
    difference: Sureness | None = None
    changed: tuple[str, ...] = ()
    other_answers: tuple[str, ...] = ()  # utterances whose true answer is another than in the first

    @property
    def clear(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        interval = self.difference and self.difference.interval
        return bool(interval and not interval.covers(0.0))


def compare_runs(paths: Sequence[Path]) -> tuple[Task, Predicted, list[Beside]]:
    """Their task, what the first predicted, and all runs; ValueError for other tasks, and other test parts."""
    if len(paths) < 2:
        raise ValueError(f"--compare {paths[0]}: expected two runs or more")
    runs = [FinishedRun.read(path) for path in paths]
    for number, run in enumerate(runs):
        if any(run.seeds == other.seeds for other in runs[:number]):
            raise ValueError(f"--compare names {run.name} twice")
    first, task = runs[0], runs[0].task()
    for run in runs[1:]:
        for key in ("task", "metric"):
            was, now = (_named(one.result[key]) for one in (first, run))
            if was != now:
                raise ValueError(f"--compare: {first.name} has the {key} {was}, {run.name} {now}")
    predicted = first.predicted(task)
    beside = [Beside(first, predicted.value, sureness(predicted, task.metric.limits))]
    return task, predicted, [*beside, *(_beside(task, first, predicted, run) for run in runs[1:])]


def _named(value: Any) -> str:
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else short(value)


def _beside(task: Task, first: FinishedRun, predicted: Predicted, run: FinishedRun) -> Beside:
    run.task()  # says what its config lacks
    own = run.predicted(task)
    if (key := lacking(predicted, own)) is not None:
        has, lacks = (first, run) if key in predicted.answers else (run, first)
        shared = len(predicted.answers.keys() & own.answers.keys())
        raise ValueError(
            f"--compare: {lacks.name} was not scored on {short(key)}, which {has.name} was; they share {shared} of "
            f"{len(predicted.answers)} and {len(own.answers)} rows: compare runs with the same test part"
        )
    minus = difference(own, predicted)
    return Beside(
        run,
        own.value,
        sureness(own, task.metric.limits),
        minus.value,
        sureness(minus),
        tuple(f"{key} {short(was)} -> {short(now)}" for key, was, now in differences(first.settings(), run.settings())),
        tuple(key for key, answer in predicted.answers.items() if own.answers[key] != answer),
    )
