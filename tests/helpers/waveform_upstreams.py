"""Small upstreams of waveforms for tests: one as the contract has them, and one as a user writes it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Field, Upstream, fingerprint_of
from utility.batches import real_frames

RATE = 16000
BANDS = (500.0, 1500.0, 4000.0, 2200.0, 2700.0, 3200.0, 3700.0, 900.0)  # Hz: those of the corpus of tests, and one


class Strided(Upstream):
    """A filterbank of eight bands, C1 with frames of 10 ms; a convolution, C2 with frames of `shift` ms; two blocks.

    The first frame of C1 has its centre at 12.5 ms (400 samples every 160, as the wav2vec family's are every 320)."""

    takes = "waveform"
    sample_rate = RATE
    feature_config = None
    layers = ("T0", "T1", "T2")
    inner = ("C1", "C2")
    frozen_by_default = ("convolutions",)
    hidden_size = 12

    def __init__(self, shift: int = 20, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = nn.Module()
            first, second = nn.Conv1d(1, 16, 400, 160, bias=False), nn.Conv1d(8, 12, shift // 10, shift // 10)
            phase = 2 * torch.pi / RATE * torch.tensor(BANDS)[:, None] * torch.arange(400)
            first.weight.data = torch.stack([phase.cos(), phase.sin()]).flatten(0, 1)[:, None] / 20
            self.model.convolutions = nn.Sequential(first, second)
            self.model.dropout = nn.Dropout(0.1)
            self.model.blocks = nn.ModuleList(nn.Linear(12, 12) for _ in range(2))
        self.shift = shift
        self.frame_shift = self.field().shift
        self.recompute = False

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Of the weights."""
        return fingerprint_of(self.model, self.shift)

    def field(self, label: str | None = None) -> Field:
        """The samples behind a frame."""
        count = 1 if label == "C1" else 2
        return Field.of((400, self.shift // 10)[:count], (160, self.shift // 10)[:count], RATE)

    def width(self, label: str | None = None) -> int:
        """Channels of C1, or the hidden size."""
        return 8 if label == "C1" else 12

    def gradient_checkpointing(self, on: bool) -> None:
        """Remembered only."""
        self.recompute = on

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> tuple[Tensor, ...]:
        cosine, sine = self.model.convolutions[0](inputs[:, None]).chunk(2, 1)
        first = (cosine**2 + sine**2).log1p()  # [B, 8, T at 10 ms]
        x = second = self.model.convolutions[1](first).transpose(1, 2)  # [B, T, 12]
        states = {"C1": first.transpose(1, 2), "C2": second, "T0": x}
        for number, block in enumerate(self.model.blocks, 1):
            x = x + self.model.dropout(torch.tanh(block(x)))
            states[f"T{number}"] = x
        frames = {label: self.num_frames(lengths, label) for label in labels}
        return tuple(states[label] * real_frames(frames[label], states[label].shape[1])[..., None] for label in labels)

    def write_tuned(self, folder: Path) -> Path:
        """A state dict."""
        torch.save(self.model.state_dict(), folder / "strided.pt")
        return folder / "strided.pt"


class Own(nn.Module):
    """A user's class of waveforms, with frames of 20 ms."""

    takes, sample_rate, downsample_rate, out_dim, kernel = "waveform", RATE, 320, 12, 400

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, self.out_dim, self.kernel, self.downsample_rate)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        states = self.convolution(waveforms[:, None]).abs().log1p().transpose(1, 2)
        frames = (lengths - self.kernel).div(self.downsample_rate, rounding_mode="floor") + 1
        return states * real_frames(frames.clamp(min=0), states.shape[1])[..., None]


class OwnSlow(Own):
    """The same with frames of 40 ms."""

    downsample_rate = 640
