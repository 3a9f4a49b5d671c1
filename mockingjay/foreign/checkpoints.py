"""Checkpoints of the originals as ours: Mockingjay, S3PRL v0.1.0 and its later pre-training, and APC."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mockingjay.build import empty_model
from mockingjay.config import PretrainConfig
from mockingjay.foreign.apc import RNN, Apc, from_s3prl, from_state_dict, is_of_s3prl
from mockingjay.foreign.assumptions import Assumptions
from mockingjay.foreign.names import OUTPUT_NORM, aliases, check_shapes, encoder_names, head_names, to_ours
from mockingjay.foreign.optimizer import continuation
from mockingjay.foreign.settings import (
    Section,
    feature_config,
    frame_shift,
    model_name,
    online_features,
    pretrain_config,
    run_section,
    stated_shift,
)
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict
from utility.text import short
from utility.training.checkpoint import FORMAT, is_whole

PROJECTION = "input_representations.spec_transform.weight"
LAYER_NUMBER = re.compile(r"encoder\.layer\.(\d+)\.")
FIRST_S3PRL = "S3PRL v0.1.0"
PREFIX = "module."  # which DataParallel puts before all names


@dataclass(frozen=True)
class Original:
    """A checkpoint of the originals in our terms; None is what it does not tell."""

    family: str  # which program wrote it
    config: PretrainConfig
    weights: dict[str, Tensor]  # by our names
    input_dim: int
    target_dim: int
    step: int = 0  # optimiser updates done
    optimizer: dict[str, Any] | None = None  # state_dict of ours
    cannot_resume: str = ""  # why training cannot go on from it
    features: FeatureConfig | None = None
    target: FeatureConfig | None = None
    frame_shift: float | None = None  # seconds
    seed: int | None = None
    stated: Mapping[str, str] = field(default_factory=dict)  # `features`, `target`: definitions not computed here
    assumed: tuple[str, ...] = ()  # fields that follow from the name of its data and the originals' habits
    sources: Mapping[str, str] = field(default_factory=dict)  # how `Assumptions` are known that it does not state

    @property
    def has_head(self) -> bool:
        """Whether it can predict frames; the originals' short form holds the encoder alone."""
        return any(name.startswith("head.") for name in self.weights)

    def content(self) -> dict[str, Any]:
        """What a checkpoint of ours would hold."""
        progress: dict[str, Any] = {"position": [0, 0], "best": None, "best_step": 0, "stale": 0, "pending": {}}
        return {
            "model": self.weights,
            "optimizer": self.optimizer,
            "state": {"step": self.step, **progress},
            "config": as_dict(self.config),
            "seed": self.seed,
            "input_dim": self.input_dim,
            "target_dim": self.target_dim,
            "frame_shift": self.frame_shift,
            "features": self.features and as_dict(self.features),
            "target": self.target and as_dict(self.target),
            "written_by": self.family,
            "headless": not self.has_head,
            "cannot_resume": self.cannot_resume,
            "stated": dict(self.stated),
            "assumed": list(self.assumed),
            "sources": dict(self.sources),
        }


def from_original(content: Any, path: Path, assume: Assumptions | None = None) -> Original:
    """What a checkpoint of the originals holds, told by that and not by the name of the file; `assume` says what it
    does not.

    ValueError, in one line: of another program, a tensor missing, extra or of another shape than its config says, and
    what it does not say and nobody assumed."""
    assume = assume or Assumptions()
    try:
        if not isinstance(content, dict):
            raise ValueError(f"checkpoint of another program: a {type(content).__name__}, expected {_expected()}")
        if all(isinstance(key, str) for key in content):
            if "Transformer" in content or "Mockingjay" in content:
                return _transformer(content)
            if is_of_s3prl(content):
                tensors = without_prefix(_tensors(content, "model"))
                return _apc("S3PRL pre-training", from_s3prl({**content, "model": tensors}), content)
            tensors = without_prefix(content)
            if any(RNN.fullmatch(key) for key in tensors):
                return _apc("APC", from_state_dict(tensors, path.stem, assume), content)
        names = ", ".join(short(key, 40) for key in list(content)[:6]) or "nothing"
        raise ValueError(f"checkpoint of another program: it holds {names}; expected {_expected()}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _expected() -> str:
    return f"format {FORMAT!r}, or a checkpoint of Mockingjay, S3PRL or APC"


def _transformer(content: Mapping[str, Any]) -> Original:
    family, config, task, run, seed = _settings(content)
    saved = _tensors(content, "Transformer" if "Transformer" in content else "Mockingjay")
    encoder = _renamed(without_prefix(saved))
    head = without_prefix(_tensors(content, "SpecHead")) if "SpecHead" in content else None
    block = config.section(model_name(config))
    rate = block.get("downsample_rate", int, 1)
    duo = run_section(run).get("duo_feature", bool, False)
    input_dim = _width(encoder, PROJECTION, 1, rate)
    target_dim = _width(head, "output.weight", 0, rate) if head else input_dim
    ours = pretrain_config(config, task, run, input_dim, duo)
    layers = {int(match[1]) for match in map(LAYER_NUMBER.match, encoder) if match}
    if ours.model.layers != len(layers):
        raise ValueError(f"its config says {ours.model.layers} layers, its weights have {len(layers)}")
    if f"{OUTPUT_NORM}.{len(layers)}.weight" in encoder:  # S3PRL from 0.3: one more, the first is the embedding's
        ours = replace(ours, model=replace(ours.model, embedding_norm=True))
    weights = _weights(encoder, head, ours)
    model = empty_model(ours, input_dim, target_dim)
    check_shapes(encoder, encoder_names(ours.model), model.encoder)
    if head is not None:
        check_shapes(head, head_names(), model.head)
    step = _whole(content.get("Global_step", content.get("Step", 0)))
    rounded = _rounded(saved)
    after = continuation(content.get("Optimizer") if head and not rounded else None, step, ours, model)
    cannot_resume = rounded or after.cannot_resume
    if task.get("loss", str, "L1") != "L1":
        cannot_resume = f"it was trained with the loss {task.get('loss', str, 'L1')}"
    data = config.section("dataloader")
    path = data.get("data_path", str, "")
    audio = next((config.section(key) for key in ("online", "audio") if config.values.get(key)), Section("audio", {}))
    computed = bool(audio.values)
    assumed: tuple[str, ...] = () if computed else ("features", "target")
    assumed += () if stated_shift(audio) else ("frame_shift",)
    features: FeatureConfig | str | None = feature_config(path, input_dim)
    target: FeatureConfig | str | None = feature_config(data.get("target_path", str, "") if duo else path, target_dim)
    if computed:
        features = online_features(audio, "input", input_dim)
        target = online_features(audio, "target", target_dim) if head else features
    definitions = {"features": features, "target": target}
    return Original(
        family,
        after.config,
        weights,
        input_dim,
        target_dim,
        after.step,
        None if cannot_resume else after.optimizer,
        cannot_resume,
        None if isinstance(features, str) else features,
        None if isinstance(target, str) else target,
        frame_shift(path, audio),
        seed,
        {name: text for name, text in definitions.items() if isinstance(text, str)},
        assumed,
    )


def _settings(content: Mapping[str, Any]) -> tuple[str, Section, Section, Section, int | None]:
    """Which program wrote it, the blocks of the model, of the task and of the run, and its seed."""
    if "Settings" in content:
        settings = Section("Settings", content["Settings"])
        config = settings.section("Config")
        family = FIRST_S3PRL if "transformer" in config.values else "Mockingjay"
        return family, config, Section("task", {}), config, _seed(settings.values.get("Paras"))
    for key in ("Upstream_Config", "Config"):
        if isinstance(content.get(key), dict) and "transformer" in content[key]:
            config = Section("", content[key])
            run = content.get("Runner") or content.get("Config") or {}
            return "S3PRL pre-training", config, config.section("task"), Section("", run), _seed(content.get("Args"))
    raise ValueError("it holds no config ('Settings' or 'Upstream_Config'), so its model cannot be built")


def _seed(arguments: Any) -> int | None:
    value = arguments.get("seed") if isinstance(arguments, dict) else None
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _whole(value: Any) -> int:
    if not is_whole(value):
        raise ValueError(f"its step is {short(value, 40)}, expected a whole number")
    return value


def _tensors(content: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    values = content[key]
    if not isinstance(values, dict) or not values or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{key!r} holds a {type(values).__name__}, expected tensors by name")
    return values


def _renamed(encoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The first LayerNorms named their tensors gamma and beta; the originals rename them in the encoder only."""
    names = {name: name.replace(".gamma", ".weight").replace(".beta", ".bias") for name in encoder}
    if len(set(names.values())) < len(names):
        raise ValueError("a LayerNorm has both gamma and weight, or beta and bias")
    return {names[name]: value for name, value in encoder.items()}


def _width(tensors: Mapping[str, Any], name: str, axis: int, rate: int) -> int:
    """Size of one frame in a matrix over `rate` frames side by side."""
    value = tensors.get(name)
    if not isinstance(value, Tensor) or value.ndim != 2:
        raise ValueError(f"tensor {name!r} is missing, or no matrix")
    if rate < 1 or value.shape[axis] % rate or not value.shape[axis]:
        raise ValueError(f"tensor {name!r} has shape {short(list(value.shape))}, no multiple of downsample_rate {rate}")
    return value.shape[axis] // rate


def _weights(encoder: Mapping, head: Mapping | None, config: PretrainConfig) -> dict[str, Tensor]:
    renamed = to_ours(encoder, encoder_names(config.model), aliases(config.model))
    weights = {f"encoder.{name}": value for name, value in renamed.items()}
    if head is not None:
        weights |= {f"head.{name}": value for name, value in to_ours(head, head_names(), {}).items()}
    return weights


def _apc(family: str, model: Apc, content: Mapping[str, Any]) -> Original:
    optimizer = content.get("Optimizer")
    step = _whole(content.get("Step", 0)) if family != "APC" else 0
    return Original(
        family,
        model.config,
        model.weights,
        model.input_dim,
        model.target_dim,
        step,
        cannot_resume="its optimiser is not one of bertadam and lamb" if optimizer else "it holds no optimiser state",
        frame_shift=model.frame_shift,
        seed=_seed(content.get("Args")) if family != "APC" else None,
        stated=dict.fromkeys(("features", "target"), model.features) if model.features else {},
        sources=model.sources,
    )


def without_prefix(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors without the `module.` that DataParallel puts before all of their names."""
    if not all(name.startswith(PREFIX) for name in tensors):
        return dict(tensors)
    return {name.removeprefix(PREFIX): value for name, value in tensors.items()}


def _rounded(tensors: Mapping[str, Any]) -> str:
    """Why training cannot go on exactly from weights that are not of float32; empty where they are."""
    kinds = {str(value.dtype) for value in tensors.values() if isinstance(value, Tensor)} - {str(torch.float32)}
    return f"its weights are {', '.join(sorted(kinds))}, not torch.float32" if kinds else ""
