"""Which weights of an upstream are trained when it is tuned."""

import difflib
from collections.abc import Sequence

from torch import nn

from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.weights import inner_names, weights_below
from utility.text import short


def freeze(upstream: Upstream, prefixes: Sequence[str]) -> list[nn.Module]:
    """Keep the weights whose names begin with one of the prefixes; gives the modules that are now frozen whole.

    `weights_below` says what a prefix is. ValueError for a prefix of nothing, and where nothing is left to train."""
    parameters = dict(upstream.named_parameters())
    for prefix in prefixes:
        below = weights_below(upstream, prefix)
        if not below:
            raise ValueError(f"upstream.freeze {short(prefix)}: no weight's name begins so{_near(prefix, upstream)}")
        for name in below:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in upstream.parameters()):
        raise ValueError(f"upstream.freeze {', '.join(prefixes)} leaves no weight of the upstream to train")
    modules = [module for module in upstream.modules() if any(True for _ in module.parameters())]
    return [module for module in modules if not any(parameter.requires_grad for parameter in module.parameters())]


def _near(prefix: str, upstream: Upstream) -> str:
    """The names that one may have meant, else what the parts of the model are called."""
    inner = [other[-1].split(".") for other in inner_names(upstream).values()]
    beginnings = sorted({".".join(part[:k]) for part in inner for k in range(1, len(part) + 1)})
    if close := difflib.get_close_matches(prefix, beginnings, n=2):
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; they begin with {', '.join(sorted({part[0] for part in inner}))}"
