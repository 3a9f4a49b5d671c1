"""Which hidden states are kept, and what is made of them: one, several, all, their mean, or a weighted sum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mockingjay.upstreams.base import Upstream
from utility.text import short

AVERAGE = "average"
EXPECTED = "expected last, all, average, a number, a label such as T3 or C7, a list of these with commas, or ws:FILE"


@dataclass(frozen=True)
class LayerSelection:
    """Which hidden states are kept: one (a number or a label), several (side by side), all, their mean, or their
    weighted sum with fixed weights, one for each of `layers`.

    A number k is the k-th of `layers`: 0 is what enters the first block, k the output of block k."""

    which: int | str | tuple[int | str, ...] | tuple[float, ...] | Literal["last", "all", "average"] = "last"

    @classmethod
    def parse(cls, text: str) -> "LayerSelection":
        """What `--layer` says, but for ws:FILE; ValueError for what is neither number, label, nor list of them."""
        parts = [int(part) if part.isdecimal() else part for part in text.split(",")]
        if not all(isinstance(part, int) or part.isalnum() for part in parts):
            raise ValueError(f"--layer {short(text)}: {EXPECTED}")
        if len(parts) == 1:
            return cls(parts[0])
        words = {"last", "all", AVERAGE} & {part for part in parts if isinstance(part, str)}
        if words - {"last"}:
            raise ValueError(f"--layer {short(text)}: {min(words - {'last'})} stands alone, or leave it out")
        return cls(tuple(parts))

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The weights of a sum."""
        if not isinstance(self.which, tuple) or not any(isinstance(one, float) for one in self.which):
            return None
        return tuple(map(float, self.which))

    @property
    def several(self) -> bool:
        """Whether a frame is stored as one vector for each of some layers, [n, width]."""
        return self.which == "all" or (isinstance(self.which, tuple) and self.weights is None)

    def labels(self, upstream: Upstream) -> tuple[str, ...]:
        """The labels of the states that are needed; ValueError for a layer that the upstream does not have."""
        if self.weights is not None:
            if len(self.weights) != len(upstream.layers):
                raise ValueError(f"{len(self.weights)} layer weights for {len(upstream.layers)} hidden states")
            return upstream.layers
        if self.which in ("all", AVERAGE):
            return upstream.layers
        parts = self.which if isinstance(self.which, tuple) else (self.which,)
        labels = tuple(_label(part, upstream) for part in parts)
        if repeated := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"layer {repeated[0]} is listed twice")
        shapes = {(upstream.width(label), upstream.times(label)) for label in labels}
        if len(shapes) > 1:
            raise ValueError(
                f"layers {', '.join(labels)} differ in width or frame rate, and are not stored side by side: take one "
                "at a time"
            )
        return labels

    def canonical(self, upstream: Upstream) -> "LayerSelection":
        """The selection in the one form of all ways to say it: `layers` by number, others by label, all as `all`."""
        if self.weights is not None:
            return self
        labels = self.labels(upstream)
        if self.which == AVERAGE and len(labels) > 1:
            return self
        parts = tuple(upstream.layers.index(label) if label in upstream.layers else label for label in labels)
        if not self.several:
            return LayerSelection(parts[0])
        return LayerSelection("all" if labels == upstream.layers else parts)

    def row_shape(self, upstream: Upstream) -> list[int]:
        """Shape of what is stored for a frame; ValueError for a layer that the upstream does not have."""
        labels = self.labels(upstream)
        width = upstream.width(labels[0])
        return [len(labels), width] if self.several else [width]

    def combine(self, states: Sequence[Tensor]) -> Tensor:
        """From the states of `labels`, each [B, T, H], to what is stored, [B, T, *row_shape]."""
        if self.several:
            return torch.stack(tuple(states), dim=2)
        if self.which == AVERAGE:
            return sum(states[1:], states[0]) / len(states)
        if self.weights is not None:
            return sum((weight * state for weight, state in zip(self.weights, states)), torch.zeros(()))
        return states[0]

    def pick(self, states: Sequence[Tensor], upstream: Upstream) -> Tensor:
        """From the states of all `layers`, [B, T, H] each, to what is stored."""
        return self.combine([states[upstream.layers.index(label)] for label in self.labels(upstream)])

    def plain(self) -> int | str | list[int | str | float]:
        """As plain types, for what a store says of itself."""
        return list(self.which) if isinstance(self.which, tuple) else self.which


def _label(part: int | str | float, upstream: Upstream) -> str:
    states = f"hidden states 0 to {upstream.num_layers}" if upstream.num_layers else "only hidden state 0"
    known = f"the upstream has {states} ({', '.join(_listed(upstream))})"
    if part == "last":
        return upstream.layers[-1]
    if isinstance(part, int):
        if not 0 <= part < len(upstream.layers):
            raise ValueError(f"layer {part} does not exist: {known}")
        return upstream.layers[part]
    if part not in (*upstream.layers, *upstream.inner):
        raise ValueError(f"layer {part} does not exist: {known}")
    return str(part)


def _listed(upstream: Upstream) -> list[str]:
    labels = upstream.layers
    middle = [f"{labels[0]} ... {labels[-1]}"] if len(labels) > 2 else list(labels)
    return [*upstream.inner, *middle]
