"""What several commands need: the checkpoint, its data, the folder of the output."""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockingjay.checkpoint import Pretrained
    from mockingjay.config import PretrainConfig
    from mockingjay.representation import Layers

DEFAULT_CONFIG = Path("config/mockingjay_libri.yaml")


def _checkpoint(args: argparse.Namespace) -> Path:
    return below(args.ckpdir, args.ckpt)


def below(directory: Path, path: Path) -> Path:
    below = directory / path
    return below if below.is_file() and not path.is_file() else path


def _open(args: argparse.Namespace) -> "Pretrained":
    """The checkpoint, its config changed by what the command line says."""
    from mockingjay.checkpoint import load_pretrained
    from mockingjay.config import PretrainConfig
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


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text)
