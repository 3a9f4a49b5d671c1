"""A user's own module as an upstream."""

import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mockingjay.upstreams.base import Upstream, _fingerprint
from utility.loader import real_frames
from utility.store.info import StoreInfo

TRIAL_FRAMES = 100


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
