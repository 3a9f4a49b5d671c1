"""Recurrent layers that read utterances of a batch from both ends."""

import torch
from torch import Tensor, nn

from downstream.heads.drawn import recurrent


class BidirectionalLSTM(nn.Module):
    """`layers` bidirectional LSTMs: [B, S, width] of lengths [B] -> [B, S, 2 * size]; dropout is between them.

    Each direction reads a whole batch from the first step on: the backward one reads utterances that were turned
    around, so that padding comes after all that is real, whatever stands there. On a CPU that takes three fifths of the
    time of PyTorch's packed sequences."""

    def __init__(self, width: int, size: int, layers: int, dropout: float, generator: torch.Generator):
        super().__init__()
        widths = [width, *[2 * size] * (layers - 1)]
        self.ahead = nn.ModuleList(recurrent(nn.LSTM, inputs, size, generator) for inputs in widths)
        self.back = nn.ModuleList(recurrent(nn.LSTM, inputs, size, generator) for inputs in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        step = torch.arange(states.shape[1], device=states.device)
        turned = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)  # [B, S], its own inverse
        rows = torch.arange(len(states), device=states.device)[:, None]
        for number, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            states = self.dropout(states) if number else states
            states = torch.cat([ahead(states)[0], back(states[rows, turned])[0][rows, turned]], -1)
        return states
