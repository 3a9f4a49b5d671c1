"""Padded batches that give what single utterances give: norms over time and convolutions see real frames."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
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
            return self._normed(x)
        frames = self._field.num_frames(self._samples.counts).clamp(min=1).tolist()
        rows = [self._normed(x[i : i + 1, :, :count]) for i, count in enumerate(frames)]
        return torch.cat([nn.functional.pad(row, (0, x.shape[2] - row.shape[2])) for row in rows])

    def _normed(self, x: Tensor) -> Tensor:
        """Of a single frame, too, which the module itself refuses."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


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


def normalised(waveforms: Tensor, lengths: Tensor, whole: tuple[float, float] | None = None) -> Tensor:
    """Zero mean and unit variance of each waveform's real samples, padding zero, as Transformers' feature extractor
    has it: NumPy's float32, so that not a bit differs from that. Pieces of a recording bring its mean and variance.
    Where gradients by the samples are wanted it is PyTorch's, which differs by rounding."""
    if torch.is_grad_enabled() and waveforms.requires_grad:
        return torch.stack([_normalised_row(wave, count, whole) for wave, count in zip(waveforms, lengths.tolist())])
    out = np.zeros(waveforms.shape, np.float32)
    for row, wave, count in zip(out, waveforms.detach().cpu().float().numpy(), lengths.tolist()):
        real = wave[:count]
        if count:
            mean, variance = (real.mean(), real.var()) if whole is None else map(np.float32, whole)
            row[:count] = (real - mean) / np.sqrt(variance + 1e-7)
    return torch.from_numpy(out).to(waveforms.device)


def _normalised_row(wave: Tensor, count: int, whole: tuple[float, float] | None) -> Tensor:
    if not count:
        return torch.zeros_like(wave)
    real = wave[:count]
    mean, variance = (real.mean(), real.var(correction=0)) if whole is None else map(real.new_tensor, whole)
    return nn.functional.pad((real - mean) / (variance + 1e-7).sqrt(), (0, len(wave) - count))


def mean_and_variance(recording: Iterable[np.ndarray]) -> tuple[float, float]:
    """Of all samples of a recording that comes in chunks [n]; each chunk is centred before it is squared."""
    count, mean, squares = 0, 0.0, 0.0
    for chunk in recording:
        samples = chunk.astype(np.float64)
        shift = samples.mean() - mean
        squares += ((samples - samples.mean()) ** 2).sum() + shift**2 * count * len(samples) / (count + len(samples))
        mean += shift * len(samples) / (count + len(samples))
        count += len(samples)
    return mean, squares / max(count, 1)
