"""Linear layers behind what gathers frames, and the frames side by side that one of them sees."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.heads.drawn import linear


def join_context(features: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Put `size` frames (odd) side by side: [B, T, D] -> [B, T, size * D].

    Slot k of frame t holds frame t + (size - 1) / 2 - k (future first, as S3PRL v0.1.0 orders them). Beyond the first
    and the last real frame that edge frame is repeated; the original repeated the last frame of the padded batch."""
    if size == 1:
        return features
    batch, frames, width = features.shape
    time = torch.arange(frames, device=features.device)
    offsets = size // 2 - torch.arange(size, device=features.device)
    wanted = (time[:, None] + offsets).expand(batch, frames, size)
    index = torch.minimum(wanted, (lengths - 1)[:, None, None]).clamp(min=0)
    rows = torch.arange(batch, device=features.device)[:, None, None]
    return features[rows, index].reshape(batch, frames, size * width)


class Linears(nn.Module):
    """Linear layers, ReLU between them and dropout before each, on what `gather` makes of features and lengths.

    `sizes` are the widths from input to output. Weights are drawn from `generator`. The scores of a `solved` head do
    not depend on which float32 products the process has chosen: they are made of float64 ones."""

    def __init__(
        self,
        gather: Callable[[Tensor, Tensor], Tensor],
        sizes: Sequence[int],
        dropout: float,
        generator: torch.Generator,
        solved: bool = False,
    ):
        super().__init__()
        self.gather, self.solved = gather, solved
        self.dropout = nn.Dropout(dropout)
        self.linears = nn.ModuleList(linear(a, b, generator) for a, b in pairwise(sizes))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features [B, T, D] with true lengths [B] -> [B, T, outputs], which mean nothing at padded frames; or
        [B, outputs] where `gather` pools."""
        hidden = self.gather(features, lengths)
        for layer in self.linears[:-1]:
            hidden = F.relu(layer(self.dropout(hidden)))
        last = self.linears[-1]
        assert isinstance(last, nn.Linear), "all of them are"
        if self.solved and not self.training:
            return F.linear(hidden.double(), last.weight.double(), last.bias.double()).float()
        return last(self.dropout(hidden))
