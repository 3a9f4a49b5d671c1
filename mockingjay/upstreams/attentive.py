"""Attention of an upstream: read in blocks of queries, or cut, heads and spans, while something else is measured.

What is cut is 0 behind the softmax, and the rest of a row stays as it is (Yang et al. 2020, arXiv 2006.03265)."""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mockingjay.model.attention import query_blocks
from mockingjay.upstreams.base import Upstream


@dataclass(frozen=True)
class Cut:
    """What is cut of attention: heads for which `kept` [layers, heads] is 0, and keys further than `radius` frames."""

    kept: Tensor | None = None
    radius: int | None = None

    def and_also(self, other: "Cut") -> "Cut":
        """Both cuts at once."""
        masks = [one.kept for one in (self, other) if one.kept is not None]
        radii = [one.radius for one in (self, other) if one.radius is not None]
        return Cut(torch.stack(masks).prod(0) if masks else None, min(radii, default=None))

    def of_layer(self, layer: int) -> "Cut":
        """What is cut in a layer, `kept` [heads]."""
        return self if self.kept is None else Cut(self.kept[layer], self.radius)

    def __bool__(self) -> bool:
        return self.radius is not None or (self.kept is not None and not bool(self.kept.all()))


NOTHING = Cut()


class Attentive(Upstream):
    """An upstream whose attention can be read and cut. Frames are those of the encoder, so stacked ones where it stacks
    frames: T' = `attention_frames(lengths)`."""

    rate: int = 1  # frames of the states to one of attention; a tail of fewer has none

    @property
    @abstractmethod
    def attention_size(self) -> tuple[int, int]:
        """Layers, and heads of each; ValueError where there is no attention, or none that is known here."""

    @abstractmethod
    def attention_frames(self, lengths: Tensor) -> Tensor:
        """Frames T' of the attention of inputs of these lengths."""

    @abstractmethod
    def pieces(self, length: int) -> list[tuple[int, int]]:
        """Start and stop of the parts of an input of this length that are encoded each as if it stood alone, in order,
        so that each has attention of its own. One is all of it. None: it is encoded in pieces that overlap."""

    @abstractmethod
    def attention_of(self, inputs: Tensor) -> Callable[[slice], Tensor]:
        """Weights [layers, heads, n, T'] of some queries of one utterance, inputs [1, N, ...] without padding."""

    @abstractmethod
    def cut(self, what: Cut) -> AbstractContextManager[None]:
        """Attention is cut so inside, beside what is cut already, and is as before behind it."""

    def attention_rows(self, inputs: Tensor) -> Iterator[Tensor]:
        """Blocks [layers, heads, n, T'] of consecutive queries of one utterance, inputs [1, N, ...] without padding.

        A block holds few enough queries to stay below 64 MB, or a single one; all of a long map never exists. Weights
        are those behind the softmax: a cut of heads or spans in a layer shows in the layers above it. ValueError for an
        input that goes through the upstream in `pieces`: give one of them; and where there is no attention."""
        layers, heads = self.attention_size
        if self.pieces(inputs.shape[1]) != [(0, inputs.shape[1])]:
            raise ValueError(f"an input of {inputs.shape[1]} is encoded in pieces: its attention is no single map")
        frames = int(self.attention_frames(torch.tensor(inputs.shape[1])))
        if frames < 1:
            return
        weights = self.attention_of(inputs)
        for rows in query_blocks(frames, layers * heads * frames):
            yield weights(rows)

    def attention_maps(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Weights of every layer and head, [layers, B, heads, T', T'], zero beyond the true lengths."""
        layers, heads = self.attention_size
        longest = int(self.attention_frames(torch.tensor(inputs.shape[1])))
        maps = inputs.new_zeros(layers, len(inputs), heads, longest, longest)
        for row, count in enumerate(lengths.tolist()):
            frames = int(self.attention_frames(torch.tensor(count)))
            if frames:
                maps[:, row, :, :frames, :frames] = self.attention_of(inputs[row : row + 1, :count])(slice(None))
        return maps


def attentive(upstream: Upstream) -> Attentive:
    """The upstream, for its attention; ValueError for one that has none, or none that is known here."""
    if not isinstance(upstream, Attentive):
        kind = upstream.family or type(upstream).__name__
        raise ValueError(
            f"attention is known of our own encoders and of models of Transformers (hf:FOLDER), not of this upstream "
            f"({kind}): leave it out"
        )
    _ = upstream.attention_size
    return upstream


@contextmanager
def heads_masked(upstream: Upstream, kept: Tensor) -> Iterator[None]:
    """Inside, heads whose `kept` [layers, heads] is 0 or False give nothing; behind it all is as before.

    The fingerprint is another one inside, so that no states of the whole model are taken for these. ValueError for a
    mask of another shape, and an upstream without attention."""
    size = attentive(upstream).attention_size
    if tuple(kept.shape) != size:
        raise ValueError(f"a mask of heads has shape {tuple(kept.shape)}, the upstream's heads are {size}")
    with _cut(upstream, Cut(kept=kept.detach().float().cpu())):
        yield


@contextmanager
def spans_masked(upstream: Upstream, radius: int | None) -> Iterator[None]:
    """Inside, no frame looks further than `radius` (stacked) frames in any head: weights beyond are 0 behind the
    softmax. None cuts nothing. Otherwise as `heads_masked`; ValueError for a radius below 0."""
    if radius is not None and radius < 0:
        raise ValueError(f"the radius of a span is {radius} frames: expected 0 or more")
    with _cut(upstream, Cut(radius=radius)):
        yield


@contextmanager
def _cut(upstream: Upstream, what: Cut) -> Iterator[None]:
    model = attentive(upstream)
    if not what:
        yield
        return
    settings = what.radius, None if what.kept is None else (what.kept != 0).tolist()
    whole = model.fingerprint
    vars(model)["fingerprint"] = hashlib.sha256(f"{whole} cut {settings}".encode()).hexdigest()[:16]
    try:
        with model.cut(what):
            yield
    finally:
        vars(model)["fingerprint"] = whole
