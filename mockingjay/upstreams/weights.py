"""Names of an upstream's weights: which of them stand below a prefix, as `upstream.freeze` has them."""

from collections.abc import Mapping

from mockingjay.upstreams.base import Upstream


def weights_below(upstream: Upstream, prefix: str) -> set[str]:
    """The names of the parameters that begin with a prefix: one or several parts of a name, as `encoder.layers.0`.

    Names are those inside the model: what all have in common in front may be left out."""
    prefix = prefix.rstrip(".")
    return {
        name
        for name, inner in inner_names(upstream).items()
        if any(one == prefix or one.startswith(f"{prefix}.") for one in inner)
    }


def inner_names(upstream: Upstream) -> Mapping[str, list[str]]:
    """Of each parameter the names that it goes by: its own, and without what all begin with."""
    names = [name for name, _ in upstream.named_parameters()]
    parts = [name.split(".") for name in names]
    common = 0
    while all(len(part) > common + 1 and part[common] == parts[0][common] for part in parts):
        common += 1
    return {name: [".".join(part[k:]) for k in range(common + 1)] for name, part in zip(names, parts)}
