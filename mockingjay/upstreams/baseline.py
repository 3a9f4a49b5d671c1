"""The features themselves as an upstream."""

from collections.abc import Sequence

from torch import Tensor

from mockingjay.upstreams.base import Upstream, fingerprint_of, stated
from utility.store.info import StoreInfo


class Baseline(Upstream):
    """The features themselves: one hidden state, no layers."""

    layers = ("F",)

    def __init__(self, info: StoreInfo):
        super().__init__()
        self.hidden_size = info.row_shape[0]
        self.feature_config, self.frame_shift = info.features, stated(info.frame_shift)
        self.fingerprint = fingerprint_of(self, "baseline", info.features)

    def encode(self, inputs: Tensor, lengths: Tensor, labels: Sequence[str]) -> tuple[Tensor, ...]:
        return (inputs,) * len(labels)
