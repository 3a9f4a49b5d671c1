"""Pre-train from scratch, or continue a checkpoint."""

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from commands.common import ELSEWHERE, check_sections, ended, say, say_notes
from commands.dry_run import count_parameters, describe_parts, print_plan
from commands.settings import Train
from mockingjay.checkpoint import Pretrained, load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.foreign.assumptions import in_words
from mockingjay.foreign.configs import ConfigSource, read_config, read_online
from mockingjay.model.frame_model import FrameModel
from mockingjay.pretraining.budget import settled
from mockingjay.pretraining.run import STEM, RunContext, continue_from, make_trainer
from mockingjay.result import write_result
from mockingjay.runs import DEFAULT_CONFIG, checkpoint_in, run_name
from utility.config import as_dict, differences, resolve, write_yaml
from utility.device import claim_device, pick_device
from utility.files import check_folder
from utility.flags import AUTO, DEFAULT_SEED
from utility.loader import AUTO as AUTO_FRAMES
from utility.locks import held
from utility.text import short
from utility.training.distributed import Group
from utility.training.stopping import Stop, Stopped
from utility.training.trainer import newest_checkpoint

CONFIG = "config.yaml"  # in a run's folder


def train(settings: Train) -> int:
    """Pre-train from scratch, or continue a checkpoint exactly; the exit code."""
    name = run_name(settings.config, settings.name, settings.seed)
    directory, log = settings.ckpdir / name, settings.logdir / name
    check_folder(directory)
    check_folder(log)
    group = Group.join(pick_device(settings.cpu))
    with ExitStack() as stack:
        if not settings.dry_run:
            group.by_leader(lambda: _hold(stack, directory, log))
        try:
            return _train(settings, name, directory, log, group)
        except Stopped as stopped:
            return ended(stopped, group)


def _hold(stack: ExitStack, *folders: Path) -> None:
    """No other run writes there until the stack ends."""
    for folder in {folder.resolve(): folder for folder in folders}.values():
        stack.enter_context(held(folder, ELSEWHERE))


def _train(settings: Train, name: str, directory: Path, log: Path, group: Group) -> int:
    start = settings.ckpt or group.by_leader(lambda: newest_checkpoint(directory, STEM))  # others may see older ones
    given, heard = read_config(settings.config), read_online(settings.online_config)
    saved = None
    if settings.load or (settings.resume and not (settings.resume == AUTO and start is None)):
        saved, config, seed = _continued(settings, start, directory, given, heard)
    else:
        config, seed = _new(settings, start, given, heard)
    if settings.online_config and config.online is None:
        raise ValueError(f"{settings.online_config} has no section online: config/online.yaml shows one")
    check_sections(config, settings.overrides)
    _check_data(settings, config, given, heard)
    device = claim_device(settings.cpu, config.trainer.precision)
    msg = settings.msg and group.leads
    if config.loader.batch_frames == AUTO_FRAMES:
        config = group.from_leader(settled(config, device))
        say(msg, f"loader.batch_frames: {config.loader.batch_frames}, by trial")
    file = directory / CONFIG
    context = RunContext(
        directory,
        log,
        device,
        quiet=not msg,
        group=group,
        stop=Stop(),
        say=partial(say, msg),
        warn=partial(_warn, group.leads),
        command=_command(settings, file, seed),
    )
    trainer = make_trainer(config, seed, context, fresh=saved is None and not settings.dry_run)
    model = trainer.training.module
    _check_size(settings, given, model)
    if saved is not None:
        continue_from(trainer, saved)
        saved = None  # its memory is free for the training
    if group.leads:
        say_notes(given, heard)
    epochs = f" ({config.trainer.epochs} epochs)" if config.trainer.epochs else ""
    steps = f"from step {trainer.progress.step} to {trainer.steps}{epochs}"
    if settings.dry_run:
        print_plan(config, describe_parts(config), {"model": model}, directory, f"seed: {seed}", steps)
        return 0
    say(msg, f"{name}: {count_parameters(model) / 1e6:.1f} M parameters, {steps}")
    if group.leads:
        write_yaml(config, file)
    begun, started = trainer.progress.step, time.perf_counter()
    try:
        progress = trainer.fit()
    except (ValueError, OSError):
        if group.leads and checkpoint_in(directory) is None:
            file.unlink(missing_ok=True)  # a run that never began
        raise
    if group.leads:
        write_result(trainer, progress, None if begun else round(time.perf_counter() - started, 1))
    group.leave()
    best = "" if progress.best is None else f", best dev loss {progress.best:.4f} at step {progress.best_step}"
    say(msg, f"checkpoints in {directory}, figures: tensorboard --logdir {settings.logdir}{best}")
    return 0


def _command(settings: Train, config: Path, seed: int) -> str:
    """What to type for such a run again: all its settings are in the `config` that is beside it."""
    words = ["python", "runner_mockingjay.py", "--train", "--config", str(config), "--seed", str(seed)]
    words += ["--load", "--ckpt", str(settings.ckpt)] if settings.ckpt else []
    words += ["--assume", in_words(settings.assume)] if settings.ckpt and settings.assume else []
    words += ["--name", f"{config.parent.name}_again"]
    return shlex.join([*words, *(["--cpu"] if settings.cpu else [])])


def _warn(wanted: bool, text: str) -> None:
    if wanted:
        print(f"warning: {text}", file=sys.stderr)


def _check_data(settings: Train, config: PretrainConfig, given: ConfigSource, heard: ConfigSource) -> None:
    """Raise ValueError where nothing but an original's config says what to train on, and that is not here."""
    for file, read in ((settings.config, given), (settings.online_config, heard)):
        if read.missing and not config.data.train:
            raise ValueError(f"{file}: {read.missing}")


def _check_size(settings: Train, given: ConfigSource, model: nn.Module) -> None:
    """Raise ValueError where an original's config was written for frames of another size."""
    assert isinstance(model, FrameModel)
    if given.input_dim not in (0, model.input_dim):
        sizes = f"its input_dim is {given.input_dim}, data.train has frames of {model.input_dim} values"
        raise ValueError(f"{settings.config}: {sizes}")


def _new(settings: Train, start: Path | None, given: ConfigSource, heard: ConfigSource) -> tuple[PretrainConfig, int]:
    """Config and seed of a run that must not be there already."""
    if start is not None:
        raise ValueError(f"{start} exists: add --resume to continue that run, or --name for another one")
    config = resolve(PretrainConfig, given.source or DEFAULT_CONFIG, settings.overrides, heard.source)
    return config, DEFAULT_SEED if settings.seed is None else settings.seed


def _continued(
    settings: Train, start: Path | None, directory: Path, given: ConfigSource, heard: ConfigSource
) -> tuple[Pretrained, PretrainConfig, int]:
    """The checkpoint, and config and seed of the run that goes on."""
    if start is None:
        raise ValueError(f"{directory} has no checkpoint to continue: start the run without --resume")
    saved = load_pretrained(start, settings.assume)
    _check_optimizer(saved, _named_optimizer(settings.overrides))
    online = heard.source or _online(as_dict(saved.config))
    config = resolve(PretrainConfig, given.source or as_dict(saved.config), settings.overrides, online)
    _check_optimizer(saved, config.optimizer.name)
    if saved.seed is not None and settings.seed not in (None, saved.seed):
        raise ValueError(f"{start} was trained with --seed {saved.seed}, not {settings.seed}")
    for key, before, now in differences(saved.config, config):
        say(settings.msg, f"changed since {start.name}: {key}: {before} -> {now}")
    seeds = (saved.seed, settings.seed, DEFAULT_SEED)
    return saved, config, next(seed for seed in seeds if seed is not None)


def _named_optimizer(overrides: Sequence[str]) -> str | None:
    """The optimiser that a command line asks for."""
    names = [word.partition("=")[2] for word in overrides if word.startswith("optimizer.name=")]
    return names[-1] if names else None


def _check_optimizer(saved: Pretrained, name: str | None) -> None:
    """Raise ValueError where training would go on with another optimiser than it began with."""
    before = saved.config.optimizer.name
    if name not in (None, before):
        raise ValueError(
            f"{saved.path} was trained with optimizer.name {before}, what that has gathered is of no use to "
            f"{short(name)}: leave optimizer.name as it was, or begin another run"
        )


def _online(saved: dict[str, Any]) -> dict[str, Any]:
    """What a saved config says of training from audio, and nothing where it does not."""
    return {key: saved[key] for key in ("data", "online")} if saved["online"] else {}
