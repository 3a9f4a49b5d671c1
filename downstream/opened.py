"""What several runs of a sweep share, so that stores, labels and checkpoints are opened once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from downstream.config import DataConfig
from downstream.corpus import LabelledCorpus, Stores, listed_paths, open_corpus, open_stores
from downstream.examples import Frames
from downstream.tasks.base import Task
from mockingjay.states import cached
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import Upstream
from utility.config import as_dict
from utility.store.info import StoreInfo


class Opened:
    """Stores by their paths, corpora by task and data section, and of the last upstream its stored states by layer."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, ...], Stores] = {}
        self._corpora: dict[tuple[str, str], LabelledCorpus] = {}
        self._upstream: tuple[tuple, Upstream] | None = None
        self._frames: dict[tuple, Frames] = {}

    def corpus(self, task: Task, config: DataConfig) -> LabelledCorpus:
        """The labelled and divided corpus of a data section."""
        key = task.name, json.dumps(as_dict(config))
        if key not in self._corpora:
            paths = tuple(listed_paths(config))
            if paths not in self._stores:
                self._stores[paths] = open_stores(paths)
            self._corpora[key] = open_corpus(task, config, self._stores[paths])
        return self._corpora[key]

    def upstream(
        self,
        name: str,
        ckpt: Path | None,
        info: StoreInfo,
        seed: int,
        device: torch.device,
        assume: Mapping[str, Any] | None = None,
    ) -> Upstream:
        """A frozen upstream; with another one the last is let go, so that many seeds do not fill the memory."""
        key = name, ckpt, json.dumps(as_dict(info)), seed, device, json.dumps(assume)
        if self._upstream is None or self._upstream[0] != key:
            self._upstream = key, load_upstream(name, ckpt, info, seed, device, assume)
        return self._upstream[1]

    def stored(
        self, upstream: Upstream, stores: Stores, layers: int | Literal["all"], config: DataConfig, quiet: bool
    ) -> Frames:
        """The stored hidden states of a frozen upstream, which are made here where they are missing."""
        made_by = upstream.fingerprint, tuple(str(split.paths[0]) for split in stores.splits)
        key = *made_by, layers, config.cache, config.cache_dtype
        if key not in self._frames:
            self._frames = {other: frames for other, frames in self._frames.items() if other[:2] == made_by}
            splits = cached(upstream, stores.splits, layers, config.cache, config.cache_dtype, quiet)
            self._frames[key] = Frames(splits, None)
        return self._frames[key]
