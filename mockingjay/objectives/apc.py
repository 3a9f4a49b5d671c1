"""Autoregressive predictive coding (Chung et al. 2019): the frame some steps ahead is predicted."""

import pydantic
import torch
from torch import Tensor

from utility.batches import real_frames
from utility.config import section


@section
class ApcConfig:
    """The objective: predict from frames 0 ... t the frame at t + time_shift."""

    time_shift: int = pydantic.Field(3, ge=1)  # (stacked) frames; 3 is the paper's best, the original's default was 1


def ahead(prediction: Tensor, lengths: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Predictions [B, T, D], made at t for t + shift, at the frame they speak of, and bool [B, T] where there is one.

    Frame t of the result was predicted at t - shift. Only real frames have a truth: the original's loss averaged over
    padding too."""
    time = torch.arange(prediction.shape[1], device=prediction.device)
    known = (time >= shift) & real_frames(lengths, prediction.shape[1])
    return prediction.roll(shift, dims=1) * known[..., None], known
