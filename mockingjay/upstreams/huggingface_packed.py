"""A model of the wav2vec 2.0 family on the real frames of several utterances side by side: no padding is computed.

Convolutions see one utterance at a time. Behind them all utterances are rows of one matrix, and only the position
convolution and attention go back to single ones. It computes what Transformers computes, with its modules; that it does
is measured when a model is opened."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Field
from mockingjay.upstreams.huggingface_layers import Parts
from utility.threads import side_by_side

FUSED = 300  # frames: beyond them PyTorch's fused attention is the faster one
WORTH_A_THREAD = 128  # width of a model whose operations take longer than handing over between Python's threads


@dataclass(frozen=True)
class Rows:
    """Where each utterance stands among rows of all of them."""

    counts: Sequence[int]  # frames of each

    @cached_property
    def slices(self) -> list[slice]:
        """Of each utterance."""
        ends = torch.tensor(self.counts).cumsum(0).tolist()
        return [slice(end - count, end) for end, count in zip(ends, self.counts)]


@dataclass(frozen=True)
class PackedModel:
    """A model and its parts. Where they have a last norm, each block has its norms first (stable layer norm)."""

    model: Any
    parts: Parts
    fields: Sequence[Field]  # of the convolutions

    def states(self, waveforms: Sequence[Tensor], labels: Sequence[str]) -> dict[str, dict[int, Tensor]]:
        """By label and number of the waveform [n] its state [T, width], where it has a frame.

        Nothing is recorded for a way back. Groups of utterances go side by side where there are enough of them."""
        threads = torch.get_num_threads()
        if len(waveforms) < threads or self.model.config.hidden_size < WORTH_A_THREAD:
            threads = 1  # of ours; PyTorch takes its own
        groups = _groups([len(wave) for wave in waveforms], threads)
        states: dict[str, dict[int, Tensor]] = {label: {} for label in labels}
        for found in side_by_side(lambda group: self._group(waveforms, group, labels), groups, threads):
            for label, utterances in found.items():
                states[label] |= utterances
        return states

    def _group(
        self, waveforms: Sequence[Tensor], group: Sequence[int], labels: Sequence[str]
    ) -> dict[str, dict[int, Tensor]]:
        states: dict[str, dict[int, Tensor]] = {label: {} for label in labels}
        last = max(map(self.parts.labels().index, labels))
        convolved = {}  # [T, C] of each utterance
        for number in group:
            x = waveforms[number][None, None]  # [1, 1, n]
            for layer, field, label in zip(self.parts.convolutions[: last + 1], self.fields, self.parts.labels()):
                if len(waveforms[number]) < field.size:
                    break
                x = layer(x)
                if label in states:
                    states[label][number] = x[0].T
            else:
                convolved[number] = x[0].T
        above = last - len(self.parts.convolutions)
        if above >= 0 and convolved:
            rows = Rows([len(part) for part in convolved.values()])
            for label, state in self._above(torch.cat(list(convolved.values())), rows, above):
                if label in states:
                    states[label] = {number: state[part] for number, part in zip(convolved, rows.slices)}
        return states

    def _above(self, x: Tensor, rows: Rows, last: int) -> Iterator[tuple[str, Tensor]]:
        """Label and state [N, H] of what comes after the convolutions, up to the label of number `last` of them."""
        encoder, positions = self.model.encoder, Positions(self.parts.position)
        projected = self.parts.projection(x)
        x = projected if isinstance(projected, Tensor) else projected[0]
        yield "P", x
        if not last:
            return
        x = x + torch.cat([positions(x[part]) for part in rows.slices])
        if self.parts.norm is None:
            x = encoder.layer_norm(x)
        yield "T0", x
        bias = RelativePositions(self.parts.blocks[0].attention, rows)
        for number, block in enumerate(self.parts.blocks[: last - 1], 1):
            x = _block(block, x, rows, bias, stable=self.parts.norm is not None)
            yield f"T{number}", x
        if self.parts.norm is not None and last == len(self.parts.blocks) + 2:
            yield "final", self.parts.norm(x)


def _block(block: Any, x: Tensor, rows: Rows, bias: "RelativePositions", stable: bool) -> Tensor:
    if not stable:
        x = block.layer_norm(x + _attention(block.attention, x, rows, bias))
        return block.final_layer_norm(x + block.feed_forward(x))
    x = x + _attention(block.attention, block.layer_norm(x), rows, bias)
    x = x + block.feed_forward(block.final_layer_norm(x))
    adapter = getattr(block, "adapter_layer", None)
    return x if adapter is None else x + adapter(x)


def _attention(attention: Any, x: Tensor, rows: Rows, bias: "RelativePositions") -> Tensor:
    """Multi-head attention of each utterance to itself, [N, H] to the same."""
    heads = attention.num_heads
    query, key, value = (
        projection(x).view(len(x), heads, -1).transpose(0, 1)  # [heads, N, d]
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mixed = torch.empty_like(x).view(len(x), heads, -1)
    for number, part in enumerate(rows.slices):
        one = _mix(query[:, part], key[:, part], value[:, part], bias.of(attention, x[part], number))
        mixed[part] = one.transpose(0, 1)
    return attention.out_proj(mixed.view_as(x))


def _mix(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of one utterance, [heads, T, d]; for short ones PyTorch's fused kernel takes thrice as long."""
    if query.shape[1] > FUSED:
        fused = nn.functional.scaled_dot_product_attention
        return fused(query[None], key[None], value[None], None if bias is None else bias[None])[0]
    scores = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2))
    return torch.bmm((scores if bias is None else scores + bias).softmax(-1), value)


class Positions:
    """The position convolution on one utterance; its weight, a norm and a direction, is made once for all of them."""

    def __init__(self, module: Any):
        self._module = module
        self._weight = module.conv.weight if hasattr(module, "conv") else None  # else several layers, data2vec's

    def __call__(self, x: Tensor) -> Tensor:
        """Frames [T, H] to the same."""
        if self._weight is None:
            return self._module(x[None])[0]
        conv, x = self._module.conv, x.T[None]  # [1, H, T]
        if getattr(self._module, "batch_norm", None) is not None:
            x = self._module.batch_norm(x)
        x = nn.functional.conv1d(x, self._weight, conv.bias, padding=conv.padding, groups=conv.groups)
        return self._module.activation(self._module.padding(x))[0].T


class RelativePositions:
    """WavLM's gated relative positions: what is added to the scores of each utterance; other models have none."""

    def __init__(self, first: Any, rows: Rows):
        self._bias: list[Tensor] | None = None
        if hasattr(first, "rel_attn_embed"):
            longest = max(rows.counts)
            whole = first.compute_bias(longest, longest)  # [heads, T, T], of distances alone
            self._bias = [whole[:, :count, :count] for count in rows.counts]

    def of(self, attention: Any, x: Tensor, number: int) -> Tensor | None:
        """[heads, T, T] for frames [T, H] of utterance `number` (Chen et al. 2021, WavLM, section 3.2)."""
        if self._bias is None:
            return None
        split = x.view(len(x), attention.num_heads, -1).transpose(0, 1)  # [heads, T, d]
        gates = attention.gru_rel_pos_linear(split).view(*split.shape[:2], 2, 4).sum(-1).sigmoid()
        update, reset = gates[..., :1], gates[..., 1:]
        gate = update * (reset * attention.gru_rel_pos_const[0] - 1.0) + 2.0  # [heads, T, 1]
        return gate * self._bias[number]


def _groups(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Utterances in at most so many groups of like size together, the longest first."""
    groups: list[list[int]] = [[] for _ in range(count)]
    totals = [0] * count
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        smallest = totals.index(min(totals))
        groups[smallest].append(index)
        totals[smallest] += sizes[index]
    return [group for group in groups if group]
