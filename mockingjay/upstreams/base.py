"""The contract of every upstream: features or waveforms in, hidden states out."""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor


class States(Sequence[Tensor]):
    """Hidden states, each brought to one vector per frame only when it is asked for."""

    def __init__(self, encoded: Sequence[Tensor], finish: Callable[[Tensor], Tensor]):
        self._encoded, self._finish = encoded, finish

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Tensor, ...]: ...

    def __getitem__(self, index: int | slice) -> Tensor | tuple[Tensor, ...]:
        if isinstance(index, slice):
            return tuple(self._finish(state) for state in self._encoded[index])
        return self._finish(self._encoded[index])


class Upstream(nn.Module):
    """Anything that gives hidden states: `upstream(inputs, lengths)` -> one tensor [B, T, hidden_size] per layer.

    Inputs with true lengths [B] are features [B, T, D], or waveforms [B, N] where `takes` says so; states are zero
    beyond `num_frames(lengths)`. Gradients flow to the weights. An utterance gives the same alone and in any batch:
    where `encode` cannot promise that, `batched` is False and utterances go through it one by one."""

    takes: Literal["features", "waveform"] = "features"
    batched: bool = True
    layers: tuple[str, ...]  # names of the hidden states: F features, C1 ... convolutions, T0 ... TL blocks, H a head
    hidden_size: int
    feature_config: FeatureConfig | None  # where it takes features: which ones; None: was never stated
    frame_shift: float | None  # seconds; None: was never stated
    step: int | None = None  # optimiser updates done; None: it was not trained here

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that changes the representations."""
        raise NotImplementedError

    @property
    def num_layers(self) -> int:
        """Hidden states after the first."""
        return len(self.layers) - 1

    @property
    def sample_rate(self) -> int | None:
        """Hz of the waveforms that `from_waveforms` takes; None: it takes none."""
        return None if self.feature_config is None else self.feature_config.sample_rate

    @property
    def frame_offset(self) -> float | None:
        """Seconds from the start of an utterance to the centre of its first frame; None: was never stated."""
        return None if self.feature_config is None else float(self.feature_config.frame_times(1)[0])

    def num_frames(self, lengths: Tensor) -> Tensor:
        """Frames of the hidden states of inputs of these lengths."""
        assert self.takes == "features", "an upstream of waveforms says how many frames it gives"
        return lengths

    def encode(self, inputs: Tensor, lengths: Tensor) -> Sequence[Tensor]:
        """What `forward` gives, of a batch, or where `batched` is False of one utterance without padding."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, lengths: Tensor) -> Sequence[Tensor]:
        if self.batched:
            return self.encode(inputs, lengths)
        counts = lengths.tolist()
        rows = [self.encode(inputs[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(counts)]
        frames = int(self.num_frames(torch.tensor(inputs.shape[1])))
        return tuple(
            torch.cat([nn.functional.pad(state, (0, 0, 0, frames - state.shape[1])) for state in states])
            for states in zip(*rows)
        )

    def from_waveforms(
        self, waveforms: Sequence[Tensor | np.ndarray], sample_rate: int | None = None
    ) -> tuple[Sequence[Tensor], Tensor]:
        """Hidden states and their lengths [B] of 1-D waveforms, floating point of full scale 1.

        They are believed to have the upstream's `sample_rate`; where yours is given and is another it is a ValueError,
        as is anything but a list of waveforms."""
        if self.sample_rate is None:
            raise ValueError(
                "this upstream does not say which features it takes, or they are not computed here: call it with "
                "features instead"
            )
        if sample_rate not in (None, self.sample_rate):
            raise ValueError(f"sample_rate is {sample_rate}, this upstream takes {self.sample_rate} Hz: resample first")
        waves = checked_waveforms(waveforms)
        counts = torch.tensor([len(wave) for wave in waves])
        inputs = nn.utils.rnn.pad_sequence(waves, batch_first=True)
        if self.takes == "features":
            inputs, counts = self._extractor(inputs, counts)
        device = next(iter(self.parameters()), torch.zeros(0)).device
        counts = counts.to(device)
        return self(inputs.to(device), counts), self.num_frames(counts)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        assert self.feature_config is not None, "an upstream of unknown features takes no waveforms"
        return FeatureExtractor(self.feature_config)


def checked_waveforms(waveforms: Sequence[Tensor | np.ndarray]) -> list[Tensor]:
    """The waveforms as float32 tensors [N]; a ValueError says what is wrong with them and what to pass."""
    wanted = "pass a list of 1-D arrays or tensors, floating point of full scale 1"
    if isinstance(waveforms, np.ndarray | Tensor):
        raise ValueError(f"got one {type(waveforms).__name__} of shape {list(waveforms.shape)}: {wanted}")
    if not isinstance(waveforms, Sequence) or isinstance(waveforms, str | bytes):
        raise ValueError(f"got {waveforms!r:.60}: {wanted}; read_audio of utility.audio.waveform reads a file")
    if not waveforms:
        raise ValueError(f"expected at least one waveform, got none: {wanted}")
    checked = []
    for number, wave in enumerate(waveforms):
        if not isinstance(wave, np.ndarray | Tensor):
            raise ValueError(f"waveform {number} is a {type(wave).__name__}: {wanted}")
        wave = torch.as_tensor(wave)
        if wave.ndim != 1 or not wave.is_floating_point():
            kind = str(wave.dtype).removeprefix("torch.")
            raise ValueError(f"waveform {number} is {kind} of shape {list(wave.shape)}: {wanted}")
        if not len(wave):
            raise ValueError(f"waveform {number} has no samples")
        checked.append(wave.to(torch.float32))
    return checked


def stated(seconds: float | None) -> float | None:
    """A time that a store states; None for NaN, which stands there for what nobody knows."""
    return None if seconds is None or math.isnan(seconds) else seconds


def fingerprint_of(module: nn.Module, *settings: object) -> str:
    """16 hex digits of the weights of a module and of settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
