"""Representations of a frozen upstream, made once per upstream, split, layers and dtype and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from mockingjay.inputs import source_fingerprint
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.selection import LayerSelection
from utility.files import check_folder
from utility.store.files import split_name
from utility.store.reading import Store, is_split
from utility.store.recordings import Recordings

Layers = int | str | tuple[int | str, ...] | tuple[float, ...]  # `which` of a canonical selection


def cached(
    upstream: Upstream,
    sources: Sequence[Store | Recordings],
    layers: Layers,
    folder: Path | str,
    dtype: Literal["float32", "float16"],
    quiet: bool,
    told: Callable[[Store], None] = lambda _: None,
) -> list[Store]:
    """The hidden states of `layers` for every utterance of `sources` that has any, one split each, as stores below
    `folder`; `told` hears of those that were computed now.

    `layers` is `which` of a canonical `LayerSelection`, so that there is one cache of what can be said in several ways.
    A split has its own folder, whose name is a digest of all that the content depends on: what is stale is never found,
    and what is unfinished is continued."""
    check_folder(folder)
    selection = LayerSelection(layers)
    assert selection == selection.canonical(upstream), "a cache goes by the one form of a selection"
    how = ExtractionOptions(selection, dtype, quiet=quiet)
    stores = []
    for source in sources:
        place = _place(upstream, source, layers, Path(folder), how)
        there = is_split(place)
        if not there:
            represent(upstream, source, place.parent, place.name, how)
        stores.append(Store(place))
        if not there:
            told(stores[-1])
        ids = set(source.ids)
        assert ids.issuperset(stores[-1].ids), "representations are of their source"
    return stores


def kept(
    upstream: Upstream,
    sources: Sequence[Store | Recordings],
    layers: Layers,
    folder: Path | str,
    dtype: Literal["float32", "float16"],
) -> bool:
    """Whether `cached` would only open what is there."""
    how = ExtractionOptions(LayerSelection(layers), dtype)
    return all(is_split(_place(upstream, source, layers, Path(folder), how)) for source in sources)


def _place(
    upstream: Upstream, source: Store | Recordings, layers: Layers, folder: Path, how: ExtractionOptions
) -> Path:
    taken = source_fingerprint(upstream, source, folder)
    content = [upstream.fingerprint, taken, layers, how.dtype, how.precision]
    content += [] if isinstance(source, Store) else source.ids  # a table may call its recordings otherwise
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    word = "-".join(map(str, layers)) if isinstance(layers, tuple) else layers
    return folder / f"layer_{word}_{digest}" / _split(source)


def _split(source: Store | Recordings) -> str:
    """The name of a split, or one made from that of a table, folder or recording."""
    path = source.paths[0]
    return path.name if isinstance(source, Store) else split_name(Path(os.path.abspath(path)).stem)
