"""A user's own module as an upstream: of features, or of waveforms."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Upstream, fingerprint_of, stated
from mockingjay.upstreams.measured import MeasuredUpstream, whole_number
from mockingjay.upstreams.tuned import load_module_weights, write_tuned_weights
from mockingjay.upstreams.users_code import made, undisturbed
from utility.batches import real_frames
from utility.store.info import StoreInfo
from utility.text import short

TRIAL_FRAMES = 100


def open_own(name: str, file: str, info: StoreInfo | None, seed: int) -> Upstream:
    """The class `package.module:Class` as an upstream, with the weights of `file` where one is named.

    The class is made without arguments, its random weights drawn from `seed`. Its attribute `takes` says what it takes:
    "features" (`OwnUpstream`, the default) or "waveform" (`OwnWaveformUpstream`). `file` is a state dict or what
    fine-tuning wrote; it is loaded strictly, and nothing in it is run. ValueError in one line for what does not fit."""
    module = _own_module(name, seed)
    if file:
        load_module_weights(module, Path(file))
    takes = getattr(module, "takes", "features")
    if takes == "features":
        return OwnUpstream(name, module, info)
    if takes == "waveform":
        return OwnWaveformUpstream(name, module)
    raise ValueError(f"upstream {short(name)} states takes = {short(takes)}, expected 'features' or 'waveform'")


class OwnUpstream(Upstream):
    """Any module with `out_dim` and (B, T, D) -> (B, T, out_dim), named as `package.module:Class`.

    A forward with a parameter `lengths` is given the true lengths. One without cannot know what is padding, so each
    utterance goes through it alone: a batch gives what single utterances give."""

    layers = ("O",)
    family = "a module of your own"

    def __init__(self, name: str, module: nn.Module, info: StoreInfo | None):
        super().__init__()
        self.module, self.hidden_size = module, _stated_width(name, module, ("out_dim",))
        self.feature_config = None if info is None else info.features
        self.frame_shift = None if info is None else stated(info.frame_shift)
        self.fingerprint = fingerprint_of(module, name, self.feature_config, source_digest(module))
        self.batched = _takes_lengths(module)
        self.batch_rule = "in batches with their lengths" if self.batched else "one utterance at a time: no lengths"
        self.input_rule = "the features of the store" if info is None else f"frames of {info.row_shape} numbers"
        if info is not None:
            self._try(name, info.row_shape)

    @torch.no_grad()
    def _try(self, name: str, row_shape: Sequence[int]) -> None:
        """Meet a misfit between module and features before any work is done."""
        self.eval()
        try:
            with undisturbed():
                self(torch.zeros(1, TRIAL_FRAMES, *row_shape), torch.tensor([TRIAL_FRAMES]))
        except (RuntimeError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"upstream {short(name)} does not take features of shape {list(row_shape)}: {reason}"
            ) from None
        except ValueError as error:
            raise ValueError(f"upstream {short(name)}: {error}") from None

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> tuple[Tensor, ...]:
        state = self.module(inputs, lengths=lengths) if self.batched else self.module(inputs)
        expected = (*inputs.shape[:2], self.hidden_size)
        if state.ndim == 3 and state.shape[1] != inputs.shape[1]:
            raise ValueError(f"gave {state.shape[1]} frames for {inputs.shape[1]}: T must stay T")
        if tuple(state.shape) != expected:
            raise ValueError(f"gave shape {tuple(state.shape)}, expected {expected}")
        return (state * real_frames(lengths, inputs.shape[1])[..., None],) * len(labels)

    def write_tuned(self, folder: Path) -> Path:
        """Write the weights below `folder`; gives their file, which stands behind the spec as FILE."""
        return write_tuned_weights(folder, self.module)


class OwnWaveformUpstream(MeasuredUpstream):
    """Any module with `takes = "waveform"`, named as `package.module:Class`.

    It states `sample_rate` (Hz), `downsample_rate` (samples from one frame to the next) and `out_dim` or `hidden_size`.
    Its forward takes waveforms [B, N] and their `lengths` [B], or without such a parameter one waveform [1, N] at a
    time; it gives one state [B, T, out_dim], called O, or a list of them, T0 ..., one for each layer."""

    family = "a module of your own for waveforms"

    def __init__(self, name: str, module: nn.Module):
        called = f"upstream {short(name)}"
        missing = [key for key in ("sample_rate", "downsample_rate") if not hasattr(module, key)]
        if missing:
            raise ValueError(f'{called} states takes = "waveform" but no {" and no ".join(missing)}: add what it takes')
        rate, stride = (whole_number(called, key, getattr(module, key)) for key in ("sample_rate", "downsample_rate"))
        width = _stated_width(name, module, ("out_dim", "hidden_size"))
        super().__init__(called, module, rate, stride)
        self.name, self._with_lengths = name, _takes_lengths(module)
        self.measure(takes_batches=self._with_lengths)
        if self.hidden_size != width:
            raise ValueError(f"{called} gave states of {self.hidden_size} numbers, and states {width}")

    def states_of(self, waves: list[Tensor]) -> dict[str, Tensor]:
        inputs = nn.utils.rnn.pad_sequence(waves, batch_first=True)
        lengths = torch.tensor([len(wave) for wave in waves], device=inputs.device)
        given = self.module(inputs, lengths=lengths) if self._with_lengths else self.module(inputs)
        if isinstance(given, Tensor):
            return {"O": given}
        if not isinstance(given, list | tuple):
            raise ValueError(
                f"forward gave a value of type {type(given).__name__}, expected a tensor [B, T, H] or a list of them"
            )
        return {f"T{layer}": state for layer, state in enumerate(given)}

    def code(self) -> Sequence[object]:
        return self.name, source_digest(self.module)


def source_digest(module: nn.Module) -> str:
    """Of the file that the class of the module stands in; empty where it stands in none."""
    try:
        return hashlib.sha256(Path(inspect.getfile(type(module))).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return ""


def _own_module(name: str, seed: int) -> nn.Module:
    path, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # behind the libraries: a file here must not take the place of one of them
    with undisturbed(seed):
        module = made(
            lambda: getattr(importlib.import_module(path), attribute)(), f"upstream {short(name)} could not be made"
        )
    if not isinstance(module, nn.Module):
        raise ValueError(f"upstream {short(name)} is a {type(module).__name__}, expected an nn.Module")
    return module


def _stated_width(name: str, module: nn.Module, keys: Sequence[str]) -> int:
    value = next((getattr(module, key) for key in keys if hasattr(module, key)), None)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        wanted = " or ".join(keys)
        raise ValueError(
            f"upstream {short(name)} has no attribute {wanted} that says its number of outputs: add it, a whole number"
        )
    return value


def _takes_lengths(module: nn.Module) -> bool:
    return "lengths" in inspect.signature(module.forward).parameters
