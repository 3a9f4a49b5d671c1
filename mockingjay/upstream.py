"""One interface to everything that turns features into representations."""

import copy
from dataclasses import replace
from pathlib import Path

import torch

from mockingjay.build import new_model
from mockingjay.checkpoint import Pretrained, check_input, load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import Head
from mockingjay.upstreams.base import Upstream, stated
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.own import OwnUpstream
from mockingjay.upstreams.pretrained import HeadUpstream, PretrainedUpstream
from utility.config import resolve
from utility.store.info import StoreInfo
from utility.text import short

ALIASES = {"transformer": "pretrained", "transformer_head": "pretrained_head"}  # old words
SUFFIXES = (".ckpt", ".pt", ".model")


def load_upstream(
    name: str | Path | Pretrained,
    ckpt: Path | str | Pretrained | None = None,
    info: StoreInfo | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Upstream:
    """Open an upstream for features of a store described by `info`, in evaluation mode.

    `name` is `pretrained` (the weights of `ckpt`; once `transformer`), `pretrained_head` (the same, and the head's
    state after the last layer), `random` (the architecture of `ckpt`, or of a pre-training YAML given as `ckpt`, with
    fresh weights from `seed`), `baseline` (the features themselves), `package.module:Class` (your own), or simply a
    checkpoint. A checkpoint is its path, or what `load_pretrained` gave, which stays as it is when the upstream is
    trained. Raises ValueError where features, checkpoint and upstream do not fit."""
    if isinstance(name, Pretrained):
        name, ckpt = "pretrained", name
    elif ckpt is None and (str(name).endswith(SUFFIXES) or Path(name).is_dir()):
        name, ckpt = "pretrained", Path(name)
    return _open(str(name), ckpt, info, seed).eval().to(device)


def _open(name: str, ckpt: Path | str | Pretrained | None, info: StoreInfo | None, seed: int) -> Upstream:
    kind = ALIASES.get(name, name)
    if kind == "pretrained":
        return _pretrained(_checkpoint(name, ckpt), info)
    if kind == "pretrained_head":
        return _with_head(_checkpoint(name, ckpt), info)
    if kind == "random":
        return _random(name, ckpt, info, seed)
    if ckpt is not None:
        given = ckpt.path if isinstance(ckpt, Pretrained) else ckpt
        raise ValueError(f"upstream {short(name)} takes no checkpoint, got {given}")
    if kind == "baseline":
        if info is None:
            raise ValueError("upstream 'baseline' needs the store whose features it hands on")
        return Baseline(info)
    if ":" in name:
        return OwnUpstream(name, info, seed)
    raise ValueError(
        f"unknown upstream {short(name)}: use pretrained, pretrained_head, random, baseline or package.module:Class"
    )


def _checkpoint(name: str, ckpt: Path | str | Pretrained | None) -> Pretrained:
    """The checkpoint, its model for the upstream alone."""
    if ckpt is None:
        raise ValueError(
            f"upstream {short(name)} needs a checkpoint: add --ckpt result/result_mockingjay/<run>/best.ckpt"
        )
    if isinstance(ckpt, Pretrained):
        return replace(ckpt, model=copy.deepcopy(ckpt.model))
    return load_pretrained(ckpt)


def _pretrained(saved: Pretrained, info: StoreInfo | None) -> PretrainedUpstream:
    if info is not None:
        check_input(info.features, info.stated, saved, "the store")
        if info.row_shape != [saved.model.input_dim]:
            raise ValueError(f"the store has rows of {info.row_shape}, the checkpoint takes [{saved.model.input_dim}]")
    upstream = PretrainedUpstream(saved.model, saved.config, saved.features, saved.frame_shift)
    upstream.step = saved.step
    return upstream


def _with_head(saved: Pretrained, info: StoreInfo | None) -> HeadUpstream:
    if not isinstance(saved.model.head, Head):
        raise ValueError("upstream 'pretrained_head': the checkpoint has no head with a state of its own")
    upstream = HeadUpstream(_pretrained(saved, info), saved.model.head)
    upstream.step = saved.step
    return upstream


def _random(name: str, ckpt: Path | str | Pretrained | None, info: StoreInfo | None, seed: int) -> PretrainedUpstream:
    if ckpt is None or isinstance(ckpt, Pretrained) or not str(ckpt).endswith((".yaml", ".yml")):
        saved = _checkpoint(name, ckpt)
        fresh = new_model(saved.config, saved.model.input_dim, saved.model.target_dim, seed)
        return _pretrained(replace(saved, model=fresh, step=0), info)
    if info is None:
        raise ValueError(f"a random upstream from {ckpt} needs the store whose features it takes")
    config = resolve(PretrainConfig, ckpt)
    model = new_model(config, info.row_shape[0], info.row_shape[0], seed)
    return PretrainedUpstream(model, config, info.features, stated(info.frame_shift))
