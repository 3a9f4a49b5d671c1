"""Discrete targets: the code of each masked frame is predicted (HuBERT, Hsu et al. 2021; BEST-RQ, Chiu et al. 2022)."""

from dataclasses import dataclass
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from mockingjay.objectives.loss import MaskedLoss
from utility.config import section

UNKNOWN = -1  # the code of a frame that has none


@section
class CodesConfig:
    """Where codes come from: a fixed random projection of the frames, or stores of codes that `data.target` names."""

    source: Literal["random_projection", "store"] = "random_projection"
    codebooks: int = pydantic.Field(1, ge=1, le=8)  # a frame has one code of each
    size: int = pydantic.Field(8192, ge=2, le=1 << 20)  # codes of a codebook
    dim: int = pydantic.Field(16, ge=1, le=1 << 12)  # of random_projection: what a frame is projected to

    def __post_init__(self) -> None:
        if self.source == "store" and self.dim != 16:
            raise ValueError(f"dim {self.dim} would change nothing: it is of source random_projection")


@dataclass(frozen=True)
class CodePrediction:
    """Logits [N, C, K] of N masked frames and C codebooks of K codes, and the true codes [N, C], perhaps `UNKNOWN`."""

    logits: Tensor
    codes: Tensor

    def loss(self) -> MaskedLoss:
        """Cross-entropy in nats, summed over the known codes, and how many they are."""
        logits, codes = self.logits.float().flatten(0, 1), self.codes.flatten()
        total = F.cross_entropy(logits, codes, ignore_index=UNKNOWN, reduction="sum")
        return MaskedLoss(total, (codes != UNKNOWN).sum(dtype=torch.float32))

    @property
    def predicted(self) -> Tensor:
        """The most probable codes, int64 [N, C]."""
        return self.logits.argmax(-1)

    def correct(self) -> Tensor:
        """How many of the most probable codes are the true ones."""
        return (self.predicted == self.codes).sum(dtype=torch.float32)


def count_codes(codes: Tensor, size: int) -> Tensor:
    """How often each code of each codebook occurs in codes [N, C]: int64 [C, size]. Those `UNKNOWN` are left out."""
    counts = torch.zeros(codes.shape[1], size + 1, dtype=torch.int64, device=codes.device)
    place = torch.where(codes == UNKNOWN, size, codes.long())
    counts.scatter_add_(1, place.T, torch.ones_like(place.T))
    return counts[:, :size]


@dataclass(frozen=True)
class CodeUse:
    """How the frames of one codebook are spread over its codes."""

    frames: int
    used: float  # share of the codes that occur
    entropy: float  # nats
    perplexity: float  # exp(entropy): as many codes, equally often, would have this entropy
    size: int

    @classmethod
    def of(cls, counts: Tensor) -> "CodeUse":
        """From how often each code occurs, [K]."""
        frames = int(counts.sum())
        share = counts[counts > 0].double() / max(frames, 1)
        entropy = float(-(share * share.log()).sum()) if frames else 0.0
        return cls(
            frames, float((counts > 0).double().mean()), entropy, float(torch.tensor(entropy).exp()), len(counts)
        )

    @property
    def collapsed(self) -> bool:
        """Whether so few codes stand for so many frames that they say next to nothing: a perplexity below 2, or below
        1 % of what it could be."""
        return self.perplexity < max(2.0, 0.01 * min(self.size, self.frames))

    def in_words(self) -> str:
        """For a line."""
        used = f"{100 * self.used:.1f} % of {self.size} codes in use by {self.frames} frames"
        return f"{used}, perplexity {self.perplexity:.1f}"
