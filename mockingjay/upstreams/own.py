"""A user's own module as an upstream."""

import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Upstream, fingerprint_of, stated
from utility.batches import real_frames
from utility.store.info import StoreInfo
from utility.text import short

TRIAL_FRAMES = 100


def open_own(name: str, file: str, info: StoreInfo | None, seed: int) -> Upstream:
    """The class `package.module:Class` as an upstream, with the weights of `file` where one is named."""
    return OwnUpstream(name, info, seed)


class OwnUpstream(Upstream):
    """Any module with `out_dim` and (B, T, D) -> (B, T, out_dim), named as `package.module:Class`.

    A forward with a parameter `lengths` is given the true lengths. One without cannot know what is padding, so each
    utterance goes through it alone: a batch gives what single utterances give."""

    layers = ("O",)

    def __init__(self, name: str, info: StoreInfo | None, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module, self.hidden_size = _own_module(name)
        self.feature_config = None if info is None else info.features
        self.frame_shift = None if info is None else stated(info.frame_shift)
        self.fingerprint = fingerprint_of(self.module, name, self.feature_config)
        self.batched = "lengths" in inspect.signature(self.module.forward).parameters
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


def _own_module(name: str) -> tuple[nn.Module, int]:
    """The module and its `out_dim`."""
    path, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # behind the libraries: a file here must not take the place of one of them
    try:
        module = getattr(importlib.import_module(path), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"upstream {short(name)} could not be made: {error}") from None
    out_dim = getattr(module, "out_dim", None)
    if not isinstance(module, nn.Module) or not isinstance(out_dim, int):
        raise ValueError(f"upstream {short(name)} is not an nn.Module with an attribute out_dim, its number of outputs")
    return module, out_dim
