"""A pre-trained model as a plain folder: `model.safetensors` and `config.json`, which any language reads."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from utility.files import replacing
from utility.text import parse_json, read_text

FORMAT = "mockingjay-folder-1"
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
DIGEST = "sha256"  # key of the digest of the weights


def write_folder(folder: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write `weights` and plain values `about` them; a reader sees each file whole or not at all.

    A folder of this format says what the bytes of its weights are, which safetensors does not."""
    with replacing(folder / WEIGHTS) as temporary:
        try:
            save_file({name: value.contiguous() for name, value in weights.items()}, temporary, {"format": "pt"})
        except SafetensorError as error:  # its writer, when the system takes no more
            reason = " ".join(str(error).split())
            raise OSError(f"{folder / WEIGHTS}: cannot be written, perhaps the disk is full: {reason}") from None
        if about.get("format") == FORMAT:
            about = {**about, DIGEST: _digest(temporary)}
    with replacing(folder / DESCRIPTION) as temporary:
        temporary.write_text(to_json(about), encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(values: Mapping[str, Any]) -> str:
    """The text of a file of plain values."""
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def read_folder(folder: Path) -> dict[str, Any]:
    """What `write_folder` wrote, the weights under `model`.

    Raises FileNotFoundError where a file is missing, ValueError where one is damaged or of another program."""
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"checkpoint {folder} is a folder without {name}: name a file in it, or an export")
    try:
        about = parse_json(read_text(folder / DESCRIPTION))
    except ValueError:
        raise ValueError(f"{folder / DESCRIPTION}: not valid JSON") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(
            f"{folder}: {DESCRIPTION} is another program's: only --export safetensors and s3prl open again"
        )
    if about.get(DIGEST) not in (None, _digest(folder / WEIGHTS)):  # older versions wrote none
        raise ValueError(f"{folder / WEIGHTS}: damaged: its bytes are not those that were written: export it again")
    try:
        return {**about, "model": load_file(folder / WEIGHTS)}
    except SafetensorError as error:
        raise ValueError(
            f"{folder / WEIGHTS}: damaged, or not safetensors: {' '.join(str(error).split())[:100]}"
        ) from None
