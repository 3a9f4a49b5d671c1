"""Scaled dot-product attention over real frames, and dropout, each by the fastest way the device has."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mockingjay.model.cpu_attention import BlockedAttention, DropoutMask, RecomputedDropout
from mockingjay.model.layout import Scope

WEIGHTS = 1 << 24  # of attention, computed at a time where no fused kernel does: 64 MB


def attend(query: Tensor, key: Tensor, value: Tensor, scope: Scope, dropout: float = 0.0) -> Tensor:
    """softmax(query key^T / sqrt(d)) value over the keys in `scope` (Vaswani et al. 2017, eq. 1).

    query, key, value and the result are [B, heads, T, d]; `dropout` falls on the softmax. PyTorch's fused kernels do it
    on CUDA, and forward. Its CPU kernel goes backward at a tenth of the machine's rate and knows no dropout, so there
    each thread takes some heads: matrix products, and between them softmax and dropout in one pass. Only the scores of
    those heads exist at a time; backward computes them again. Spans that are cut go the plain way."""
    mask = None if scope.mask is None else scope.mask[:, None]
    if scope.radius is not None:
        return attend_near(query, key, value, mask, scope.radius, dropout)
    forward_only = not dropout and not torch.is_grad_enabled()
    if query.device.type != "cpu" or forward_only or query.dtype not in (torch.float32, torch.bfloat16):
        is_causal = mask is None and scope.causal
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal)
    return BlockedAttention.apply(query, key, value, scope, DropoutMask.draw(dropout, query.shape[0] * query.shape[1]))


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(query key^T / sqrt(d)), [..., n, T], of n queries and T keys of width d.

    `mask` is what PyTorch's kernels take: bool, True where a query may look at a key, or numbers to add."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def attend_near(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, radius: int, dropout: float = 0.0
) -> Tensor:
    """Attention [B, heads, T, d] whose weights of keys further than `radius` frames are 0 behind the softmax; the rest
    of a row stays as it is (Yang et al. 2020, arXiv 2006.03265). Some queries at a time, in plain operations."""
    time, parts = torch.arange(key.shape[-2], device=key.device), []
    for rows in query_blocks(len(time), query.shape[:-2].numel() * len(time)):
        part = None if mask is None else queries_of(mask, rows)
        weights = attention_weights(query[..., rows, :], key, part)
        far = (time[rows, None] - time).abs() > radius
        parts.append(F.dropout(weights.masked_fill(far, 0), dropout) @ value)
    return torch.cat(parts, dim=-2)


def query_blocks(queries: int, weights: int) -> Iterator[slice]:
    """Slices of consecutive queries, each with no more than `WEIGHTS` weights where one query has so many."""
    size = max(WEIGHTS // weights, 1)
    return (slice(start, min(start + size, queries)) for start in range(0, queries, size))


def queries_of(mask: Tensor, rows: slice) -> Tensor:
    """What a mask [..., 1 or T, T] says of some queries."""
    return mask if mask.shape[-2] == 1 else mask[..., rows, :]


class Dropout(nn.Module):
    """Dropout whose mask is never stored on a CPU, but drawn again on the way back."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor, base: Tensor | None = None) -> Tensor:
        """x with a share of its elements set to zero, and `base` added where it is given."""
        if not self.training or not self.share:
            return x if base is None else base + x
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
            dropped = F.dropout(x, self.share)
            return dropped if base is None else base + dropped
        return RecomputedDropout.apply(x, base, DropoutMask.draw(self.share, 1))
