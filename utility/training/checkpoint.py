"""The one checkpoint format: tensors and plain types, written atomically, opened without running anything."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch

from utility.files import replacing
from utility.text import short
from utility.torch_files import Damaged, read_torch

FORMAT = "mockingjay-1"
STEP = re.compile(r"(.+)-(\d{1,18})\.ckpt")


def save_checkpoint(path: Path | str, kind: str, content: Mapping[str, Any]) -> None:
    """Write `content` (nested dicts and lists of tensors and plain types) as a checkpoint of `kind`.

    A reader sees the old file or the whole new one, also when the process is killed."""
    with replacing(path) as temporary:
        try:
            torch.save({"format": FORMAT, "kind": kind, **content}, temporary)
        except RuntimeError:  # torch's writer, when the system takes no more
            raise OSError(f"{path}: cannot be written, perhaps the disk is full; older checkpoints are kept") from None


def load_checkpoint(path: Path | str, kind: str) -> dict[str, Any]:
    """Read a checkpoint of `kind`; nothing in the file is executed.

    Raises FileNotFoundError, or ValueError for a damaged or foreign file and for another kind."""
    content = read_file(path)
    check_format(content, path, kind)
    return content


def read_file(path: Path | str) -> Any:
    """What any torch file holds, as `utility.torch_files.read_torch` reads it; FileNotFoundError where there is none.

    Of a damaged one the message names the older checkpoint of its run."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    with path.open("rb") as file:
        try:
            return read_torch(file, path)
        except Damaged as error:
            raise ValueError(f"{error}{_instead(path)}") from None


def check_format(content: Any, path: Path | str, kind: str | None) -> None:
    """Raise ValueError for what is no checkpoint of this project, or of another kind; `kind` None takes any."""
    written = content.get("format") if isinstance(content, dict) else None
    if written != FORMAT:
        raise ValueError(f"{path}: checkpoint of another program: format {short(written)}, expected {FORMAT!r}")
    if kind is not None and content.get("kind") != kind:
        raise ValueError(f"{path}: holds a {short(content.get('kind'))} checkpoint, expected {kind!r}")


def _instead(path: Path) -> str:
    """What to do where the checkpoint of a step is damaged."""
    match = STEP.fullmatch(path.name)
    older = [step for step in saved_steps(path.parent, match[1]) if step < int(match[2])] if match else []
    if match is None or not older:
        return ""
    return f"; remove it, and --resume goes on from {step_path(path.parent, match[1], older[-1])}"


def load_weights(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: Path | str) -> None:
    """Copy `weights` into `module`, all and nothing else; a ValueError names what is missing, extra or misshapen."""
    check_weights(module, weights, where)
    module.load_state_dict(weights)


def check_weights(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: Path | str) -> None:
    """ValueError where `weights` are not those of `module`, which may be without storage."""
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{where}: damaged: 'model' holds a {type(weights).__name__}, expected tensors by name")
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys(), key=str):
        if name not in weights:
            raise ValueError(f"{where}: tensor {short(name)} is missing: the model of this config has it")
        if name not in own:
            raise ValueError(f"{where}: tensor {short(name)} is not part of the model of this config")
        if own[name].shape != weights[name].shape:
            sizes = f"{short(list(weights[name].shape))}, the model {list(own[name].shape)}"
            raise ValueError(f"{where}: tensor {name!r} has shape {sizes}")
        if own[name].is_floating_point() != weights[name].is_floating_point():
            raise ValueError(f"{where}: tensor {name!r} is {weights[name].dtype}, the model's {own[name].dtype}")


def is_progress(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is `utility.training.trainer.Progress` as plain values; all but the step may be missing."""
    if not isinstance(value, Mapping) or not is_whole(value.get("step")):
        return False
    position, best, pending = value.get("position", (0, 0)), value.get("best"), value.get("pending", {})
    return (
        isinstance(position, list | tuple)
        and len(position) == 2
        and all(is_whole(number) for number in position)
        and (best is None or (_is_number(best) and abs(best) < math.inf))
        and is_whole(value.get("best_step", 0))
        and is_whole(value.get("stale", 0))
        and isinstance(pending, Mapping)
        and all(isinstance(numbers, list) and all(map(_is_number, numbers)) for numbers in pending.values())
    )


def is_whole(value: Any, least: int = 0) -> bool:
    """Whether it is a whole number from `least` that a file may count with."""
    return type(value) is int and least <= value < 1 << 53


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 1 << 53)


def step_path(directory: Path, stem: str, step: int) -> Path:
    """Where the checkpoint of a training step lies."""
    return directory / f"{stem}-{step}.ckpt"


def saved_steps(directory: Path, stem: str) -> list[int]:
    """The steps with a checkpoint in `directory`, ascending."""
    pattern = re.compile(rf"{re.escape(stem)}-(\d+)\.ckpt")
    matches = (pattern.fullmatch(path.name) for path in directory.glob(f"{stem}-*.ckpt"))
    return sorted(int(match.group(1)) for match in matches if match)


def keep_newest(directory: Path, stem: str, count: int) -> None:
    """Delete all but the newest `count` step checkpoints."""
    for step in saved_steps(directory, stem)[:-count]:
        step_path(directory, stem, step).unlink(missing_ok=True)
