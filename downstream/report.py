"""What a run leaves behind, and where: result.json, the confusion matrix and the curves."""

import json
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from downstream.experiment import Experiment
from downstream.figures import confusion_figure, curves_figure
from downstream.probe import Result
from utility.config import as_dict
from utility.files import check_folder, replacing
from utility.plot import save_figure
from utility.training.log import read_metrics

LIBRARIES = ("torch", "numpy", "pandas", "matplotlib")


def run_folder(expdir: Path, upstream: str, task: str, name: str | None, resume: str | None) -> Path:
    """The folder of a run: `name`, or the next free exp_NNN; `resume` is the folder of an old run, or empty for `name`.

    Raises ValueError for an old run without `resume`, and OSError where nothing can be written."""
    word = re.sub(r"[^\w.-]+", "-", upstream)
    base = expdir / f"result_{word}_{task}"
    if resume:
        folder = Path(resume)
    elif name:
        folder = base / name
    elif resume is not None:
        raise ValueError("--resume needs the run: --resume DIR, or --name NAME --resume")
    else:
        taken = {path.name for path in base.glob("exp_*")}
        folder = base / next(name for name in (f"exp_{i:03d}" for i in range(10**6)) if name not in taken)
    check_folder(folder)
    used = folder.is_dir() and any(folder.iterdir())
    if resume is not None and not used:
        raise ValueError(f"--resume: {folder} holds no run")
    if resume is None and used:
        raise ValueError(f"{folder} holds a run already: add --resume to go on with it, or choose another --name")
    return folder


def describe(result: dict[str, Any], folder: Path) -> str:
    """A run's scores in a line, and its layer weights in another if it has any."""
    scores = f"dev {result['dev_accuracy']:.2f} %, test {result['test_accuracy']:.2f} %"
    steps = f"best step {result['best_step']} of {result['steps']}"
    text = f"{result['task']} {result['upstream']}: {scores} ({steps}); {folder}/result.json"
    if result["layer_weights"]:
        text += "\nlayer weights 0..L: " + " ".join(f"{weight:.3f}" for weight in result["layer_weights"])
    return text


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write readable JSON; a reader sees the old file or the whole new one."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_report(experiment: Experiment, dev: Result, test: Result | None) -> dict[str, Any]:
    """Write result.json and the figures of a trained run; `test` is None where dev has not chosen it."""
    setting, corpus, directory = experiment.setting, experiment.corpus, experiment.directory
    state = experiment.state()
    content = {
        "task": setting.task.name,
        "about": setting.task.about,
        "metric": setting.task.metric,
        "upstream": setting.upstream,
        "dev_accuracy": dev.accuracy,
        "test_accuracy": test and test.accuracy,
        "criterion": dev.figures()["criterion"],
        "selection": "step (and setting, in a sweep) with the best dev accuracy; test read once, after the choice",
        "best_step": state["best_step"],
        "steps": state["step"],
        "scored": {"dev": dev.count, "test": test and test.count},
        "split": corpus.describe(),
        "label_fraction": setting.config.data.label_fraction,
        "classes": len(corpus.classes),
        "layer": None if setting.config.upstream.weighted_sum else experiment.layer,
        "layer_weights": experiment.layer_weights(),
        "fine_tune": setting.config.upstream.fine_tune,
        "parameters": {
            "trained": sum(p.numel() for p in experiment.probe.parameters()),
            "upstream": experiment.parameters,
        },
        "ckpt": setting.ckpt and str(setting.ckpt),
        "upstream_fingerprint": experiment.fingerprint,
        "store_fingerprint": corpus.store.fingerprint(),
        "features": corpus.store.info.features and as_dict(corpus.store.info.features),
        "seed": setting.seed,
        "config": as_dict(setting.config),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "seconds": round(time.perf_counter() - experiment.started, 1),
    }
    name = f"{setting.task.name}, {setting.upstream}"
    kept = f"dev {dev.accuracy:.1f} %" + (f", test {test.accuracy:.1f} %" if test else "")
    curves = curves_figure(read_metrics(directory), state["best_step"], setting.task.metric, f"{name}: {kept}")
    save_figure(curves, directory / "curves.png")
    if test is not None:
        unit = "frames" if setting.task.level == "frame" else "utterances"
        title = f"{name}: test {test.accuracy:.1f} % of {test.count} {unit}"
        save_figure(confusion_figure(test.confusions.numpy(), corpus.classes, title), directory / "confusion.png")
    write_json(directory / "result.json", content)
    return content
