"""Which hidden states of an upstream a probe reads: one, the mean of all, or several and a learnt sum of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from downstream.config import UpstreamConfig
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.selection import AVERAGE, LayerSelection


@dataclass(frozen=True)
class ProbedLayers:
    """The hidden states that are read, and what is made of them."""

    selection: LayerSelection  # in the one form that caches go by
    labels: tuple[str, ...]
    weighted: bool = False  # a sum whose weights are learnt

    @classmethod
    def of(cls, config: UpstreamConfig, upstream: Upstream, name: str) -> "ProbedLayers":
        """Those that the config chooses; ValueError for what the upstream `name` does not have."""
        text = ",".join(map(str, config.parts))
        asked = LayerSelection.parse("all" if config.weighted_sum and config.layer == "last" else text)
        if config.several and not config.weighted_sum:
            raise ValueError(f"layer {text} is a run for each of several hidden states: this one reads one of them")
        if config.weighted_sum and len(asked.labels(upstream)) == 1:
            raise ValueError(f"weighted_sum: upstream {name} has only one hidden state, there is nothing to weigh")
        selection = asked.canonical(upstream)
        return cls(selection, selection.labels(upstream), config.weighted_sum)

    @property
    def number(self) -> int | None:
        """The place of the one state among the upstream's layers; None for others."""
        return self.selection.which if isinstance(self.selection.which, int) else None

    @property
    def label(self) -> str | None:
        """The label of the one state, or `average`; None where weights are learnt."""
        if self.weighted:
            return None
        return AVERAGE if self.selection.which == AVERAGE else self.labels[0]

    def in_words(self) -> str:
        """For people."""
        if self.weighted:
            return f"{', '.join(self.labels)}, weighted"
        if self.selection.which == AVERAGE:
            return f"mean of {self.labels[0]} to {self.labels[-1]}"
        return f"{self.labels[0]}" if self.number is None else f"{self.number} ({self.labels[0]})"

    def combine(self, states: Sequence[Tensor]) -> Tensor | Sequence[Tensor]:
        """From the states of `labels`, each [B, T, H], to what the probe reads: one [B, T, H], or all to be weighed."""
        return states if self.weighted else self.selection.combine(states)

    def picked(self) -> Callable[[np.ndarray], np.ndarray]:
        """What takes these from frames that hold all layers, [T, layers, H]."""
        which = self.selection.which
        if which == AVERAGE:
            return lambda frames: frames.mean(axis=1, dtype=np.float32)
        if which == "all":
            return lambda frames: frames
        index = np.array(which)
        return lambda frames: frames[:, index]
