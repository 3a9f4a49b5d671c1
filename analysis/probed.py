"""What finished probes say of one upstream, as functions: probes are of downstream, and whoever runs an analysis opens
them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from analysis.robustness import Loss
from mockingjay.upstreams.base import Upstream


@dataclass(frozen=True)
class Probed:
    """The probes of one upstream; without any both functions are None.

    `score` gives figures by name, whose units are `units`, of the upstream as it is at the moment, heads or spans cut.
    `loss` gives from the clean input [1, ...] of an utterance what attacks on it raise. The others say in words what
    both are of; `key` changes with all that they depend on."""

    score: Callable[[Upstream], Mapping[str, float]] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    scored_by: tuple[Mapping[str, Any], ...] = ()
    loss: Callable[[Tensor], Loss] | None = None
    loss_of: str = ""
    key: str = ""


NO_PROBE = Probed()
