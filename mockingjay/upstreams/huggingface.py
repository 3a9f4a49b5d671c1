"""Models of Transformers as upstreams: wav2vec 2.0 and its family, which take waveforms."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mockingjay.upstreams.attentive import NOTHING, Attentive, Cut
from mockingjay.upstreams.base import Field, Upstream, fingerprint_of
from mockingjay.upstreams.huggingface_attention import rows_of
from mockingjay.upstreams.huggingface_exact import Samples, make_exact, mean_and_variance, normalised
from mockingjay.upstreams.huggingface_folder import ModelFolder
from mockingjay.upstreams.huggingface_layers import Parts, hidden_states, norm_is_last
from mockingjay.upstreams.huggingface_packed import PackedModel
from utility.batches import real_frames
from utility.files import replace_folder, temporary

LONGEST, OVERLAP = 60, 5  # seconds
TRIAL_FRAMES = 40, 23  # of the two utterances that are tried alone and together
ROUNDING = 3e-5  # of the largest value of a state: what two ways of computing it may differ by
OFF_IN_TRAINING = {"apply_spec_augment": False, "layerdrop": 0.0}


def open_huggingface(folder: ModelFolder | Path | str, seed: int | None = None) -> Upstream:
    """A folder of Transformers as an upstream of waveforms; with a seed its config alone, and weights drawn from that.

    Nothing is downloaded and no code of the folder runs. Raises FileNotFoundError or ValueError, one line: what the
    folder lacks, or why it is none of the models that take sound."""
    read = folder if isinstance(folder, ModelFolder) else ModelFolder.read(folder)
    return HuggingFaceUpstream(read, read.build(seed)).eval()


class HuggingFaceUpstream(Attentive):
    """A model of the wav2vec 2.0 family: C1 ... convolutions, P projection, T0 ... TL, final behind a last norm.

    In training there is dropout as the config says, but neither SpecAugment nor layerdrop: every state is there.
    A long recording goes through it in pieces. It is normalised as a whole. Convolutions whose norms see single frames
    give of pieces what they give of the whole; a group norm and the blocks see no more than a piece."""

    takes = "waveform"
    frozen_by_default = ("feature_extractor",)
    feature_config = None

    def __init__(self, folder: ModelFolder, model: nn.Module):
        super().__init__()
        self.model, self._folder, self._cut = model, folder, NOTHING
        self._rate, self._normalise = folder.sample_rate, folder.normalise
        self._whole: tuple[float, float] | None = None  # mean and variance of the recording whose pieces come
        config: Any = model.config
        self._config = copy.deepcopy(config)  # as it is written again
        for key, value in OFF_IN_TRAINING.items():
            setattr(config, key, value)
        try:
            parts = Parts.of(model)
        except ValueError as error:
            raise ValueError(f"upstream hf:{folder.path}: {error}") from None
        kernels, strides = list(config.conv_kernel), list(config.conv_stride)
        self._fields = [Field.of(kernels[:k], strides[:k], self._rate) for k in range(1, len(kernels) + 1)]
        self._widths, self.hidden_size = list(config.conv_dim), config.hidden_size
        self.longest, self.overlap, self.frame_shift = LONGEST * self._rate, OVERLAP * self._rate, self.field().shift
        self._samples = Samples()
        make_exact(parts, self._fields, self._samples)
        self._parts = parts
        with torch.random.fork_rng(devices=[]):  # releases before 5 draw in evaluation, too
            self._try()
        self.layers = tuple(f"T{k}" for k in range(len(parts.blocks) + 1))
        self.inner = tuple(label for label in self._parts.labels() if label not in self.layers)
        self.family = f"{type(model).__name__.removesuffix('Model')} (Transformers)"
        self.input_rule = f"waveforms of {self._rate} Hz" + (
            ", each brought to zero mean and unit variance" if self._normalise else ", as they are"
        )

    @property
    def sample_rate(self) -> int:
        """Hz of the waveforms that it takes."""
        return self._rate

    @cached_property
    def fingerprint(self) -> str:
        """Changes with weights, config.json and what is done to the input."""
        return fingerprint_of(self.model, "huggingface", self._folder.settings(), self._rate, self._normalise)

    def field(self, label: str | None = None) -> Field:
        """The samples behind a frame: of a convolution's states those of all up to it."""
        return self._fields[int(label[1:]) - 1] if label is not None and label[0] == "C" else self._fields[-1]

    def width(self, label: str | None = None) -> int:
        """Numbers per frame of the states of a label (None: of `layers`)."""
        return self._widths[int(label[1:]) - 1] if label is not None and label[0] == "C" else self.hidden_size

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> tuple[Tensor, ...]:
        there = [label for label in labels if self.field(label).size <= inputs.shape[1]]
        if self._cut and (self.training or inputs.requires_grad):
            raise ValueError(f"{self.family}: where attention is cut there are no gradients: leave one of them out")
        by_rows = self._cut or (self._packed and self._at_rest(inputs))
        way = self._by_rows if by_rows else self._by_call
        states = way(inputs, lengths, there) if there else {}
        nothing = inputs.new_zeros(len(inputs), 0, 0)  # waveforms too short for a frame
        return tuple(
            states[label] if label in states else nothing.new_zeros(len(inputs), 0, self.width(label))
            for label in labels
        )

    def _at_rest(self, inputs: Tensor) -> bool:
        """Whether nothing is trained, in float32 on a CPU."""
        recorded = self.training or torch.is_grad_enabled()
        return inputs.device.type == "cpu" and not recorded and not torch.is_autocast_enabled("cpu")

    def _by_call(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> dict[str, Tensor]:
        """The states of padded utterances, by a call of the model."""
        arguments = self._arguments(inputs, lengths)
        states = hidden_states(self._parts, lambda: self.model(**arguments), labels)
        if self._samples.counts is None:
            return states
        frames = {label: real_frames(self.num_frames(lengths, label), states[label].shape[1]) for label in labels}
        return {label: state * frames[label][..., None] for label, state in states.items()}

    def _by_rows(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> dict[str, Tensor]:
        """The states of utterances without their padding, as a CPU has them quickly; nothing of it goes backward."""
        self._samples.counts = None
        waveforms = self._normalised(inputs, lengths)
        packed = PackedModel(self.model, self._parts, self._fields, self._cut)
        states = packed.states([wave[:count] for wave, count in zip(waveforms, lengths.tolist())], labels)
        longest = torch.tensor(inputs.shape[1])
        whole = {}
        for label in labels:
            whole[label] = inputs.new_zeros(len(inputs), int(self.num_frames(longest, label)), self.width(label))
            for place, state in states[label].items():
                whole[label][place, : len(state)] = state
        return whole

    @contextlib.contextmanager
    def pieces_of(self, recording: Callable[[], Iterable[np.ndarray]]) -> Iterator[None]:
        """Meanwhile pieces are normalised by mean and variance of all of their recording."""
        self._whole = mean_and_variance(recording()) if self._normalise else None
        try:
            yield
        finally:
            self._whole = None

    def _normalised(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        return normalised(inputs, lengths, self._whole) if self._normalise else inputs

    def _arguments(self, inputs: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """What the model is called with; `_samples` says the true lengths to what needs them inside."""
        padded = bool((lengths < inputs.shape[1]).any())
        self._samples.counts = lengths if padded else None
        waveforms = self._normalised(inputs, lengths)
        if not padded:
            return {"input_values": waveforms}
        real = real_frames(lengths, inputs.shape[1])
        return {"input_values": waveforms * real, "attention_mask": real.long()}

    @property
    def attention_size(self) -> tuple[int, int]:
        """Layers, and heads of each; ValueError for a model whose blocks are not those of the family."""
        if not self._packed:
            raise ValueError(f"{self.family}: its blocks are not those of wav2vec 2.0: its attention is not known here")
        attention: Any = self._parts.blocks[0].attention
        return len(self._parts.blocks), attention.num_heads

    def attention_frames(self, lengths: Tensor) -> Tensor:
        """Frames of waveforms of so many samples."""
        return self.num_frames(lengths)

    def pieces(self, length: int) -> list[tuple[int, int]]:
        """All of a waveform of so many samples; none of a long one, whose pieces overlap."""
        assert self.longest is not None
        return [(0, length)] if length <= self.longest else []

    def attention_of(self, inputs: Tensor) -> Callable[[slice], Tensor]:
        """Weights [layers, heads, n, T] of some queries of one waveform [1, N]; each head's own, WavLM's too, whose
        attentions in Transformers are the mean of its heads."""
        blocks: list[Any] = list(self._parts.blocks)
        states = self(inputs, torch.tensor([inputs.shape[1]], device=inputs.device), self.layers[:-1])
        stable = self._parts.norm is not None
        seen = [block.layer_norm(state[0]) if stable else state[0] for block, state in zip(blocks, states)]
        return rows_of([block.attention for block in blocks], seen)

    @contextlib.contextmanager
    def cut(self, what: Cut) -> Iterator[None]:
        """Heads and spans are cut inside."""
        before, self._cut = self._cut, self._cut.and_also(what)
        try:
            yield
        finally:
            self._cut = before

    def train(self, mode: bool = True) -> "HuggingFaceUpstream":
        super().train(mode)
        encoder: Any = self.model.feature_extractor
        encoder._requires_grad = any(weight.requires_grad for weight in encoder.parameters())  # else no way back to it
        return self

    def gradient_checkpointing(self, on: bool) -> None:
        """Whether training computes the blocks again on the way back instead of keeping what is inside them."""
        model: Any = self.model
        if not on:
            model.gradient_checkpointing_disable()
            return
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        blocks = {id(part) for block in self._parts.blocks for part in block.modules()}
        for part in model.modules():
            if id(part) not in blocks and getattr(part, "gradient_checkpointing", False):
                part.gradient_checkpointing = False  # convolutions: what they see depends on the lengths of the batch

    def write_tuned(self, folder: Path) -> Path:
        """Write model and preprocessing as Transformers does, to `folder`, whole or not at all."""
        model: Any = self.model
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary(folder) as new:
            here, model.config = model.config, self._config
            try:
                self._folder.write(model, new)
            finally:
                model.config = here
            replace_folder(new, folder)
        return folder

    @torch.no_grad()
    def _try(self) -> None:
        """Meet what the model does otherwise than it should before any work is done: frames that do not follow its
        kernels; and learn whether a batch gives what single utterances give."""
        counts = [self.field().samples(0, frames)[1] + 17 for frames in TRIAL_FRAMES]
        lengths = torch.tensor(counts)
        pair = torch.randn(2, counts[0], generator=torch.Generator().manual_seed(0)) * 0.1
        first = pair[:1]
        if not norm_is_last(self._parts, lambda: self.model(**self._arguments(first, lengths[:1]))):
            self._parts = replace(self._parts, norm=None)
        labels = self._parts.labels()
        alone = [self._by_call(pair[i : i + 1, :n], lengths[i : i + 1], labels) for i, n in enumerate(counts)]
        for count, states in zip(counts, alone):
            self._check(states, count)
        self._packed, unlike = True, self._unlike(self._by_rows, pair, lengths, alone)
        if unlike:
            self._packed, unlike = False, self._unlike(self._by_call, pair, lengths, alone)
        self.batched = not unlike
        self.batch_rule = "a batch gives what single utterances give"
        if unlike:
            self.batch_rule = f"one utterance at a time: a batch gives other states, from {unlike[0]} on"

    def _check(self, states: Mapping[str, Tensor], samples: int) -> None:
        """Raise ValueError where the states of one waveform have another shape than they should, or no numbers."""
        name = f"upstream hf:{self._folder.path}: state"
        for label, state in states.items():
            expected = [1, int(self.num_frames(torch.tensor(samples), label)), self.width(label)]
            if list(state.shape) != expected:
                raise ValueError(
                    f"{name} {label} of {samples} samples is {list(state.shape[1:])}, by its kernels, strides and "
                    f"widths {expected[1:]}: {type(self.model).__name__} is not of the wav2vec 2.0 family"
                )
            if not torch.isfinite(state).all():
                raise ValueError(f"{name} {label} of noise is not finite: its weights are too large")

    def _unlike(
        self,
        way: Callable[[Tensor, Tensor, Sequence[str]], Mapping[str, Tensor]],
        pair: Tensor,
        lengths: Tensor,
        alone: Sequence[Mapping[str, Tensor]],
    ) -> list[str]:
        """The labels whose states of a batch are not those of single utterances."""
        labels = list(alone[0])
        try:
            together = way(pair, lengths, labels)
        except (AttributeError, TypeError, RuntimeError):  # its modules are not those that the way knows
            return labels
        return [
            label
            for label in labels
            if any(
                _difference(states[label][0], row[: states[label].shape[1]]) > ROUNDING
                for row, states in zip(together[label], alone)
            )
        ]


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-12))
