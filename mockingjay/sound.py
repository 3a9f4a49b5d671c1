"""Predicted frames as sound."""

from dataclasses import replace

import numpy as np
import torch

from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.inversion import griffin_lim
from utility.plot import static_part
from utility.store.statistics import Level


def to_waveform(
    values: np.ndarray, config: FeatureConfig, reference: np.ndarray, level: Level | None = None
) -> np.ndarray:
    """Features [T, D], true, predicted or filled, as the sound they describe: float32 [N], as long as the `reference`.

    `reference` [N] is the utterance itself: where features are normalised per utterance, its own mean and deviation
    give the level back; where by the statistics of a store, its `level` of the utterance. T may fall short of its
    frames (stacking drops a tail): the rest is silent. Deltas have no use. Raises ValueError for features other than
    `mel` and `linear`, and for more frames than the reference has."""
    raw = replace(config, deltas=0, cmvn="none")
    static = static_part(np.asarray(values, np.float32), config)
    frames = config.num_frames(len(reference))
    if len(static) > frames:
        raise ValueError(f"{len(static)} frames do not belong to audio of {len(reference)} samples, which has {frames}")
    if config.cmvn == "utterance":
        whole, _ = FeatureExtractor(raw)(torch.from_numpy(reference)[None], torch.tensor([len(reference)]))
        static = static * whole[0].std(0, correction=0).numpy() + whole[0].mean(0).numpy()
    elif level is not None:
        width = static.shape[1]
        static = Level(level.mean[:width], level.deviation[:width]).undo(static)
    spanned = min(len(reference), len(static) * config.hop - 1)
    return np.pad(griffin_lim(torch.from_numpy(static), raw, spanned), (0, len(reference) - spanned))
