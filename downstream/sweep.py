"""Several settings and seeds of one run: dev chooses a setting for each seed, test is read for the chosen ones."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from downstream.config import DecodeConfig, DownstreamConfig
from downstream.experiment import Experiment
from downstream.intervals import of_runs
from downstream.made_from import trained_by
from downstream.opened import Opened
from downstream.report import write_report
from downstream.setting import Setting
from downstream.tasks.base import Task
from utility.config import as_dict, leaf_path
from utility.results import read_result
from utility.runs import deviation, mean, with_unit, write_json
from utility.text import short


@dataclass(frozen=True)
class Choice:
    """One setting of a sweep: what it is called, the config that it makes, and the task for that; None: the run's."""

    name: str
    config: DownstreamConfig
    task: Task | None = None

    def of(self, setting: Setting) -> Setting:
        """A run's setting with what is chosen."""
        return replace(setting, config=self.config, task=self.task or setting.task)


def parse_sweep(words: Sequence[str], flag: str = "--sweep") -> list[tuple[str, ...]]:
    """All combinations of words like `lr=1e-3,4e-3`, as overrides `section.key=value`; no words give one, empty."""
    axes = []
    for word in words:
        key, equals, values = word.partition("=")
        listed = [value for value in values.split(",") if value]
        if not equals or not listed:
            raise ValueError(f"{flag} {short(word)}: expected key=value,value,... as in lr=1e-3,4e-3")
        path = leaf_path(DownstreamConfig, key)
        axes.append([f"{path}={value}" for value in listed])
    paths = [axis[0].partition("=")[0] for axis in axes]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"--sweep names {path} twice")
    return list(itertools.product(*axes))


def by_layer(setting: Setting, choices: Sequence[Choice], opened: Opened) -> list[Choice]:
    """The choices, of one that lists several hidden states without a sum (`--layer all`) one for each of them."""
    split = []
    for choice in choices:
        asked = choice.config.upstream
        if not asked.several or asked.weighted_sum:
            split.append(choice)
            continue
        upstream, _ = opened.upstream(replace(setting, config=choice.config))
        parts = list(range(len(upstream.layers))) if asked.layer == "all" else asked.parts
        for part in parts:
            config = replace(choice.config, upstream=replace(asked, layer=part))
            name = ",".join(filter(None, (choice.name, f"layer={part}")))
            split.append(replace(choice, name=name, config=config))
    for choice in split:
        if sum(other.name == choice.name for other in split) > 1:
            raise ValueError(f"--layer: {choice.name} is there twice")
    return split


def choice_name(overrides: Sequence[str]) -> str:
    """A setting's name in tables and as a folder: `lr=1e-3,layer=2`."""
    return ",".join(word.partition("=")[0].rpartition(".")[2] + "=" + word.partition("=")[2] for word in overrides)


def run_single(setting: Setting, directory: Path, opened: Opened | None = None) -> dict[str, Any] | None:
    """Train one setting and score it on test; what a finished run has reported is only read.

    Of several processes the first scores and reports, the others give None. A run with `opened` is one of several: who
    runs them warns."""
    experiment = Experiment(setting, directory, opened)
    result = _reported(experiment)
    if result is not None and result["value"] is not None:
        return result
    if opened is None:
        warn(experiment)
    experiment.train()
    return _finish(experiment) if setting.group.leads else None


def run_many(
    setting: Setting,
    choices: Sequence[Choice],
    seeds: Sequence[int],
    directory: Path,
    shared: Opened | None = None,
    warned: bool = True,
) -> dict[str, Any]:
    """Train every choice with every seed; for each seed test is read for the choice that dev likes best.

    Writes summary.json: for each seed all that was tried, and mean and standard deviation over the seeds. With what is
    `shared` these are of one fold of several, and who runs them has `warned`."""
    opened, read = shared or Opened(), set()
    for number, choice in enumerate(choices):  # what can be refused is refused before anything is trained
        experiment = Experiment(replace(choice.of(setting), seed=seeds[0]), directory, opened)
        if number == 0 and (shared is None or not warned):
            warn(experiment)
        if not choice.config.upstream.fine_tune and experiment.layers.number is not None:
            read.add(experiment.layers.number)
    if shared is None or not shared.together:  # else who shares it has looked further
        opened.together = tuple(sorted(read)) if len(read) > 1 else ()
    rows = [_run_seed(setting, choices, seed, directory / f"seed_{seed}", opened) for seed in seeds]
    tests, devs = ([row[key] for row in rows] for key in ("test_value", "dev_value"))
    metric = setting.task.metric
    warning = rate_warning(choices, [row["chosen"] for row in rows])
    if warning is not None:
        print(f"warning: {directory}: {warning}", file=sys.stderr)
    content = {
        "task": setting.task.name,
        "metric": metric.about(),
        "upstream": setting.upstream.label,
        "selection": f"for each seed the setting with the best dev {metric.name}; test read once per seed, after the "
        "choice",
        "runs": len(rows),
        "test_mean": mean(tests),
        "test_deviation": deviation(tests),
        "dev_mean": mean(devs),
        "dev_deviation": deviation(devs),
        "interval_of": "test_mean",
        **of_runs(setting.task, [[Path(row["folder"])] for row in rows])[1].about(),
        "warning": warning,
        "seeds": rows,
    }
    write_json(directory / "summary.json", content)
    return content


def run_rows(
    setting: Setting, choices: Sequence[Choice], seeds: Sequence[int], directory: Path, opened: Opened
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One of several parts of a run, a fold or a value of a curve: what it leaves, a result or a summary, and a row for
    each seed."""
    if len(seeds) > 1 or len(choices) > 1 or choices[0].name:
        content = run_many(setting, choices, seeds, directory, opened)
        return content, content["seeds"]
    result = run_single(replace(setting, seed=seeds[0]), directory, opened)
    assert result is not None, "one process runs several parts"
    dev, test, interval = result["dev_value"], result["value"], test_interval(result, setting.task, directory)
    row = {"seed": seeds[0], "chosen": "", "folder": str(directory), "dev_value": dev, "test_value": test}
    return result, [{**row, "test_interval": interval, "tried": {"": dev}}]


def rate_warning(choices: Sequence[Choice], chosen: Sequence[str]) -> str | None:
    """That the best rate may lie beyond those of a sweep, of which the `chosen` ones are named, one for each seed."""
    rates = {choice.name: choice.config.optimizer.lr for choice in choices}
    low, high = min(rates.values()), max(rates.values())
    if low == high:
        return None
    found = [rates[name] for name in chosen]
    ends = [("lowest", "lower", low, found.count(low)), ("highest", "higher", high, found.count(high))]
    said = [
        f"dev chose the {end} rate of the sweep, optimizer.lr={rate:g}, for {count} of {len(found)} seeds: {beyond} "
        "ones may do better"
        for end, beyond, rate, count in ends
        if count
    ]
    return "; ".join(said) or None


def _run_seed(
    setting: Setting, choices: Sequence[Choice], seed: int, directory: Path, opened: Opened
) -> dict[str, Any]:
    tried: list[dict[str, Any]] = []
    for number, choice in enumerate(choices):
        experiment = Experiment(replace(choice.of(setting), seed=seed), _folder(directory, choice), opened)
        result = _reported(experiment)
        if result is None:
            alike = [other for other in choices[:number] if trained_by(other.config) == trained_by(choice.config)]
            folders = [directory.parent, *(_folder(directory, other) for other in alike)]  # the run itself may be there
            any(experiment.take_over(folder) for folder in folders)
            experiment.train()
            result = write_report(experiment, experiment.load_best(), None)
            if len(choices) > 1 and not setting.quiet:
                dev = with_unit(result["dev_value"], result["metric"]["unit"])
                print(f"{choice.name}, {number + 1} of {len(choices)}: dev {dev}", file=sys.stderr, flush=True)
        tried.append(result)
    best = min(range(len(tried)), key=lambda i: tried[i]["selection_error"])
    chosen, choice = tried[best], choices[best]
    folder = _folder(directory, choice)
    if chosen["value"] is None:
        chosen = _finish(Experiment(replace(choice.of(setting), seed=seed), folder, opened))
    key = setting.task.metric.key
    return {
        "seed": seed,
        "chosen": choice.name,
        "folder": str(folder),
        "dev_value": chosen["dev_value"],
        "test_value": chosen["value"],
        f"dev_{key}": chosen["dev_value"],
        f"test_{key}": chosen["value"],
        "test_interval": test_interval(chosen, setting.task, folder),
        "layer_weights": chosen["layer_weights"],
        "tried": {choice.name: result["dev_value"] for choice, result in zip(choices, tried)},
        **({"solved": solved} if (solved := _solved(choices, tried)) else {}),
    }


def _solved(choices: Sequence[Choice], tried: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of settings that were solved for, by name, the layer and what the solver says in plain values."""
    return {
        choice.name: {"layer": result["layer_label"]}
        | {name: value for name, value in result["solver"].items() if isinstance(value, int | float)}
        for choice, result in zip(choices, tried)
        if result.get("solver")
    }


def test_interval(result: Mapping[str, Any], task: Task, folder: Path) -> dict[str, Any] | None:
    """That of a run's test score; of the result of an earlier version it is made here."""
    if "interval" in result:
        return result["interval"]
    return of_runs(task, [[folder]])[1].about()["interval"]


def _folder(directory: Path, choice: Choice) -> Path:
    return directory / choice.name.replace("/", "-") if choice.name else directory


def _reported(experiment: Experiment) -> dict[str, Any] | None:
    path = experiment.directory / "result.json"
    if not path.is_file():
        return None
    experiment.check_same()
    result = read_result(path)
    return result if _decoded(result) == as_dict(experiment.setting.config.decode) else None


def _decoded(result: Mapping[str, Any]) -> dict[str, Any]:
    """How outputs were decoded for a result; one of an earlier version does not say it."""
    config = result.get("config")
    decode = config.get("decode") if isinstance(config, Mapping) else None
    return as_dict(DecodeConfig()) | (dict(decode) if isinstance(decode, Mapping) else {})


def warn(experiment: Experiment) -> None:
    """Say what is likely to spoil the result."""
    for line in (experiment.warning() or "").splitlines():
        print(f"warning: {line}", file=sys.stderr)


def _finish(experiment: Experiment) -> dict[str, Any]:
    dev = experiment.load_best()
    return write_report(experiment, dev, experiment.score_test())
