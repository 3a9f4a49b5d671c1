"""Masked acoustic modelling: which parts are hidden from the model, and what stands in their place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from utility.batches import real_frames
from utility.config import section
from utility.device import sent

BLOCK = 16  # normal numbers that PyTorch makes at once


@section
class MaskingConfig:
    """Time, frequency and magnitude alteration (TERA, Liu et al. 2021, section III) as the originals' code draws them.

    The defaults are Mockingjay's (Liu et al. 2020, section 2.2), which alters time alone. Where neither time nor
    frequency is altered every real element is chosen. Models of codes (wav2vec 2.0, BEST-RQ) let each frame begin a
    span with `start_probability` instead."""

    proportion: float = pydantic.Field(0.15, ge=0, le=1)  # share of the frames that spans are drawn for,
    start_probability: float = pydantic.Field(0.0, ge=0, le=1)  # or instead the chance that a frame begins a span
    consecutive_min: int = pydantic.Field(7, ge=1)  # shortest and
    consecutive_max: int = pydantic.Field(7, ge=1)  # longest span, in (stacked) frames
    zero: float = pydantic.Field(0.8, ge=0, le=1)  # chance that an utterance's spans are hidden behind `fill`,
    replace: float = pydantic.Field(0.1, ge=0, le=1)  # or replaced by other spans of it; else they are left alone
    fill: Literal["zeros", "noise", "learnt"] = "zeros"  # learnt: a vector of the model
    fill_deviation: float = pydantic.Field(0.1, gt=0)  # standard deviation of the noise; 0.1 in BEST-RQ
    allow_overlap: bool = True  # of spans; else they start on a grid of
    bucket_ratio: float = pydantic.Field(1.2, ge=1)  # so many times their length
    frequency: int = pydantic.Field(0, ge=0)  # widest band of neighbouring values that is set to zero
    noise: float = pydantic.Field(0.0, ge=0, le=1)  # chance that an utterance gets Gaussian noise,
    noise_deviation: float = pydantic.Field(0.2, gt=0)  # of this standard deviation

    def __post_init__(self) -> None:
        if self.consecutive_min > self.consecutive_max:
            raise ValueError(f"consecutive_min {self.consecutive_min} exceeds consecutive_max {self.consecutive_max}")
        if self.zero + self.replace > 1:
            raise ValueError(f"zero {self.zero} and replace {self.replace} sum to more than 1")
        if self.start_probability and self.proportion:
            raise ValueError(
                f"start_probability {self.start_probability} and proportion {self.proportion} both draw spans: set one "
                "of them to 0"
            )
        if self.start_probability and not self.allow_overlap:
            raise ValueError("allow_overlap false goes with proportion: with start_probability spans may overlap")

    @property
    def hides_frames(self) -> bool:
        """Whether whole frames are chosen, in spans."""
        return bool(self.proportion or self.start_probability)


@dataclass(frozen=True)
class Altered:
    """What the model sees [B, T, D], and the bool mask [B, T, D]: True = chosen = counted in the loss.

    Where `learnt` is True the model puts its own vector. `where` says which frames are chosen whole, in time."""

    inputs: Tensor
    mask: Tensor
    learnt: Tensor | None = None  # bool [B, T]
    where: Tensor | None = None  # int64 [N], in the flat batch [B * T]; if that was asked for


Alter = Callable[..., tuple[Tensor, Tensor, Tensor | None]]  # `apply_alterations`, perhaps compiled


def alter(
    features: Tensor,
    lengths: Tensor,
    config: MaskingConfig,
    generator: torch.Generator | Sequence[torch.Generator],
    host_lengths: Tensor | None = None,
    apply: Alter | None = None,
) -> Altered:
    """Alter features [B, T, D] with true lengths [B] in time, then in frequency, then in magnitude.

    Only real frames are ever altered or chosen (the originals' bands and noise reached into padding). With one
    generator the batch shares it; with a list each utterance draws from its own, so that its mask does not depend on
    the batch. Draws are made on the CPU: they are the same on every device. Whoever wants `where` gives the lengths in
    host memory too: there the spans are then drawn, so that nothing waits for the device. `apply` may be
    `apply_alterations` compiled."""
    on_host = _Draws.make(lengths, features.shape[1:], config, generator)
    draws, spans, where = on_host.to(features.device), None, None
    if config.hides_frames and host_lengths is not None:
        hidden, source = _draw_spans(host_lengths, features.shape[1], config, on_host)
        hidden, source, where = sent((hidden, source, hidden.flatten().nonzero()[:, 0]), features.device)
        spans = hidden, source
    inputs, mask, learnt = (apply or apply_alterations)(features, lengths, config, draws, spans)
    return Altered(inputs, mask, learnt, where)


def apply_alterations(
    features: Tensor, lengths: Tensor, config: MaskingConfig, draws: "_Draws", spans: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The part of `alter` on the device: inputs [B, T, D], mask [B, T, D], and where the model puts its own vector.

    `spans` and the frames that may replace them, where they were drawn already."""
    real = real_frames(lengths, features.shape[1])[..., None]
    inputs, mask, learnt = features, real & torch.zeros_like(features, dtype=torch.bool), None
    if config.hides_frames:
        hidden, source = spans or _draw_spans(lengths, features.shape[1], config, draws)
        inputs, learnt = _alter_time(features, hidden, source, config, draws)
        mask = hidden[..., None].expand_as(features)
    if config.frequency:
        band = _band(draws, features.shape[2])[:, None] & real
        inputs, mask = inputs.masked_fill(band, 0.0), mask | band
    if not config.hides_frames and not config.frequency:
        mask = real.expand_as(features)
    if config.noise:
        noisy = (draws.noise_die < config.noise)[:, None, None] & real
        inputs = torch.where(noisy, inputs + config.noise_deviation * draws.noise, inputs)
    return inputs, mask, learnt


def each_alteration(config: MaskingConfig) -> dict[str, MaskingConfig]:
    """A config for each alteration alone, drawn for certain, and one for all of them: what figures show.

    Those that `config` leaves out are shown as TERA's base model has them."""
    share = 0.0 if config.start_probability else config.proportion or 0.15
    time = replace(config, proportion=share, zero=1.0, replace=0.0, frequency=0, noise=0.0)
    untouched = replace(time, proportion=0.0, start_probability=0.0)
    band = config.frequency or 16
    return {
        "time": time,
        "replaced": replace(time, zero=0.0, replace=1.0),
        "frequency": replace(untouched, frequency=band),
        "noise": replace(untouched, noise=1.0),
        "all": replace(time, frequency=band, noise=1.0),
    }


def _draw_spans(lengths: Tensor, frames: int, config: MaskingConfig, draws: "_Draws") -> tuple[Tensor, Tensor]:
    """The spans, bool [B, T], and for each frame of one the frame that may replace it, int64 [B, T].

    Per utterance one span length c is drawn, then round(length * proportion / c) starts without replacement. All frames
    of a span are chosen (the first original counted only the first of each). With `start_probability` any real frame
    may begin a span, which the end may cut."""
    time, real = torch.arange(frames, device=lengths.device), real_frames(lengths, frames)
    last_start = (lengths - draws.span - 1).clamp(min=0)[:, None]
    allowed = (time <= last_start) & real
    starts = allowed if config.allow_overlap else allowed & _grid(time, last_start, config, draws)
    count = torch.round(lengths * config.proportion / draws.span).long()[:, None]
    if config.start_probability:
        starts, count = real, (real & (draws.starts < config.start_probability)).sum(1, keepdim=True)

    order, chosen = _draw_without_replacement(draws.starts, starts, count)
    begin = torch.where(chosen, time, -1).cummax(dim=1).values  # the nearest span start at or before each frame
    mask = (begin >= 0) & (time - begin < draws.span[:, None]) & real

    source_order, _ = _draw_without_replacement(draws.sources, allowed, count)
    nth = order.argsort(dim=1).gather(1, begin.clamp(min=0))
    source = source_order.gather(1, nth) + time - begin
    return mask, torch.minimum(source, lengths[:, None] - 1).clamp(min=0)


def _alter_time(
    features: Tensor, spans: Tensor, source: Tensor, config: MaskingConfig, draws: "_Draws"
) -> tuple[Tensor, Tensor | None]:
    """What the model sees, and where its learnt vector goes: one die for the whole utterance says whether its spans are
    hidden, replaced by the frames `source` of it, or left."""
    other, die = features.gather(1, source[..., None].expand_as(features)), draws.die[:, None]
    hidden = spans & (die < config.zero)
    replaced = spans & (die >= config.zero) & (die < config.zero + config.replace)
    fill = config.fill_deviation * draws.fill if config.fill == "noise" else 0.0
    inputs = torch.where(hidden[..., None], fill, features)
    return torch.where(replaced[..., None], other, inputs), hidden if config.fill == "learnt" else None


def _grid(time: Tensor, last_start: Tensor, config: MaskingConfig, draws: "_Draws") -> Tensor:
    """Bool [B, T]: the frames where spans may start when they must not overlap."""
    first = (draws.grid[:, None] * (torch.minimum(draws.span[:, None], last_start) + 1)).long()
    step = torch.round(draws.span * config.bucket_ratio).long()[:, None]
    return (time >= first) & ((time - first) % step == 0)


def _band(draws: "_Draws", size: int) -> Tensor:
    """Bool [B, D]: one band of draws.width neighbouring values, anywhere."""
    first = (draws.band * (size - draws.width).clamp(min=1)).long()[:, None]
    value = torch.arange(size, device=first.device)
    return (value >= first) & (value < first + draws.width[:, None])


def _draw_without_replacement(scores: Tensor, allowed: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Order the frames at random, allowed ones first; the first `count` allowed ones are chosen (bool [B, T])."""
    order = scores.masked_fill(~allowed, 2.0).argsort(dim=1)
    return order, (order.argsort(dim=1) < count) & allowed


@dataclass(frozen=True)
class _Draws:
    """Random numbers per utterance; those in [0, 1) without a comment."""

    span: Tensor  # [B] int64, frames
    starts: Tensor  # [B, T]
    sources: Tensor  # [B, T]
    die: Tensor  # [B]
    grid: Tensor  # [B]
    width: Tensor  # [B] int64, values
    band: Tensor  # [B]
    noise_die: Tensor  # [B]
    noisy: Tensor  # [N] int64: the utterances whose die says that they get noise,
    noise: Tensor  # [N, T, D] standard normal; after `to` [B, T, D], zeros for the others
    fill: Tensor  # [B, T, D] standard normal, in place of hidden frames; one column of zeros where none is asked for

    @classmethod
    def make(cls, lengths: Tensor, shape: Sequence[int], config: MaskingConfig, generator) -> "_Draws":
        if isinstance(generator, torch.Generator):
            return cls(**cls._draw(len(lengths), shape[0], shape[1], config, generator))
        counts = lengths.tolist()
        rows = [cls._draw(1, count, shape[1], config, own) for count, own in zip(counts, generator)]
        noise = [F.pad(row.pop("noise"), (0, 0, 0, shape[0] - count)) for row, count in zip(rows, counts)]
        noisy = [index for index, row in enumerate(rows) if len(row.pop("noisy"))]
        joined = {name: _join([row[name][0] for row in rows], shape[0]) for name in rows[0]}
        return cls(**joined, noise=torch.cat(noise), noisy=torch.tensor(noisy, dtype=torch.int64))

    @staticmethod
    def _draw(rows: int, frames: int, size: int, config: MaskingConfig, own: torch.Generator) -> dict[str, Tensor]:
        starts, sources = torch.rand(2, rows, frames, generator=own)
        span = torch.randint(config.consecutive_min, config.consecutive_max + 1, (rows,), generator=own)
        die, grid, band, noise_die = torch.rand(4, rows, generator=own)
        width = torch.randint(min(config.frequency, size) + 1, (rows,), generator=own)
        noisy = (noise_die < config.noise).nonzero()[:, 0]
        fills = config.fill == "noise"
        noise = _noise((rows, frames, size if config.noise else 1), noisy.tolist(), own, more=fills)
        fill = torch.randn(rows, frames, size, generator=own) if fills else torch.zeros(rows, frames, 1)
        return {"starts": starts, "sources": sources, "span": span, "die": die, "grid": grid, "width": width,
                "band": band, "noise_die": noise_die, "noisy": noisy, "noise": noise, "fill": fill}  # fmt: skip

    def to(self, device: torch.device) -> "_Draws":
        """The same numbers on another device."""
        there = _Draws(*sent([getattr(self, field.name) for field in fields(self)], device))
        noise = there.noise.new_zeros(len(there.die), *there.noise.shape[1:])
        return replace(there, noise=noise.index_copy_(0, there.noisy, there.noise))


def _noise(shape: tuple[int, int, int], noisy: Sequence[int], own: torch.Generator, more: bool) -> Tensor:
    """Of standard normal numbers [B, T, D] those of the noisy utterances, [N, T, D], as `torch.randn` draws them all.

    PyTorch makes 16 normal numbers of 16 uniform ones: to go past those of an utterance takes uniform ones alone, in
    half the time. Behind the last that is noisy nothing is drawn, unless there is `more` to draw."""
    rows, frames, size = shape
    if not more:
        rows = max(noisy, default=-1) + 1
    if frames * size % BLOCK:
        return torch.randn(shape, generator=own)[list(noisy)] if rows else torch.empty(0, frames, size)
    chosen, kept = set(noisy), []
    for row in range(rows):
        if row in chosen:
            kept.append(torch.randn(frames, size, generator=own))
        else:
            torch.rand(frames, size, generator=own)
    return torch.stack(kept) if kept else torch.empty(0, frames, size)


def _join(rows: list[Tensor], frames: int) -> Tensor:
    """One draw of each utterance as a batch; those along time are filled up to `frames`."""
    if rows[0].ndim == 0:
        return torch.stack(rows)
    filled = [F.pad(row, (0, 0) * (row.ndim - 1) + (0, frames - len(row))) for row in rows]
    return torch.stack(filled)
