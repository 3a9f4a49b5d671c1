"""Outputs for CTC: a score of every unit at every step, by linear layers with or without recurrent ones between."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from downstream.heads.bidirectional import BidirectionalLSTM
from downstream.heads.drawn import linear
from utility.batches import real_frames


@dataclass
class Emissions:
    """Logits [B, S, V] of the units at each step, of which each utterance has so many (`lengths` [B]).

    `found` are the texts that were recognised in each utterance with their scores, the best first, once somebody has
    asked for them: a search may take long."""

    logits: Tensor
    lengths: Tensor
    found: list[list[tuple[str, float]]] = field(default_factory=list)

    def log_probabilities(self) -> Tensor:
        """Natural logarithms [B, S, V], float32."""
        return self.logits.float().log_softmax(-1)


def stack_frames(features: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Join `size` frames to one step: [B, T, D] of lengths [B] -> [B, ceil(T / size), size * D] of [B].

    The last real frame is repeated where it takes more to complete a step, so that padding has no part in any. Steps
    beyond an utterance hold zeros."""
    batch, frames, width = features.shape
    steps = -(-frames // size)
    index = torch.arange(steps * size, device=features.device).expand(batch, -1)
    index = torch.minimum(index, (lengths - 1)[:, None]).clamp(min=0)
    rows = torch.arange(batch, device=features.device)[:, None]
    stacked = features[rows, index].view(batch, steps, size * width)
    count = torch.div(lengths + size - 1, size, rounding_mode="floor")
    return stacked.masked_fill(~real_frames(count, steps)[..., None], 0), count


class RecognitionHead(nn.Module):
    """A linear layer (`projector` wide, 0: none), `layers` bidirectional LSTMs (0: none), and the output layer.

    Nothing is between projector and output, as in SUPERB. Dropout is behind each LSTM, of which the originals have it;
    without LSTMs before each linear layer. Weights are drawn from `generator`."""

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        stack: int,
        projector: int,
        hidden: int,
        layers: int,
        dropout: float,
        generator: torch.Generator,
    ):
        super().__init__()
        self.stack = stack
        self.dropout = nn.Dropout(dropout)
        wide = width * stack
        self.projector = linear(wide, projector, generator) if projector else None
        wide = projector or wide
        self.recurrent = BidirectionalLSTM(wide, hidden, layers, dropout, generator) if layers else None
        self.output = linear(2 * hidden if layers else wide, outputs, generator)

    def forward(self, features: Tensor, lengths: Tensor) -> Emissions:
        """Hidden states [B, T, width] of lengths [B]; what stands on padding plays no part."""
        states, steps = stack_frames(features, lengths, self.stack)
        if self.projector is not None:
            states = self.projector(states if self.recurrent is not None else self.dropout(states))
        if self.recurrent is not None:
            states = self.recurrent(states, steps)
        return Emissions(self.output(self.dropout(states)), steps)
