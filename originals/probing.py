"""A probe of the originals' flags, opened and scored on its test set again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from downstream.experiment import KIND, Experiment
from downstream.made_from import plain_part
from utility.runs import defined, with_unit
from utility.text import short
from utility.training.checkpoint import load_checkpoint, load_weights


def open_probe(path: Path, task: str) -> dict[str, Any]:
    """The checkpoint of a probe for `task`; ValueError for another one."""
    saved = load_checkpoint(path, KIND)
    about = plain_part(saved, "about", path)
    if about.get("task") != task:
        raise ValueError(f"--dckpt {path} is a probe for {short(about.get('task'))}, not {task!r}")
    seed = about.get("seed")
    if not isinstance(about.get("config"), dict) or type(seed) is not int or not 0 <= seed < 1 << 63:
        raise ValueError(f"--dckpt {path}: damaged: it does not say of which config and seed it is")
    return saved


def score_again(experiment: Experiment, saved: Mapping[str, Any], path: Path) -> str:
    """The score of the probe `saved` in `path`, in a line; ValueError where it was trained on another upstream."""
    setting, task = experiment.setting, experiment.setting.task
    if experiment.fingerprint != saved["about"].get("upstream"):
        raise ValueError(f"--dckpt {path} was trained on another upstream than {short(str(setting.upstream))}")
    load_weights(experiment.probe, saved.get("model", {}), path)
    score = experiment.test.score(experiment.probe, setting.device)
    value = with_unit(defined(score.figures()[task.metric.key]), task.metric.unit)
    return f"{task.name} {setting.upstream.label}: test {value} of {score.count} {task.item}s; {path}"
