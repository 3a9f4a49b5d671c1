"""The pre-training model: the encoder, and the head that rebuilds the frames that were masked."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mockingjay.model.codes import RandomProjection
from mockingjay.model.gru import GruConfig, GruEncoder
from mockingjay.model.layout import Packing, Scope
from mockingjay.model.transformer import (
    ACTIVATIONS,
    LAYER_NORM_EPS,
    TransformerConfig,
    TransformerEncoder,
    initialise,
    stack_frames,
)


@dataclass(frozen=True)
class Output:
    """Hidden states [B, T', H] (layers + 1 of them, entry 0 the embedding), their true lengths [B], and the prediction
    [B, T', target size * downsample rate] from the last one."""

    hidden_states: tuple[Tensor, ...]
    lengths: Tensor
    prediction: Tensor


class Head(nn.Module):
    """LN(activation(dense(x))), then one linear map to the (stacked) target frame."""

    def __init__(self, hidden_size: int, output_dim: int, activation: str = "gelu"):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.output = nn.Linear(hidden_size, output_dim)

    def state(self, x: Tensor) -> Tensor:
        """The head's own hidden state, before the last linear map."""
        return self.norm(self.activation(self.dense(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.state(x))


class NoHead(nn.Module):
    """Where a checkpoint holds the encoder alone."""

    def state(self, x: Tensor) -> Tensor:
        raise ValueError("the checkpoint holds no head, which predicts frames: it only gives representations")

    forward = state


class FrameModel(nn.Module):
    """An encoder of frames and a head that predicts frames: features [B, T, input_dim] with lengths [B] in."""

    def __init__(
        self,
        encoder: TransformerEncoder | GruEncoder,
        head: nn.Module,
        input_dim: int,
        target_dim: int,
        downsample_rate: int = 1,
    ):
        super().__init__()
        self.encoder, self.head, self.input_dim, self.target_dim = encoder, head, input_dim, target_dim
        self.downsample_rate = downsample_rate
        self.quantizer: RandomProjection | None = None  # where it predicts codes that it makes itself
        self.mask_vector: nn.Parameter | None = None  # [input_dim * rate], where a learnt vector hides frames

    @property
    def hidden_size(self) -> int:
        """Width of a hidden state."""
        return self.encoder.hidden_size

    @property
    def num_layers(self) -> int:
        """LayerSelection of the encoder; there is one hidden state more."""
        return self.encoder.num_layers

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        """The model without masking; frames are stacked by the downsample rate."""
        return self.predict(*self.stack(features, lengths))

    def predict(self, stacked: Tensor, lengths: Tensor) -> Output:
        """The model on frames that are stacked already (and perhaps altered)."""
        states = self.encoder(stacked, lengths)
        return Output(states, lengths, self.head(states[-1]))

    def last_state(self, stacked: Tensor, lengths: Tensor, layout: Packing | Scope | None = None) -> Tensor:
        """The last hidden state [B, T', H] of such frames; of a packing [1, N, H], of real frames alone."""
        if isinstance(self.encoder, GruEncoder):
            return self.encoder(stacked, lengths)[-1]
        packed = layout.pack(stacked) if isinstance(layout, Packing) else stacked
        return self.encoder(packed, lengths, layout)[-1]

    def hide(self, stacked: Tensor, learnt: Tensor | None) -> Tensor:
        """Frames [B, T', D] with the model's own vector where `learnt` [B, T'] is True."""
        if learnt is None:
            return stacked
        assert self.mask_vector is not None, "masking.fill says that there is one"
        return torch.where(learnt[..., None], self.mask_vector, stacked)

    def stack(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames at the rate of the encoder."""
        return stack_frames(features, lengths, self.downsample_rate)


class TransformerModel(FrameModel):
    """Mockingjay, TERA and AALBERT; with `causal` no frame sees a later one (Transformer-APC)."""

    def __init__(
        self,
        config: TransformerConfig,
        input_dim: int,
        target_dim: int,
        causal: bool = False,
        head: nn.Module | None = None,
    ):
        rate = config.downsample_rate
        encoder = TransformerEncoder(config, input_dim * rate, causal)
        head = head or Head(config.hidden_size, target_dim * rate, config.activation)
        super().__init__(encoder, head, input_dim, target_dim, rate)
        initialise(self, config.initializer_range)


class GruModel(FrameModel):
    """The GRU encoder and one linear map to the frame that lies ahead."""

    def __init__(self, config: GruConfig, input_dim: int, target_dim: int):
        super().__init__(
            GruEncoder(config, input_dim), nn.Linear(config.hidden_size, target_dim), input_dim, target_dim
        )
