"""A pre-trained encoder as an upstream, without or with its head."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import FrameModel, Head
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import Block, TransformerEncoder, stack_frames, unstack_states
from mockingjay.upstreams.attentive import Attentive, Cut
from mockingjay.upstreams.base import States, fingerprint_of
from utility.audio.feature_config import FeatureConfig
from utility.batches import real_frames


class PretrainedUpstream(Attentive):
    """The encoder of a pre-trained (or still random) model, Transformer or GRU, without its head."""

    def __init__(
        self, model: FrameModel, config: PretrainConfig, features: FeatureConfig | None, frame_shift: float | None
    ):
        super().__init__()
        self.encoder, self.input_dim, self.rate = model.encoder, model.input_dim, model.downsample_rate
        self.hidden_size = model.hidden_size
        self.layers = tuple(f"T{layer}" for layer in range(model.num_layers + 1))
        self.max_input_length = config.model.max_input_length if config.encoder == "transformer" else None
        self.feature_config, self.frame_shift = features, frame_shift
        self.write: Callable[[Path], Path] | None = None  # a checkpoint of the whole model, where that is known
        self._settings = config.objective, config.encoder, config.model, config.gru, features

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that changes the representations."""
        return fingerprint_of(self.encoder, *self._settings)

    def encode(self, features: Tensor, lengths: Tensor, labels: Sequence[str]) -> Sequence[Tensor]:
        if features.shape[-1] != self.input_dim:
            raise ValueError(f"features have {features.shape[-1]} dimensions, the upstream takes {self.input_dim}")
        if self.max_input_length is None or features.shape[1] <= self.max_input_length:
            return self._encode(features, lengths, labels)
        segments = Segments.of(lengths, self.max_input_length)
        states = self._encode(segments.split(features), segments.lengths, labels)
        return States(states, lambda state: segments.join(state, *features.shape[:2]))

    def _encode(self, features: Tensor, lengths: Tensor, labels: Sequence[str]) -> States:
        states = self.encoder(*stack_frames(features, lengths, self.rate))
        chosen = [states[self.layers.index(label)] for label in labels]
        return States(chosen, lambda state: unstack_states(state.float(), lengths, features.shape[1], self.rate))

    def gradient_checkpointing(self, on: bool) -> None:
        """Whether blocks are computed again for backward; ValueError for a GRU."""
        if not isinstance(self.encoder, TransformerEncoder):
            raise ValueError("a GRU cannot compute its layers again: leave upstream.gradient_checkpointing out")
        self.encoder.recompute = on

    def write_tuned(self, folder: Path) -> Path:
        """Write a checkpoint of the tuned encoder, with the head that it had."""
        return super().write_tuned(folder) if self.write is None else self.write(folder)

    @property
    def transformer(self) -> TransformerEncoder:
        """The encoder; ValueError for a GRU."""
        if not isinstance(self.encoder, TransformerEncoder):
            raise ValueError("the checkpoint holds a GRU, which has no attention")
        return self.encoder

    @property
    def attention_size(self) -> tuple[int, int]:
        """Layers, and heads of each; ValueError for a GRU."""
        first = self.transformer.blocks[0]
        assert isinstance(first, Block)
        return self.transformer.num_layers, first.attention.heads

    def attention_frames(self, lengths: Tensor) -> Tensor:
        """Stacked frames of utterances of so many frames."""
        return (lengths // self.rate).clamp(min=1)

    def pieces(self, length: int) -> list[tuple[int, int]]:
        """Start and stop of the segments of an utterance of so many frames."""
        if self.max_input_length is None or length <= self.max_input_length:
            return [(0, length)]
        segments = Segments.of(torch.tensor([length]), self.max_input_length)
        starts = segments.start.tolist()
        return list(zip(starts, (segments.start + segments.lengths).tolist()))

    def attention_of(self, inputs: Tensor) -> Callable[[slice], Tensor]:
        """Weights [layers, heads, n, T'] of some queries of one utterance [1, T, D]."""
        lengths = torch.tensor([inputs.shape[1]], device=inputs.device)
        rows = self.transformer.attention_rows(*stack_frames(inputs, lengths, self.rate))
        return lambda chosen: rows(chosen)[:, 0]

    def attention_maps(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Attention of every layer and head over stacked frames, [layers, B, heads, T', T'], zero beyond true lengths.

        Where utterances are encoded in segments it is that of each one's first segment."""
        encoder = self.transformer
        if self.max_input_length is not None:
            segments = Segments.of(lengths, self.max_input_length)
            first = segments.start == 0
            inputs, lengths = segments.split(inputs)[first], segments.lengths[first]
        stacked, lengths = stack_frames(inputs, lengths, self.rate)
        return encoder.attention_maps(stacked, lengths) * real_frames(lengths, stacked.shape[1])[:, None, :, None]

    @contextmanager
    def cut(self, what: Cut) -> Iterator[None]:
        """Heads and spans of the encoder are cut inside."""
        encoder = self.transformer
        before = encoder.kept, encoder.radius
        both = Cut(*before).and_also(Cut(None if what.kept is None else _beside(encoder, what.kept), what.radius))
        encoder.kept, encoder.radius = both.kept, both.radius
        try:
            yield
        finally:
            encoder.kept, encoder.radius = before


class HeadUpstream(Attentive):
    """A pre-trained encoder and, as one hidden state more, that of its pre-training head."""

    def __init__(self, encoder: PretrainedUpstream, head: Head):
        super().__init__()
        self.encoder, self.head, self.rate = encoder, head, encoder.rate
        self.hidden_size, self.layers = encoder.hidden_size, (*encoder.layers, "H")
        self.feature_config, self.frame_shift = encoder.feature_config, encoder.frame_shift

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that changes the representations."""
        return fingerprint_of(self.head, "head", self.encoder.fingerprint)

    def gradient_checkpointing(self, on: bool) -> None:
        """Whether blocks are computed again for backward; ValueError for a GRU."""
        self.encoder.gradient_checkpointing(on)

    def write_tuned(self, folder: Path) -> Path:
        """Write a checkpoint of the tuned encoder and head."""
        return self.encoder.write_tuned(folder)

    def encode(self, features: Tensor, lengths: Tensor, labels: Sequence[str]) -> Sequence[Tensor]:
        below = self.encoder(features, lengths, (*(label for label in labels if label != "H"), self.encoder.layers[-1]))
        if "H" not in labels:
            return below[: len(labels)]
        head = self.head.state(below[-1]) * real_frames(lengths, features.shape[1])[..., None]
        others = iter(range(len(below)))
        return tuple(head if label == "H" else below[next(others)] for label in labels)

    @property
    def attention_size(self) -> tuple[int, int]:
        """Layers of the encoder, and heads of each."""
        return self.encoder.attention_size

    def attention_frames(self, lengths: Tensor) -> Tensor:
        """Stacked frames of utterances of so many frames."""
        return self.encoder.attention_frames(lengths)

    def pieces(self, length: int) -> list[tuple[int, int]]:
        """Start and stop of the segments of an utterance of so many frames."""
        return self.encoder.pieces(length)

    def attention_of(self, inputs: Tensor) -> Callable[[slice], Tensor]:
        """Weights of the encoder."""
        return self.encoder.attention_of(inputs)

    def cut(self, what: Cut) -> AbstractContextManager[None]:
        """Heads and spans of the encoder are cut inside."""
        return self.encoder.cut(what)


def _beside(encoder: TransformerEncoder, kept: Tensor) -> Tensor:
    """A mask of heads as the encoder's own weights are: type and device."""
    return kept.to(encoder.projection.weight)
