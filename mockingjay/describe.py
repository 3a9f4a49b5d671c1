"""What a checkpoint is, in lines a person reads: any format of ours and of the originals."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from mockingjay.checkpoint import KIND, pretrained
from mockingjay.config import PretrainConfig
from mockingjay.foreign.checkpoints import is_ours, read_original
from mockingjay.foreign.pickles import rehearse
from utility.audio.features import FeatureConfig
from utility.training.checkpoint import FORMAT, load_checkpoint
from utility.training.folder import read_folder


def describe(path: Path) -> str:
    """Format, model, size, features, steps done and config of a checkpoint; errors as when it is opened."""
    content, written_by = _read(path)
    lines = [("file", path), ("format", written_by)]
    lines += _of_model(content, path) if content.get("kind", KIND) == KIND else _of_other(content)
    text = "\n".join(f"{name + ':':<15}{value}" for name, value in lines)
    made = {key: content[key] for key in ("about", "config") if key in content}
    return f"{text}\n{yaml.safe_dump(made, sort_keys=False)}".rstrip()


def _read(path: Path) -> tuple[Mapping[str, Any], str]:
    if path.is_dir():
        return read_folder(path), "folder of --export"
    if not is_ours(path):
        found = read_original(path)
        return found.content(), found.family
    kind = rehearse(path).get("kind")
    content = load_checkpoint(path, kind)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{path}: incomplete checkpoint: it has no 'model'")
    return content, f"{FORMAT}, {kind}"


def _of_model(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    found = pretrained(content, path)
    config, model = found.config, found.model
    yield "model", f"{family(config)}, {model.num_layers} layers of {model.hidden_size}, {_size(model.state_dict())}"
    yield "input", f"{model.input_dim} per frame, {_features(found.features)}"
    yield "target", f"{model.target_dim} per frame, {_features(found.target)}"
    yield "frame shift", f"{1000 * found.frame_shift:g} ms" if found.frame_shift == found.frame_shift else "not stated"
    yield "head", "absent: only representations" if content.get("headless") else "present"
    yield from _progress(content)
    hindrance = content.get("hindrance") or ("" if content.get("optimizer") else "it holds no optimiser state")
    yield "goes on", f"no: {hindrance}" if hindrance else "with --train --load"


def _of_other(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "model", _size(content["model"])
    yield from _progress(content)


def _progress(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    state = content.get("state") or {}
    yield "steps done", state.get("step") if content.get("optimizer") else state.get("step") or "not stated"
    if state.get("best") is not None:
        yield "best on dev", f"{state['best']:.4f} at step {state['best_step']}"
    if "seed" in content:
        yield "seed", content["seed"]


def family(config: PretrainConfig) -> str:
    """What the literature calls a model of this config."""
    if config.objective == "apc":
        return "APC" if config.encoder == "gru" else "Transformer-APC"
    if config.model.share_layers:
        return "AALBERT"
    return "TERA" if config.masking.frequency or config.masking.noise else "Mockingjay"


def _size(weights: Mapping[str, torch.Tensor]) -> str:
    count = sum(value.numel() for value in weights.values())
    return f"{count / 1e6:.1f} M parameters" if count >= 1e5 else f"{count} parameters"


def _features(features: FeatureConfig | None) -> str:
    if features is None:
        return "not stated of which kind"
    return f"{features.kind}, deltas {features.deltas}, cmvn {features.cmvn}, {features.sample_rate} Hz"
