"""Pre-train from scratch, or continue a checkpoint."""

import argparse
from typing import Any

from commands.common import DEFAULT_CONFIG, _checkpoint, _say
from utility.command import DEFAULT_SEED


def train(args: argparse.Namespace) -> None:
    """Pre-train from scratch, or continue a checkpoint exactly."""
    from mockingjay.checkpoint import load_pretrained
    from mockingjay.config import PretrainConfig
    from mockingjay.pretraining.run import STEM, Place, continue_from, make_trainer
    from utility.config import as_dict, changes, resolve, write_yaml
    from utility.device import claim_device
    from utility.files import check_folder
    from utility.training.distributed import Group
    from utility.training.trainer import newest_checkpoint

    seed = DEFAULT_SEED if args.seed is None else args.seed
    source = args.config or DEFAULT_CONFIG
    name = args.name or f"{source.stem}_sd{seed}"
    directory, log = args.ckpdir / name, args.logdir / name
    check_folder(directory)
    check_folder(log)
    start = _checkpoint(args) if args.load and args.ckpt else newest_checkpoint(directory, STEM)
    if args.resume or args.load:
        if start is None:
            raise ValueError(f"{directory} has no checkpoint to continue: start the run without --resume")
        saved = load_pretrained(start)
        online = args.online_config or _online(as_dict(saved.config))
        config = resolve(PretrainConfig, args.config or as_dict(saved.config), args.overrides, online)
        if args.seed not in (None, saved.seed):
            raise ValueError(f"{start} was trained with --seed {saved.seed}, not {args.seed}")
        seed = saved.seed
        for change in changes(saved.config, config):
            _say(args, f"changed since {start.name}: {change}")
    else:
        if start is not None:
            raise ValueError(f"{start} exists: add --resume to continue that run, or --name for another one")
        config = resolve(PretrainConfig, source, args.overrides, args.online_config)
    if args.online_config and config.online is None:
        raise ValueError(f"{args.online_config} has no section online: config/online.yaml shows one")
    device = claim_device(args.cpu)
    group = Group.join(device)
    args.quiet |= not group.leads
    trainer = make_trainer(config, seed, Place(directory, log, device, args.quiet, group))
    if start is not None:
        continue_from(trainer, start)
    if group.leads:
        directory.mkdir(parents=True, exist_ok=True)
        write_yaml(config, directory / "config.yaml")
    millions = sum(p.numel() for p in trainer.training.module.parameters()) / 1e6
    _say(args, f"{name}: {millions:.1f} M parameters, from step {trainer.progress.step} to {config.trainer.steps}")
    progress = trainer.fit()
    group.leave()
    best = "" if progress.best is None else f", best dev loss {progress.best:.4f} at step {progress.best_step}"
    _say(args, f"checkpoints in {directory}, figures: tensorboard --logdir {args.logdir}{best}")


def _online(saved: dict[str, Any]) -> dict[str, Any]:
    """What a saved config says of training from audio, and nothing where it does not."""
    return {key: saved[key] for key in ("data", "online")} if saved["online"] else {}
