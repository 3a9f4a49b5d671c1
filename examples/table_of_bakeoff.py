"""Print the tables of examples/bakeoff.sh in Markdown: what pre-training took, and what each model knows.

Reads RESULT_DIRECTORY/seedN/result_UPSTREAM_TASK/DATA-SYSTEM, the times and logs of pre-training, and the layer
analyses below it. A score is the mean over seeds of pre-training; its 95 % interval is over speakers, as that of the
paired differences, so it holds neither the chance of seeds nor of other corpora. `*` marks a difference whose interval
has no 0. Seeds that only some systems have are said."""

import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from downstream.comparison import FinishedRun
from downstream.intervals import Predicted, difference, lacking, sureness
from downstream.tasks.base import Task
from downstream.tasks.table import TASKS
from examples.table import as_table
from utility.command import only_argument
from utility.runs import in_brackets, read_json
from utility.training.log import read_metrics

RACE, HALF = "libri", "libri_half"  # data of the probes of phones: of whole and of half budgets
PHONES = "phone_linear"
BESIDE = ("Mockingjay", "filterbank")  # what the others are compared with
CONTROLS = ("random", "filterbank")
ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Score:
    """One system in one task: its runs of all seeds together."""

    system: str
    task: Task
    predicted: Predicted
    dev: float
    layers: tuple[str, ...]  # that dev chose, of any seed
    seeds: int

    @property
    def gain(self) -> float:
        """What is better is higher."""
        return self.predicted.value if self.task.metric.better == "higher" else -self.predicted.value


def scores_of(directory: Path) -> dict[tuple[str, str], list[Score]]:
    """Finished probes by task and data, each system's seeds of pre-training together, the best first."""
    found: dict[tuple[str, str], dict[str, list[FinishedRun]]] = {}
    for folder in sorted(directory.glob("seed*/result_*/*-*")):
        task = max((name for name in TASKS if folder.parent.name.endswith(f"_{name}")), key=len, default=None)
        data, _, system = folder.name.partition("-")
        if task is not None and (run := _read(folder)) is not None:
            found.setdefault((task, data), {}).setdefault(system, []).append(run)
    return {
        key: sorted((_score(system, runs) for system, runs in systems.items()), key=lambda one: -one.gain)
        for key, systems in sorted(found.items())
    }


def _read(folder: Path) -> FinishedRun | None:
    """A run, None where it has not finished."""
    try:
        return FinishedRun.read(folder)
    except ValueError:
        return None


def _score(system: str, runs: Sequence[FinishedRun]) -> Score:
    whole = FinishedRun(system, runs[0].result, [seed for run in runs for seed in run.seeds])
    results = [read_json(seed[0] / "result.json") for seed in whole.seeds]
    task = whole.task()
    layers = ["sum" if one.get("layer_weights") else str(one.get("layer_label")) for one in results]
    return Score(
        system,
        task,
        whole.predicted(task),
        statistics.fmean(one["dev_value"] for one in results),
        tuple(dict.fromkeys(layers)),
        len(whole.seeds),
    )


def with_interval(predicted: Predicted, limits: tuple[float, float] | None = None) -> str:
    """A score with its interval."""
    sure = sureness(predicted) if limits is None else sureness(predicted, limits)
    return f"{predicted.value:.1f}" + in_brackets(sure.about()["interval"], 1)


def minus(one: Predicted, other: Predicted) -> str:
    """A paired difference with its interval."""
    if lacking(one, other) is not None:
        return "other utterances"
    apart = difference(one, other)
    sure = sureness(apart)
    mark = "" if sure.interval is None or sure.interval.covers(0.0) else "*"
    return f"{apart.value:+.1f}" + in_brackets(sure.about()["interval"], 1) + mark


def probe_table(scores: Sequence[Score]) -> str:
    """One task: a row for each system."""
    named = {one.system: one for one in scores}
    beside = [name for name in BESIDE if name in named]
    metric = scores[0].task.metric
    header = ["system", f"{metric.name} ({metric.unit}) {ARROWS[metric.better]}"]
    rows = [[*header, *(f"minus {name}" for name in beside), "layer by dev", "seeds"]]
    for one in scores:
        differences = ["" if one.system == name else minus(one.predicted, named[name].predicted) for name in beside]
        score = with_interval(one.predicted, metric.limits)
        rows.append([one.system, score, *differences, ", ".join(one.layers), str(one.seeds)])
    return as_table(rows)


def pretraining_table(directory: Path) -> str:
    """What each run of pre-training took."""
    rows = [["model", "seed", "updates", "frames/s", "seconds"]]
    for file in sorted(directory.glob("times/*.txt")):
        name, _, seed = file.stem.rpartition("_s")
        log = directory / "logs" / file.stem
        records = read_metrics(log) if (log / "metrics.jsonl").exists() else []
        if not records:  # it has not logged yet, or has begun again
            continue
        speeds = [record["frames_per_s"] for record in records if "frames_per_s" in record]
        speed = f"{statistics.harmonic_mean(speeds):.0f}" if speeds else "-"
        rows.append([name, seed, f"{records[-1]['step']:.0f}", speed, _seconds(file)])
    return as_table(rows)


def _seconds(file: Path) -> str:
    """From the last start to its end, with loading, looks at dev and checkpoints; more where it was started again."""
    marks = [line.split() for line in file.read_text().splitlines()]
    starts = sum(word == "start" for word, _ in marks)
    if len(marks) < 2 or marks[-1][0] != "end":
        return "-"
    return f"{'' if starts == 1 else 'over '}{int(marks[-1][1]) - int(marks[-2][1])}"


def halves(scores: Mapping[tuple[str, str], Sequence[Score]]) -> Iterator[str]:
    """Half and whole budgets on phones, and whether the first three changed."""
    whole = {one.system: one for one in scores.get((PHONES, RACE), ()) if one.system not in CONTROLS}
    half = {one.system: one for one in scores.get((PHONES, HALF), ()) if one.system in whole}
    if not half:
        return
    rows = [["system", "half", "whole", "whole minus half"]]
    for name, one in whole.items():
        if name in half:
            cells = [with_interval(score.predicted, one.task.metric.limits) for score in (half[name], one)]
            rows.append([name, *cells, minus(one.predicted, half[name].predicted)])
    yield as_table(rows)
    first, last = list(half)[:3], [name for name in whole if name in half][:3]
    verdict = "the same" if first == last else "changed"
    yield f"The first three at half of the budget: {', '.join(first)}; at the whole: {', '.join(last)}: {verdict}."


def analyses(directory: Path) -> Iterator[str]:
    """Scores by layer, and of codes."""
    for file in sorted(directory.glob("result_analysis/*/result.json")):
        for name, experiment in json.loads(file.read_text(encoding="utf-8"))["experiments"].items():
            yield f"**{name}**, {experiment['measure']}"
            points = experiment["upstreams"]
            labels = list(dict.fromkeys(point["label"] for rows in points.values() for point in rows))
            codes = experiment.get("shown") == "rows"
            more = ["phone purity", "cluster purity", "codes in use", "chance"] if codes else []
            rows = [["system", *labels, *more]]
            for curve, own in points.items():
                said = {point["label"]: _point(point) for point in own}
                rows.append([curve, *(said.get(label, "") for label in labels), *(_units(own[-1]) if codes else ())])
            yield as_table(rows)


def _point(point: Mapping[str, Any]) -> str:
    interval = None if point["low"] is None else {"low": point["low"], "high": point["high"]}
    return f"{point['score']:.3f}" + in_brackets(interval, 3)


def _units(point: Mapping[str, Any]) -> list[str]:
    detail = point["detail"]
    purities = [f"{detail[key]:.3f}" for key in ("phone_purity", "cluster_purity")]
    return [*purities, f"{detail['codes_in_use']:.0f} of {detail['codes']:.0f}", f"{detail['floor']:.3f}"]


def report(directory: Path) -> str:
    """All tables."""
    scores = scores_of(directory)
    parts = ["**Pre-training**", pretraining_table(directory)]
    for (task, data), listed in scores.items():
        if data != HALF:
            parts += [f"**{task}, {data}**", probe_table(listed)]
    parts += ["**Half of the budget, phones**", *halves(scores), *analyses(directory)]
    race = [one for one in scores.get((PHONES, RACE), ()) if one.system not in CONTROLS]
    best = sorted(race, key=lambda one: -one.dev)[:3]
    return "\n\n".join([*parts, f"Best three by the phones of dev: {' '.join(one.system for one in best)}"])


if __name__ == "__main__":
    results = Path(only_argument("RESULT_DIRECTORY"))
    if not results.is_dir():
        print(f"table_of_bakeoff.py: {results}: no such folder", file=sys.stderr)
        raise SystemExit(2)
    print(report(results))
