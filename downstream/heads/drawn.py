"""Layers whose weights are drawn from a generator, as PyTorch draws them."""

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
R = TypeVar("R", nn.GRU, nn.LSTM)


def linear(inputs: int, outputs: int, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """A linear layer with torch's default initialisation, drawn from `generator`."""
    return drawn(nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias), inputs**-0.5, generator)


def recurrent(kind: type[R], inputs: int, outputs: int, generator: torch.Generator) -> R:
    """One layer of a recurrent net over [B, T, inputs], as `linear`."""
    module = kind(inputs, outputs, batch_first=True, device="meta")  # nothing is drawn from elsewhere
    return drawn(module.to_empty(device="cpu"), outputs**-0.5, generator)


def drawn(module: M, bound: float, generator: torch.Generator) -> M:
    """The module, every parameter drawn between `-bound` and `bound`."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return module
