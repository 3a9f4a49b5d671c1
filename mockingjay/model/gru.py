"""Autoregressive predictive coding (Chung et al. 2019): a stack of GRUs that predicts a frame some steps ahead."""

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mockingjay.model.attention import Dropout
from utility.config import section


@section
class GruConfig:
    """The recurrent encoder; the defaults are those of the released APC models."""

    layers: int = pydantic.Field(3, ge=1, le=1000)
    hidden_size: int = pydantic.Field(512, ge=1, le=1 << 17)
    prenet_layers: int = pydantic.Field(0, ge=0, le=1000)  # linear layers with ReLU before the GRUs
    residual: bool = True  # add a layer's input to its output where the sizes agree
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)  # between the GRUs
    # After each layer of the prenet. Fingerprints are made of the repr: it says nothing that changes no representation.
    prenet_dropout: float = pydantic.Field(0.0, ge=0, lt=1, repr=False)

    def __post_init__(self) -> None:
        if self.prenet_dropout and not self.prenet_layers:
            raise ValueError(f"prenet_dropout {self.prenet_dropout} would change nothing with prenet_layers 0")


# There autocast makes float16 of a GRU, also where bfloat16 is asked for, and small gradients become 0.
NO_AUTOCAST = ("cuda",)


class GruEncoder(nn.Module):
    """Frames [B, T, D] -> hidden states, each [B, T, hidden_size]: entry k is the output of GRU k after its residual.

    Entry 0 is the prenet's output; without a prenet it is the input itself, cut or filled with zeros to hidden_size.
    A GRU only looks back, so padding behind an utterance changes none of its frames and lengths come in any order;
    values at padding are meaningless."""

    def __init__(self, config: GruConfig, input_dim: int):
        super().__init__()
        self.hidden_size, self.num_layers, self.residual = config.hidden_size, config.layers, config.residual
        widths = [input_dim] + [config.hidden_size] * config.prenet_layers
        self.prenet = nn.ModuleList(nn.Linear(a, config.hidden_size) for a in widths[:-1])
        widths = [widths[-1]] + [config.hidden_size] * (config.layers - 1)
        self.rnns = nn.ModuleList(nn.GRU(width, config.hidden_size, batch_first=True) for width in widths)
        self.dropout, self.prenet_dropout = Dropout(config.dropout), Dropout(config.prenet_dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        for layer in self.prenet:
            x = self.prenet_dropout(F.relu(layer(x)))
        states = [x if self.prenet else F.pad(x, (0, self.hidden_size - x.shape[-1]))]
        for index, rnn in enumerate(self.rnns):
            out = _without_autocast(rnn, x) if x.device.type in NO_AUTOCAST else rnn(x)[0]
            if index + 1 < self.num_layers:
                out = self.dropout(out)
            x = out + x if self.residual and out.shape == x.shape else out
            states.append(x)
        return tuple(states)


def _without_autocast(rnn: nn.Module, x: Tensor) -> Tensor:
    """The GRU's output in the precision of its weights."""
    with torch.autocast(x.device.type, enabled=False):
        return rnn(x.to(next(rnn.parameters()).dtype))[0]
