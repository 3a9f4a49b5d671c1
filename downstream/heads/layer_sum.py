"""The learnt sum over the layers of an upstream."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerSum(nn.Module):
    """Softmax-weighted sum over hidden states 0..L; its weights start equal and are trained with the probe.

    The original kept them in the frozen upstream, where they never moved."""

    def __init__(self, layers: int):
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def weights(self) -> Tensor:
        """[L + 1], positive, sum 1; entry 0 belongs to the embedding."""
        return self.scores.softmax(0)

    def forward(self, hidden: Tensor | Sequence[Tensor]) -> Tensor:
        """[B, T, L + 1, H], or L + 1 tensors [B, T, H] -> [B, T, H]."""
        if isinstance(hidden, Tensor):
            return torch.einsum("l,btlh->bth", self.weights(), hidden)
        return sum(weight * state for weight, state in zip(self.weights(), hidden))
