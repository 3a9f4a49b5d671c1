"""Several settings and seeds of one run: dev chooses a setting for each seed, test is read for the chosen ones."""

import itertools
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from downstream.config import DownstreamConfig
from downstream.experiment import Experiment, Setting
from downstream.report import write_json, write_report
from utility.config import leaf_path


@dataclass(frozen=True)
class Choice:
    """One setting of a sweep: what it is called, and the config that it makes."""

    name: str
    config: DownstreamConfig


def parse_sweep(words: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations of words like `lr=1e-3,4e-3`, as overrides `section.key=value`; no words give one, empty."""
    axes = []
    for word in words:
        key, equals, values = word.partition("=")
        found = [value for value in values.split(",") if value]
        if not equals or not found:
            raise ValueError(f"--sweep {word!r}: expected key=value,value,... as in lr=1e-3,4e-3")
        path = leaf_path(DownstreamConfig, key)
        axes.append([f"{path}={value}" for value in found])
    paths = [axis[0].partition("=")[0] for axis in axes]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"--sweep names {path} twice")
    return list(itertools.product(*axes))


def choice_name(overrides: Sequence[str]) -> str:
    """A setting's name in tables and as a folder: `lr=1e-3,layer=2`."""
    return ",".join(word.partition("=")[0].rpartition(".")[2] + "=" + word.partition("=")[2] for word in overrides)


def run_single(setting: Setting, directory: Path) -> dict[str, Any] | None:
    """Train one setting and score it on test; what a finished run has reported is only read.

    Of several processes the first scores and reports, the others give None."""
    experiment = Experiment(setting, directory)
    found = _reported(experiment)
    if found is not None and found["test_accuracy"] is not None:
        return found
    _warn(experiment)
    experiment.train()
    return _finish(experiment) if setting.group.leads else None


def run_many(setting: Setting, choices: Sequence[Choice], seeds: Sequence[int], directory: Path) -> dict[str, Any]:
    """Train every choice with every seed; for each seed test is read for the choice that dev likes best.

    Writes summary.json: for each seed all that was tried, and mean and standard deviation over the seeds."""
    for number, choice in enumerate(choices):  # what can be refused is refused before anything is trained
        experiment = Experiment(replace(setting, config=choice.config, seed=seeds[0]), directory)
        if number == 0:
            _warn(experiment)
    rows = [_run_seed(setting, choices, seed, directory / f"seed_{seed}") for seed in seeds]
    tests = [row["test_accuracy"] for row in rows]
    devs = [row["dev_accuracy"] for row in rows]
    content = {
        "task": setting.task.name,
        "metric": setting.task.metric,
        "upstream": setting.upstream,
        "selection": "for each seed the setting with the best dev accuracy; test read once per seed, after the choice",
        "runs": len(rows),
        "test_mean": statistics.fmean(tests),
        "test_deviation": statistics.stdev(tests) if len(tests) > 1 else None,
        "dev_mean": statistics.fmean(devs),
        "dev_deviation": statistics.stdev(devs) if len(devs) > 1 else None,
        "seeds": rows,
    }
    write_json(directory / "summary.json", content)
    return content


def _run_seed(setting: Setting, choices: Sequence[Choice], seed: int, directory: Path) -> dict[str, Any]:
    tried = []
    for choice in choices:
        experiment = Experiment(replace(setting, config=choice.config, seed=seed), _place(directory, choice))
        found = _reported(experiment)
        if found is None:
            experiment.train()
            found = write_report(experiment, experiment.load_best(), None)
        tried.append(found)
    best = min(range(len(tried)), key=lambda i: tried[i]["criterion"])
    chosen = tried[best]
    if chosen["test_accuracy"] is None:
        choice = choices[best]
        chosen = _finish(Experiment(replace(setting, config=choice.config, seed=seed), _place(directory, choice)))
    return {
        "seed": seed,
        "chosen": choices[best].name,
        "folder": str(_place(directory, choices[best])),
        "dev_accuracy": chosen["dev_accuracy"],
        "test_accuracy": chosen["test_accuracy"],
        "layer_weights": chosen["layer_weights"],
        "tried": {choice.name: found["dev_accuracy"] for choice, found in zip(choices, tried)},
    }


def _place(directory: Path, choice: Choice) -> Path:
    return directory / choice.name.replace("/", "-") if choice.name else directory


def _reported(experiment: Experiment) -> dict[str, Any] | None:
    path = experiment.directory / "result.json"
    if not path.is_file():
        return None
    experiment.check_same()
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path}: damaged, no JSON: remove it, and it is written again") from None


def _warn(experiment: Experiment) -> None:
    if experiment.warning():
        print(f"warning: {experiment.warning()}", file=sys.stderr)


def _finish(experiment: Experiment) -> dict[str, Any]:
    dev = experiment.load_best()
    return write_report(experiment, dev, experiment.test.score(experiment.probe, experiment.setting.device))
