"""Long utterances in segments of bounded length, each encoded as if it stood alone."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from utility.batches import Batch, real_frames


@dataclass(frozen=True)
class Segments:
    """N segments of B utterances: segment n is frames `start[n]` to `start[n] + lengths[n]` of utterance `row[n]`.

    An utterance of T frames gives ceil(T / size) segments of one length, the last perhaps shorter (the chunks of S3PRL
    v0.1.0's `max_input_length`, which cut the padded batch; here each utterance is cut by its own length)."""

    row: Tensor  # [N] int64
    start: Tensor  # [N] int64
    lengths: Tensor  # [N] int64

    @classmethod
    def of(cls, lengths: Tensor, size: int) -> "Segments":
        """The segments of utterances with true lengths [B], none longer than `size` frames."""
        count = (lengths + size - 1) // size
        length = (lengths + count - 1) // count
        row = torch.arange(len(lengths), device=lengths.device).repeat_interleave(count)
        first = count.cumsum(0) - count
        start = (torch.arange(len(row), device=row.device) - first[row]) * length[row]
        return cls(row, start, torch.minimum(length[row], lengths[row] - start))

    def split(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [N, P, ...], zero beyond the segments' lengths."""
        real = self._real()
        source = (self.start[:, None] + torch.arange(real.shape[1], device=real.device)).clamp(max=x.shape[1] - 1)
        return x[self.row[:, None], source] * real[(...,) + (None,) * (x.ndim - 2)]

    def join(self, x: Tensor, rows: int, frames: int) -> Tensor:
        """[N, P, ...] -> [rows, frames, ...], zero beyond the utterances' lengths."""
        segment, time = self._real().nonzero(as_tuple=True)
        out = x.new_zeros(rows, frames, *x.shape[2:])
        out[self.row[segment], self.start[segment] + time] = x[segment, time]
        return out

    def split_batch(self, batch: Batch) -> Batch:
        """The segments as a batch; their ids are `<utterance>/<first frame>`."""
        ids = [f"{batch.ids[row]}/{start}" for row, start in zip(self.row.tolist(), self.start.tolist())]
        target = None if batch.target is None else self.split(batch.target)
        features, host = self.split(batch.features), self.lengths.cpu()
        return replace(batch, features=features, lengths=self.lengths, ids=ids, target=target, host_lengths=host)

    def _real(self) -> Tensor:
        return real_frames(self.lengths, int(self.lengths.max()))
