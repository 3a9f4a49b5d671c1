"""Representations of a frozen upstream, made once per upstream, split, layers and dtype and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
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


class StateCache:
    """The hidden states of an upstream for `sources`, one split each, as stores below `folder`.

    What is wanted is `which` of a canonical `LayerSelection`, so that there is one cache of what can be said in several
    ways. A split has its own folder, whose name is a digest of all that the content depends on: what is stale is never
    found, and what is unfinished is continued. What the sources hold is looked at once."""

    def __init__(
        self,
        upstream: Upstream,
        sources: Sequence[Store | Recordings],
        folder: Path | str,
        dtype: Literal["float32", "float16"],
        quiet: bool,
    ):
        check_folder(folder)
        self.upstream, self.sources, self.folder = upstream, sources, Path(folder)
        self.how = ExtractionOptions(dtype=dtype, quiet=quiet)
        self._taken = [source_fingerprint(upstream, source, self.folder) for source in sources]

    def holds(self, layers: Layers) -> bool:
        """Whether `stores` would only open what is there."""
        return all(is_split(place) for place in self._places(layers))

    def stores(self, layers: Layers, told: Callable[[Store], None] = lambda _: None) -> list[Store]:
        """The states of `layers` for every utterance that has any; `told` hears of those that were computed now."""
        selection = LayerSelection(layers)
        assert selection == selection.canonical(self.upstream), "a cache goes by the one form of a selection"
        stores = []
        for source, place in zip(self.sources, self._places(layers)):
            there = is_split(place)
            if not there:
                how = replace(self.how, layers=selection)
                represent(self.upstream, source, place.parent, place.name, how)
            stores.append(Store(place))
            if not there:
                told(stores[-1])
            assert set(source.ids).issuperset(stores[-1].ids), "representations are of their source"
        return stores

    def _places(self, layers: Layers) -> list[Path]:
        """The split of each source, finished or not."""
        word = "-".join(map(str, layers)) if isinstance(layers, tuple) else layers
        places = []
        for source, taken in zip(self.sources, self._taken):
            content = [self.upstream.fingerprint, taken, layers, self.how.dtype, self.how.precision]
            content += [] if isinstance(source, Store) else source.ids  # a table may call its recordings otherwise
            digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
            places.append(self.folder / f"layer_{word}_{digest}" / _split(source))
        return places


def _split(source: Store | Recordings) -> str:
    """The name of a split, or one made from that of a table, folder or recording."""
    path = source.paths[0]
    return path.name if isinstance(source, Store) else split_name(Path(os.path.abspath(path)).stem)
