"""Scaled dot-product attention over real frames, and dropout, each by the fastest way the device has."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mockingjay.model.cpu_attention import BlockedAttention, DropoutMask, RecomputedDropout
from mockingjay.model.layout import Scope


def attend(query: Tensor, key: Tensor, value: Tensor, scope: Scope, dropout: float = 0.0) -> Tensor:
    """softmax(query key^T / sqrt(d)) value over the keys in `scope` (Vaswani et al. 2017, eq. 1).

    query, key, value and the result are [B, heads, T, d]; `dropout` falls on the softmax. PyTorch's fused kernels do it
    on CUDA, and forward. Its CPU kernel goes backward at a tenth of the machine's rate and knows no dropout, so there
    each thread takes some heads: matrix products, and between them softmax and dropout in one pass. Only the scores of
    those heads exist at a time; backward computes them again."""
    forward_only = not dropout and not torch.is_grad_enabled()
    if query.is_cuda or forward_only or query.dtype not in (torch.float32, torch.bfloat16):
        return F.scaled_dot_product_attention(query, key, value, scope.mask[:, None], dropout)
    return BlockedAttention.apply(query, key, value, scope, DropoutMask.draw(dropout, query.shape[0] * query.shape[1]))


class Dropout(nn.Module):
    """Dropout whose mask is never stored on a CPU, but drawn again on the way back."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor, base: Tensor | None = None) -> Tensor:
        """x with a share of its elements set to zero, and `base` added where it is given."""
        if not self.training or not self.share:
            return x if base is None else base + x
        if x.is_cuda or x.dtype not in (torch.float32, torch.bfloat16):
            dropped = F.dropout(x, self.share)
            return dropped if base is None else base + dropped
        return RecomputedDropout.apply(x, base, DropoutMask.draw(self.share, 1))
