"""The features themselves as an upstream."""

from collections.abc import Sequence

from torch import Tensor

from mockingjay.upstreams.base import Upstream, fingerprint_of, stated
from utility.store.info import StoreInfo


class Baseline(Upstream):
    """The features themselves: one hidden state, F. Of a store that holds several hidden states per frame, [n, H],
    those: they are called by the labels that the store states, else T0 ..."""

    layers: tuple[str, ...] = ("F",)

    def __init__(self, info: StoreInfo):
        super().__init__()
        *stored, self.hidden_size = info.row_shape
        self.stored = bool(stored)
        if stored:
            self.layers = _labels(info.made_by.get("layers"), stored[0])
        self.feature_config, self.frame_shift = info.features, stated(info.frame_shift)
        self.fingerprint = fingerprint_of(self, "baseline", info.features)

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> tuple[Tensor, ...]:
        if not self.stored:
            return (inputs,) * len(labels)
        return tuple(inputs[:, :, self.layers.index(label)] for label in labels)


def _labels(made_by: object, count: int) -> tuple[str, ...]:
    """What a store says that its `count` layers are."""
    names = made_by if isinstance(made_by, list) and len(made_by) == count else range(count)
    return tuple(f"T{name}" if isinstance(name, int) else str(name) for name in names)
