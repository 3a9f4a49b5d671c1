"""One interface to everything that turns features or waveforms into representations."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mockingjay.build import new_model
from mockingjay.checkpoint import (
    Pretrained,
    SavedTraining,
    check_input,
    load_pretrained,
    pretrained,
    save_pretrained,
)
from mockingjay.config import PretrainConfig
from mockingjay.foreign.assumptions import in_words
from mockingjay.foreign.configs import read_config
from mockingjay.foreign.exported import exported_content
from mockingjay.model.frame_model import Head
from mockingjay.upstreams.base import Upstream, stated
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.huggingface_folder import ModelFolder
from mockingjay.upstreams.own import open_own
from mockingjay.upstreams.pretrained import HeadUpstream, PretrainedUpstream
from mockingjay.upstreams.spec import CHECKPOINTS, YAMLS, UpstreamSpec
from utility.config import resolve
from utility.store.info import StoreInfo
from utility.text import short

TUNED = "it was tuned by a probe"


def load_upstream(
    name: str | Path | UpstreamSpec | Pretrained,
    ckpt: Path | str | Pretrained | None = None,
    info: StoreInfo | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    assume: Mapping[str, Any] | None = None,
) -> Upstream:
    """Open an upstream, for features of a store described by `info` or for waveforms, in evaluation mode.

    `name` is a checkpoint (its path, or what `load_pretrained` gave, which stays as it is when the upstream is tuned),
    or a spec, perhaps with `NAME=` in front: `pretrained:FILE` or `pretrained:RUN[@STEP]`; `pretrained_head:...`, the
    same and the head's state after the last layer; `random:FILE`, `random:YAML` or `random:hf:FOLDER`, the same
    architecture with fresh weights from `seed`; `baseline`, the features themselves; `hf:FOLDER` of Transformers;
    `s3prl:FOLDER[:ENTRY][:FILE]`, an expert; `package.module:Class[:FILE]`, your own; the code of these two is run. The
    file of a checkpoint may also stand in `ckpt`. Nothing is downloaded. `assume` says what a checkpoint does not, as
    `{"residual": False, "shift": 3}` of a bare APC state dict, which is refused without. Raises ValueError where
    features, checkpoint and upstream do not fit."""
    if isinstance(name, Pretrained):
        spec, ckpt = UpstreamSpec("pretrained", word="pretrained"), name
    elif isinstance(name, UpstreamSpec):
        spec = name
    elif ckpt is None and (str(name).endswith(CHECKPOINTS) or Path(name).is_dir()) and ":" not in str(name):
        spec = UpstreamSpec("pretrained", str(name), word="pretrained")
    else:
        spec = UpstreamSpec.parse(str(name)).located()
    if ckpt is not None and (spec.source or not spec.of_checkpoint):
        given = ckpt.path if isinstance(ckpt, Pretrained) else ckpt
        raise ValueError(f"upstream {short(str(spec))} takes no checkpoint, got {given}")
    return _open(spec, ckpt or spec.source or None, info, seed, assume).eval().to(device)


def _open(
    spec: UpstreamSpec,
    source: Path | str | Pretrained | None,
    info: StoreInfo | None,
    seed: int,
    assume: Mapping[str, Any] | None,
) -> Upstream:
    name = spec.word
    if spec.kind == "pretrained":
        return _pretrained(_checkpoint(name, source, assume), info)
    if spec.kind == "pretrained_head":
        return _with_head(_checkpoint(name, source, assume), info)
    if spec.of_checkpoint or str(source).endswith(YAMLS):
        return _random(name, source, info, seed, assume)
    _check_unused(assume, f"upstream {short(str(spec))} takes no checkpoint of ours")
    if spec.kind == "baseline":
        if info is None:
            raise ValueError("upstream 'baseline' needs the store whose features it hands on")
        return Baseline(info)
    if spec.kind == "s3prl":
        from mockingjay.upstreams.s3prl import S3prlUpstream

        return S3prlUpstream(spec.source, spec.file, spec.entry, seed)
    if spec.kind == "own":
        return open_own(spec.source, spec.file, info, seed)
    return _of_transformers(spec, info, seed)


def _of_transformers(spec: UpstreamSpec, info: StoreInfo | None, seed: int) -> Upstream:
    """A folder of Transformers' models; one that `--export hf` wrote holds a model of ours, which takes features."""
    folder = ModelFolder.read(spec.source.removeprefix("hf:"))
    if not folder.is_ours:
        from mockingjay.upstreams.huggingface import open_huggingface

        return open_huggingface(folder, seed if spec.fresh else None)
    saved = pretrained(exported_content(folder.path, folder.config), folder.path)
    if spec.fresh:
        saved = _fresh(saved, seed)
    return _pretrained(saved, info)


def _checkpoint(name: str, ckpt: Path | str | Pretrained | None, assume: Mapping[str, Any] | None) -> Pretrained:
    """The checkpoint, its model for the upstream alone."""
    if ckpt is None:
        raise ValueError(
            f"upstream {short(name)} needs a checkpoint: add --ckpt result/result_mockingjay/<run>/best.ckpt"
        )
    if isinstance(ckpt, Pretrained):
        _check_unused(assume, "the checkpoint is open already")
        return replace(ckpt, model=copy.deepcopy(ckpt.model))
    return load_pretrained(ckpt, assume)


def _check_unused(assume: Mapping[str, Any] | None, reason: str) -> None:
    if assume:
        raise ValueError(f"{reason}: nothing of it can be assumed, got {in_words(assume)}")


def _pretrained(saved: Pretrained, info: StoreInfo | None) -> PretrainedUpstream:
    if info is not None:
        check_input(info.features, info.stated, saved, "the store")
        if info.row_shape != [saved.model.input_dim]:
            raise ValueError(f"the store has rows of {info.row_shape}, the checkpoint takes [{saved.model.input_dim}]")
    upstream = PretrainedUpstream(saved.model, saved.config, saved.features, saved.frame_shift)
    upstream.step = saved.step
    upstream.write = partial(_write_tuned, replace(saved, training=SavedTraining({}, None, TUNED)))
    return upstream


def _write_tuned(saved: Pretrained, folder: Path) -> Path:
    """The checkpoint of a model whose encoder was tuned: its parts are those of the upstream."""
    path = folder / "best.ckpt"  # so that the folder may be named too
    save_pretrained(saved, path, saved.training.cannot_resume)
    return path


def _with_head(saved: Pretrained, info: StoreInfo | None) -> HeadUpstream:
    if not isinstance(saved.model.head, Head):
        raise ValueError("upstream 'pretrained_head': the checkpoint has no head with a state of its own")
    upstream = HeadUpstream(_pretrained(saved, info), saved.model.head)
    upstream.step = saved.step
    return upstream


def _fresh(saved: Pretrained, seed: int) -> Pretrained:
    """The same architecture with weights drawn from `seed`."""
    model = new_model(saved.config, saved.model.input_dim, saved.model.target_dim, seed)
    return replace(saved, model=model, step=0)


def _random(
    name: str,
    ckpt: Path | str | Pretrained | None,
    info: StoreInfo | None,
    seed: int,
    assume: Mapping[str, Any] | None,
) -> PretrainedUpstream:
    if ckpt is None or isinstance(ckpt, Pretrained) or not str(ckpt).endswith(YAMLS):
        return _pretrained(_fresh(_checkpoint(name, ckpt, assume), seed), info)
    _check_unused(assume, f"{ckpt} is a config")
    if info is None:
        raise ValueError(f"a random upstream from {ckpt} needs the store whose features it takes")
    if len(info.row_shape) != 1:
        raise ValueError(f"the store has rows of {info.row_shape}, a model takes one vector per frame")
    config = resolve(PretrainConfig, read_config(str(ckpt)).source)
    model, shift = new_model(config, info.row_shape[0], info.row_shape[0], seed).eval(), stated(info.frame_shift)
    says = {} if info.stated is None else {"features": info.stated, "target": info.stated}
    training = SavedTraining({}, None, TUNED)
    path, features = Path(ckpt), info.features
    saved = Pretrained(path, "config", model, config, features, features, shift, seed, 0, training, stated=says)
    return _pretrained(saved, info)
