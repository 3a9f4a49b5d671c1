"""What is clustered: hidden states of an upstream, or frames of a store, as points of one or several frames."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mockingjay.encoding import Encoding
from mockingjay.inputs import Inputs
from mockingjay.model.transformer import stack_frames
from utility.audio.waveform import AudioError
from utility.clustering import Fail, Group
from utility.text import short


class StatePoints:
    """The states of an encoding, `stack` neighbouring frames as one point: T // stack of T frames, but 1 at least.

    They are computed when they are read, batch by batch; a long recording comes in pieces. `parts` are the batches."""

    def __init__(self, encoding: Encoding, stack: int):
        self.encoding, self.stack = encoding, stack
        frames = encoding.inputs.frames
        self.lengths = np.where(frames > 0, np.maximum(frames // stack, 1), 0)  # [U]
        self.parts = encoding.batches()
        self.part_of = np.zeros(len(frames), np.int64)  # [U]
        for part, who in enumerate(self.parts):
            self.part_of[who] = part
        self.width = encoding.layers.row_shape(encoding.upstream)[-1] * stack
        self.device = encoding.device

    @property
    def inputs(self) -> Inputs:
        """What the upstream takes."""
        return self.encoding.inputs

    def read(self, parts: Sequence[int], fail: Fail) -> Iterator[Group]:
        """The points of some parts, in their order; a recording that fails is told, and left out."""
        long = [part for part in parts if self.inputs.long[self.parts[part][0]]]
        whole = [part for part in parts if not self.inputs.long[self.parts[part][0]]]
        yield from self._whole(whole, fail)
        for part in long:
            yield from self._in_pieces(part, fail)

    def _whole(self, parts: Sequence[int], fail: Fail) -> Iterator[Group]:
        frames = torch.tensor(self.inputs.frames)
        for indices, _, states in self.encoding.whole([self.parts[part] for part in parts], fail):
            points, _ = stack_frames(states.float(), frames[indices].to(states.device), self.stack)
            counts = self.lengths[indices].tolist()
            rows = torch.cat([row[:count] for row, count in zip(points, counts)])
            spans = [(index, 0, count) for index, count in zip(indices, counts)]
            self._check(rows, spans)
            yield Group(int(self.part_of[indices[0]]), spans, rows)

    def _in_pieces(self, part: int, fail: Fail) -> Iterator[Group]:
        """A long recording: frames at the end of a piece that fill no point wait for those of the next."""
        (index,) = self.parts[part].tolist()
        total, begin, left = int(self.lengths[index]), 0, torch.empty(0)
        try:
            for _, states in self.encoding.pieces(index):
                frames = torch.cat([left.to(states), states]).float() if len(left) else states.float()
                count = len(frames) // self.stack
                left = frames[count * self.stack :]
                if not count:
                    continue
                spans = [(index, begin, count)]
                rows = frames[: count * self.stack].reshape(count, -1)
                self._check(rows, spans)
                begin += count
                yield Group(part, spans, rows, begin == total)
        except AudioError as error:
            fail(index, str(error))

    def _check(self, rows: Tensor, spans: Sequence[tuple[int, int, int]]) -> None:
        """Raise ValueError for a point that is not finite, and name its utterance."""
        if torch.isfinite(rows).all():
            return
        row = int((~torch.isfinite(rows).all(1)).nonzero()[0])
        ends = np.cumsum([count for _, _, count in spans])
        index = spans[int(np.searchsorted(ends, row, "right"))][0]
        name = short(self.inputs.corpus.ids[index])
        raise ValueError(f"utterance {name}: its frames are not finite: make them again")
