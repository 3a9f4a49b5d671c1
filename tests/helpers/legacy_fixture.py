"""A checkpoint of the originals beside the arrays that its program gave."""

from dataclasses import replace

import numpy as np
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.foreign.names import head_names, to_theirs
from mockingjay.upstreams.pretrained import TransformerUpstream

LIMIT = 1e-5
NEW = ["mockingjay_dr1", "tera_dr1", "preln_dr1", "aalbert_dr3"]
OLD = ["legacy_mockingjay_dr3", "legacy_mockingjay_duo_dr3"]


class Fixture:
    """A checkpoint of the originals with its arrays, the model in evaluation mode."""

    def __init__(self, folder, name, arrays="io"):
        self.path = folder / f"{name}.ckpt"
        with np.load(folder / f"{name}.{arrays}.npz") as file:
            self.arrays = {key: torch.from_numpy(file[key]) for key in file}
        self.found = load_pretrained(self.path)
        self.model = self.found.model

    def __getitem__(self, name):
        return self.arrays[name]

    def stack(self, features):
        """r frames side by side, the tail dropped, nothing else changed."""
        rate = self.model.downsample_rate
        frames = features.shape[1] // rate
        return features[:, : frames * rate].reshape(len(features), frames, -1)

    @property
    def lengths(self):
        return self["attn_mask"].sum(1).long()

    @property
    def real(self):
        return self["attn_mask"].bool()

    def upstream(self, **model):
        config = replace(self.found.config, model=replace(self.found.config.model, **model))
        return TransformerUpstream(self.model, config, None, 0.01).eval()


def close(found, expected):
    worst = float((found - expected).abs().max())
    assert worst < LIMIT, worst


def parameters_under_their_names(weights, config):
    encoder = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    head = {f"SpecHead.{theirs}": weights[f"head.{ours}"] for ours, (theirs,) in head_names().items()}
    return to_theirs(encoder, config) | head
