"""APC in our terms: bare state dicts of the original, and checkpoints of S3PRL's own pre-training of it."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from mockingjay.build import empty_model
from mockingjay.config import PretrainConfig
from mockingjay.foreign.assumptions import FLAG, Assumptions
from mockingjay.foreign.names import KINDS, check_shapes, to_ours
from mockingjay.foreign.settings import Section, definition
from utility.config import build

RELEASE = re.compile(r"bs\d+-rhl(\d+)-rhs(\d+)-rd(\d*\.?\d+)-\w+?(-res)?-ts(\d+)")
PRENET = re.compile(r"prenet\.layers\.\d+\.weight")
RNN = re.compile(r"rnns\.(\d+)\.(weight|bias)_(ih|hh)_l0")
S3PRL_RNN = re.compile(r"rnn_layers\.(\d+)\.(weight|bias)_(ih|hh)_l0")
BY_NAME, BY_USER, BY_DEFAULT = "by the name of the file", f"by {FLAG}", "not stated: the default"


class Apc(NamedTuple):
    """A model of GRUs; `sources` say how residual and shift are known where the file does not state them."""

    config: PretrainConfig
    weights: dict[str, Tensor]  # by our names
    input_dim: int
    target_dim: int
    sources: dict[str, str]
    frame_shift: float | None = None  # seconds
    features: str | None = None  # their definition as text, where it states one


def from_state_dict(content: Mapping[str, Any], stem: str, assume: Assumptions) -> Apc:
    """A bare state dict: sizes from the shapes; residual and shift from a release's file name, or as assumed.

    ValueError where nobody says whether its layers are residual."""
    layers = len({match[1] for match in map(RNN.fullmatch, content) if match})
    prenet = sum(PRENET.fullmatch(name) is not None for name in content)
    names = {f"encoder.prenet.{i}.{kind}": [f"prenet.layers.{i}.{kind}"] for i in range(prenet) for kind in KINDS}
    names |= _recurrent_names("rnns", layers)
    names |= {f"head.{kind}": [f"postnet.layer.{kind}"] for kind in KINDS}
    weights, input_dim, target_dim = _weights(content, names)
    values = {"layers": layers, "hidden_size": _hidden(weights), "prenet_layers": prenet}
    released, told = _released(stem, values)
    assume.check({**{key: getattr(assume, key) for key in ("residual", "shift")}, **told}, f"{stem}.pt", "its name")
    sources = dict.fromkeys(told, BY_NAME) | {key: BY_USER for key in assume.given() if key not in told}
    told = {**assume.given(), **told}
    if "residual" not in told:
        raise ValueError(
            "an APC state dict, which does not say whether its layers are residual: add "
            f"{FLAG} residual=true or {FLAG} residual=false (and shift=N, the frames ahead that it predicts); in "
            "Python assume={'residual': True}, of get_apc_model residual=True"
        )
    shift = {"time_shift": told["shift"]} if "shift" in told else {}
    sources |= {} if shift else {"shift": BY_DEFAULT}
    gru = values | released | {"residual": told["residual"]}
    config = _config(gru, shift)
    _check(content, names, config, input_dim, target_dim)
    return Apc(config, weights, input_dim, target_dim, sources)


def is_of_s3prl(content: Mapping[str, Any]) -> bool:
    """Whether it is what S3PRL's pre-training of APC, VQ-APC or NPC saves."""
    return isinstance(content.get("model"), dict) and isinstance(_settings(content), dict)


def from_s3prl(content: Mapping[str, Any]) -> Apc:
    """A checkpoint of S3PRL's APC, which states all; VQ-APC and NPC are a ValueError that names them."""
    config = Section("config", _settings(content))
    paras = config.section("model").section("paras")
    tensors = content["model"]
    if any(name.startswith(("masked_convs.", "blocks.")) for name in tensors):
        raise ValueError("an NPC checkpoint of S3PRL: there is no such model here")
    if paras.values.get("vq") or any(name.startswith("vq_layers.") for name in tensors):
        raise ValueError("a VQ-APC checkpoint of S3PRL: there is no such model here")
    layers = len({match[1] for match in map(S3PRL_RNN.fullmatch, tensors) if match})
    if not layers or paras.get("num_layers", int) != layers:
        raise ValueError(f"its config says {paras.get('num_layers', int)} layers, its weights have {layers}")
    names = _recurrent_names("rnn_layers", layers) | {f"head.{kind}": [f"postnet.{kind}"] for kind in KINDS}
    weights, input_dim, target_dim = _weights(tensors, names)
    gru = {
        "layers": layers,
        "hidden_size": paras.get("hidden_size", int),
        "dropout": paras.get("dropout", float),
        "residual": paras.get("residual", bool),
    }
    ours = _config(gru, {"time_shift": config.section("task").get("n_future", int)})
    _check(tensors, names, ours, input_dim, target_dim)
    audio = Section("audio", config.section("data").section("audio").values)
    features = definition(audio, "input") if audio.values else None
    shift = audio.get("frame_shift", float) / 1000 if "frame_shift" in audio.values else None
    return Apc(ours, weights, input_dim, target_dim, {}, shift, features)


def _settings(content: Mapping[str, Any]) -> Any:
    """The block that S3PRL writes beside such a model."""
    config = content.get("config") or content.get("Upstream_Config")
    return config if isinstance(config, dict) and isinstance(config.get("model"), dict) else None


def _recurrent_names(theirs: str, layers: int) -> dict[str, list[str]]:
    ends = [f"{kind}_{way}_l0" for kind in KINDS for way in ("ih", "hh")]
    return {f"encoder.rnns.{i}.{end}": [f"{theirs}.{i}.{end}"] for i in range(layers) for end in ends}


def _weights(content: Mapping[str, Any], names: Mapping[str, list[str]]) -> tuple[dict[str, Tensor], int, int]:
    """The tensors by our names, and the sizes of a frame that goes in and of one that is predicted."""
    weights = to_ours({name: _matrix(value) for name, value in content.items()}, names, {})
    if any(value.ndim == 0 or 0 in value.shape for value in weights.values()):
        raise ValueError("a tensor of it is empty")
    first = "encoder.prenet.0.weight" if "encoder.prenet.0.weight" in weights else "encoder.rnns.0.weight_ih_l0"
    return weights, weights[first].shape[-1], len(weights["head.weight"])


def _hidden(weights: Mapping[str, Tensor]) -> int:
    return weights["encoder.rnns.0.weight_hh_l0"].shape[-1]


def _config(gru: Mapping[str, Any], shift: Mapping[str, Any]) -> PretrainConfig:
    return build(PretrainConfig, {"objective": "apc", "encoder": "gru", "gru": gru, "apc": shift})


def _check(content: Mapping, names: Mapping, config: PretrainConfig, input_dim: int, target_dim: int) -> None:
    """ValueError where a tensor has another shape than the model of the config."""
    model = empty_model(config, input_dim, target_dim)
    check_shapes({name: _matrix(value) for name, value in content.items()}, names, model)


def _matrix(value: Any) -> Any:
    """A convolution of kernel 1 is a matrix."""
    return value.squeeze(2) if isinstance(value, Tensor) and value.ndim == 3 and value.shape[2] == 1 else value


def _released(stem: str, sizes: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the file name of a release says: of the GRUs, and of what may be assumed; its sizes must be right."""
    match = RELEASE.fullmatch(stem)
    if match is None:
        return {}, {}
    for key, number in (("layers", match[1]), ("hidden_size", match[2])):
        if sizes[key] != int(number):
            raise ValueError(f"its name says {key} {number}, its tensors {sizes[key]}")
    return {"dropout": float(match[3])}, {"residual": match[4] is not None, "shift": int(match[5])}
