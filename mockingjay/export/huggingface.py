"""A pre-trained model as Transformers' Auto classes load it: `--export hf` writes this file into the folder."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature, PretrainedConfig, PreTrainedModel, SequenceFeatureExtractor
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from mockingjay.build import build_model
from mockingjay.config import PretrainConfig
from mockingjay.model.transformer import TransformerEncoder
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.batches import real_frames
from utility.config import build

logger = logging.get_logger(__name__)


class MockingjayConfig(PretrainedConfig):
    """The resolved pre-training config and what the encoder takes; sizes also under their usual names."""

    model_type = "mockingjay"

    def __init__(
        self,
        pretraining: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
        input_dim: int = 160,
        frame_shift: float = 0.0125,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.pretraining, self.features = pretraining or {}, features
        self.input_dim, self.frame_shift = input_dim, frame_shift
        settings = self.settings()
        transformer, gru = settings.model, settings.gru
        if settings.encoder == "gru":
            self.hidden_size, self.num_hidden_layers = gru.hidden_size, gru.layers
        else:
            self.hidden_size, self.num_hidden_layers = transformer.hidden_size, transformer.layers
            self.num_attention_heads, self.intermediate_size = transformer.heads, transformer.ffn_size
            self.initializer_range = transformer.initializer_range

    def settings(self) -> PretrainConfig:
        """The pre-training config, checked."""
        return build(PretrainConfig, self.pretraining)


class MockingjayModel(PreTrainedModel):
    """Features [B, T, D] to hidden states [B, T, hidden_size], one per frame, zero at padding."""

    config_class = MockingjayConfig
    base_model_prefix = "mockingjay"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True

    def __init__(self, config: MockingjayConfig):
        super().__init__(config)
        settings = config.settings()
        features = build(FeatureConfig, config.features) if config.features else None
        model = build_model(settings, config.input_dim, config.input_dim)
        self.upstream = PretrainedUpstream(model, settings, features, config.frame_shift)
        self.gradient_checkpointing = False  # set by gradient_checkpointing_enable()
        self.supports_gradient_checkpointing = settings.encoder == "transformer"
        self.post_init()

    def forward(
        self,
        input_features: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **_,
    ) -> BaseModelOutput | tuple:
        """`attention_mask` [B, T] is 1 on real frames, which come first, and 0 on padding; without it all are real.
        What comes out has the model's dtype.

        `hidden_states` are num_hidden_layers + 1, entry 0 the embedding; `attentions` [B, heads, T', T'] of each layer
        are over the encoder's own (stacked) frames. A GRU has none: asking is a ValueError."""
        chosen = (output_hidden_states, output_attentions, return_dict)
        usual = (self.config.output_hidden_states, self.config.output_attentions, self.config.return_dict)
        with_states, with_attentions, as_object = (u if c is None else c for c, u in zip(chosen, usual))
        lengths = _lengths(input_features, attention_mask)
        inputs = input_features.to(self.dtype)
        if isinstance(self.upstream.encoder, TransformerEncoder):
            self.upstream.encoder.recompute = self.gradient_checkpointing and self.training
        encoded = self.upstream(inputs, lengths)
        states = [state.to(self.dtype) for state in (encoded if with_states else encoded[-1:])]
        output = BaseModelOutput(
            last_hidden_state=states[-1],
            hidden_states=tuple(states) if with_states else None,
            attentions=tuple(self.upstream.attention_maps(inputs, lengths).to(self.dtype)) if with_attentions else None,
        )
        return output if as_object else output.to_tuple()


def _lengths(features: Tensor, mask: Tensor | None) -> Tensor:
    """Real frames [B] of features [B, T, D]."""
    if mask is None:
        return torch.full((len(features),), features.shape[1], device=features.device)
    if mask.shape != features.shape[:2]:
        raise ValueError(
            f"attention_mask is {list(mask.shape)}, input_features {list(features.shape)}: expected [B, T]"
        )
    lengths = mask.long().sum(1)
    if not lengths.all() or not torch.equal(real_frames(lengths, mask.shape[1]), mask.bool()):
        raise ValueError("attention_mask must be ones, at least one, then zeros in each row: padding is on the right")
    return lengths


class MockingjayFeatureExtractor(SequenceFeatureExtractor):
    """Waveforms (mono, full scale 1) to the features that the model was trained on."""

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012

    def __init__(self, features: Mapping[str, Any] | None = None, **kwargs):
        self.features = features or {}
        config = build(FeatureConfig, self.features)
        given = {"feature_size": config.dim, "sampling_rate": config.sample_rate, "padding_value": 0.0}
        super().__init__(**(kwargs | given))

    def __call__(
        self,
        raw_speech: np.ndarray | Tensor | Sequence,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        **_,
    ) -> BatchFeature:
        """One 1-D waveform or a list of them -> `input_features` [B, T, feature_size] and `attention_mask` [B, T].

        Padding options are those of Transformers, counted in frames. A wrong `sampling_rate` is a ValueError."""
        if sampling_rate is None:
            logger.warning(f"Pass sampling_rate: audio that is not of {self.sampling_rate} Hz then is an error.")
        elif sampling_rate != self.sampling_rate:
            raise ValueError(f"sampling_rate is {sampling_rate}, the model takes {self.sampling_rate}: resample first")
        waves = _waveforms(raw_speech)
        counts = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        features, lengths = _extractor(build(FeatureConfig, self.features))(padded, counts)
        rows = [row[:length].numpy() for row, length in zip(features, lengths.tolist())]
        options = (padding, max_length, truncation, pad_to_multiple_of, return_attention_mask, return_tensors)
        return self.pad(BatchFeature({"input_features": rows}), *options)


@functools.lru_cache(maxsize=8)
def _extractor(config: FeatureConfig) -> FeatureExtractor:
    return FeatureExtractor(config)


def _waveforms(raw: np.ndarray | Tensor | Sequence) -> list[Tensor]:
    several = raw.ndim > 1 if isinstance(raw, np.ndarray | Tensor) else not isinstance(raw[0], float | int)
    waves = [np.asarray(wave) for wave in (raw if several else [raw])]
    for wave in waves:
        if wave.ndim != 1 or not np.issubdtype(wave.dtype, np.floating):
            given = f"{wave.dtype} of shape {list(wave.shape)}"
            raise ValueError(f"a waveform must be 1-D floating point numbers of full scale 1, got {given}")
    return [torch.from_numpy(wave.astype(np.float32)) for wave in waves]
