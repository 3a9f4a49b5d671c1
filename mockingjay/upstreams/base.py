"""The contract of every upstream: features or waveforms in, hidden states out."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
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


@dataclass(frozen=True)
class Field:
    """The samples that a frame is made of: frame t sees `size` of them from `stride * t` on, without padding.

    `size` is the receptive field of all convolutions together. Where frames are centred on multiples of the stride, as
    librosa's are, it is 0."""

    size: int
    stride: int
    rate: int  # Hz
    shortest: int = 0  # samples of a waveform below which there is no frame, although `size` would allow one

    @classmethod
    def of(cls, kernels: Sequence[int], strides: Sequence[int], rate: int) -> "Field":
        """That of convolutions without padding, one behind the other."""
        size, stride = 1, 1
        for kernel, step in zip(kernels, strides, strict=True):
            size, stride = size + (kernel - 1) * stride, stride * step
        return cls(size, stride, rate)

    @property
    def shift(self) -> float:
        """Seconds between frames."""
        return self.stride / self.rate

    @property
    def offset(self) -> float:
        """Seconds to the centre of the first frame."""
        return self.size / 2 / self.rate

    def num_frames(self, samples: Tensor) -> Tensor:
        """Frames of waveforms of so many samples."""
        frames = (samples - self.size).div(self.stride, rounding_mode="floor") + 1
        return frames.clamp(min=0).masked_fill(samples < max(self.shortest, 1), 0)

    def samples(self, start: int, stop: int) -> tuple[int, int]:
        """The samples that frames `start` to `stop` are made of: the first, and the one after the last."""
        return start * self.stride, (stop - 1) * self.stride + max(self.size, 1)

    def pieces(self, samples: int, longest: int, overlap: int) -> list["Piece"]:
        """A waveform of so many samples in pieces of at most `longest`, which overlap.

        Frames whose field begins in the first or ends in the last `overlap` samples of a piece are dropped, but for the
        start and the end of the waveform: together the pieces give each frame once."""
        dropped = -(-overlap // self.stride)
        kept = int(self.num_frames(torch.tensor(longest))) - 2 * dropped
        assert kept > 0, "a piece is longer than what is dropped of it"
        total = int(self.num_frames(torch.tensor(samples)))
        made = []
        for start in range(0, total, kept):
            stop = min(start + kept, total)
            first, last = max(start - dropped, 0), min(stop + dropped, total)
            low, high = self.samples(first, last)
            made.append(Piece(low, samples if last == total else high, start - first, stop - start))
        return made


@dataclass(frozen=True)
class Piece:
    """Samples `start` to `stop` of a waveform; of their frames some are `dropped`, and those behind them `kept`."""

    start: int
    stop: int
    dropped: int
    kept: int


class RowError(ValueError):
    """What is wrong with one utterance of a batch: that in `row`."""

    def __init__(self, row: int, message: str):
        super().__init__(message)
        self.row = row


class Upstream(nn.Module):
    """Anything that gives hidden states: `upstream(inputs, lengths)` -> one tensor [B, T, hidden_size] per layer.

    Inputs with true lengths [B] are features [B, T, D], or waveforms [B, N] where `takes` says so; states are zero
    beyond `num_frames(lengths)`. Gradients flow to the weights. An utterance gives the same alone and in any batch:
    where `encode` cannot promise that, `batched` is False and utterances go through it one by one.

    States are called by labels. `layers` are those of one width and one frame rate that `--layer all` takes; `inner`
    are others that can be asked for. F: features, C1 ...: convolutions, P: projection, T0: what enters the first block,
    T1 ...: output of a block, final: the last one behind a norm that stands apart, H: a head, O: one's own module."""

    takes: Literal["features", "waveform"] = "features"
    batched: bool = True
    layers: tuple[str, ...]
    inner: tuple[str, ...] = ()
    hidden_size: int
    feature_config: FeatureConfig | None  # where it takes features: which ones; None: was never stated
    frame_shift: float | None  # seconds; None: was never stated
    step: int | None = None  # optimiser updates done; None: it was not trained here
    longest: int | None = None  # samples of a waveform beyond which it is encoded in pieces; None: never
    overlap: int = 0  # samples at either end of a piece whose frames are dropped
    family: str = ""  # what the literature calls the model
    input_rule: str = ""  # what happens to an input before the model sees it
    batch_rule: str = ""  # how several utterances go through the model, where `batched` does not say it all
    frozen_by_default: tuple[str, ...] = ()  # prefixes of weights that fine-tuning leaves alone

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
        if self.takes == "waveform":
            return self.field().offset
        return None if self.feature_config is None else float(self.feature_config.frame_times(1)[0])

    def field(self, label: str | None = None) -> Field:
        """The samples behind a frame of the states of a label (None: of `layers`), for an upstream of waveforms."""
        raise NotImplementedError

    def width(self, label: str | None = None) -> int:
        """Numbers per frame of the states of a label (None: of `layers`)."""
        return self.hidden_size

    def times(self, label: str | None = None) -> tuple[float | None, float | None]:
        """Frame shift and offset in seconds of the states of a label; None: was never stated."""
        if self.takes == "features":
            return self.frame_shift, self.frame_offset
        field = self.field(label)
        return field.shift, field.offset

    def num_frames(self, lengths: Tensor, label: str | None = None) -> Tensor:
        """Frames of the hidden states of inputs of these lengths."""
        return lengths if self.takes == "features" else self.field(label).num_frames(lengths)

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> Sequence[Tensor]:
        """What `forward` gives, of a batch, or where `batched` is False of one utterance without padding."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str] | None = None) -> Sequence[Tensor]:
        """The states of the labels (None: of `layers`), in their order, each [B, T, width]."""
        labels = self.layers if labels is None else labels
        if self.batched:
            return self.encode(inputs, lengths, labels)
        counts = lengths.tolist()
        rows = []
        for row, count in enumerate(counts):
            try:
                rows.append(self.encode(inputs[row : row + 1, :count], lengths[row : row + 1], labels))
            except RowError as error:
                raise RowError(row, str(error)) from error
        longest = torch.tensor(inputs.shape[1])
        frames = [int(self.num_frames(longest, label)) for label in labels]
        return tuple(
            torch.cat([nn.functional.pad(state, (0, 0, 0, count - state.shape[1])) for state in states])
            for states, count in zip(zip(*rows), frames)
        )

    def gradient_checkpointing(self, on: bool) -> None:
        """Whether blocks keep only what enters them for backward, and are computed again there."""
        raise ValueError("this upstream cannot compute its blocks again: leave upstream.gradient_checkpointing out")

    def write_tuned(self, folder: Path) -> Path:
        """Write the weights in the upstream's own format below `folder`; gives what `--upstream` opens."""
        raise ValueError(f"this upstream ({type(self).__name__}) has no weights to write")

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
        inputs, counts = inputs.to(device), counts.to(device)
        long = self.takes == "waveform" and self.longest is not None and inputs.shape[1] > self.longest
        return self._one_by_one(inputs, counts) if long else self(inputs, counts), self.num_frames(counts)

    @contextlib.contextmanager
    def pieces_of(self, recording: Callable[[], Iterable[np.ndarray]]) -> Iterator[None]:
        """What goes through the upstream meanwhile are pieces of one recording, which `recording` gives from its start
        to its end: for an upstream that normalises, which takes mean and variance of all of it."""
        yield

    def _one_by_one(self, waveforms: Tensor, counts: Tensor) -> list[Tensor]:
        """What `forward` gives, each waveform alone, those beyond `longest` in pieces as `represent` takes them."""
        rows = [self._alone(wave[None, :count]) for wave, count in zip(waveforms, counts.tolist())]
        return [nn.utils.rnn.pad_sequence([row[k] for row in rows], batch_first=True) for k in range(len(self.layers))]

    def _alone(self, wave: Tensor) -> list[Tensor]:
        """The states [T, H] of one waveform [1, N]."""
        samples = wave.shape[1]
        if self.longest is None or samples <= self.longest:
            return [state[0] for state in self(wave, torch.tensor([samples], device=wave.device))]
        parts = []
        with self.pieces_of(lambda: [wave[0].cpu().numpy()]):
            for piece in self.field().pieces(samples, self.longest, self.overlap):
                part = wave[:, piece.start : piece.stop]
                states = self(part, torch.tensor([part.shape[1]], device=wave.device))
                parts.append([state[0, piece.dropped : piece.dropped + piece.kept] for state in states])
        return [torch.cat(states) for states in zip(*parts)]

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
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())  # bfloat16, too
    return digest.hexdigest()[:16]
