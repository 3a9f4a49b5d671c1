"""The one checkpoint format: tensors and plain types, written atomically, opened without running anything."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from utility.files import replacing

FORMAT = "mockingjay-1"


def save_checkpoint(path: Path | str, kind: str, content: Mapping[str, Any]) -> None:
    """Write `content` (nested dicts and lists of tensors and plain types) as a checkpoint of `kind`.

    A reader sees the old file or the whole new one, also when the process is killed."""
    with replacing(path) as temporary:
        try:
            torch.save({"format": FORMAT, "kind": kind, **content}, temporary)
        except RuntimeError:  # torch's writer, when the system takes no more
            raise OSError(f"{path}: cannot be written, perhaps the disk is full; older checkpoints are kept") from None


def load_checkpoint(path: Path | str, kind: str, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint of `kind`; nothing in the file is executed.

    Raises FileNotFoundError, or ValueError for a truncated or foreign file and for another kind."""
    with open_checkpoint(path) as file:
        return read_checkpoint(file, path, kind, map_location)


def open_checkpoint(path: Path | str) -> BinaryIO:
    """The file, to be read from its start; FileNotFoundError where there is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    return path.open("rb")


def read_checkpoint(
    file: BinaryIO, path: Path | str, kind: str, map_location: str | torch.device = "cpu"
) -> dict[str, Any]:
    """`load_checkpoint` of the opened file `path`."""
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{path}: not a checkpoint of this project, or damaged: cut off, or another kind of file")
    file.seek(0)
    try:
        content = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path}: not a checkpoint of this project: it holds more than tensors and plain values, and is not opened"
        ) from None
    except (RuntimeError, EOFError, KeyError, zipfile.BadZipFile, AttributeError):
        raise ValueError(f"{path}: not a checkpoint of this project, or damaged") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: checkpoint of another program: format {found!r}, expected {FORMAT!r}")
    if content.get("kind") != kind:
        raise ValueError(f"{path}: holds a {content.get('kind')!r} checkpoint, expected {kind!r}")
    return content


def load_weights(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: Path | str) -> None:
    """Copy `weights` into `module`, all and nothing else; a ValueError names what is missing, extra or misshapen."""
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{where}: 'model' holds a {type(weights).__name__}, expected tensors by name")
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights:
            raise ValueError(f"{where}: tensor {name!r} is missing: the model of this config has it")
        if name not in own:
            raise ValueError(f"{where}: tensor {name!r} is not part of the model of this config")
        if own[name].shape != weights[name].shape:
            sizes = f"{list(weights[name].shape)}, the model {list(own[name].shape)}"
            raise ValueError(f"{where}: tensor {name!r} has shape {sizes}")
    module.load_state_dict(weights)


def step_path(directory: Path, stem: str, step: int) -> Path:
    """Where the checkpoint of a training step lies."""
    return directory / f"{stem}-{step}.ckpt"


def saved_steps(directory: Path, stem: str) -> list[int]:
    """The steps with a checkpoint in `directory`, ascending."""
    pattern = re.compile(rf"{re.escape(stem)}-(\d+)\.ckpt")
    found = (pattern.fullmatch(path.name) for path in directory.glob(f"{stem}-*.ckpt"))
    return sorted(int(match.group(1)) for match in found if match)


def keep_newest(directory: Path, stem: str, count: int) -> None:
    """Delete all but the newest `count` step checkpoints."""
    for step in saved_steps(directory, stem)[:-count]:
        step_path(directory, stem, step).unlink(missing_ok=True)
