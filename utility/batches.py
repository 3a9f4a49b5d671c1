"""Utterances padded together, as features or as waveforms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Utterances padded together: features [B, T, ...] float32, true lengths [B] int64, and an optional target.

    On its way to a GPU what a store holds in float16 is float16: half to pad, to pin and to copy.

    The target is [B] (one label each), [B, T] (frame labels), [B, T, D'] (another feature of the same frames), or
    [B, U] of its own true lengths `target_lengths` [B] (a transcript)."""

    features: Tensor
    lengths: Tensor
    ids: list[str]
    target: Tensor | None = None
    target_lengths: Tensor | None = None
    host_lengths: Tensor | None = None  # `lengths` where they were before the batch went to a device

    def to(self, device: torch.device) -> "Batch":
        """The batch on `device`, float32; from pinned memory the host does not wait for the copy."""
        return _to(self, device)

    def mask(self) -> Tensor:
        """Bool [B, T], True on real frames."""
        return real_frames(self.lengths, self.features.shape[1])

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which a GPU copies while the host goes on."""
        return _changed(self, Tensor.pin_memory)


@dataclass(frozen=True)
class Waveforms:
    """Recordings padded together: samples [B, N] float32, true counts [B] int64 that stay in host memory, and the
    lengths [B] in frames that the features of each will have; targets as of a `Batch`."""

    samples: Tensor
    num_samples: Tensor
    lengths: Tensor
    ids: list[str]
    target: Tensor | None = None
    target_lengths: Tensor | None = None
    host_lengths: Tensor | None = None

    def to(self, device: torch.device) -> "Waveforms":
        """The waveforms on `device`; from pinned memory the host does not wait for the copy."""
        return _to(self, device)

    def pin_memory(self) -> "Waveforms":
        """The waveforms in page-locked memory, from which a GPU copies while the host goes on."""
        return _changed(self, Tensor.pin_memory)

    def with_features(self, features: Tensor, target: Tensor | None) -> Batch:
        """The batch that they are as features [B, T, D], with a target of the features' making if there is one."""
        target = self.target if target is None else target
        return Batch(features, self.lengths, self.ids, target, self.target_lengths, self.host_lengths)


AnyBatch = Batch | Waveforms
OneOf = TypeVar("OneOf", Batch, Waveforms)
ON_THE_DEVICE = ("features", "samples", "lengths", "target", "target_lengths")  # the rest stays in host memory


def _to(batch: OneOf, device: torch.device) -> OneOf:
    def there(part: Tensor) -> Tensor:
        part = part.to(device, non_blocking=True)
        return part.float() if part.dtype == torch.float16 else part

    host = batch.lengths if batch.host_lengths is None else batch.host_lengths
    return replace(_changed(batch, there), host_lengths=host)


def device_parts(batch: AnyBatch) -> dict[str, Tensor]:
    """The tensors of a batch that go to a device, by name."""
    parts = {name: getattr(batch, name, None) for name in ON_THE_DEVICE}
    return {name: part for name, part in parts.items() if part is not None}


def _changed(batch: OneOf, change: Callable[[Tensor], Tensor]) -> OneOf:
    """A batch, each tensor that goes to a device changed."""
    changed: dict[str, Any] = {name: change(part) for name, part in device_parts(batch).items()}
    return replace(batch, **changed)


def real_frames(lengths: Tensor, frames: int) -> Tensor:
    """Bool [B, frames], True below each length [B]."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def pad(rows: Sequence[np.ndarray], fill: float = 0.0, multiple: int = 1, half: bool = False) -> Tensor:
    """Stack scalars to [B], or arrays [T, ...] to [B, longest T rounded up to `multiple`, ...], `fill` beyond each.

    float16 becomes float32 on the way, unless all of it is to stay `half`."""
    if not rows[0].ndim:
        return torch.from_numpy(np.stack(rows))
    longest = -(-max(len(row) for row in rows) // multiple) * multiple
    dtype = np.result_type(*{row.dtype for row in rows})
    dtype = np.dtype(np.float32) if dtype == np.float16 and not half else dtype
    padded = np.full((len(rows), longest, *rows[0].shape[1:]), fill, dtype)
    for target, row in zip(padded, rows):
        target[: len(row)] = row
    return torch.from_numpy(padded)
