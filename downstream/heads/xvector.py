"""The x-vector (Snyder et al. 2018), as SUPERB trains it, and its loss: AM-softmax (Wang et al. 2018)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.heads.drawn import drawn, linear
from downstream.heads.pooling import real_only, statistics_pool

WIDTH, WIDE = 512, 1500  # of all layers, and of the last one before the frames are pooled
CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))  # frames that a layer joins, and the distance between them
LOST = sum((frames - 1) * distance for frames, distance in CONTEXTS)  # 14: layers do not pad
SHORTEST = LOST + 2  # frames
SCALE, MARGIN = 30.0, 0.4


class XVector(nn.Module):
    """Five layers over time, mean and deviation of what they give, and a layer more: its output is the embedding.

    For training two layers compare that with a direction for each speaker. Layers are `width` wide, the last before
    pooling in proportion. Weights are drawn from `generator`."""

    def __init__(self, inputs: int, speakers: int, generator: torch.Generator, width: int = WIDTH):
        super().__init__()
        wide = round(WIDE * width / WIDTH)
        self.projector = linear(inputs, width, generator)
        outputs = [width] * (len(CONTEXTS) - 1) + [wide]
        self.layers = nn.ModuleList(
            drawn(
                nn.utils.skip_init(nn.Conv1d, width, size, frames, dilation=distance),
                (width * frames) ** -0.5,
                generator,
            )
            for size, (frames, distance) in zip(outputs, CONTEXTS)
        )
        self.embedding = linear(2 * wide, width, generator)
        self.hidden = linear(width, width, generator)
        self.directions = nn.Parameter(torch.empty(speakers, width).normal_(generator=generator))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features [B, T, D] with true lengths [B] -> embeddings [B, width]; in training their cosines with the
        speakers [B, speakers], after the two layers of training."""
        features, lengths = repeated(features, lengths)
        hidden = self.projector(features).transpose(1, 2)  # [B, width, T]
        for layer in self.layers:
            hidden = F.relu(layer(hidden))
        embedding = F.relu(self.embedding(statistics_pool(hidden.transpose(1, 2), lengths - LOST)))
        if not self.training:
            return embedding
        return F.normalize(F.relu(self.hidden(embedding)), dim=1) @ F.normalize(self.directions, dim=1).T


def repeated(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [B, T, D] without what stands in the padding; shorter utterances are repeated up to `SHORTEST` frames."""
    features = F.pad(real_only(features, lengths), (0, 0, 0, max(SHORTEST - features.shape[1], 0)))
    time = torch.arange(SHORTEST, device=lengths.device).expand(len(lengths), -1)
    source = torch.where(lengths[:, None] < SHORTEST, time % lengths[:, None].clamp(min=1), time)
    first = features.gather(1, source[..., None].expand(-1, -1, features.shape[2]))
    return torch.cat([first, features[:, SHORTEST:]], 1), lengths.clamp(min=SHORTEST)


def am_softmax(cosines: Tensor, speaker: Tensor) -> Tensor:
    """Cross-entropy of scaled cosines [B, C], that of the true speaker [B] less the margin; a scalar."""
    margin = MARGIN * F.one_hot(speaker, cosines.shape[1])
    return F.cross_entropy(SCALE * (cosines - margin), speaker)
