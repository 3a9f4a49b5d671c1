"""Which weights of an upstream are trained when it is tuned."""

import difflib
from collections.abc import Mapping, Sequence

from torch import nn

from mockingjay.upstreams.base import Upstream
from utility.text import short


def freeze(upstream: Upstream, prefixes: Sequence[str]) -> list[nn.Module]:
    """Keep the weights whose names begin with one of the prefixes; gives the modules that are now frozen whole.

    A prefix is one or several parts of a name, as `encoder.layers.0`. Names are those inside the model: what all have
    in common in front may be left out. ValueError for a prefix of nothing, and where nothing is left to train."""
    names = _names(upstream)
    for prefix in prefixes:
        if not any(_begins(name, prefix) for inner in names.values() for name in inner):
            raise ValueError(f"upstream.freeze {short(prefix)}: no weight's name begins so{_near(prefix, names)}")
    for name, parameter in upstream.named_parameters():
        if any(_begins(inner, prefix) for inner in names[name] for prefix in prefixes):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in upstream.parameters()):
        raise ValueError(f"upstream.freeze {', '.join(prefixes)} leaves no weight of the upstream to train")
    modules = [module for module in upstream.modules() if any(True for _ in module.parameters())]
    return [module for module in modules if not any(parameter.requires_grad for parameter in module.parameters())]


def _names(upstream: Upstream) -> Mapping[str, list[str]]:
    """Of each weight the names that it goes by: its own, and without what all begin with."""
    names = [name for name, _ in upstream.named_parameters()]
    parts = [name.split(".") for name in names]
    common = 0
    while all(len(part) > common + 1 and part[common] == parts[0][common] for part in parts):
        common += 1
    return {name: [".".join(part[k:]) for k in range(common + 1)] for name, part in zip(names, parts)}


def _begins(name: str, prefix: str) -> bool:
    prefix = prefix.rstrip(".")
    return name == prefix or name.startswith(f"{prefix}.")


def _near(prefix: str, names: Mapping[str, list[str]]) -> str:
    """The names that one may have meant, else what the parts of the model are called."""
    inner = [other[-1].split(".") for other in names.values()]
    beginnings = sorted({".".join(part[:k]) for part in inner for k in range(1, len(part) + 1)})
    if close := difflib.get_close_matches(prefix, beginnings, n=2):
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; they begin with {', '.join(sorted({part[0] for part in inner}))}"
