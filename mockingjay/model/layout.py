"""How a batch lies in memory: padded, or end to end, so that the encoder computes real frames alone."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.batches import real_frames
from utility.device import sent


@dataclass(frozen=True)
class Packing:
    """Where the N real frames of a padded batch [B, T] lie; made from lengths on the host, so nothing waits."""

    frames: int  # T
    index: Tensor  # [N], of each real frame in the flat batch [B * T]
    position: Tensor  # [N], of each real frame within its utterance
    offsets: Tensor  # [B + 1], where each utterance begins
    shortest: int
    longest: int
    causal: bool

    @classmethod
    def of(cls, lengths: Tensor, frames: int, device: torch.device, causal: bool = False) -> "Packing":
        """The packing of utterances of these true lengths [B], in host memory."""
        position = torch.cat([torch.arange(length) for length in lengths.tolist()])
        index = position + frames * torch.arange(len(lengths)).repeat_interleave(lengths)
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        index, position, offsets = sent((index, position, offsets), device)
        return cls(frames, index, position, offsets, int(lengths.min()), int(lengths.max()), causal)

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [1, N, D]."""
        return x.flatten(0, 1)[None, self.index]

    def unpack(self, x: Tensor) -> Tensor:
        """[1, N, D] -> [B, T, D], zero at padding."""
        flat = x.new_zeros((len(self.offsets) - 1) * self.frames, x.shape[2])
        return flat.index_copy(0, self.index, x[0]).view(-1, self.frames, x.shape[2])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        """Attention within each utterance; [1, heads, N, d] in and out."""
        query, key, value = (
            torch.nested.nested_tensor_from_jagged(
                values, self.offsets, min_seqlen=self.shortest, max_seqlen=self.longest
            ).transpose(1, 2)
            for values in (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=self.causal)
        return mixed.transpose(1, 2).values().transpose(0, 1)[None]


class Scope:
    """Which frames a frame may look at: the real ones of its utterance, under `causal` none after itself.

    `mask` is bool [B, 1 or T, T], True where the query may look at the key; `counts` are the lengths on a CPU. Behind
    the softmax weights of frames further than `radius` are set to 0, where there is one."""

    def __init__(self, lengths: Tensor, frames: int, causal: bool = False, radius: int | None = None):
        self.mask = real_frames(lengths, frames)[:, None]
        if causal:
            self.mask = self.mask & torch.ones(frames, frames, dtype=torch.bool, device=lengths.device).tril()
        self.counts = lengths.numpy() if lengths.device.type == "cpu" else None
        self.frames, self.causal, self.radius = frames, causal, radius
