"""What a run leaves behind, and where: result.json, the confusion matrix and the curves."""

import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from downstream.examples import Frames
from downstream.experiment import Experiment
from downstream.figures import curves_figure
from downstream.intervals import Predicted, Sureness, stated, sureness
from downstream.labels.base import Labels
from downstream.metrics.base import TIE, Score, selection_error
from downstream.setting import EventFolders
from downstream.tasks.base import Task
from utility.config import as_dict
from utility.files import check_folder
from utility.locks import folder_below
from utility.plot import save_figure
from utility.predictions import predictions_of
from utility.runs import Metric, Origin, defined, header, with_interval, with_unit, write_json
from utility.training.events import PREFIX, Board
from utility.training.log import read_metrics

UNREAD = "the test part is unread"


def run_folder(expdir: Path, upstream: str, task: str, name: str | None, resume: str | None) -> Path:
    """The folder of a probing run; see `folder_below`."""
    return folder_below(expdir / _folder_of_runs(upstream, task), name, resume)


def event_folders(logdir: Path, folder: Path, upstream: str, task: str) -> EventFolders:
    """Where TensorBoard's files of the run in `folder` go: below `logdir` to its path below --expdir, wherever that is.

    Raises OSError where nothing can be written."""
    runs, parts = _folder_of_runs(upstream, task), Path(os.path.abspath(folder)).parts
    below = parts[len(parts) - parts[::-1].index(runs) :] if runs in parts else parts[-1:]
    events = Path(logdir, runs, *below)
    check_folder(events)
    return EventFolders(folder, events)


def _folder_of_runs(upstream: str, task: str) -> str:
    """The folder of all runs of a task with an upstream."""
    return f"result_{folder_word(upstream)}_{task}"


def folder_word(name: str) -> str:
    """A name as a part of a folder's."""
    return re.sub(r"[^\w.-]+", "-", name)


def describe_result(result: Mapping[str, Any], folder: Path) -> str:
    """A run's scores in a line, and its layer weights in another if it has any."""
    unit = result["metric"]["unit"]
    dev = with_interval(result["dev_value"], result.get("dev_interval"), unit)
    scores = f"dev {dev}, test {with_interval(result['value'], result.get('interval'), unit)}"
    solved = (result.get("solver") or {}).get("in_words")
    steps = solved or f"best step {result['best_step']} of {result['steps']}"
    text = f"{result['task']} {result['upstream']}: {scores} ({steps}); {folder}/result.json"
    text += "".join(f"\n{line}" for line in (stated(result), result.get("warning")) if line)
    if result.get("tuned_upstream"):
        text += f"\nthe tuned upstream: --upstream {result['tuned_upstream']}"
    if result["layer_weights"]:
        names = f"{result['layers'][0]} to {result['layers'][-1]}" if result.get("layers") else "0..L"
        text += f"\nlayer weights {names}: " + " ".join(f"{weight:.3f}" for weight in result["layer_weights"])
    return text


def write_report(experiment: Experiment, dev: Score, test: Score | None) -> dict[str, Any]:
    """Write result.json and the figures of a trained run, and the upstream if it was tuned.

    `test` is None where dev has not chosen it."""
    setting, directory, metric = experiment.setting, experiment.directory, experiment.setting.task.metric
    best_step = experiment.state()["best_step"]
    tuned = None if test is None else experiment.write_tuned()
    content = _content(experiment, dev, test) | {"tuned_upstream": tuned and str(tuned)}
    name, unit = f"{setting.task.name}, {setting.upstream.label}", metric.unit
    kept = f"dev {with_interval(content['dev_value'], content['dev_interval'], unit, 1)}"
    if test is not None:
        kept += f", test {with_interval(content['value'], content['interval'], unit, 1)}"
    records, loss = read_metrics(directory), setting.task.loss_label
    sure = stated(content).split(",")[0]  # in a line below: how it was made, without the details
    save_figure(curves_figure(records, best_step, metric, loss, f"{name}: {kept}\n{sure}"), directory / "curves.png")
    if test is not None:
        value = with_interval(content["value"], content["interval"], unit, 1)
        title = f"{name}: test {value} of {test.count} {setting.task.item}s\n{sure}"
        for file, figure in setting.task.figures(test, experiment.corpus.labels, title).items():
            save_figure(figure, directory / f"{file}.png")
        _show(experiment, content)
    write_json(directory / "result.json", content)
    return content


def _show(experiment: Experiment, content: Mapping[str, Any]) -> None:
    """Add the scores of the chosen weights, and the run's pictures, to what TensorBoard shows of their training.

    Of a head that was solved for, and so has no steps, they stand at the pass that gave it."""
    events = experiment.setting.event_folder(experiment.directory)
    known = events is not None and any(events.glob(f"{PREFIX}.*"))  # by whoever trained it
    texts = {} if known else experiment.setting.texts(experiment.directory)
    board, step = Board(events, texts=texts, goes_on="result.json has the figures"), content["best_step"]
    for part, figures in content["figures"].items():
        board.scalars(step, {f"{part}_{key}": value for key, value in figures.items() if value is not None}, "result")
    for path in sorted(experiment.directory.glob("*.png")):
        board.picture(step, path.stem, path.read_bytes(), "result")


def _sureness(experiment: Experiment, part: str) -> Sureness:
    """Of the score of a part whose predictions were just written."""
    task = experiment.setting.task
    return sureness(Predicted.read(task, [predictions_of(experiment.directory, part)]), task.metric.limits)


def _controls(task: Task, test: Score | None, labels: Labels) -> dict[str, Any]:
    """What the metric of the test part is without a look at the states, or why nobody says."""
    if test is None:
        return {"controls": None, "no_controls": UNREAD}
    controls = {name: asdict(control) for name, control in task.controls(test, labels).items()}
    reason = None if controls else f"{task.name} has no score of a blind guess"
    return {"controls": controls or None, "no_controls": reason}


def _warning(metric: Metric, value: float, controls: Mapping[str, Any] | None) -> str | None:
    """Of a test score for which nobody has to look at the states."""
    blind = (controls or {}).get("majority")
    if blind is None or metric.error(value) < metric.error(blind["value"]):
        return None
    always = "" if blind["answer"] is None else f" (always {blind['answer']})"
    line = f"the test score is no better than {with_unit(blind['value'], metric.unit)} of one answer for everything"
    return f"warning: {line}{always}"


def _content(experiment: Experiment, dev: Score, test: Score | None) -> dict[str, Any]:
    setting, corpus, state = experiment.setting, experiment.corpus, experiment.state()
    metric, tuned = setting.task.metric, setting.config.upstream
    figures = {"dev": _defined(dev), "test": None if test is None else _defined(test)}
    values = {part: None if named is None else named[metric.key] for part, named in figures.items()}
    spec, layers = setting.upstream, experiment.layers
    upstream: dict[str, Any] = {"name": spec.label, "spec": str(spec), "step": experiment.upstream.step}
    upstream |= {"checkpoint": spec.source or None}
    upstream |= {"assumed": dict(setting.assume)} if setting.assume else {}
    origins = {
        "upstream": Origin(experiment.fingerprint, upstream),
        "store": Origin(experiment.source(), {"splits": corpus.store.names}),
    }
    if (rows := corpus.utterances.rows) is not None:
        origins["labels"] = Origin(rows.digest, {"table": rows.file, "columns": [*rows.values]})
    interval = (Sureness(None, UNREAD) if test is None else _sureness(experiment, "test")).about()
    controls = _controls(setting.task, test, corpus.labels)
    head = header(
        kind="probe",
        task=setting.task.name,
        upstream=spec.label,
        metric=metric,
        value=values["test"],
        dev_value=values["dev"],
        division=corpus.describe(),
        config=as_dict(setting.config),
        seed=setting.seed,
        origins=origins,
        command=setting.command(experiment.directory),
        interval=interval["interval"],
        controls=controls["controls"],
    )
    sign = f"{metric.best:g} - dev {metric}" if metric.better == "higher" else f"dev {metric}"
    return {
        **head,
        "about": setting.task.about,
        **interval,
        **_sureness(experiment, "dev").about("dev_interval"),
        **controls,
        "warning": None if test is None else _warning(metric, test.figures()[metric.key], controls["controls"]),
        **{f"{part}_{metric.key}": value for part, value in values.items()},
        "selection_error": selection_error(metric, dev.figures()),
        "selection": f"step (and setting, in a sweep) with the lowest selection_error, {sign} + {TIE:g} * dev loss; "
        "test read once, after the choice",
        "figures": figures,
        "best_step": state["best_step"],
        "steps": state["step"],
        "scored": {"item": setting.task.item, "dev": dev.count, "test": test and test.count},
        "label_fraction": setting.config.data.label_fraction,
        **setting.task.facts(corpus.labels),
        "layer": layers.number,
        "layer_label": layers.label,
        "layers": list(layers.labels),
        "layer_weights": experiment.layer_weights(),
        "fine_tune": tuned.fine_tune,
        "solver": experiment.solved(),
        "parameters": {
            "trained": sum(p.numel() for p in experiment.probe.parameters() if p.requires_grad),
            "upstream": experiment.parameters,
        },
        "cost": _cost(experiment),
        "features": corpus.store.info.features and as_dict(corpus.store.info.features),
        "seconds": round(time.perf_counter() - experiment.started, 1),
    }


def _defined(score: Score) -> dict[str, float | None]:
    """The figures of a score; None for what is not defined of it, as the correlation with a constant."""
    return {name: defined(value) for name, value in score.figures().items()}


def _cost(experiment: Experiment) -> dict[str, Any]:
    """What a run took: seconds are null of what was there already, or was trained in several sittings."""
    frames = experiment.frames
    stored = frames.stores if isinstance(frames, Frames) else []
    sizes = [np.dtype(store.info.dtype).itemsize * math.prod(store.info.row_shape) for store in stored]
    return {
        "states_seconds": experiment.seconds["states"],
        "training_seconds": experiment.seconds["training"],
        "frames": int(frames.lengths.sum()),
        "states_bytes": sum(int(store.lengths.sum()) * size for store, size in zip(stored, sizes)),
    }
