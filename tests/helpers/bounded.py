"""Upstreams of waveforms whose frames see a bounded field: small convolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Field, Upstream, fingerprint_of

KERNELS, STRIDES = (10, 4, 2), (5, 4, 4)  # together 45 samples, every 80
RATE = 8000
WIDTH = 4


class Convolutions(nn.Module):
    """Waveforms [B, N] to the states of each convolution, [B, T, 4]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, WIDTH, WIDTH, WIDTH)
        self.layers = nn.ModuleList(map(nn.Conv1d, widths, widths[1:], KERNELS, STRIDES))

    def forward(self, waveforms: Tensor) -> list[Tensor]:
        states, given = waveforms[:, None], []
        for layer in self.layers:
            states = torch.tanh(layer(states))
            given.append(states.transpose(1, 2))
        return given


class Waves(Convolutions):
    """The last of them as a class of one's own."""

    takes, sample_rate, downsample_rate, out_dim = "waveform", RATE, 80, WIDTH

    def forward(self, waveforms: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(waveforms)[-1]


class Bounded(Upstream):
    """Labels C1, C2 and T0, the last convolution; pieces are short, so that tests meet them."""

    takes, layers, inner, hidden_size = "waveform", ("T0",), ("C1", "C2"), WIDTH
    feature_config, frame_shift, sample_rate = None, 80 / RATE, RATE
    batched, longest, overlap = False, 2 * RATE, 400

    def __init__(self, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = Convolutions()
        self.fingerprint = fingerprint_of(self.model, "bounded")

    def field(self, label: str | None = None) -> Field:
        depth = {"C1": 1, "C2": 2}.get(label or "T0", 3)
        return Field.of(KERNELS[:depth], STRIDES[:depth], RATE)

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> list[Tensor]:
        states = dict(zip(("C1", "C2", "T0"), self.model(inputs)))
        return [states[label] for label in labels]
