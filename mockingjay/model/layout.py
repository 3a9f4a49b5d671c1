"""How a batch lies in memory: padded, or end to end, so that the encoder computes real frames alone."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.batches import real_frames
from utility.device import sent

HALF = (torch.bfloat16, torch.float16)  # what flash attention computes in,
HEAD_SIZES = range(8, 257, 8)  # and its widths of a head,
AMPERE = (8, 0)  # from this compute capability on


@dataclass(frozen=True)
class Packing:
    """Where the N real frames of a padded batch [B, T] lie; made from lengths on the host, so nothing waits."""

    frames: int  # T
    index: Tensor  # int64 [N], of each real frame in the flat batch [B * T]
    position: Tensor  # int64 [N], of each real frame within its utterance
    offsets: Tensor  # int32 [B + 1], where each utterance begins
    shortest: int
    longest: int
    causal: bool
    flash: bool  # whether the device has flash attention

    @classmethod
    def of(cls, lengths: Tensor, frames: int, device: torch.device, causal: bool = False) -> "Packing":
        """The packing of utterances of these true lengths [B], in host memory."""
        position = torch.cat([torch.arange(length) for length in lengths.tolist()])
        index = position + frames * torch.arange(len(lengths)).repeat_interleave(lengths)
        offsets = F.pad(lengths.cumsum(0), (1, 0)).int()
        index, position, offsets = sent((index, position, offsets), device)
        flash = has_flash(device)
        return cls(frames, index, position, offsets, int(lengths.min()), int(lengths.max()), causal, flash)

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [1, N, D]."""
        return x.flatten(0, 1)[None, self.index]

    def unpack(self, x: Tensor) -> Tensor:
        """[1, N, D] -> [B, T, D], zero at padding."""
        flat = x.new_zeros((len(self.offsets) - 1) * self.frames, x.shape[2])
        return flat.index_copy(0, self.index, x[0]).view(-1, self.frames, x.shape[2])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        """Attention within each utterance; [1, heads, N, d] in and out."""
        if self.flash and query.dtype in HALF and query.shape[-1] in HEAD_SIZES:
            return self._attend_flash(query, key, value, dropout)
        return self._attend_nested(query, key, value, dropout)

    def _attend_flash(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        """By flash attention for sequences end to end (Dao 2023), on views, without a copy."""
        query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))  # [N, heads, d]
        ends, longest = self.offsets, self.longest
        mixed, *_ = torch.ops.aten._flash_attention_forward(
            query, key, value, ends, ends, longest, longest, dropout, self.causal, False
        )
        return mixed.transpose(0, 1)[None]

    def _attend_nested(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        """By whichever kernel PyTorch has for nested tensors of this type."""
        query, key, value = (
            torch.nested.nested_tensor_from_jagged(
                values, self.offsets.long(), min_seqlen=self.shortest, max_seqlen=self.longest
            ).transpose(1, 2)
            for values in (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=self.causal)
        return mixed.transpose(1, 2).values().transpose(0, 1)[None]


def has_flash(device: torch.device) -> bool:
    """Whether PyTorch has flash attention for a device."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


class Scope:
    """Which frames a frame of a padded batch may look at: the real ones of its utterance, under `causal` none after
    itself.

    `mask` is bool [B, 1 or T, T], True where the query may look at the key; None where a fused kernel needs none: what
    frames of padding look at means nothing, so that a causal one leaves them be, and utterances as long as the batch
    have none. `counts` are the lengths on a CPU. Behind the softmax weights of frames further than `radius` are set to
    0, where there is one."""

    def __init__(
        self,
        lengths: Tensor,
        frames: int,
        causal: bool = False,
        radius: int | None = None,
        host_lengths: Tensor | None = None,
    ):
        on_host = lengths.device.type == "cpu"
        known = lengths if on_host else host_lengths
        whole = known is not None and int(known.min()) >= frames
        self.counts = lengths.numpy() if on_host else None
        self.frames, self.causal, self.radius = frames, causal, radius
        maskless = not on_host and radius is None and (causal or whole)
        self.mask = None if maskless else visible(lengths, frames, causal)


def visible(lengths: Tensor, frames: int, causal: bool) -> Tensor:
    """Bool [B, 1 or T, T], True where a query may look at a key: at real frames, under `causal` at none after it."""
    mask = real_frames(lengths, frames)[:, None]
    return mask & torch.ones(frames, frames, dtype=torch.bool, device=lengths.device).tril() if causal else mask
