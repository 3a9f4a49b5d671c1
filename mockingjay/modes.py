"""What the modes of runner_mockingjay.py do, each with the parsed command line; heavy imports wait until they run."""

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utility.command import DEFAULT_SEED

if TYPE_CHECKING:
    from mockingjay.config import PretrainConfig
    from mockingjay.representation import Layers
    from mockingjay.solver import Pretrained

DEFAULT_CONFIG = Path("config/mockingjay_libri.yaml")


def train(args: argparse.Namespace) -> None:
    """Pre-train from scratch, or continue a checkpoint exactly."""
    from mockingjay.config import PretrainConfig
    from mockingjay.solver import STEM, Place, continue_from, load_pretrained, make_trainer
    from utility.config import as_dict, changes, resolve, write_yaml
    from utility.device import claim_device
    from utility.distributed import Group
    from utility.files import check_folder
    from utility.trainer import newest_checkpoint

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
    millions = sum(p.numel() for p in trainer.task.module.parameters()) / 1e6
    _say(args, f"{name}: {millions:.1f} M parameters, from step {trainer.progress.step} to {config.trainer.steps}")
    progress = trainer.fit()
    group.leave()
    best = "" if progress.best is None else f", best dev loss {progress.best:.4f} at step {progress.best_step}"
    _say(args, f"checkpoints in {directory}, figures: tensorboard --logdir {args.logdir}{best}")


def info(args: argparse.Namespace) -> None:
    """Print what a checkpoint is."""
    from mockingjay.describe import describe

    print(describe(below(args.ckpdir, args.info)))


def test(args: argparse.Namespace) -> int:
    """Masked loss of the test set with fixed masks, and its representations."""
    from mockingjay.inspection import Inspection
    from utility.device import claim_device
    from utility.files import replacing

    found, folder = _open(args), _folder(args)
    paths = _paths(args, found.config)
    inspection = Inspection.open(found, paths, folder, claim_device(args.cpu))
    code = extract(args)
    loss = inspection.loss()
    with replacing(folder / "test.json") as temporary:
        temporary.write_text(json.dumps({"loss": loss, "data": paths, "checkpoint": str(_checkpoint(args))}) + "\n")
    print(f"masked L1 {loss:.4f} on {', '.join(paths)}")
    return code


def plot(args: argparse.Namespace) -> None:
    """Pictures of the first utterances of the test set."""
    from mockingjay.inspection import Inspection
    from utility.device import claim_device

    if args.num < 1:
        raise ValueError(f"--num is {args.num}: plot at least one utterance")
    layers = _layers(args.layer)
    if args.layer != "last" and not isinstance(layers.which, tuple):
        raise ValueError(f"--layer {args.layer}: --plot draws the first and the last, and takes only weights, ws:FILE")
    found = _open(args)
    inspection = Inspection.open(found, _paths(args, found.config), _folder(args), claim_device(args.cpu))
    if args.alterations:
        saved = inspection.plot_alterations(args.num)
    elif args.with_head:
        saved = inspection.plot_reconstructions(args.num)
        silent = inspection.silent_because()
        if silent:
            _say(args, f"no waveforms: {silent}")
    elif args.output_attention:
        saved = inspection.plot_attention(args.num)
    else:
        saved = inspection.plot_hidden_states(layers, args.num)
    _say(args, f"{len(saved)} files in {inspection.folder}")


def plot_alterations(args: argparse.Namespace) -> None:
    """Pictures of what a config hides, without a model."""
    from mockingjay.config import DataConfig, PretrainConfig
    from mockingjay.data import open_given
    from mockingjay.inspection import draw_alterations
    from utility.config import resolve
    from utility.files import check_folder

    source = args.config or DEFAULT_CONFIG
    config = resolve(PretrainConfig, source, args.overrides, args.online_config)
    folder = args.output or args.ckpdir / f"{source.stem}-alterations"
    check_folder(folder)
    data = open_given(_paths(args, config), replace(config, data=DataConfig()))
    _say(args, f"{len(draw_alterations(config, data, folder, args.num))} files in {folder}")


def extract(args: argparse.Namespace) -> int:
    """Write representations; 1 when some recordings could not be used."""
    from mockingjay.representation import Representing, represent, write_ark
    from mockingjay.upstream import load_upstream
    from utility.device import claim_device
    from utility.recordings import Recordings
    from utility.store import Store, is_split

    if args.format == "ark" and args.layer == "all":
        raise ValueError("--format ark holds one vector per frame, not all layers: choose one by --layer")
    found = _open(args)
    how = Representing(_layers(args.layer), args.dtype, args.precision, shard=args.shard, quiet=args.quiet)
    paths = _paths(args, found.config)
    if is_split(paths[0]) or (args.input is None and found.config.online is None):
        corpus = Store(paths)
    elif args.input is not None and not args.input.exists():
        raise FileNotFoundError(f"--input {args.input}: neither a store/split nor a recording or folder of audio")
    elif found.features is None:
        raise ValueError(f"{args.ckpt} does not say which features it takes: extract from a store, not from audio")
    else:
        corpus = Recordings(paths, found.features)
    upstream = load_upstream("transformer", _checkpoint(args), corpus.info, device=claim_device(args.cpu))
    folder, split = _folder(args), Path(paths[0]).stem if len(paths) == 1 else "test"
    if not represent(upstream, corpus, folder, split, how):
        _say(args, f"{folder / split}: this shard is done, others are not yet")
        return 0
    store = Store([folder / split])
    if args.format == "ark":
        write_ark(store, folder / split)
    failed = len(corpus.ids) - len(store)
    _say(args, f"{len(store)} utterances, {store.lengths.sum()} frames of {store.info.row_shape} in {folder / split}")
    if failed:
        print(f"{failed} recordings not used, see {folder / 'errors.csv'}", file=sys.stderr)
    return int(failed > 0)


def export(args: argparse.Namespace) -> None:
    """Write the model as a folder that other programs load."""
    from mockingjay.doors.export import write_door
    from mockingjay.solver import load_pretrained

    if args.overrides:
        raise ValueError(f"--export writes the checkpoint as it is: {args.overrides[0]} cannot change it")
    path = _checkpoint(args)
    folder = args.output or path.with_name(f"{path.stem}-{args.export}")
    write_door(load_pretrained(path), args.export, folder)
    _say(args, f"{args.export}: {folder}")


def _checkpoint(args: argparse.Namespace) -> Path:
    return below(args.ckpdir, args.ckpt)


def below(directory: Path, path: Path) -> Path:
    below = directory / path
    return below if below.is_file() and not path.is_file() else path


def _open(args: argparse.Namespace) -> "Pretrained":
    """The checkpoint, its config changed by what the command line says."""
    from mockingjay.config import PretrainConfig
    from mockingjay.solver import load_pretrained
    from utility.config import as_dict, resolve

    found = load_pretrained(_checkpoint(args))
    return replace(found, config=resolve(PretrainConfig, as_dict(found.config), args.overrides))


def _paths(args: argparse.Namespace, config: "PretrainConfig") -> list[str]:
    paths = [str(args.input)] if args.input else config.data.test
    if not paths:
        raise ValueError("no test set: add --input store/split, or data.test=[store/split]")
    return paths


def _folder(args: argparse.Namespace) -> Path:
    from utility.files import check_folder

    path = _checkpoint(args)
    folder = args.output or path.with_name(f"{path.stem}-dump")
    check_folder(folder)
    return folder


def _layers(text: str) -> "Layers":
    from mockingjay.representation import Layers

    if text in ("last", "all"):
        return Layers(text)
    if text.isdecimal():
        return Layers(int(text))
    kind, _, file = text.partition(":")
    if kind != "ws" or not file:
        raise ValueError(f"--layer {text!r}: expected last, all, a number, or ws:FILE")
    try:
        weights = json.loads(Path(file).read_text(encoding="utf-8"))["layer_weights"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"--layer {text}: {file} is not a result.json with layer_weights") from None
    if not weights:
        raise ValueError(f"--layer {text}: that probe learnt no layer weights; run it with --weighted_sum")
    if not isinstance(weights, list) or not all(isinstance(w, int | float) and math.isfinite(w) for w in weights):
        raise ValueError(f"--layer {text}: layer_weights are {weights!r}, expected numbers")
    return Layers(tuple(weights))


def _online(saved: dict[str, Any]) -> dict[str, Any]:
    """What a saved config says of training from audio, and nothing where it does not."""
    return {key: saved[key] for key in ("data", "online")} if saved["online"] else {}


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text)
