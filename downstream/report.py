"""What a run leaves behind: result.json, the confusion matrix and the curves."""

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from downstream.experiment import Experiment
from downstream.figures import confusion_figure, curves_figure
from downstream.probe import Result
from utility.config import as_dict
from utility.files import replacing
from utility.logging import read_metrics
from utility.plot import save_figure

LIBRARIES = ("torch", "numpy", "pandas", "matplotlib")


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
