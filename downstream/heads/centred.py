"""An embedding that is not trained: what pools frames, with the mean and the deviation of the training utterances."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Centred(nn.Module):
    """Pooled frames minus `mean` and divided by `deviation`, both [outputs]: 0 and 1 until they are measured."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, pool: Callable[[Tensor, Tensor], Tensor], outputs: int):
        super().__init__()
        self.pool = pool
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features [B, T, D] with true lengths [B] -> embeddings [B, outputs]."""
        return (self.pool(features, lengths) - self.mean) / self.deviation
