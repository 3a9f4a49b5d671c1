"""The loss of masked frames."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MaskedLoss:
    """Sum of |prediction - truth| over the chosen elements, and how many there are; both scalars."""

    total: Tensor
    count: Tensor

    def mean(self) -> Tensor:
        """L1 over the chosen elements; 0 where nothing was chosen."""
        return self.total / self.count.clamp(min=1)


def masked_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> MaskedLoss:
    """L1 between prediction and truth [B, T', D'] on the elements where `mask` is True (Liu et al. 2020, section 2.2).

    A mask of another size than the truth (the linear spectrogram) counts wholly on every frame where it has any."""
    if truth.shape[-1] != mask.shape[-1]:
        mask = mask.any(-1, keepdim=True).expand_as(truth)
    error = (prediction.float() - truth).abs()
    return MaskedLoss((error * mask).sum(), mask.sum(dtype=torch.float32))
