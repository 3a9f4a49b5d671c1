"""One interface to everything that turns features into representations."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from mockingjay.config import PretrainConfig
from mockingjay.model import FrameModel, Head
from mockingjay.pieces import Pieces
from mockingjay.solver import Pretrained, check_features, load_pretrained, new_model
from mockingjay.transformer import TransformerEncoder, stack_frames, unstack_states
from utility.audio import FeatureConfig, FeatureExtractor
from utility.config import resolve
from utility.loader import real_frames
from utility.store import StoreInfo

TRIAL_FRAMES = 100


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


class TransformerUpstream(Upstream):
    """The encoder of a pre-trained (or still random) model, without its head."""

    def __init__(self, model: FrameModel, config: PretrainConfig, features: FeatureConfig | None, frame_shift: float):
        super().__init__()
        self.encoder, self.input_dim, self.rate = model.encoder, model.input_dim, model.downsample_rate
        self.hidden_size, self.num_layers = model.hidden_size, model.num_layers
        self.max_input_length = config.model.max_input_length if config.encoder == "transformer" else None
        self.feature_config, self.frame_shift = features, frame_shift
        self._settings = config.objective, config.encoder, config.model, config.gru, features

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that changes the representations."""
        return _fingerprint(self.encoder, *self._settings)

    def forward(self, features: Tensor, lengths: Tensor) -> Sequence[Tensor]:
        if features.shape[-1] != self.input_dim:
            raise ValueError(f"features have {features.shape[-1]} dimensions, the upstream takes {self.input_dim}")
        if self.max_input_length is None or features.shape[1] <= self.max_input_length:
            return self._encode(features, lengths)
        pieces = Pieces.of(lengths, self.max_input_length)
        states = self._encode(pieces.split(features), pieces.lengths)
        return States(states, lambda state: pieces.join(state, *features.shape[:2]))

    def _encode(self, features: Tensor, lengths: Tensor) -> States:
        states = self.encoder(*stack_frames(features, lengths, self.rate))
        return States(states, lambda state: unstack_states(state.float(), lengths, features.shape[1], self.rate))

    def attention_maps(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Attention of every layer and head over (stacked) frames, [layers, B, heads, T', T'].

        Where utterances are encoded in pieces it is that of each one's first piece."""
        if not isinstance(self.encoder, TransformerEncoder):
            raise ValueError("the checkpoint holds a GRU, which has no attention")
        if self.max_input_length is not None:
            pieces = Pieces.of(lengths, self.max_input_length)
            first = pieces.start == 0
            features, lengths = pieces.split(features)[first], pieces.lengths[first]
        return self.encoder.attention_maps(*stack_frames(features, lengths, self.rate))


class HeadUpstream(Upstream):
    """A pre-trained encoder and, as one hidden state more, that of its pre-training head."""

    def __init__(self, encoder: Upstream, head: Head):
        super().__init__()
        self.encoder, self.head = encoder, head
        self.hidden_size, self.num_layers = encoder.hidden_size, encoder.num_layers + 1
        self.feature_config, self.frame_shift = encoder.feature_config, encoder.frame_shift

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that changes the representations."""
        return _fingerprint(self.head, "head", self.encoder.fingerprint)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        states = self.encoder(features, lengths)
        return (*states, self.head.state(states[-1]) * real_frames(lengths, features.shape[1])[..., None])


class Baseline(Upstream):
    """The features themselves: one hidden state, no layers."""

    def __init__(self, info: StoreInfo):
        super().__init__()
        self.hidden_size, self.num_layers = info.row_shape[0], 0
        self.feature_config, self.frame_shift = info.features, info.frame_shift
        self.fingerprint = _fingerprint(self, "baseline", info.features)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return (features,)


class OwnUpstream(Upstream):
    """Any module with `out_dim` and (B, T, D) -> (B, T, out_dim), named as `package.module:Class`.

    A forward with a parameter `lengths` is given the true lengths. One without cannot know what is padding, so each
    utterance goes through it alone: a batch gives what single utterances give."""

    def __init__(self, name: str, info: StoreInfo | None, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = _own_module(name)
        self.hidden_size, self.num_layers = self.module.out_dim, 0
        self.feature_config, self.frame_shift = info and info.features, info and info.frame_shift
        self.fingerprint = _fingerprint(self.module, name, self.feature_config)
        self.takes_lengths = "lengths" in inspect.signature(self.module.forward).parameters
        if info is not None:
            self._try(name, info.row_shape)

    @torch.no_grad()
    def _try(self, name: str, row_shape: Sequence[int]) -> None:
        """Meet a misfit between module and features before any work is done."""
        self.eval()
        try:
            self(torch.zeros(1, TRIAL_FRAMES, *row_shape), torch.tensor([TRIAL_FRAMES]))
        except (RuntimeError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"upstream {name!r} does not take features of shape {list(row_shape)}: {reason}") from None
        except ValueError as error:
            raise ValueError(f"upstream {name!r}: {error}") from None

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        if self.takes_lengths:
            states = self.module(features, lengths=lengths)
        else:
            rows = [self.module(row[None, :length])[0] for row, length in zip(features, lengths.tolist())]
            wrong = next((i for i, row in enumerate(rows) if len(row) != lengths[i]), None)
            if wrong is not None:
                raise ValueError(f"gave {len(rows[wrong])} frames for {lengths[wrong]}: T must stay T")
            states = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            states = nn.functional.pad(states, (0, 0, 0, features.shape[1] - states.shape[1]))
        expected = (*features.shape[:2], self.hidden_size)
        if tuple(states.shape) != expected:
            raise ValueError(f"gave shape {tuple(states.shape)}, expected {expected}")
        return (states * real_frames(lengths, features.shape[1])[..., None],)


def load_upstream(
    name: str | Path,
    ckpt: Path | str | None = None,
    info: StoreInfo | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Upstream:
    """Open an upstream for features of a store described by `info`, in evaluation mode.

    `name` is `transformer` (the weights of `ckpt`), `transformer_head` (the same, and the head's state after the last
    layer), `random` (the architecture of `ckpt`, or of a pre-training YAML given as `ckpt`, with fresh weights from
    `seed`), `baseline` (the features themselves), `package.module:Class` (your own), or simply the path of a
    checkpoint. Raises ValueError where features, checkpoint and upstream do not fit."""
    return _open(str(name), ckpt and Path(ckpt), info, seed).eval().to(device)


def _open(name: str, ckpt: Path | None, info: StoreInfo | None, seed: int) -> Upstream:
    if name == "transformer" or (ckpt is None and (name.endswith((".ckpt", ".pt", ".model")) or Path(name).is_dir())):
        return _transformer(
            load_pretrained(_needed(name, ckpt or (None if name == "transformer" else Path(name)))), info
        )
    if name == "transformer_head":
        return _with_head(load_pretrained(_needed(name, ckpt)), info)
    if name == "random":
        return _random(_needed(name, ckpt), info, seed)
    if ckpt is not None:
        raise ValueError(f"upstream {name!r} takes no checkpoint, got {ckpt}")
    if name == "baseline":
        if info is None:
            raise ValueError("upstream 'baseline' needs the store whose features it hands on")
        return Baseline(info)
    if ":" in name:
        return OwnUpstream(name, info, seed)
    raise ValueError(
        f"unknown upstream {name!r}: use transformer, transformer_head, random, baseline or package.module:Class"
    )


def _needed(name: str, ckpt: Path | None) -> Path:
    if ckpt is None:
        raise ValueError(f"upstream {name!r} needs a checkpoint: add --ckpt result/result_mockingjay/<run>/best.ckpt")
    return ckpt


def _transformer(found: Pretrained, info: StoreInfo | None) -> Upstream:
    if info is not None:
        check_features(info.features, found.features, "the store", "the checkpoint")
        if info.row_shape != [found.model.input_dim]:
            raise ValueError(f"the store has rows of {info.row_shape}, the checkpoint takes [{found.model.input_dim}]")
    return TransformerUpstream(found.model, found.config, found.features, found.frame_shift)


def _with_head(found: Pretrained, info: StoreInfo | None) -> Upstream:
    if not isinstance(found.model.head, Head):
        raise ValueError("upstream 'transformer_head': the checkpoint has no head with a state of its own")
    return HeadUpstream(_transformer(found, info), found.model.head)


def _random(source: Path, info: StoreInfo | None, seed: int) -> Upstream:
    if source.suffix not in (".yaml", ".yml"):
        found = load_pretrained(source)
        fresh = new_model(found.config, found.model.input_dim, found.model.target_dim, seed)
        return _transformer(replace(found, model=fresh), info)
    if info is None:
        raise ValueError(f"a random upstream from {source} needs the store whose features it takes")
    config = resolve(PretrainConfig, source)
    model = new_model(config, info.row_shape[0], info.row_shape[0], seed)
    return TransformerUpstream(model, config, info.features, info.frame_shift)


def _own_module(name: str) -> nn.Module:
    place, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = getattr(importlib.import_module(place), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"upstream {name!r} could not be made: {error}") from None
    if not isinstance(module, nn.Module) or not isinstance(getattr(module, "out_dim", None), int):
        raise ValueError(f"upstream {name!r} is not an nn.Module with an attribute out_dim, its number of outputs")
    return module


def _fingerprint(module: nn.Module, *settings: object) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
