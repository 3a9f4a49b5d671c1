"""The last state of a recurrent net as the one vector of an utterance."""

import torch
from torch import Tensor, nn

from downstream.heads.drawn import linear, recurrent
from downstream.heads.pooling import real_only


class LastState(nn.Module):
    """The state of a GRU at the last real one of every `skip`-th frame, behind it a linear layer with ReLU if it is
    asked for: [B, T, D] -> [B, size].

    The GRU of the original's RnnClassifier, whose own dropout did nothing: PyTorch applies it between layers."""

    def __init__(self, width: int, size: int, skip: int, hidden: bool, generator: torch.Generator):
        super().__init__()
        self.skip, self.gru = skip, recurrent(nn.GRU, width, size, generator)
        self.linear = linear(size, size, generator) if hidden else None

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """See the class. The net reads forward, so that padding comes after all that is looked at."""
        states, _ = self.gru(real_only(features, lengths)[:, :: self.skip])  # [B, ceil(T / skip), size]
        last = (lengths + self.skip - 1) // self.skip - 1
        state = states[torch.arange(len(states), device=states.device), last]
        return state if self.linear is None else self.linear(state).relu()
