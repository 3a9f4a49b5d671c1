"""A user's module that takes waveforms, as an upstream: what is not stated about it is measured when it is opened."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from mockingjay.upstreams import measuring
from mockingjay.upstreams.base import Field, RowError, Upstream, fingerprint_of
from mockingjay.upstreams.tuned import write_tuned_weights
from mockingjay.upstreams.users_code import reason_of, undisturbed
from utility.batches import real_frames
from utility.text import short

LONGEST, OVERLAP = 60, 5  # seconds
APART = "final"  # the label of a last state behind a norm of its own


class MeasuredUpstream(Upstream):
    """A module that gives states [B, T, H] for waveforms; a child says how it is called, and has it measured.

    Its frames are `stride` samples apart. The receptive field is measured: n samples give
    floor((n - size) / stride) + 1 frames. The first is centred on size / 2, or on what the module states as
    `frame_offset` (seconds). A waveform below the shortest that it takes has no frame. Where a batch gives other states
    than single utterances, or the module takes no batch, they go one by one. It is in evaluation mode, but for
    fine-tuning."""

    takes = "waveform"
    feature_config = None
    layers: tuple[str, ...] = ()  # not known before it is measured
    made_from = ""  # the file that the module was made from, if any

    def __init__(self, called: str, module: nn.Module, rate: int, stride: int):
        super().__init__()
        self.called, self.module, self.rate, self.frame_shift = called, module, rate, stride / rate
        self.longest, self.overlap = LONGEST * rate, OVERLAP * rate
        self.input_rule = f"mono waveforms of {rate} Hz as they are; what else is done to them the module does"
        self._stride, self._stated_offset = stride, _stated_offset(called, module)

    def states_of(self, waves: list[Tensor]) -> dict[str, Tensor]:
        """The states [B, T, H] of 1-D waveforms by label, those of `layers` in order; it may raise anything."""
        raise NotImplementedError

    def code(self) -> Sequence[object]:
        """What tells the code and the settings of the module from others, for the fingerprint."""
        raise NotImplementedError

    @torch.no_grad()
    def measure(self, takes_batches: bool) -> None:
        """Find what is not stated; ValueError for a module that does not do what an upstream must."""
        self.eval()
        try:
            with undisturbed():
                samples = measuring.trial_samples(self._call, self._stride, self.rate)
                self._take_labels(self._call([measuring.noise(samples)]))
                self._field = measuring.measured_field(self._call, self._stride, self.rate, samples)
                measuring.check_numbers(self._call, samples)
                self.batched = takes_batches and measuring.equal_in_batch(self._call, self._field, samples)
        except ValueError as error:
            raise ValueError(f"{self.called} {error}") from error
        reason = "a batch gives other states" if takes_batches else "its forward takes no lengths"
        same = "a batch gives what single utterances give"
        self.batch_rule = same if self.batched else f"one utterance at a time: {reason}"

    def _take_labels(self, states: Mapping[str, Tensor]) -> None:
        self.layers = tuple(label for label in states if label != APART)
        last, apart = states[self.layers[-1]], states.get(APART)
        if apart is not None and apart.shape == last.shape and not torch.equal(apart, last):
            self.inner = (APART,)
        self.hidden_size = last.shape[-1]

    @property
    def sample_rate(self) -> int:
        """Hz of the waveforms that it takes."""
        return self.rate

    @property
    def frame_offset(self) -> float:
        """Seconds from the start of an utterance to the centre of its first frame."""
        return self._field.offset if self._stated_offset is None else self._stated_offset

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and the code of the module, but not with that of packages which it imports."""
        return fingerprint_of(self.module, self.rate, *self.code())

    def field(self, label: str | None = None) -> Field:
        """The samples behind a frame, as measured: the same for every layer."""
        return self._field

    def times(self, label: str | None = None) -> tuple[float, float]:
        """Frame shift and offset in seconds: the same for every layer."""
        return self._field.shift, self.frame_offset

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> tuple[Tensor, ...]:
        frames, counts = self.num_frames(lengths), lengths.tolist()
        total = int(self.num_frames(torch.tensor(inputs.shape[1])))
        rows = [row for row, count in enumerate(frames.tolist()) if count]
        if not rows:
            return (inputs.new_zeros(len(inputs), total, self.hidden_size),) * len(labels)
        longest = max(rows, key=counts.__getitem__)
        try:
            states = self._call([inputs[row, : counts[row]] for row in rows])
            measuring.check_frames(self._field, counts[longest], measuring.num_frames(states))
        except ValueError as error:
            raise RowError(longest, f"{self.called} {error}") from error
        self._check_gradients(states)
        real = real_frames(frames, total)[..., None]  # [B, T, 1]
        return tuple(_among(states[label], rows, real) for label in labels)

    def write_tuned(self, folder: Path) -> Path:
        """Write the weights below `folder`; gives their file, which stands behind the spec as FILE."""
        return write_tuned_weights(folder, self.module, self.made_from)

    def _call(self, waves: list[Tensor]) -> dict[str, Tensor]:
        """The states of 1-D waveforms by label; a ValueError says what is wrong with them."""
        try:
            given = self.states_of(waves)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            samples = ", ".join(str(len(wave)) for wave in waves[:4])
            raise ValueError(f"failed on {samples} samples: {reason_of(error)}") from error
        labels = tuple(label for label in given if label != APART)
        if self.layers and labels != self.layers:
            raise ValueError(f"gave {len(labels)} hidden states, expected {len(self.layers)}")
        states = {label: given[label] for label in (*self.layers, *self.inner)} if self.layers else given
        _check_shapes(states, labels, len(waves))
        return states

    def _check_gradients(self, states: Mapping[str, Tensor]) -> None:
        wanted = self.training and torch.is_grad_enabled() and any(one.requires_grad for one in self.parameters())
        if wanted and not any(state.requires_grad for state in states.values()):
            raise ValueError(f"{self.called} gives states without gradients: fine-tuning does not reach its weights")


def _check_shapes(states: Mapping[str, Tensor], labels: Sequence[str], batch: int) -> None:
    """ValueError where states are not [B, T, H] alike."""
    if not labels:
        raise ValueError("gave no hidden states")
    for label, state in states.items():
        if not isinstance(state, Tensor) or not state.is_floating_point():
            kind = str(state.dtype) if isinstance(state, Tensor) else f"a value of type {type(state).__name__}"
            raise ValueError(f"gave {kind} as {label}, expected a floating point tensor [B, T, H]")
        first = states[labels[0]].shape
        if state.ndim != 3 or len(state) != batch:
            raise ValueError(f"gave shape {list(state.shape)} as {label} for {batch} waveforms, expected [B, T, H]")
        if label != APART and state.shape != first:
            raise ValueError(
                f"gave {label} of shape {list(state.shape)}, {labels[0]} of {list(first)}: all must be alike"
            )


def _among(state: Tensor, rows: Sequence[int], real: Tensor) -> Tensor:
    """The states [n, T', H] of some rows of a batch in [B, T, H], zero wherever `real` [B, T, 1] is not."""
    frames = real.shape[1]
    if len(rows) < len(real):
        whole = state.new_zeros(len(real), state.shape[1], state.shape[2])
        whole[list(rows)] = state
        state = whole
    return nn.functional.pad(state, (0, 0, 0, frames - state.shape[1])).masked_fill(~real, 0)


def _stated_offset(called: str, module: nn.Module) -> float | None:
    """Seconds that a module states as `frame_offset`."""
    value = getattr(module, "frame_offset", None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{called} states frame_offset = {short(value)}, expected seconds from 0 on")
    return float(value)


def whole_number(called: str, name: str, value: object) -> int:
    """What a module states as a count; ValueError for another kind of value, and below 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{called} states {name} = {short(value)}, expected a whole number from 1 on")
    return value
