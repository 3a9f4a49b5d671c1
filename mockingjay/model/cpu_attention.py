"""Attention and dropout on a CPU: blocks of heads, masks drawn again on the way back instead of stored."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mockingjay.model import cpu_kernels as kernels
from mockingjay.model.layout import Scope
from utility.threads import side_by_side

BLOCK = 1 << 20  # scores that a thread of the CPU holds at once: about what its cache does
CHUNK = 1 << 17  # elements of a tensor worth a thread of their own
WORDS = 1 << 32  # values of the random bits that decide over one element
_memory = threading.local()


@dataclass(frozen=True)
class DropoutMask:
    """Elements whose 32 random bits are below `threshold` become 0, the others are multiplied by `scale`."""

    threshold: np.uint32
    scale: np.float32
    streams: np.ndarray  # [N, 2] uint32: where the random sequence of each part begins, and its step

    @classmethod
    def draw(cls, share: float, parts: int) -> "DropoutMask":
        """New random sequences from PyTorch's default generator."""
        threshold = round(share * WORDS)
        scale = np.float32(WORDS / (WORDS - threshold))
        streams = torch.randint(WORDS, (parts, 2)) if share else torch.zeros(parts, 2, dtype=torch.int64)
        streams[:, 1] |= 1
        return cls(np.uint32(threshold), scale, streams.numpy().astype(np.uint32))


class BlockedAttention(torch.autograd.Function):
    """softmax(query key^T / sqrt(d)) value, some heads at a time; backward computes their scores again."""

    @staticmethod
    def forward(ctx, query, key, value, scope, drop):
        query, key, value = (part.contiguous() for part in (query, key, value))
        batch, count, frames, size = query.shape
        heads = _Heads(batch, count, frames, size, scope, drop)
        mixed, logsum = torch.empty_like(query), torch.empty(query.shape[:3])
        flat = [part.detach().flatten(0, 1) for part in (query, key, value, mixed, logsum)]
        _each(lambda block: heads.forward(block, *(part[block] for part in flat)), heads.blocks())
        ctx.heads = heads
        ctx.save_for_backward(query, key, value, mixed, logsum)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        query, key, value, mixed, logsum = ctx.saved_tensors
        gradients = tuple(torch.empty_like(part) for part in (query, key, value))
        share = (gradient.float() * mixed).sum(-1)  # of each query: sum over keys of weight times its gradient
        parts = (query, key, value, logsum, share, gradient.contiguous(), *gradients)
        flat = [part.detach().flatten(0, 1) for part in parts]
        _each(lambda block: ctx.heads.backward(block, *(part[block] for part in flat)), ctx.heads.blocks())
        return *gradients, None, None


class _Heads:
    """Attention of some of the batch * heads heads [n, T, d] at a time."""

    def __init__(self, batch: int, heads: int, frames: int, size: int, scope: Scope, drop: DropoutMask):
        self.number, self.frames, self.causal, self.drop = batch * heads, frames, scope.causal, drop
        self.steepness = np.float32(1 / math.sqrt(size))
        assert scope.counts is not None, "lengths on a CPU"
        self.counts = scope.counts.repeat(heads)

    def blocks(self) -> list[slice]:
        """Groups of heads whose scores stay below `BLOCK`."""
        size = max(BLOCK // self.frames**2, 1)
        return [slice(start, start + size) for start in range(0, self.number, size)]

    def forward(self, block: slice, query, key, value, mixed, logsum) -> None:
        """Fill `mixed` and `logsum`, the logarithm of each row's sum of exponentials."""
        scores = _product(query, key, 0)
        kernels.softmax_dropout(_array(scores), _array(logsum), *self._rules(block))
        torch.bmm(scores, value, out=mixed)

    def backward(self, block: slice, query, key, value, logsum, share, gradient, to_query, to_key, to_value) -> None:
        """Fill the last three, the gradients of the first three."""
        weights, to_scores = _product(query, key, 0), _product(gradient, value, 1)
        arrays = (_array(part) for part in (weights, to_scores, logsum, share))
        kernels.softmax_dropout_backward(*arrays, *self._rules(block))
        torch.bmm(weights.transpose(1, 2), gradient, out=to_value)
        torch.bmm(to_scores, key, out=to_query)
        torch.bmm(to_scores.transpose(1, 2), query, out=to_key)

    def _rules(self, block: slice) -> tuple:
        drop = self.drop
        return self.counts[block], self.causal, self.steepness, drop.threshold, drop.scale, drop.streams[block]


def _product(left: Tensor, right: Tensor, buffer: int) -> Tensor:
    """left right^T, [n, T, T], in memory that each thread keeps: fresh pages cost more than the product."""
    number, frames = left.shape[:2]
    name = f"{buffer} {left.dtype}"
    kept = getattr(_memory, name, None)
    if kept is None or kept.numel() < number * frames**2:
        with torch.inference_mode(False):
            kept = torch.empty(number * frames**2, dtype=left.dtype)
        setattr(_memory, name, kept)
    out = kept[: number * frames**2].view(number, frames, frames)
    return torch.bmm(left, right.transpose(1, 2), out=out)


class RecomputedDropout(torch.autograd.Function):
    """Dropout, and a base added where it is given; backward draws the mask again."""

    @staticmethod
    def forward(ctx, x, base, drop):
        ctx.drop, ctx.dtype, ctx.added = drop, x.dtype, base is not None
        return _dropped(x, base, drop, x.dtype if base is None else base.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return _dropped(gradient, None, ctx.drop, ctx.dtype), gradient if ctx.added else None, None


def _dropped(x: Tensor, base: Tensor | None, drop: DropoutMask, dtype: torch.dtype) -> Tensor:
    out = torch.empty(x.shape, dtype=dtype)
    added = torch.empty(0, dtype=dtype) if base is None else base
    source, other, result = (_array(part.contiguous()).reshape(-1) for part in (x, added, out))
    size = max(-(-source.size // torch.get_num_threads()), CHUNK)
    chunks = [slice(start, start + size) for start in range(0, source.size, size)]
    rules = drop.threshold, drop.scale, drop.streams
    _each(lambda part: kernels.dropout(source[part], other[part], result[part], part.start, *rules), chunks)
    return out


def _array(x: Tensor) -> np.ndarray:
    """The memory of a contiguous tensor; bfloat16 as uint16."""
    x = x.detach()
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()


def _each(work: Callable[[slice], None], parts: Sequence[slice]) -> None:
    """`work` on every part, side by side where PyTorch may use several threads."""
    side_by_side(work, parts, torch.get_num_threads())
