"""The parts of a model that predicts codes: the head, and the fixed quantiser that makes them of frames."""

import torch
from torch import Tensor, nn

CHUNK = 2048  # frames that are compared with every vector at once


class CodeHead(nn.Module):
    """One linear map from a hidden state to the logits of every codebook: [..., H] -> [..., codebooks, size]."""

    def __init__(self, hidden_size: int, codebooks: int, size: int):
        super().__init__()
        self.shape = codebooks, size
        self.output = nn.Linear(hidden_size, codebooks * size)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(x).unflatten(-1, self.shape)


class RandomProjection(nn.Module):
    """Codes of stacked frames by a fixed random projection (BEST-RQ, Chiu et al. 2022, section 3.1).

    A frame [rate * D] is normalised by the mean and deviation [D] of the training data, projected by a matrix that is
    drawn as Xavier's uniform, and gets the number of the unit vector that is nearest by cosine, of each codebook. All
    of it is a buffer: it is drawn once (`draw`), saved with the weights, and never trained."""

    mean: Tensor  # [D]
    deviation: Tensor  # [D]
    projection: Tensor  # [rate * D, dim]
    vectors: Tensor  # [codebooks, size, dim]

    def __init__(self, frame_dim: int, rate: int, codebooks: int, size: int, dim: int):
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(frame_dim))
        self.register_buffer("deviation", torch.ones(frame_dim))
        self.register_buffer("projection", torch.zeros(frame_dim * rate, dim))
        self.register_buffer("vectors", torch.zeros(codebooks, size, dim))

    def draw(self, seed: int) -> None:
        """Draw the projection and the vectors; they depend on the seed and their sizes alone."""
        generator = torch.Generator().manual_seed(seed)
        rows, columns = self.projection.shape
        bound = (6 / (rows + columns)) ** 0.5
        self.projection.copy_((2 * torch.rand(rows, columns, generator=generator) - 1) * bound)
        vectors = torch.randn(self.vectors.shape, generator=generator)
        self.vectors.copy_(vectors / vectors.norm(dim=-1, keepdim=True))

    def normalise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the statistics [D] of the frames; a dimension that never changes keeps a deviation of 1."""
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Codes of stacked frames [N, rate * D]: int64 [N, codebooks].

        In float64: float32 products differ in their last bits between batches, and one frame in a hundred thousand has
        two vectors that are as near."""
        with torch.autocast(frames.device.type, enabled=False):
            mean, deviation = self.mean.double().repeat(self.rate), self.deviation.double().repeat(self.rate)
            projected = (frames.double() - mean) / deviation @ self.projection.double()
            books = [vectors.double().T for vectors in self.vectors]  # [dim, size] each
            # The cosine's denominator is the same for every vector: the largest product is at the nearest.
            near = [torch.stack([(some @ book).argmax(1) for book in books], 1) for some in projected.split(CHUNK)]
            return torch.cat(near)
