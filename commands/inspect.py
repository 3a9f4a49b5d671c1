"""Look at a checkpoint: what it is, its masked loss, its pictures."""

import argparse
import json
from dataclasses import replace

from commands.common import DEFAULT_CONFIG, _checkpoint, _folder, _layers, _open, _paths, _say, below
from commands.extract import extract


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
        saved = inspection.plot_hidden_states(layers, args.num, args.layer.partition(":")[2])
    _say(args, f"{len(saved)} files in {inspection.folder}")


def plot_alterations(args: argparse.Namespace) -> None:
    """Pictures of what a config hides, without a model."""
    from mockingjay.config import DataConfig, PretrainConfig
    from mockingjay.inspection import draw_alterations
    from mockingjay.pretraining.data import open_given
    from utility.config import resolve
    from utility.files import check_folder

    source = args.config or DEFAULT_CONFIG
    config = resolve(PretrainConfig, source, args.overrides, args.online_config)
    folder = args.output or args.ckpdir / f"{source.stem}-alterations"
    check_folder(folder)
    data = open_given(_paths(args, config), replace(config, data=DataConfig()))
    _say(args, f"{len(draw_alterations(config, data, folder, args.num))} files in {folder}")
