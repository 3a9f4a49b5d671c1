"""Weights of a user's module in a file: what fine-tuning leaves, or a state dict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from utility.torch_files import scan
from utility.training.checkpoint import FORMAT, load_weights, read_file, save_checkpoint

FILE_NAME, KIND = "upstream.pt", "upstream"


def write_tuned_weights(folder: Path, module: nn.Module, made_from: str = "") -> Path:
    """Write the weights of `module` below `folder`, and the file that it was made from, if any; gives their file."""
    path = folder / FILE_NAME
    save_checkpoint(path, KIND, {"model": module.state_dict(), "made_from": made_from})
    return path


def tuned_from(path: Path) -> str | None:
    """The file that the module was made from whose weights `path` holds; None where fine-tuning did not write it."""
    try:
        with path.open("rb") as file:
            content = scan(file, path)
    except ValueError:  # another program's
        return None
    return str(content.get("made_from", "")) if _is_tuned(content) else None


def load_module_weights(module: nn.Module, path: Path) -> None:
    """Copy the weights of the file into the module: all of them and no others.

    The file is a state dict, or what fine-tuning wrote. Nothing in it is run. Raises FileNotFoundError, or ValueError
    for another file and for weights that are missing, extra or of another shape."""
    content = read_file(path)
    weights = content["model"] if _is_tuned(content) else content
    if not isinstance(weights, Mapping):
        raise ValueError(f"{path}: holds a {type(weights).__name__}, expected a state dict: tensors by name")
    load_weights(module, weights, path)


def _is_tuned(content: Any) -> bool:
    return isinstance(content, dict) and content.get("format") == FORMAT and content.get("kind") == KIND
