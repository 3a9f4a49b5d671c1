"""`TRANSFORMER(options, inp_dim)`: S3PRL v0.1.0's wrapper of a pre-trained Transformer, with or without its head; and
`LIN`, its linear input network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydantic
import torch
from torch import Tensor, nn

from mockingjay.build import new_model
from mockingjay.checkpoint import check_input, load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.foreign.checkpoints import FIRST_S3PRL
from mockingjay.foreign.configs import read_config
from mockingjay.model.frame_model import FrameModel, Head
from mockingjay.model.transformer import TransformerEncoder
from mockingjay.upstreams.pretrained import PretrainedUpstream
from originals.mockingjay_api import Lengths, as_batch
from originals.s3prl_audio import AnyWaveforms, FromAudio, load_data, online_section
from utility.audio.online_config import OnlineConfig
from utility.batches import real_frames
from utility.config import build, resolve, section
from utility.device import pick_device
from utility.training.checkpoint import load_weights

TIME_WIDTH, INPUT_WIDTH, STATE_WIDTH, REPEATS = 70, 4, 86, 2  # of SpecAugment's masks, as in the original


@section
class TransformerOptions:
    """The keys of the options dict; each may be a string, as `"True"`, or a value."""

    ckpt_file: Path | None = None
    load_pretrain: bool = True  # False: fresh weights of the same architecture
    no_grad: bool = True
    dropout: float | None = pydantic.Field(None, ge=0, lt=1)  # "default", or not given: that of the checkpoint
    spec_aug: bool = False  # mask bands of time and of features while training,
    spec_aug_prev: bool = True  # of the input, or (False) of the representations
    weighted_sum: bool = False  # learnt softmax sum of the layers, without the embedding
    select_layer: int = pydantic.Field(-1, ge=-1)  # 0 is the first layer, -1 the last
    permute_input: bool = False  # (T, B, D) in and out, instead of (B, T, D)
    max_input_length: int | None = pydantic.Field(None, ge=0)  # pieces of so many frames; 0: whole; not given: as saved


class TRANSFORMER(nn.Module):
    """Features [B, T, D] -> representations [B, T, out_dim], or with `permute_input` both with T and B exchanged.

    With `online_config` waveforms [B, N] go in instead, or [B, channels, N] (see `FromAudio`): a dict or a YAML, of
    S3PRL's form (`input: {feat_type: mel, ...}`) or of ours (`config/online.yaml`), which must be the features that the
    checkpoint states, if it does. One of S3PRL v0.1.0 that has a block `online` takes waveforms by itself.

    `options` has the keys of `TransformerOptions`; `inp_dim` 0 or -1 takes the size from the checkpoint. `config`, a
    pre-training YAML of this project or an original's, stands in for `ckpt_file` where no weights are loaded. Fresh
    weights, and what SpecAugment masks, are drawn from `seed`. The module is put on `device` (default: CUDA where there
    is one), in evaluation mode with `no_grad`, else in training mode. Raises ValueError for options that do not fit."""

    with_head = False
    load_data = staticmethod(load_data)

    def __init__(
        self,
        options: Mapping[str, Any],
        inp_dim: int = 0,
        config: str | Path | None = None,
        online_config: Mapping[str, Any] | str | Path | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        online = None if online_config is None else online_section(online_config)
        given = {name: value for name, value in options.items() if (name, value) != ("dropout", "default")}
        try:
            self.options = build(TransformerOptions, given)
        except ValueError as error:
            raise ValueError(f"TRANSFORMER options: {error}") from None
        opened = _opened(self.options, inp_dim, config, online, seed)
        model, self.upstream = opened.model, opened.upstream
        self.audio = None if opened.online is None else FromAudio(opened.online)
        if self.audio is not None and self.options.permute_input:
            raise ValueError("TRANSFORMER options: permute_input exchanges axes of features, but waveforms go in")
        head = model.head if self.with_head else None
        if head is not None and not isinstance(head, Head):
            raise ValueError(f"SPEC_TRANSFORMER: {self.options.ckpt_file} holds no head")
        self.head = head
        self.num_layers, self.out_dim = self.upstream.num_layers, self.upstream.hidden_size
        if self.options.select_layer >= self.num_layers:
            raise ValueError(
                f"TRANSFORMER options: select_layer {self.options.select_layer} does not exist: the model has layers "
                f"0 to {self.num_layers - 1}"
            )
        if self.options.weighted_sum:
            self.weight = nn.Parameter(torch.full((self.num_layers,), 1 / self.num_layers))
        self.seed, self.calls = seed, 0
        self.train(not self.options.no_grad)
        self.to(pick_device(False) if device is None else device)

    def forward(self, x: AnyWaveforms, lengths: Lengths = None) -> Tensor:
        """Representations of x; without `lengths` [B] utterances end where only frames, or samples, of zeros follow."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.options.no_grad):
            if self.audio is not None:
                return self._represent(*self.audio(x, lengths, next(self.parameters()).device))
            if not isinstance(x, np.ndarray | Tensor):
                raise ValueError(f"features are a {type(x).__name__}, expected one tensor or array [B, T, D]")
            swap = self.options.permute_input and x.ndim == 3
            features = torch.as_tensor(x).transpose(0, 1) if swap else x
            states = self._represent(*as_batch(features, lengths, next(self.parameters()).device))
            return states.transpose(0, 1).contiguous() if swap else states

    def _represent(self, features: Tensor, lengths: Tensor) -> Tensor:
        augment = self.training and self.options.spec_aug
        if augment and self.options.spec_aug_prev:
            features = self._augmented(features, lengths, INPUT_WIDTH)
        states = self.upstream(features, lengths)[1:]
        if self.options.weighted_sum:
            state = torch.einsum("l,lbth->bth", self.weight.softmax(0), torch.stack(states))
        else:
            state = states[self.options.select_layer]
        if augment and not self.options.spec_aug_prev:
            state = self._augmented(state, lengths, STATE_WIDTH)
        return state

    def _augmented(self, x: Tensor, lengths: Tensor, width: int) -> Tensor:
        self.calls += 1
        return spec_augment(x, lengths, width, torch.Generator().manual_seed(self.seed + self.calls))


class SPEC_TRANSFORMER(TRANSFORMER):
    """`TRANSFORMER` followed by the pre-training head: features [B, T, D] -> predicted frames [B, T, out_dim].

    With a downsampling model a prediction is the r frames that its vector stands for, side by side."""

    with_head = True

    def __init__(
        self,
        options: Mapping[str, Any],
        inp_dim: int = 0,
        config: str | Path | None = None,
        online_config: Mapping[str, Any] | str | Path | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ):
        super().__init__(options, inp_dim, config, online_config, seed, device)
        assert self.head is not None
        self.out_dim = self.head.output.out_features

    def _represent(self, features: Tensor, lengths: Tensor) -> Tensor:
        assert self.head is not None
        state = super()._represent(features, lengths)
        return self.head(state) * real_frames(lengths, features.shape[1])[..., None]


class LIN(nn.Module):
    """A linear input network for adapting a model to another domain: frames [..., inp_dim] in and out.

    It starts as the identity, in training mode; the original's bias was random. pytorch-kaldi passes `options`, which
    say nothing of it. It is put on `device` (default: CUDA where there is one)."""

    def __init__(self, options: object, inp_dim: int, device: torch.device | str | None = None):
        super().__init__()
        if inp_dim < 1:
            raise ValueError(f"LIN: inp_dim is {inp_dim}, expected the size of a frame")
        self.out_dim = inp_dim
        self.linear = nn.Linear(inp_dim, inp_dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.to(pick_device(False) if device is None else device)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def spec_augment(x: Tensor, lengths: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """A copy of x [B, T, D] with zeros in 2 bands of up to 70 frames and 2 of up to `width` features.

    SpecAugment, Park et al. 2019. Utterances of no more than 70 frames keep all of them, as in the original. Draws are
    made on the CPU."""
    frames, size = x.shape[1:]
    hidden = torch.zeros_like(x, dtype=torch.bool)
    sizes = torch.full_like(lengths, size)
    for _ in range(REPEATS):
        in_time = _band(lengths, TIME_WIDTH, frames, generator) & (lengths > TIME_WIDTH)[:, None]
        in_features = _band(sizes, min(width, size), size, generator)
        hidden |= in_time[:, :, None] | in_features[:, None, :]
    return x.masked_fill(hidden, 0.0)


def _band(sizes: Tensor, widest: int, total: int, generator: torch.Generator) -> Tensor:
    """Bool [B, total]: one band per row, 0 to `widest` wide, within the row's first `sizes` [B] ones."""
    width, shift = torch.rand(2, len(sizes), generator=generator).to(sizes.device)
    width = torch.minimum((width * (widest + 1)).long(), sizes)
    start = (shift * (sizes - width + 1)).long()
    index = torch.arange(total, device=sizes.device)
    return (index >= start[:, None]) & (index < (start + width)[:, None])


class Opened(NamedTuple):
    """The model that the options name, its encoder, and how waveforms become its features (None: features go in)."""

    model: FrameModel
    upstream: PretrainedUpstream
    online: OnlineConfig | None


def _opened(
    options: TransformerOptions, inp_dim: int, config: str | Path | None, online: OnlineConfig | None, seed: int
) -> Opened:
    """The model with the dropout and the piece length that the options ask for."""
    if config is not None:
        return _fresh(options, inp_dim, config, online, seed)
    if options.ckpt_file is None:
        raise ValueError("TRANSFORMER options: ckpt_file is missing, as result/result_mockingjay/<run>/best.ckpt")
    saved = load_pretrained(options.ckpt_file)
    model, settings = _checked(saved.model), _adjusted(saved.config, options)
    if inp_dim > 0 and inp_dim != model.input_dim:
        raise ValueError(f"TRANSFORMER: inp_dim is {inp_dim}, {options.ckpt_file} takes {model.input_dim}")
    if online is not None:
        check_input(online.input, None, saved, "online_config")
        _check_size(online, model.input_dim, str(options.ckpt_file))
    elif saved.written_by == FIRST_S3PRL and saved.features is not None and saved.features.s3prl is not None:
        online = OnlineConfig(target_level=None, input=saved.features)
    if settings != saved.config or not options.load_pretrain:
        fresh = new_model(settings, model.input_dim, model.target_dim, seed)
        if options.load_pretrain:
            fresh.head = model.head
            load_weights(fresh, model.state_dict(), options.ckpt_file)
        model = fresh
    return Opened(model, PretrainedUpstream(model, settings, saved.features, saved.frame_shift), online)


def _fresh(
    options: TransformerOptions, inp_dim: int, config: str | Path, online: OnlineConfig | None, seed: int
) -> Opened:
    """A model without trained weights, as a YAML describes it."""
    if options.load_pretrain:
        raise ValueError("TRANSFORMER: a config has no weights: set load_pretrain to False, or name a ckpt_file")
    given = read_config(config)
    settings = _adjusted(resolve(PretrainConfig, given.source), options)
    if online is None and isinstance(given.source, Mapping):  # an original's
        online = settings.online
    size = inp_dim if inp_dim > 0 else given.input_dim if online is None else online.input.dim
    if not size:
        raise ValueError("TRANSFORMER: a config does not say the size of its input: give inp_dim")
    if online is not None:
        _check_size(online, size, "inp_dim")
    model = _checked(new_model(settings, size, size, seed))
    return Opened(model, PretrainedUpstream(model, settings, None if online is None else online.input, None), online)


def _check_size(online: OnlineConfig, size: int, name: str) -> None:
    if online.input.dim != size:
        raise ValueError(f"online_config gives features of {online.input.dim} values, {name} says {size}")


def _adjusted(config: PretrainConfig, options: TransformerOptions) -> PretrainConfig:
    model = config.model
    if options.dropout is not None:
        model = replace(model, dropout=options.dropout, attention_dropout=options.dropout)
    if options.max_input_length is not None:
        model = replace(model, max_input_length=options.max_input_length or None)
    return replace(config, model=model)


def _checked(model: FrameModel) -> FrameModel:
    if not isinstance(model.encoder, TransformerEncoder):
        raise ValueError("TRANSFORMER: the checkpoint holds an APC model: open it with get_apc_model")
    return model
