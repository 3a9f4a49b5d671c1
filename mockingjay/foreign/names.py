"""What the originals call the tensors of our models, and in which order their optimisers count them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mockingjay.model.transformer import TransformerConfig
from utility.text import short

PARTS = ("query", "key", "value")
LAYER = {
    "attention.query_key_value": [f"attention.self.{part}" for part in PARTS],
    "attention.output": ["attention.output.dense"],
    "attention_norm": ["attention.output.LayerNorm"],
    "expand": ["intermediate.dense"],
    "contract": ["output.dense"],
    "norm": ["output.LayerNorm"],
}
PRE_NORM_ALIASES = {"attention.LayerNorm": "attention.output.LayerNorm", "LayerNorm": "output.LayerNorm"}
HEAD = {"dense": "dense", "norm": "LayerNorm", "output": "output"}
KINDS = ("weight", "bias")
OUTPUT_NORM = "encoder.LayerNorm"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def encoder_names(config: TransformerConfig) -> dict[str, list[str]]:
    """Our tensors of the encoder, in the originals' order, and theirs, several of which may lie one below the other."""
    names = {
        "projection": ["input_representations.spec_transform"],
        "norm": ["input_representations.LayerNorm"],
    }
    for layer in range(1 if config.share_layers else config.layers):
        names |= {
            f"blocks.{layer}.{ours}": [f"encoder.layer.{layer}.{name}" for name in theirs]
            for ours, theirs in LAYER.items()
        }
    if config.embedding_norm:
        names["embedding_norm"] = [f"{OUTPUT_NORM}.0"]
    if config.pre_layer_norm:
        first = int(config.embedding_norm)
        names |= {f"output_norms.{layer}": [f"{OUTPUT_NORM}.{layer + first}"] for layer in range(config.layers)}
    return {f"{ours}.{kind}": [f"{name}.{kind}" for name in names[ours]] for ours in names for kind in KINDS}


def head_names() -> dict[str, list[str]]:
    """Our tensors of the head and theirs."""
    return {f"{ours}.{kind}": [f"{theirs}.{kind}"] for ours, theirs in HEAD.items() for kind in KINDS}


def aliases(config: TransformerConfig) -> dict[str, str]:
    """Names under which the originals' encoder lists a tensor again, and the name that stands for it."""
    renamed: dict[str, str] = {}
    inner = [name for theirs in LAYER.values() for name in theirs]
    for layer in range(config.layers):
        own = f"encoder.layer.{0 if config.share_layers else layer}"
        if config.share_layers and layer:
            renamed |= {f"encoder.layer.{layer}.{name}": f"{own}.{name}" for name in inner}
        if config.pre_layer_norm:
            renamed |= {f"encoder.layer.{layer}.{name}": f"{own}.{kept}" for name, kept in PRE_NORM_ALIASES.items()}
    return {f"{name}.{kind}": f"{kept}.{kind}" for name, kept in renamed.items() for kind in KINDS}


def to_ours(
    theirs: Mapping[str, Tensor], names: Mapping[str, list[str]], again: Mapping[str, str]
) -> dict[str, Tensor]:
    """Their tensors under our names, as float32; ValueError for one that is missing, extra, of whole numbers, beyond
    float32, or unlike its alias."""
    expected = {name for parts in names.values() for name in parts}
    for name in sorted(expected | again.keys() | theirs.keys()):
        if name not in theirs:
            raise ValueError(f"tensor {short(name)} is missing: the model of its config has it")
        if name not in expected and name not in again:
            raise ValueError(f"tensor {short(name)} is not part of the model of its config")
        if not isinstance(theirs[name], Tensor) or theirs[name].dtype not in FLOATS:
            kind = theirs[name].dtype if isinstance(theirs[name], Tensor) else type(theirs[name]).__name__
            raise ValueError(f"tensor {short(name)} is {kind}, expected torch.float32")
        if theirs[name].dtype == torch.float64 and (theirs[name].abs() > torch.finfo(torch.float32).max).any():
            raise ValueError(f"tensor {name!r} holds numbers beyond float32")
    theirs = {name: value.float() for name, value in theirs.items()}
    for name, kept in again.items():
        if not torch.equal(theirs[name], theirs[kept]):
            raise ValueError(f"tensors {name!r} and {kept!r} differ: by its config they are one")
    for parts in names.values():
        if len({theirs[name].shape for name in parts}) > 1 or not theirs[parts[0]].ndim:
            raise ValueError(f"tensors {', '.join(map(repr, parts))} are not of one shape")
    return {ours: torch.cat([theirs[name] for name in parts]) for ours, parts in names.items()}


def to_theirs(ours: Mapping[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """The encoder's tensors under the originals' names, aliases included."""
    renamed: dict[str, Tensor] = {}
    for name, parts in encoder_names(config).items():
        renamed |= dict(zip(parts, ours[name].chunk(len(parts))))
    return renamed | {name: renamed[kept] for name, kept in aliases(config).items()}


def check_shapes(theirs: Mapping[str, Tensor], names: Mapping[str, list[str]], model: nn.Module) -> None:
    """ValueError where a tensor has another shape than our `model` (perhaps without storage) gives it."""
    own = model.state_dict()
    for ours, parts in names.items():
        for name in parts:
            wanted = [own[ours].shape[0] // len(parts), *own[ours].shape[1:]]
            if list(theirs[name].shape) != wanted:
                raise ValueError(f"tensor {name!r} has shape {short(list(theirs[name].shape))}, by its config {wanted}")


def counted(config: TransformerConfig) -> list[tuple[str, str]]:
    """Pairs of our parameter and one of theirs in it, in the order in which the originals' optimisers count theirs:
    those that decay, then the others, each encoder before head."""
    pairs = [(f"encoder.{ours}", name) for ours, parts in encoder_names(config).items() for name in parts]
    pairs += [(f"head.{ours}", parts[0]) for ours, parts in head_names().items()]
    return sorted(pairs, key=lambda pair: not decays(pair[1]))


def decays(name: str) -> bool:
    """Whether the originals let weight decay act on their tensor `name`; it does on the LayerNorms after the layers."""
    return not any(part in name for part in ("bias", "LayerNorm.weight"))
