"""Scaled dot-product attention over real frames, and dropout, each by the fastest way the device has."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK = 1 << 21  # scores held at once on a CPU
DRAWS = 1 << 16  # values of the 16 random bits that decide over one element


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(query key^T / sqrt(d)) value over the keys that are `seen` [B, 1 or T, T] (Vaswani et al. 2017, eq. 1).

    query, key, value and the result are [B, heads, T, d]; `dropout` falls on the softmax. On CUDA PyTorch's fused
    kernels do it. Its CPU kernel goes backward at a tenth of the machine's rate and knows no dropout, so there matrix
    products over blocks of heads do: only one block of scores exists at a time, and backward computes it again."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, seen[:, None], dropout)
    seed = int(torch.randint(2**62, ())) if dropout else 0
    return _BlockedAttention.apply(query, key, value, seen, dropout, seed)


class Dropout(nn.Module):
    """Dropout with masks of 16 random bits per element on a CPU, where PyTorch draws one whole number for each."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        if x.is_cuda:
            return F.dropout(x, self.share)
        return x * _keep(x.shape, self.share, torch.default_generator).to(x.dtype).mul_(_scale(self.share))


def _keep(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """Bool of `shape`, False with chance `share` (to 1 in 65,536)."""
    count = math.prod(shape)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return (bits.view(torch.int16)[:count] >= round(share * DRAWS) - DRAWS // 2).view(shape)


def _scale(share: float) -> float:
    return DRAWS / (DRAWS - round(share * DRAWS))


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, seen, dropout, seed):
        ctx.dropout, ctx.seed, shape = dropout, seed, query.shape
        ctx.heads = shape[1]
        query, key, value = (part.reshape(-1, *shape[2:]) for part in (query, key, value))
        bias = None
        if not bool(seen.all()):
            bias = torch.zeros(seen.shape, dtype=query.dtype).masked_fill_(~seen, -math.inf)
        mixed = torch.empty_like(query)
        with torch.autocast("cpu", enabled=False):
            for block in _blocks(query):
                weights = _weights(query[block], key[block], _rows(bias, block, ctx.heads))
                if dropout:
                    weights.mul_(_dropped(weights, block, dropout, seed))
                torch.bmm(weights, value[block], out=mixed[block])
        ctx.save_for_backward(query, key, value, bias, mixed)
        return mixed.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        query, key, value, bias, mixed = ctx.saved_tensors
        shape = gradient.shape
        gradient = gradient.reshape(query.shape)
        share = (gradient * mixed).sum(-1, keepdim=True)  # of each query: sum over keys of weight times its gradient
        to_query, to_key, to_value = (torch.empty_like(part) for part in (query, key, value))
        scale = 1 / math.sqrt(query.shape[-1])
        for block in _blocks(query):
            weights = _weights(query[block], key[block], _rows(bias, block, ctx.heads))
            to_weights = torch.bmm(gradient[block], value[block].transpose(1, 2))
            used = weights
            if ctx.dropout:
                kept = _dropped(weights, block, ctx.dropout, ctx.seed)
                used = weights * kept
                to_weights.mul_(kept)
            torch.bmm(used.transpose(1, 2), gradient[block], out=to_value[block])
            to_scores = to_weights.sub_(share[block]).mul_(weights).mul_(scale)
            torch.bmm(to_scores, key[block], out=to_query[block])
            torch.bmm(to_scores.transpose(1, 2), query[block], out=to_key[block])
        return to_query.view(shape), to_key.view(shape), to_value.view(shape), None, None, None


def _blocks(query: Tensor) -> list[slice]:
    """The heads [N, T, d] in groups whose scores stay below `BLOCK`."""
    size = max(BLOCK // query.shape[1] ** 2, 1)
    return [slice(start, start + size) for start in range(0, len(query), size)]


def _rows(bias: Tensor | None, block: slice, heads: int) -> Tensor | None:
    """Of the bias per utterance, what each head of a block adds to its scores."""
    if bias is None:
        return None
    utterance = torch.arange(block.start, min(block.stop, len(bias) * heads)) // heads
    return bias[utterance]


def _weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    scores = torch.bmm(query * (1 / math.sqrt(query.shape[-1])), key.transpose(1, 2))
    if bias is not None:
        scores += bias
    return scores.softmax(-1)


def _dropped(weights: Tensor, block: slice, dropout: float, seed: int) -> Tensor:
    """What dropout multiplies a block's weights by; forward and backward draw the same."""
    generator = torch.Generator().manual_seed(seed + block.start)
    return _keep(weights.shape, dropout, generator).to(weights.dtype).mul_(_scale(dropout))
