"""A pre-trained encoder as an upstream, without or with its head."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import FrameModel, Head
from mockingjay.model.segments import Segments
from mockingjay.model.transformer import TransformerEncoder, stack_frames, unstack_states
from mockingjay.upstreams.base import States, Upstream, fingerprint_of
from utility.audio.feature_config import FeatureConfig
from utility.batches import real_frames


class PretrainedUpstream(Upstream):
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

    def attention_maps(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Attention of every layer and head over (stacked) frames, [layers, B, heads, T', T'].

        Where utterances are encoded in segments it is that of each one's first segment."""
        if not isinstance(self.encoder, TransformerEncoder):
            raise ValueError("the checkpoint holds a GRU, which has no attention")
        if self.max_input_length is not None:
            segments = Segments.of(lengths, self.max_input_length)
            first = segments.start == 0
            features, lengths = segments.split(features)[first], segments.lengths[first]
        return self.encoder.attention_maps(*stack_frames(features, lengths, self.rate))


class HeadUpstream(Upstream):
    """A pre-trained encoder and, as one hidden state more, that of its pre-training head."""

    def __init__(self, encoder: Upstream, head: Head):
        super().__init__()
        self.encoder, self.head = encoder, head
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
