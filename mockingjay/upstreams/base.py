"""The contract of every upstream: features or waveforms in, hidden states out."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from utility.audio.features import FeatureConfig, FeatureExtractor


class States(Sequence[Tensor]):
    """Hidden states, each brought to one vector per frame only when it is asked for."""

    def __init__(self, encoded: Sequence[Tensor], finish: Callable[[Tensor], Tensor]):
        self._encoded, self._finish = encoded, finish

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int | slice) -> Tensor | tuple[Tensor, ...]:
        if isinstance(index, slice):
            return tuple(self._finish(state) for state in self._encoded[index])
        return self._finish(self._encoded[index])


class Upstream(nn.Module):
    """Features [B, T, D] with true lengths [B] -> hidden states, `num_layers + 1` tensors [B, T, hidden_size].

    Entry 0 is the embedding before the first layer, entry k the output of layer k; one per input frame, zero beyond the
    true lengths. Gradients flow to the weights. An utterance gives the same alone and in any batch."""

    hidden_size: int
    num_layers: int
    feature_config: FeatureConfig | None  # what it was trained on; None: takes any
    frame_shift: float | None  # seconds
    fingerprint: str  # changes with anything that changes the representations
    step: int | None = None  # optimiser updates done; None: it was not trained here

    def forward(self, features: Tensor, lengths: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError

    def from_waveforms(self, waveforms: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor]:
        """Hidden states and lengths [B] of 1-D waveforms at the sample rate of `feature_config`."""
        if self.feature_config is None:
            raise ValueError("this upstream does not say which features it takes: call it with features instead")
        lengths = torch.tensor([len(wave) for wave in waveforms])
        padded = nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
        features, frames = self._extractor(padded, lengths)
        device = next(iter(self.parameters()), torch.zeros(0)).device
        frames = frames.to(device)
        return self(features.to(device), frames), frames

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return FeatureExtractor(self.feature_config)


def _fingerprint(module: nn.Module, *settings: object) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
