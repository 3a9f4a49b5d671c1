"""What makes one vector of the frames of an utterance."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from downstream.heads.drawn import linear
from utility.batches import real_frames

Pool = Callable[[Tensor, Tensor], Tensor]  # frames [B, T, D] with true lengths [B] -> [B, outputs]
VARIANCE_FLOOR = 1e-6  # under the root, whose slope at 0 is infinite


def mean_pool(features: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the real frames of each utterance (the original averaged padding too): [B, T, D] -> [B, D]."""
    return real_only(features, lengths).sum(1) / lengths[:, None]


def statistics_pool(features: Tensor, lengths: Tensor) -> Tensor:
    """Mean and population deviation over the real frames of each utterance: [B, T, D] -> [B, 2 D].

    S3PRL's `sv_voxceleb1` counted one padded frame as real."""
    mean = mean_pool(features, lengths)
    distance = real_only(features - mean[:, None], lengths)
    return torch.cat([mean, (distance.square().sum(1) / lengths[:, None] + VARIANCE_FLOOR).sqrt()], 1)


class AttentivePool(nn.Module):
    """The sum of an utterance's real frames, weighted by softmax over time of w . relu(W x + b): [B, T, D] -> [B, D].

    S3PRL's `AttentivePooling` added a mask of 0 and 1 to the scores, so that padding was attended to."""

    def __init__(self, width: int, generator: torch.Generator):
        super().__init__()
        self.hidden = linear(width, width, generator)
        self.score = linear(width, 1, generator, bias=False)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        features = real_only(features, lengths)
        scores = self.score(self.hidden(features).relu())[..., 0]  # [B, T]
        weights = scores.masked_fill(~real_frames(lengths, features.shape[1]), -torch.inf).softmax(1)
        return torch.einsum("bt,btd->bd", weights, features)


class Projected(nn.Module):
    """What pools frames behind a linear layer, without an activation between: [B, T, D] -> [B, outputs of `pool`]."""

    def __init__(self, width: int, size: int, pool: Pool, dropout: float, generator: torch.Generator):
        super().__init__()
        self.projector, self.pool = linear(width, size, generator), pool
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        return self.pool(self.projector(self.dropout(real_only(features, lengths))), lengths)


def real_only(features: Tensor, lengths: Tensor) -> Tensor:
    """Zeros in the place of padding [B, T, D], whatever stands there: not even its gradient is touched by a NaN."""
    return features.masked_fill(~real_frames(lengths, features.shape[1])[..., None], 0)
