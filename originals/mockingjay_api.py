"""The Python calls of the originals' READMEs: `get_mockingjay_model` and `get_apc_model`.

Their calls bring no lengths. Here, and nowhere else, lengths may be inferred from zeros; give `lengths=` to be sure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from mockingjay.checkpoint import Pretrained, load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import GruModel, Head, NoHead
from mockingjay.model.transformer import TransformerEncoder
from utility.batches import real_frames
from utility.config import as_dict
from utility.device import pick_device

Lengths = Sequence[int] | np.ndarray | Tensor | None


def get_mockingjay_model(
    from_path: str | Path, display_settings: bool = False, device: torch.device | str | None = None
) -> "MockingjayModel":
    """Open a checkpoint, ours or an original's, in evaluation mode on `device` (default: CUDA where there is one).

    `display_settings` prints its config. Raises ValueError or OSError for a file that holds no such model."""
    saved = load_pretrained(Path(from_path))
    if not isinstance(saved.model.encoder, TransformerEncoder):
        raise ValueError(f"{from_path} holds an APC model: open it with get_apc_model")
    if display_settings:
        print(yaml.safe_dump(as_dict(saved.config), sort_keys=False), end="")
    return MockingjayModel(saved, pick_device(False) if device is None else torch.device(device))


def get_apc_model(
    path: str | Path,
    residual: bool | None = None,
    device: torch.device | str | None = None,
    shift: int | None = None,
) -> "ApcUpstream":
    """Open an APC checkpoint, ours or an original's state dict, in evaluation mode on `device`.

    `residual` and `shift` say what a bare state dict does not: whether each GRU's input is added to its output
    (`--rnn_residual`), and how many frames ahead it predicts. Without `residual` the name of the file is believed where
    it is a release's; any other is a ValueError, as is a checkpoint that states something else."""
    saved = load_pretrained(Path(path), {"residual": residual, "shift": shift})
    if not isinstance(saved.model, GruModel):
        raise ValueError(f"{path} holds no APC model of GRUs: open it with get_mockingjay_model")
    return ApcUpstream(saved.model, saved.config).eval().to(pick_device(False) if device is None else device)


def as_batch(features: np.ndarray | Tensor, lengths: Lengths, device: torch.device) -> tuple[Tensor, Tensor]:
    """Features [B, T, D], or one utterance [T, D], and lengths [B], on `device`; float32 and int64.

    Without lengths an utterance ends at its last frame that is not all zero; one of zeros only counts as whole, as it
    did in the originals. Raises ValueError for other shapes and for lengths outside 1 ... T."""
    features = torch.as_tensor(features, dtype=torch.float32, device=device)
    if features.ndim == 2:
        features = features[None]
    if features.ndim != 3 or not features.shape[1]:
        raise ValueError(f"features have shape {list(features.shape)}, expected [B, T, D] or [T, D]")
    rows, frames, _ = features.shape
    if lengths is None:
        ends = torch.arange(1, frames + 1, device=device) * (features != 0).any(-1)
        lengths = ends.amax(1)
        return features, torch.where(lengths == 0, frames, lengths)
    lengths = torch.as_tensor(lengths, device=device)
    if lengths.shape != (rows,) or lengths.is_floating_point() or not ((lengths >= 1) & (lengths <= frames)).all():
        raise ValueError(f"lengths are {lengths.tolist()}, expected {rows} whole numbers from 1 to {frames}")
    return features, lengths.long()


class MockingjayModel:
    """What `get_mockingjay_model` gives: representations of features [B, T, D] (or [T, D]), torch or NumPy.

    Vectors stand for `downsample_rate` r frames each. With `tile` each is repeated r times, which makes r * (T // r)
    frames as in the original, not T as its README says (`load_upstream` gives T). Vectors beyond an utterance's end are
    zero. `process_from_loader` takes the loader's [1, B, T, D]."""

    def __init__(self, saved: Pretrained, device: torch.device):
        self.model, self.config, self.device = saved.model.eval().to(device), saved.config, device

    @property
    def mockingjay(self) -> nn.Module:
        """The encoder, whose parameters can be trained."""
        return self.model.encoder

    @torch.no_grad()
    def forward(
        self,
        spec: np.ndarray | Tensor,
        all_layers: bool = True,
        tile: bool = True,
        process_from_loader: bool = False,
        lengths: Lengths = None,
    ) -> Tensor:
        """All layers, first to last without the embedding, [B, layers, T', H]; or the last one, [B, T', H]."""
        states, real = self._states(spec, lengths, process_from_loader)
        if not all_layers:
            return self._finish(states[-1], real, tile)
        return torch.stack([self._finish(state, real, tile) for state in states[1:]], dim=1)

    def forward_fine_tune(
        self,
        spec: np.ndarray | Tensor,
        tile: bool = True,
        process_from_loader: bool = False,
        lengths: Lengths = None,
    ) -> Tensor:
        """The last layer [B, T', H], with gradients."""
        states, real = self._states(spec, lengths, process_from_loader)
        return self._finish(states[-1], real, tile)

    @torch.no_grad()
    def forward_with_head(
        self,
        spec: np.ndarray | Tensor,
        tile: bool = True,
        process_from_loader: bool = False,
        lengths: Lengths = None,
    ) -> Tensor:
        """The hidden state of the pre-training head [B, T', H]."""
        states, real = self._states(spec, lengths, process_from_loader)
        head = self.model.head
        if not isinstance(head, Head | NoHead):
            raise ValueError("the model predicts codes: its head has no hidden state of its own")
        return self._finish(head.state(states[-1]), real, tile)

    def _states(self, spec, lengths: Lengths, process_from_loader: bool) -> tuple[tuple[Tensor, ...], Tensor]:
        features, lengths = as_batch(spec[0] if process_from_loader else spec, lengths, self.device)
        if features.shape[2] != self.model.input_dim:
            raise ValueError(f"features have {features.shape[2]} dimensions, the model takes {self.model.input_dim}")
        stacked, lengths = self.model.stack(features, lengths)
        return self.model.encoder(stacked, lengths), real_frames(lengths, stacked.shape[1])[..., None]

    def _finish(self, state: Tensor, real: Tensor, tile: bool) -> Tensor:
        state = state * real
        return state.repeat_interleave(self.model.downsample_rate, dim=1) if tile else state


class ApcUpstream(nn.Module):
    """What `get_apc_model` gives, called as the original's `APCModel`."""

    def __init__(self, model: GruModel, config: PretrainConfig):
        super().__init__()
        self.model, self.config = model, config

    def forward(self, inputs: np.ndarray | Tensor, lengths: Lengths = None) -> tuple[Tensor, Tensor]:
        """(prediction [B, T, D] of the frame `time_shift` ahead, feats [layers, B, T, H]) of inputs [B, T, D].

        `lengths` [B] come in any order. A prenet's output stands before the layers in `feats`; zero at padding."""
        features, lengths = as_batch(inputs, lengths, next(self.parameters()).device)
        output = self.model(features, lengths)
        states = output.hidden_states if self.config.gru.prenet_layers else output.hidden_states[1:]
        real = real_frames(lengths, features.shape[1])[..., None]
        return output.prediction * real, torch.stack(states) * real
