"""What has an optimum that can be solved for: one linear layer on frozen states. All else is refused."""

from torch import nn

from downstream.config import ProbeConfig
from downstream.heads.linear import Linears
from utility.text import short

BY_STEPS = "probe.solver=exact solves for one linear layer: leave it out, or set probe.solver=sgd"


def check_linear_config(task: str, config: ProbeConfig, hidden: int = 0) -> None:
    """Raise ValueError for a key that makes the head more than a linear layer, or a task that usually has `hidden`
    layers and is not told otherwise."""
    plain = {
        "hidden_layers": (None, 0),
        "dropout": (0.0,),
        "head": (None, "linear"),
        "projector": (None, 0),
        "pool": (None, "mean", "statistics"),
        "specaug": (None,),
    }
    for name, values in plain.items():
        value = getattr(config, name)
        if value not in values:
            raise ValueError(f"probe.{name}={short(value)}: {BY_STEPS}")
    if config.hidden(hidden):
        raise _more(task)


def check_linear(task: str, head: nn.Module) -> None:
    """Raise ValueError for a head that is more than a linear layer by the task's own choice."""
    if not isinstance(head, Linears) or len(head.linears) != 1:
        raise _more(task)


def _more(task: str) -> ValueError:
    return ValueError(
        f"probe.solver=exact solves for one linear layer, the head of {task} is more than that: set probe.solver=sgd"
    )
