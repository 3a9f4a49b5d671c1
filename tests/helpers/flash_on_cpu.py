"""Flash attention for sequences end to end, given to the CPU as plain attention of each: what CUDA computes, slowly."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

LIBRARY = torch.library.Library("aten", "IMPL")


def _each(parts: list[Tensor], ends: Tensor) -> list[list[Tensor]]:
    """[N, heads, d] each -> of each sequence [heads, n, d] each."""
    bounds = ends.tolist()
    return [[part[a:b].transpose(0, 1) for part in parts] for a, b in itertools.pairwise(bounds)]


def forward(query, key, value, ends, _ends, longest, _longest, dropout, causal, debug, *, scale=None, **_):
    """`aten::_flash_attention_forward`; longest is checked, as a kernel would leave frames behind it out."""
    assert not dropout, "the draws of CUDA are not made here"
    assert ends.dtype == torch.int32
    assert longest == int((ends[1:] - ends[:-1]).max())
    found = [F.scaled_dot_product_attention(*one, is_causal=causal) for one in _each([query, key, value], ends)]
    mixed = torch.cat([one.transpose(0, 1) for one in found]).contiguous()
    state = torch.zeros(2, dtype=torch.uint64), torch.zeros((), dtype=torch.uint64)
    return mixed, query.new_zeros(query.shape[1], len(query), dtype=torch.float32), *state, query.new_zeros(0)


def backward(
    gradient, query, key, value, _out, _sums, ends, _ends, _longest, _, dropout, causal, _state, _unused, **__
):
    """`aten::_flash_attention_backward`, by the formulas of the softmax."""
    found: list[list[Tensor]] = []
    for q, k, v, g in _each([query, key, value, gradient], ends):
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        if causal:
            scores = scores.masked_fill(~torch.ones(scores.shape[1:], dtype=torch.bool).tril(), -math.inf)
        weights = scores.softmax(-1)
        to_weights = g @ v.transpose(1, 2)
        to_scores = weights * (to_weights - (to_weights * weights).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
        found.append([to_scores @ k, to_scores.transpose(1, 2) @ q, weights.transpose(1, 2) @ g])
    return tuple(torch.cat([one.transpose(0, 1) for one in part]).contiguous() for part in zip(*found))


LIBRARY.impl("_flash_attention_forward", forward, "CPU")
LIBRARY.impl("_flash_attention_backward", backward, "CPU")
