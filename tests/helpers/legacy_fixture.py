"""Checkpoints of the originals beside the arrays that their programs gave: whatever the folder of fixtures holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.foreign.checkpoints import Original, from_original
from mockingjay.foreign.names import head_names, to_theirs
from mockingjay.upstreams.pretrained import PretrainedUpstream
from tests.helpers.shared import FIXTURES
from utility.training.checkpoint import read_file

LIMIT = 1e-5


def arrays_of(stem: str, kind: str = "io") -> Path | None:
    """The arrays of a checkpoint. Its short form, the encoder alone, shares those of the whole one, whose name begins
    its own."""
    found = [p for p in FIXTURES.glob(f"*.{kind}.npz") if stem.startswith(p.name.removesuffix(f".{kind}.npz"))]
    return max(found, key=lambda path: len(path.name), default=None)


def plain_content(path: Path) -> Any:
    """What a file of the originals holds, under their names."""
    return read_file(path)


def read_original(path: Path) -> Original:
    """The same in our terms."""
    return from_original(plain_content(path), path)


def holding(key: str, suffix: str = "ckpt", kind: str = "io", short: bool = False) -> list[str]:
    """Names of the models with arrays of their own (with `short`, of another model's) that have the array `key`."""
    found = []
    for stem in sorted(path.stem for path in FIXTURES.glob(f"*.{suffix}")):
        file = arrays_of(stem, kind)
        if file is not None and (file.name != f"{stem}.{kind}.npz") == short:
            with np.load(file) as arrays:
                found += [stem] if key in arrays.files else []
    return found


NEW = holding("weighted_sum_weight")  # S3PRL v0.1.0
OLD = holding("tester_forward_tiled_row0")  # the first Mockingjay
SHORT = holding("tester_forward_tiled_row0", short=True)  # its encoder alone
TRAINED = holding("grad_norm", kind="train")
APC = holding("internal_reps", "pt")
CLASSIFIERS = holding("log_prob", "pt")


def plain() -> str:
    """A model of S3PRL v0.1.0 without shared layers, layer norms in front, or stacked frames."""
    for name in NEW:
        block = plain_content(FIXTURES / f"{name}.ckpt")["Settings"]["Config"]["transformer"]
        special = block.get("share_layer") or block.get("pre_layer_norm") or int(block["downsample_rate"]) > 1
        if not special:
            return name
    raise AssertionError(f"{FIXTURES} holds no plain model of S3PRL")


def read_arrays(stem: str, kind: str = "io") -> dict[str, torch.Tensor]:
    """The arrays of a model."""
    with np.load(arrays_of(stem, kind)) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


class Fixture:
    """A checkpoint of the originals with its arrays, the model in evaluation mode."""

    def __init__(self, name, arrays="io"):
        self.path = FIXTURES / f"{name}.ckpt"
        self.arrays = read_arrays(name, arrays)
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
        return PretrainedUpstream(self.model, config, None, 0.01).eval()


def close(found, expected):
    assert found.numel()
    assert float(expected.abs().max()) > 1e-3, "nothing to compare with"
    worst = float((found - expected).abs().max())
    assert worst < LIMIT, worst


def parameters_under_their_names(weights, config):
    encoder = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    head = {f"SpecHead.{theirs}": weights[f"head.{ours}"] for ours, (theirs,) in head_names().items()}
    return to_theirs(encoder, config) | head
