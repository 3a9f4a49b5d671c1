"""The pre-training model: the encoder, and the head that rebuilds the frames that were masked."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mockingjay.masking import Altered
from mockingjay.transformer import LAYER_NORM_EPS, TransformerConfig, TransformerEncoder, initialise, stack_frames


@dataclass(frozen=True)
class Output:
    """Hidden states [B, T', H] (layers + 1 of them, entry 0 the embedding), their true lengths [B], and the prediction
    [B, T', target size * downsample rate] from the last one."""

    hidden_states: tuple[Tensor, ...]
    lengths: Tensor
    prediction: Tensor


class Head(nn.Module):
    """LN(gelu(dense(x))), then one linear map to the (stacked) target frame."""

    def __init__(self, hidden_size: int, output_dim: int):
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.output = nn.Linear(hidden_size, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.norm(F.gelu(self.dense(x))))


class MaskedModel(nn.Module):
    """Mockingjay: features [B, T, input_dim] with lengths [B] in, hidden states and predicted frames out."""

    def __init__(self, config: TransformerConfig, input_dim: int, target_dim: int):
        super().__init__()
        self.config, self.input_dim, self.target_dim = config, input_dim, target_dim
        rate = config.downsample_rate
        self.encoder = TransformerEncoder(config, input_dim * rate)
        self.head = Head(config.hidden_size, target_dim * rate)
        initialise(self, config.initializer_range)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        """The model without masking; frames are stacked by the downsample rate."""
        return self.predict(*self.stack(features, lengths))

    def predict(self, stacked: Tensor, lengths: Tensor) -> Output:
        """The model on frames that are stacked already (and perhaps altered)."""
        states = self.encoder(stacked, lengths)
        return Output(states, lengths, self.head(states[-1]))

    def stack(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames at the rate of the encoder."""
        return stack_frames(features, lengths, self.config.downsample_rate)


@dataclass(frozen=True)
class MaskedLoss:
    """Sum of |prediction - truth| over the chosen elements, and how many there are; both scalars."""

    total: Tensor
    count: Tensor

    def mean(self) -> Tensor:
        """L1 over the chosen elements; 0 where nothing was chosen."""
        return self.total / self.count.clamp(min=1)


def masked_loss(prediction: Tensor, truth: Tensor, altered: Altered) -> MaskedLoss:
    """L1 between prediction and truth [B, T', D'] on the chosen elements (Liu et al. 2020, section 2.2).

    A truth of another size than the input (the linear spectrogram) counts wholly on every chosen frame."""
    mask = altered.mask
    if truth.shape[-1] != mask.shape[-1]:
        mask = mask.any(-1, keepdim=True).expand_as(truth)
    error = (prediction.float() - truth).abs()
    return MaskedLoss((error * mask).sum(), mask.sum(dtype=torch.float32))
