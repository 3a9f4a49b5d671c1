"""Checkpoints of the originals as ours: Mockingjay, S3PRL v0.1.0 and its later pre-training, and APC."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mockingjay.config import PretrainConfig
from mockingjay.foreign.names import KINDS, aliases, check_shapes, encoder_names, head_names, to_ours
from mockingjay.foreign.optimizer import continuation
from mockingjay.foreign.pickles import read_plain, rehearse
from mockingjay.foreign.settings import Block, feature_config, frame_shift, pretrain_config
from mockingjay.model.frame_model import ApcModel, MaskedModel
from utility.audio.features import FeatureConfig
from utility.command import DEFAULT_SEED
from utility.config import as_dict, build
from utility.training.checkpoint import FORMAT

PROJECTION = "input_representations.spec_transform.weight"
LAYER_NUMBER = re.compile(r"encoder\.layer\.(\d+)\.")
RELEASE = re.compile(r"bs\d+-rhl(\d+)-rhs(\d+)-rd(\d*\.?\d+)-\w+?(-res)?-ts(\d+)")
PRENET = re.compile(r"prenet\.layers\.\d+\.weight")
RNN = re.compile(r"rnns\.(\d+)\.(weight|bias)_(ih|hh)_l0")


@dataclass(frozen=True)
class Original:
    """A checkpoint of the originals in our terms; `features` is None where it does not tell them."""

    family: str  # which program wrote it
    config: PretrainConfig
    weights: dict[str, Tensor]  # by our names
    input_dim: int
    target_dim: int
    step: int = 0  # optimiser updates done
    optimizer: dict[str, Any] | None = None  # state_dict of ours
    hindrance: str = ""  # why training cannot go on from it
    features: FeatureConfig | None = None
    target: FeatureConfig | None = None
    frame_shift: float = float("nan")  # seconds; NaN where it does not tell
    seed: int = DEFAULT_SEED

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
            "family": self.family,
            "headless": not self.has_head,
            "hindrance": self.hindrance,
        }


def is_ours(path: Path) -> bool:
    """Whether a torch file says that this project wrote it; errors as in `read_original`."""
    found = rehearse(path)
    return isinstance(found, dict) and "format" in found


def read_original(path: Path) -> Original:
    """Open a checkpoint of the originals by what it holds, never by its name; nothing in it runs.

    ValueError, in one line: damaged, of another program, a type that is not inert, a tensor missing, extra or of
    another shape than its config says."""
    found = read_plain(path)
    try:
        if not isinstance(found, dict):
            raise ValueError(f"checkpoint of another program: a {type(found).__name__}, expected {_expected()}")
        if all(isinstance(key, str) for key in found):
            if "Transformer" in found or "Mockingjay" in found:
                return _transformer(found)
            if any(RNN.fullmatch(key) for key in found):
                return _apc(found, path.stem)
        held = ", ".join(str(key)[:40] for key in list(found)[:6]) or "nothing"
        raise ValueError(f"checkpoint of another program: it holds {held}; expected {_expected()}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _expected() -> str:
    return f"format {FORMAT!r}, or a checkpoint of Mockingjay, S3PRL or APC"


def _transformer(found: Mapping[str, Any]) -> Original:
    family, config, task, run, seed = _settings(found)
    encoder = _renamed(_tensors(found, "Transformer" if "Transformer" in found else "Mockingjay"))
    head = _tensors(found, "SpecHead") if "SpecHead" in found else None
    block = config.block("transformer" if "transformer" in config.values else "mockingjay")
    rate = block.get("downsample_rate", int, 1)
    duo = run.block("runner" if "runner" in run.values else "solver").get("duo_feature", bool, False)
    input_dim = _width(encoder, PROJECTION, 1, rate)
    target_dim = _width(head, "output.weight", 0, rate) if head else input_dim
    ours = pretrain_config(config, task, run, input_dim, duo)
    layers = {int(match[1]) for match in map(LAYER_NUMBER.match, encoder) if match}
    if ours.model.layers != len(layers):
        raise ValueError(f"its config says {ours.model.layers} layers, its weights have {len(layers)}")
    weights = _weights(encoder, head, ours)
    try:
        with torch.device("meta"):
            model = MaskedModel(ours.model, input_dim, target_dim)
    except RuntimeError:
        raise ValueError("the sizes in its config are beyond any memory") from None
    check_shapes(encoder, encoder_names(ours.model), model.encoder)
    if head is not None:
        check_shapes(head, head_names(), model.head)
    step = _whole(found.get("Global_step", found.get("Step", 0)))
    after = continuation(found.get("Optimizer") if head else None, step, ours, model)
    hindrance = after.hindrance
    if task.get("loss", str, "L1") != "L1":
        hindrance = f"it was trained with the loss {task.get('loss', str, 'L1')}"
    data = config.block("dataloader")
    path = data.get("data_path", str, "")
    audio = next((config.block(key) for key in ("online", "audio") if config.values.get(key)), Block("audio", {}))
    computed = bool(audio.values)
    return Original(
        family,
        after.config,
        weights,
        input_dim,
        target_dim,
        after.step,
        None if hindrance else after.optimizer,
        hindrance,
        None if computed else feature_config(path, input_dim),
        None if computed else feature_config(data.get("target_path", str, "") if duo else path, target_dim),
        frame_shift(path, audio),
        seed,
    )


def _settings(found: Mapping[str, Any]) -> tuple[str, Block, Block, Block, int]:
    """Which program wrote it, the blocks of the model, of the task and of the run, and its seed."""
    if "Settings" in found:
        settings = Block("Settings", found["Settings"])
        config = settings.block("Config")
        family = "S3PRL v0.1.0" if "transformer" in config.values else "Mockingjay"
        return family, config, Block("task", {}), config, _seed(settings.values.get("Paras"))
    for key in ("Upstream_Config", "Config"):
        if isinstance(found.get(key), dict) and "transformer" in found[key]:
            config = Block("", found[key])
            run = found.get("Runner") or found.get("Config") or {}
            return "S3PRL pre-training", config, config.block("task"), Block("", run), _seed(found.get("Args"))
    raise ValueError("it holds no config ('Settings' or 'Upstream_Config'), so its model cannot be built")


def _seed(arguments: Any) -> int:
    value = arguments.get("seed") if isinstance(arguments, dict) else None
    return value if type(value) is int and 0 <= value < 1 << 63 else DEFAULT_SEED


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(f"its step is {str(value)[:40]}, expected a whole number")
    return value


def _tensors(found: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    values = found[key]
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
        raise ValueError(f"tensor {name!r} has shape {list(value.shape)}, no multiple of downsample_rate {rate}")
    return value.shape[axis] // rate


def _weights(encoder: Mapping, head: Mapping | None, config: PretrainConfig) -> dict[str, Tensor]:
    found = to_ours(encoder, encoder_names(config.model), aliases(config.model))
    weights = {f"encoder.{name}": value for name, value in found.items()}
    if head is not None:
        weights |= {f"head.{name}": value for name, value in to_ours(head, head_names(), {}).items()}
    return weights


def _apc(found: Mapping[str, Tensor], stem: str) -> Original:
    """A bare state dict: sizes from the shapes; residual and shift from a release's file name, else as released."""
    layers = len({match[1] for match in map(RNN.fullmatch, found) if match})
    prenet = sum(PRENET.fullmatch(name) is not None for name in found)
    names = {f"encoder.prenet.{i}.{kind}": [f"prenet.layers.{i}.{kind}"] for i in range(prenet) for kind in KINDS}
    names |= {
        f"encoder.rnns.{i}.{kind}_{way}_l0": [f"rnns.{i}.{kind}_{way}_l0"]
        for i in range(layers)
        for kind in KINDS
        for way in ("ih", "hh")
    }
    names |= {f"head.{kind}": [f"postnet.layer.{kind}"] for kind in KINDS}
    weights = to_ours({name: _matrix(value) for name, value in found.items()}, names, {})
    if any(value.ndim == 0 or 0 in value.shape for value in weights.values()):
        raise ValueError("a tensor of it is empty")
    input_dim = weights["encoder.prenet.0.weight" if prenet else "encoder.rnns.0.weight_ih_l0"].shape[-1]
    target_dim, hidden = len(weights["head.weight"]), weights["encoder.rnns.0.weight_hh_l0"].shape[-1]
    values = {"layers": layers, "hidden_size": hidden, "prenet_layers": prenet}
    released, shift = _released(stem, values)
    config = build(PretrainConfig, {"objective": "apc", "encoder": "gru", "gru": values | released, "apc": shift})
    with torch.device("meta"):
        model = ApcModel(config.gru, input_dim, target_dim)
    check_shapes({name: _matrix(value) for name, value in found.items()}, names, model)
    return Original("APC", config, weights, input_dim, target_dim, hindrance="it holds no optimiser state")


def _matrix(value: Any) -> Any:
    """A convolution of kernel 1 is a matrix."""
    return value.squeeze(2) if isinstance(value, Tensor) and value.ndim == 3 and value.shape[2] == 1 else value


def _released(stem: str, sizes: Mapping[str, int]) -> tuple[dict, dict]:
    """What the file name of a release says beyond the sizes, which must agree with it."""
    match = RELEASE.fullmatch(stem)
    if match is None:
        return {}, {}
    for key, number in (("layers", match[1]), ("hidden_size", match[2])):
        if sizes[key] != int(number):
            raise ValueError(f"its name says {key} {number}, its tensors {sizes[key]}")
    return {"dropout": float(match[3]), "residual": match[4] is not None}, {"time_shift": int(match[5])}
