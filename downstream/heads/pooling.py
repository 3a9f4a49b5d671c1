"""What makes one vector of the frames of an utterance."""

from torch import Tensor

from utility.batches import real_frames


def mean_pool(features: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the real frames of each utterance (the original averaged padding too): [B, T, D] -> [B, D]."""
    real = real_frames(lengths, features.shape[1])
    return features.masked_fill(~real[..., None], 0).sum(1) / lengths[:, None]
