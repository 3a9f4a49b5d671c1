"""SpecAugment on hidden states: stretches of frames, and of dimensions, that training does not see."""

import torch
from torch import Tensor


def mask_states(
    states: Tensor,
    lengths: Tensor,
    generator: torch.Generator,
    *,
    time: int,
    time_width: int,
    dims: int,
    dims_width: int,
) -> Tensor:
    """Zeros in `time` stretches of 0 to `time_width` frames and `dims` bands of 0 to `dims_width` dimensions.

    States [B, T, D] of lengths [B]; each utterance has its own draws, whose stretches lie on its real frames. Park et
    al., "SpecAugment", Interspeech 2019, without the warp of time."""
    frames, width = states.shape[1:]
    full = torch.full_like(lengths, width)
    hidden = _stretches(lengths, frames, time, time_width, generator)[:, :, None]  # [B, T, 1]
    bands = _stretches(full, width, dims, dims_width, generator)[:, None, :]  # [B, 1, D]
    return states.masked_fill(hidden | bands, 0)


def _stretches(lengths: Tensor, size: int, count: int, widest: int, generator: torch.Generator) -> Tensor:
    """Bool [B, size], True in `count` stretches of each row, below its length."""
    draws = torch.rand(2, len(lengths), count, generator=generator).to(lengths.device, non_blocking=True)
    lengths = lengths[:, None]
    widths = torch.minimum((draws[0] * (widest + 1)).long(), lengths)
    starts = (draws[1] * (lengths - widths + 1)).long()  # [B, count]
    place = torch.arange(size, device=lengths.device)
    inside = (place >= starts[..., None]) & (place < (starts + widths)[..., None])  # [B, count, size]
    return inside.any(1)
