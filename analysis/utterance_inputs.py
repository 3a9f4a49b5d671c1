"""Utterances as an upstream takes them, one at a time, and when their frames are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mockingjay.inputs import Inputs, UtteranceSource
from mockingjay.upstreams.attentive import Attentive, attentive
from mockingjay.upstreams.base import Upstream


@dataclass(frozen=True)
class UtteranceInputs:
    """Utterances `numbers` of a corpus as an upstream takes them, one at a time and without padding.

    Of a waveform that the upstream would take in pieces (`longest`: 60 s of models of Transformers) the first piece is
    looked at, as if it ended there: the attention and the gradient of more have no end. `cut` names these. `left_out`
    says of others, by id, why they are not among them: they have fewer than two frames."""

    upstream: Upstream
    inputs: Inputs
    numbers: tuple[int, ...]
    left_out: dict[str, str]

    @classmethod
    def of(cls, upstream: Upstream, corpus: UtteranceSource, numbers: Sequence[int]) -> "UtteranceInputs":
        """Those of some utterances, in their order. ValueError where none is left."""
        inputs, kept, left_out = Inputs(upstream, corpus), [], {}
        for number in map(int, numbers):
            reason = _unfit(upstream, int(_size(inputs, number)), int(inputs.frames[number]))
            if reason:
                left_out[corpus.ids[number]] = reason
            else:
                kept.append(number)
        if not kept:
            example = next(iter(left_out.items()), ("none", "none was asked for"))
            raise ValueError(f"no utterance is left: {example[0]} for one: {example[1]}")
        return cls(upstream, inputs, tuple(kept), left_out)

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [self.inputs.corpus.ids[number] for number in self.numbers]

    @property
    def cut(self) -> list[str]:
        """The ids of those of which the start alone is looked at."""
        return [self.inputs.corpus.ids[number] for number in self.numbers if self.inputs.long[number]]

    def size(self, number: int) -> int:
        """Frames or samples of what is looked at of an utterance."""
        return _size(self.inputs, number)

    def frames(self, number: int) -> int:
        """Frames of its states."""
        if not self.inputs.long[number]:
            return int(self.inputs.frames[number])
        return int(self.upstream.num_frames(torch.tensor(self.size(number))))

    def take(self, chosen: Sequence[int]) -> "UtteranceInputs":
        """Some of them, by their places among these."""
        return UtteranceInputs(self.upstream, self.inputs, tuple(self.numbers[i] for i in chosen), {})

    def read(self, number: int) -> Tensor:
        """Features [1, T, D] or samples [1, N] of an utterance, float32, where the upstream is."""
        device = next(iter(self.upstream.parameters()), torch.zeros(0)).device
        inputs = self._start(number) if self.inputs.long[number] else self.inputs.read(number)
        return torch.from_numpy(np.array(inputs, np.float32))[None].to(device)

    def _start(self, number: int) -> np.ndarray:
        """The first samples of a long waveform; the rest is not read."""
        chunks, size = [np.zeros(0, np.float32)], self.size(number)
        for chunk in self.inputs.chunks(number):
            chunks.append(chunk)
            if sum(map(len, chunks)) >= size:
                break
        return np.concatenate(chunks)[:size]

    def each(self) -> Iterator[tuple[int, Tensor]]:
        """Number and input of each."""
        return ((number, self.read(number)) for number in self.numbers)

    def parts(self, number: int) -> list[tuple[int, int]]:
        """Start and stop of the parts of an utterance's input that have attention of their own, of two frames or more.

        It is one, all of it, but where a model of ours encodes long utterances in segments."""
        return _parts(self.upstream, self.size(number))

    def maps(self, number: int, inputs: Tensor) -> Iterator[tuple[tuple[int, int], Iterator[np.ndarray]]]:
        """Start and stop of the `parts` of an utterance, and blocks [layers, heads, n, T] of the attention map of each.

        ValueError for an upstream without attention."""
        model = attentive(self.upstream)
        for start, stop in self.parts(number):
            yield (start, stop), (block.float().cpu().numpy() for block in model.attention_rows(inputs[:, start:stop]))

    def frame_times(self, frames: int) -> np.ndarray:
        """Centres in seconds, float64 [T], of frames as the states have them. ValueError where nobody states them."""
        info = self.inputs.corpus.info
        if self.upstream.takes == "features":
            if np.isnan(info.frame_shift):
                raise ValueError("the store does not say when a frame is: make the features again")
            return info.frame_times(frames)
        shift, offset = self.upstream.times()
        assert shift is not None
        assert offset is not None
        return offset + shift * np.arange(frames)


def _size(inputs: Inputs, number: int) -> int:
    """Frames or samples of what is looked at of an utterance."""
    size = int(inputs.sizes[number])
    return min(size, inputs.longest or size) if inputs.long[number] else size


def _unfit(upstream: Upstream, size: int, frames: int) -> str:
    """Why an utterance is left out; empty where it is not."""
    if frames < 2:
        return f"{frames} frames, 2 or more are needed"
    return "" if _parts(upstream, size) else "fewer than 2 frames for attention"


def _parts(upstream: Upstream, size: int) -> list[tuple[int, int]]:
    if not isinstance(upstream, Attentive):
        return [(0, size)]
    parts = upstream.pieces(size)
    frames = upstream.attention_frames(torch.tensor([stop - start for start, stop in parts])).tolist()
    return [part for part, count in zip(parts, frames) if count > 1]
