"""Masked acoustic modelling: which frames are hidden from the model, and what stands in their place."""

from collections.abc import Sequence
from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor

from utility.config import section


@section
class MaskingConfig:
    """Time alteration of Mockingjay (Liu et al. 2020, section 2.2) as the originals' code draws it."""

    proportion: float = pydantic.Field(0.15, ge=0, le=1)  # share of the frames that spans are drawn for
    consecutive_min: int = pydantic.Field(7, ge=1)  # shortest and
    consecutive_max: int = pydantic.Field(7, ge=1)  # longest span, in (stacked) frames
    zero: float = pydantic.Field(0.8, ge=0, le=1)  # chance that an utterance's spans are set to zero,
    replace: float = pydantic.Field(0.1, ge=0, le=1)  # or replaced by other spans of it; else they are left alone

    def __post_init__(self) -> None:
        if self.consecutive_min > self.consecutive_max:
            raise ValueError(f"consecutive_min {self.consecutive_min} exceeds consecutive_max {self.consecutive_max}")
        if self.zero + self.replace > 1:
            raise ValueError(f"zero {self.zero} and replace {self.replace} sum to more than 1")


@dataclass(frozen=True)
class Altered:
    """What the model sees [B, T, D], and the bool mask [B, T, D]: True = chosen = counted in the loss."""

    inputs: Tensor
    mask: Tensor


def alter(
    features: Tensor, lengths: Tensor, config: MaskingConfig, generator: torch.Generator | Sequence[torch.Generator]
) -> Altered:
    """Draw spans for each utterance of features [B, T, D] with true lengths [B], and hide them.

    Per utterance one span length c is drawn, then round(length * proportion / c) starts without replacement (spans may
    overlap), and one die for the whole utterance: zero, replace or leave. All frames of a span are chosen (the original
    counted only the first of each), never one on padding. With one generator the batch shares it; with a list each
    utterance draws from its own, so that its mask does not depend on the batch. Draws are made on the CPU: they are the
    same on every device."""
    draws = _Draws.make(lengths.tolist(), features.shape[1], config, generator)
    draws = _Draws(*(value.to(features.device) for value in (draws.starts, draws.sources, draws.span, draws.die)))
    time = torch.arange(features.shape[1], device=features.device)
    last_start = (lengths - draws.span - 1).clamp(min=0)[:, None]
    allowed = (time <= last_start) & (time < lengths[:, None])
    count = torch.round(lengths * config.proportion / draws.span).long()[:, None]

    order, chosen = _draw_without_replacement(draws.starts, allowed, count)
    begin = torch.where(chosen, time, -1).cummax(dim=1).values  # the nearest span start at or before each frame
    mask = (begin >= 0) & (time - begin < draws.span[:, None]) & (time < lengths[:, None])

    source_order, _ = _draw_without_replacement(draws.sources, allowed, count)
    nth = order.argsort(dim=1).gather(1, begin.clamp(min=0))
    source = source_order.gather(1, nth) + time - begin
    source = torch.minimum(source, lengths[:, None] - 1).clamp(min=0)
    other = features.gather(1, source[..., None].expand_as(features))

    die = draws.die[:, None]
    zeroed = mask & (die < config.zero)
    replaced = mask & (die >= config.zero) & (die < config.zero + config.replace)
    inputs = features.masked_fill(zeroed[..., None], 0.0)
    inputs = torch.where(replaced[..., None], other, inputs)
    return Altered(inputs, mask[..., None].expand_as(features))


def _draw_without_replacement(scores: Tensor, allowed: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Order the frames at random, allowed ones first; the first `count` allowed ones are chosen (bool [B, T])."""
    order = scores.masked_fill(~allowed, 2.0).argsort(dim=1)
    return order, (order.argsort(dim=1) < count) & allowed


@dataclass(frozen=True)
class _Draws:
    starts: Tensor  # [B, T] uniform in [0, 1)
    sources: Tensor  # [B, T] uniform in [0, 1)
    span: Tensor  # [B] int64
    die: Tensor  # [B] uniform in [0, 1)

    @classmethod
    def make(cls, lengths: list[int], frames: int, config: MaskingConfig, generator) -> "_Draws":
        low, high = config.consecutive_min, config.consecutive_max + 1
        if isinstance(generator, torch.Generator):
            starts, sources = torch.rand(2, len(lengths), frames, generator=generator)
            span = torch.randint(low, high, (len(lengths),), generator=generator)
            return cls(starts, sources, span, torch.rand(len(lengths), generator=generator))
        starts, sources = torch.zeros(2, len(lengths), frames)
        span, die = torch.zeros(len(lengths), dtype=torch.long), torch.zeros(len(lengths))
        for row, (length, own) in enumerate(zip(lengths, generator)):
            starts[row, :length], sources[row, :length] = torch.rand(2, length, generator=own)
            span[row] = torch.randint(low, high, (), generator=own)
            die[row] = torch.rand((), generator=own)
        return cls(starts, sources, span, die)
