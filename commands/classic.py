"""The originals' `--train_phone`, `--test_phone` and the like, as runs of this package."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from commands.common import ELSEWHERE, ended, say_notes
from commands.probe import print_experiment
from commands.settings import TestClassic, TrainClassic
from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from downstream.report import describe_result, event_folders, run_folder
from downstream.setting import Setting
from downstream.sweep import run_single
from downstream.tasks.table import find_task
from mockingjay.upstreams.spec import UpstreamSpec
from originals.probing import open_probe, score_again
from originals.probing_config import read_probing_config
from utility.config import resolve
from utility.device import claim_device
from utility.flags import AUTO, DEFAULT_SEED
from utility.locks import held
from utility.training.stopping import Stop, Stopped


def train(settings: TrainClassic) -> int:
    """Train a probe and score it on its test set; the exit code."""
    seed = DEFAULT_SEED if settings.seed is None else settings.seed
    given = read_probing_config(settings.config, settings.task)
    config = _config(given.source, settings.fine_tune, settings.overrides)
    task = find_task(settings.task, config)
    resume = AUTO if settings.resume == AUTO else "" if settings.resume or settings.load else None
    folder = run_folder(settings.expdir, settings.upstream, task.name, settings.name, resume)
    device = claim_device(settings.cpu, config.trainer.precision)
    quiet, assume = not settings.msg, settings.assume
    events = event_folders(settings.logdir, folder, settings.upstream, task.name)
    setting = Setting(task, _upstream(settings), config, seed, device, quiet, stop=Stop(), assume=assume, events=events)
    say_notes(given)
    if settings.dry_run:
        print_experiment(Experiment(setting, folder))
        return 0
    with held(folder, ELSEWHERE):
        try:
            result = run_single(setting, folder)
        except Stopped as stopped:
            return ended(stopped, setting.group)
    assert result is not None, "there is one process"
    print(describe_result(result, folder))
    return 0


def test(settings: TestClassic) -> None:
    """Score a probe on its test set again."""
    saved = open_probe(settings.dckpt, settings.task)
    given = read_probing_config(settings.config, settings.task)
    config = _config(given.source or saved["about"]["config"], settings.fine_tune, settings.overrides)
    task = find_task(settings.task, config)
    device = claim_device(settings.cpu, config.trainer.precision)
    seed, quiet = saved["about"]["seed"], not settings.msg
    setting = Setting(task, _upstream(settings), config, seed, device, quiet, assume=settings.assume)
    experiment = Experiment(setting, settings.dckpt.parent)
    say_notes(given)
    if settings.dry_run:
        return print_experiment(experiment)
    return print(score_again(experiment, saved, settings.dckpt))


def _upstream(settings: TrainClassic | TestClassic) -> UpstreamSpec:
    """The upstream in our words, with its checkpoint."""
    return replace(UpstreamSpec.parse(settings.upstream), source="" if settings.ckpt is None else str(settings.ckpt))


def _config(
    source: Path | str | Mapping[str, Any] | None, fine_tune: bool, overrides: Sequence[str]
) -> DownstreamConfig:
    flags = ["upstream.fine_tune=true"] if fine_tune else []
    return resolve(DownstreamConfig, source, [*flags, *overrides])
