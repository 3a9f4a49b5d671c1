"""Batches of unequal lengths that give what single utterances give: norms over time and convolutions see real frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Field
from mockingjay.upstreams.huggingface_layers import Parts
from utility.batches import real_frames


@dataclass
class Samples:
    """How long the utterances are that go through a model; None: all alike, without padding."""

    counts: Tensor | None = None  # [B], in samples


class RealGroupNorm(nn.GroupNorm):
    """A group norm over time whose statistics are those of each utterance's real frames, as if it were alone."""

    def __init__(self, norm: nn.GroupNorm, field: Field, samples: Samples):
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine)
        self.weight, self.bias, self._field, self._samples = norm.weight, norm.bias, field, samples

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same; zero beyond each utterance's frames."""
        if self._samples.counts is None:
            return super().forward(x)
        frames = self._field.num_frames(self._samples.counts).clamp(min=1).tolist()
        if not torch.is_grad_enabled():
            out = torch.zeros_like(x)
            for row, source, count in zip(out, x, frames):
                row[:, :count] = super().forward(source[None, :, :count])[0]
            return out
        rows = [super(RealGroupNorm, self).forward(x[i : i + 1, :, :count]) for i, count in enumerate(frames)]
        return torch.cat([nn.functional.pad(row, (0, x.shape[2] - row.shape[2])) for row in rows])


def make_exact(parts: Parts, fields: Sequence[Field], samples: Samples) -> None:
    """Let norms over time and position convolutions see the real frames that `samples` says; `fields` are those of the
    convolutions. Names and values of the weights stay."""
    for convolution, field in zip(parts.convolutions, fields):
        for name, part in list(convolution.named_children()):
            if isinstance(part, nn.GroupNorm):
                setattr(convolution, name, RealGroupNorm(part, field, samples))

    def silence(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Padding goes into a convolution as zeros, which is what it pads with itself."""
        if samples.counts is None:
            return None
        x = inputs[0]  # [B, C, T]
        return (x * real_frames(fields[-1].num_frames(samples.counts), x.shape[2])[:, None], *inputs[1:])

    for part in parts.position.modules() if parts.position is not None else ():
        if isinstance(part, nn.Conv1d):
            part.register_forward_pre_hook(silence)


def normalised(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Zero mean and unit variance of each waveform's real samples, (x - mean) / sqrt(variance + 1e-7) as Transformers
    has it; padding is zero. Sums are of float64, so that they do not depend on the padding."""
    real = real_frames(lengths, waveforms.shape[1])
    count = lengths.clamp(min=1)[:, None]
    x = waveforms.double() * real
    centred = (x - x.sum(1, keepdim=True) / count) * real
    variance = centred.square().sum(1, keepdim=True) / count
    return (centred / (variance + 1e-7).sqrt()).to(waveforms.dtype)
