"""What a checkpoint is, in lines a person reads: any format of ours and of the originals."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from mockingjay.checkpoint import KIND, Pretrained, assumable, pretrained, read_content
from mockingjay.config import PretrainConfig
from mockingjay.foreign.assumptions import Assumptions
from mockingjay.model.frame_model import NoHead
from utility.audio.feature_config import FeatureConfig
from utility.text import short

NOT_STATED = "not stated"


def describe_checkpoint(path: Path, assume: Mapping[str, Any] | None = None) -> str:
    """Format, model, size, features, steps done and config of a checkpoint; errors as when it is opened."""
    said = Assumptions.of(assume)
    content = read_content(path, None, said)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{path}: incomplete checkpoint: it has no 'model'")
    lines = [("file", path), ("format", content["written_by"])]
    if content.get("kind") == KIND:
        saved = pretrained(content, path)
        said.check(assumable(saved.config), str(path))
        lines += _of_model(saved)
    else:
        said.check({}, str(path))
        lines += _of_other(content, path)
    text = "\n".join(f"{name + ':':<15}{value}" for name, value in lines)
    made = {key: content[key] for key in ("about", "config") if key in content}
    return f"{text}\n{yaml.safe_dump(made, sort_keys=False)}".rstrip()


def _of_model(saved: Pretrained) -> Iterator[tuple[str, Any]]:
    config, model, training = saved.config, saved.model, saved.training
    yield "model", f"{family(config)}, {model.num_layers} layers of {model.hidden_size}, {_size(model.state_dict())}"
    yield "input", f"{model.input_dim} per frame, {_features(saved, 'features', model.input_dim)}"
    yield "target", f"{model.target_dim} per frame, {_features(saved, 'target', model.target_dim)}"
    yield "frame shift", _frame_shift(saved)
    for key, value in assumable(config).items():
        text = f"{value} frames ahead" if key == "shift" else "yes" if value else "no"
        yield {"shift": "predicts"}.get(key, key), text + (f", {saved.sources[key]}" if key in saved.sources else "")
    yield "head", "absent: only representations" if isinstance(model.head, NoHead) else "present"
    yield from _progress(training.progress, bool(training.optimizer))
    yield "seed", NOT_STATED if saved.seed is None else saved.seed
    yield "goes on", f"no: {training.cannot_resume}" if training.cannot_resume else "with --train --load"


def _of_other(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    state = content.get("state") or {}
    if not all(isinstance(value, torch.Tensor) for value in content["model"].values()) or not _known(state):
        raise ValueError(f"{path}: damaged: its model or its state is none that a training saves")
    yield "model", _size(content["model"])
    yield from _progress(state, bool(content.get("optimizer")))
    if "seed" in content:
        yield "seed", short(content["seed"])


def _known(state: Any) -> bool:
    best = state.get("best") if isinstance(state, dict) else ""
    return best is None or isinstance(best, int | float)


def _progress(state: Mapping[str, Any], counted: bool) -> Iterator[tuple[str, Any]]:
    """Where training stood; a step of 0 is believed only where it was `counted` by an optimiser."""
    yield "steps done", state.get("step") if counted else state.get("step") or NOT_STATED
    if state.get("best") is not None:
        yield "best on dev", f"{state['best']:.4f} at step {state.get('best_step')}"


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


def _frame_shift(saved: Pretrained) -> str:
    if saved.frame_shift is None:
        return NOT_STATED
    shift = f"{1000 * saved.frame_shift:g} ms"
    return f"{NOT_STATED}; {shift} by the name of its data" if "frame_shift" in saved.assumed else shift


def _features(saved: Pretrained, name: Literal["features", "target"], dim: int) -> str:
    features: FeatureConfig | None = getattr(saved, name)
    if name in saved.stated:
        return f"not computed here: {saved.stated[name]}"
    if features is None:
        return f"not stated of which kind: any store of width {dim} fits"
    if name in saved.assumed:
        return f"{features.kind}, deltas {features.deltas} by the name of its data; cmvn and sample rate not stated"
    return features.in_words()
