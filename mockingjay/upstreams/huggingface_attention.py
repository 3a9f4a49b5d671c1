"""Attention of models of the wav2vec 2.0 family on single utterances, computed by their own modules.

It can be read, and heads and spans of it can be cut; Transformers itself has no way for that."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mockingjay.model.attention import attend_near, attention_weights
from mockingjay.upstreams.attentive import Cut

FUSED = 300  # frames: beyond them PyTorch's fused attention is the faster one


def attend(attention: Any, x: Tensor, slices: Sequence[slice], bias: "RelativePositions", cut: Cut) -> Tensor:
    """Multi-head attention of each utterance to itself, [N, H] to the same; `cut` is that of the layer."""
    query, key, value = _heads(attention, x, ("q_proj", "k_proj", "v_proj"))
    mixed = torch.empty_like(x).view(len(x), len(query), -1)
    for number, part in enumerate(slices):
        parts = query[:, part], key[:, part], value[:, part], bias.of(attention, x[part], number)
        one = _mix(*parts) if cut.radius is None else attend_near(*parts, cut.radius)
        mixed[part] = one.transpose(0, 1)
    if cut.kept is not None:
        mixed = mixed * cut.kept.to(mixed)[:, None]
    return attention.out_proj(mixed.view_as(x))


def rows_of(attentions: Sequence[Any], seen: Sequence[Tensor]) -> Callable[[slice], Tensor]:
    """The weights [layers, heads, n, T] of some queries of one utterance; `seen` [T, H] enters each attention."""
    bias = RelativePositions(attentions[0], [len(seen[0])])
    pairs = [_heads(attention, x, ("q_proj", "k_proj")) for attention, x in zip(attentions, seen)]

    def rows(chosen: slice) -> Tensor:
        added = (bias.of(attention, x, 0, chosen) for attention, x in zip(attentions, seen))
        return torch.stack([attention_weights(query[:, chosen], key, one) for (query, key), one in zip(pairs, added)])

    return rows


def _heads(attention: Any, x: Tensor, names: Sequence[str]) -> list[Tensor]:
    """Projections of frames [N, H], each [heads, N, d]."""
    return [getattr(attention, name)(x).view(len(x), attention.num_heads, -1).transpose(0, 1) for name in names]


def _mix(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of one utterance, [heads, T, d]; for short ones PyTorch's fused kernel takes thrice as long."""
    if query.shape[1] > FUSED:
        fused = nn.functional.scaled_dot_product_attention
        return fused(query[None], key[None], value[None], None if bias is None else bias[None])[0]
    scores = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2))
    return torch.bmm((scores if bias is None else scores + bias).softmax(-1), value)


class RelativePositions:
    """WavLM's gated relative positions: what is added to the scores of each utterance; other models have none."""

    def __init__(self, first: Any, counts: Sequence[int]):
        self._bias: list[Tensor] | None = None
        if hasattr(first, "rel_attn_embed"):
            longest = max(counts)
            whole = first.compute_bias(longest, longest)  # [heads, T, T], of distances alone
            self._bias = [whole[:, :count, :count] for count in counts]

    def of(self, attention: Any, x: Tensor, number: int, rows: slice = slice(None)) -> Tensor | None:
        """[heads, n, T] of some queries of utterance `number`, frames [T, H] (Chen et al. 2021, WavLM, section 3.2)."""
        if self._bias is None:
            return None
        queries = x[rows]
        split = queries.view(len(queries), attention.num_heads, -1).transpose(0, 1)  # [heads, n, d]
        gates = attention.gru_rel_pos_linear(split).view(*split.shape[:2], 2, 4).sum(-1).sigmoid()
        update, reset = gates[..., :1], gates[..., 1:]
        gate = update * (reset * attention.gru_rel_pos_const[0] - 1.0) + 2.0  # [heads, n, 1]
        return gate * self._bias[number][:, rows]
