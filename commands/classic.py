"""The originals' `--train_phone`, `--test_phone` and the like, as runs of this package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.probe import print_experiment
from commands.settings import TestClassic, TrainClassic
from downstream.config import DownstreamConfig
from downstream.experiment import Experiment, Setting
from downstream.report import describe_result, run_folder
from downstream.sweep import run_single
from downstream.tasks.table import find_task
from originals.probing import open_probe, score_again
from utility.command import DEFAULT_SEED
from utility.config import resolve
from utility.device import claim_device


def train(settings: TrainClassic) -> None:
    """Train a probe and score it on its test set."""
    task, seed = find_task(settings.task), DEFAULT_SEED if settings.seed is None else settings.seed
    config = _config(settings.config, settings.fine_tune, settings.overrides)
    resume = "" if settings.resume or settings.load else None
    folder = run_folder(settings.expdir, settings.upstream, task.name, settings.name, resume)
    device = claim_device(settings.cpu, config.trainer.precision)
    quiet = not settings.msg
    setting = Setting(task, settings.upstream, settings.ckpt, config, seed, device, quiet, assume=settings.assume)
    if settings.dry_run:
        return print_experiment(Experiment(setting, folder))
    result = run_single(setting, folder)
    assert result is not None, "there is one process"
    return print(describe_result(result, folder))


def test(settings: TestClassic) -> None:
    """Score a probe on its test set again."""
    task, saved = find_task(settings.task), open_probe(settings.dckpt, settings.task)
    config = _config(settings.config or saved["about"]["config"], settings.fine_tune, settings.overrides)
    device = claim_device(settings.cpu, config.trainer.precision)
    seed, quiet = saved["about"]["seed"], not settings.msg
    setting = Setting(task, settings.upstream, settings.ckpt, config, seed, device, quiet, assume=settings.assume)
    experiment = Experiment(setting, settings.dckpt.parent)
    if settings.dry_run:
        return print_experiment(experiment)
    return print(score_again(experiment, saved, settings.dckpt))


def _config(source: Path | Mapping[str, Any] | None, fine_tune: bool, overrides: Sequence[str]) -> DownstreamConfig:
    flags = ["upstream.fine_tune=true"] if fine_tune else []
    return resolve(DownstreamConfig, source, [*flags, *overrides])
