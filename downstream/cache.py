"""Representations of a frozen upstream, made once per upstream, store, layers and dtype and kept on disk."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from downstream.config import DataConfig
from mockingjay.representation import represent
from mockingjay.upstream import Upstream
from utility.store import Store


def cached(
    upstream: Upstream, corpus: Store, paths: list[str], layers: int | Literal["all"], config: DataConfig, quiet: bool
) -> Store:
    """The hidden states of `layers` for every utterance of `corpus`, which is made of `paths`, in the same order.

    Each split has its own folder, whose name is a digest of all that the content depends on: what is stale is never
    found, what is unfinished is continued."""
    made = [_place(upstream, Store(path), layers, config) / Path(path).name for path in paths]
    for path, place in zip(paths, made):
        if not place.with_name(f"{place.name}.csv").is_file():
            represent(upstream, Store(path), place.parent, place.name, layers=layers, dtype=config.cache_dtype, quiet=quiet)
    store = Store(made)
    assert store.ids == corpus.ids, "a representation store lists its utterances in the order of its source"
    assert (store.lengths == corpus.lengths).all(), "one hidden state per frame"
    return store


def _place(upstream: Upstream, source: Store, layers: int | Literal["all"], config: DataConfig) -> Path:
    content = [upstream.fingerprint, source.fingerprint(), str(layers), config.cache_dtype]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return Path(config.cache) / f"layer_{layers}_{digest}"
