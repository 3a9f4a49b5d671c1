"""A folder of `--export hf` read back, without running the code that lies in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from utility.training.folder import WEIGHTS

MODEL_TYPE = "mockingjay"  # in its config.json
PREFIX = "upstream."  # of its weights


def exported_content(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint of ours would hold, of a folder whose config.json says `about`: the encoder, no head.

    Raises FileNotFoundError without weights, ValueError where they are damaged."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no {WEIGHTS} in it: export it again, --export hf writes one")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged, or not safetensors: {' '.join(str(error).split())[:100]}") from None
    input_dim = about.get("input_dim")
    return {
        "model": {name.removeprefix(PREFIX): value for name, value in weights.items()},
        "config": about.get("pretraining"),
        "features": about.get("features"),
        "target": None,
        "input_dim": input_dim,
        "target_dim": input_dim,
        "frame_shift": about.get("frame_shift"),
        "seed": None,
        "state": {"step": about.get("steps", 0)},
        "headless": True,
        "written_by": "folder of --export hf",
    }
