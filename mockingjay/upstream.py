"""One interface to everything that turns features into representations."""

from dataclasses import replace
from pathlib import Path

import torch

from mockingjay.build import new_model
from mockingjay.checkpoint import Pretrained, check_features, load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import Head
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.own import OwnUpstream
from mockingjay.upstreams.pretrained import HeadUpstream, TransformerUpstream
from utility.config import resolve
from utility.store.files import StoreInfo


def load_upstream(
    name: str | Path,
    ckpt: Path | str | None = None,
    info: StoreInfo | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Upstream:
    """Open an upstream for features of a store described by `info`, in evaluation mode.

    `name` is `transformer` (the weights of `ckpt`), `transformer_head` (the same, and the head's state after the last
    layer), `random` (the architecture of `ckpt`, or of a pre-training YAML given as `ckpt`, with fresh weights from
    `seed`), `baseline` (the features themselves), `package.module:Class` (your own), or simply the path of a
    checkpoint. Raises ValueError where features, checkpoint and upstream do not fit."""
    return _open(str(name), ckpt and Path(ckpt), info, seed).eval().to(device)


def _open(name: str, ckpt: Path | None, info: StoreInfo | None, seed: int) -> Upstream:
    if name == "transformer" or (ckpt is None and (name.endswith((".ckpt", ".pt", ".model")) or Path(name).is_dir())):
        return _transformer(
            load_pretrained(_needed(name, ckpt or (None if name == "transformer" else Path(name)))), info
        )
    if name == "transformer_head":
        return _with_head(load_pretrained(_needed(name, ckpt)), info)
    if name == "random":
        return _random(_needed(name, ckpt), info, seed)
    if ckpt is not None:
        raise ValueError(f"upstream {name!r} takes no checkpoint, got {ckpt}")
    if name == "baseline":
        if info is None:
            raise ValueError("upstream 'baseline' needs the store whose features it hands on")
        return Baseline(info)
    if ":" in name:
        return OwnUpstream(name, info, seed)
    raise ValueError(
        f"unknown upstream {name!r}: use transformer, transformer_head, random, baseline or package.module:Class"
    )


def _needed(name: str, ckpt: Path | None) -> Path:
    if ckpt is None:
        raise ValueError(f"upstream {name!r} needs a checkpoint: add --ckpt result/result_mockingjay/<run>/best.ckpt")
    return ckpt


def _transformer(found: Pretrained, info: StoreInfo | None) -> Upstream:
    if info is not None:
        check_features(info.features, found.features, "the store", "the checkpoint")
        if info.row_shape != [found.model.input_dim]:
            raise ValueError(f"the store has rows of {info.row_shape}, the checkpoint takes [{found.model.input_dim}]")
    upstream = TransformerUpstream(found.model, found.config, found.features, found.frame_shift)
    upstream.step = found.step
    return upstream


def _with_head(found: Pretrained, info: StoreInfo | None) -> Upstream:
    if not isinstance(found.model.head, Head):
        raise ValueError("upstream 'transformer_head': the checkpoint has no head with a state of its own")
    upstream = HeadUpstream(_transformer(found, info), found.model.head)
    upstream.step = found.step
    return upstream


def _random(source: Path, info: StoreInfo | None, seed: int) -> Upstream:
    if source.suffix not in (".yaml", ".yml"):
        found = load_pretrained(source)
        fresh = new_model(found.config, found.model.input_dim, found.model.target_dim, seed)
        return _transformer(replace(found, model=fresh, step=0), info)
    if info is None:
        raise ValueError(f"a random upstream from {source} needs the store whose features it takes")
    config = resolve(PretrainConfig, source)
    model = new_model(config, info.row_shape[0], info.row_shape[0], seed)
    return TransformerUpstream(model, config, info.features, info.frame_shift)
