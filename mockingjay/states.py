"""Representations of a frozen upstream, made once per upstream, split, layers and dtype and kept on disk."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mockingjay.inputs import source_fingerprint
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.selection import LayerSelection
from utility.files import check_folder
from utility.store.reading import Store


def cached(
    upstream: Upstream,
    sources: Sequence[Store],
    layers: int | Literal["all"],
    folder: Path | str,
    dtype: Literal["float32", "float16"],
    quiet: bool,
) -> list[Store]:
    """The hidden states of `layers` for every utterance of `sources`, one split each, as stores below `folder`.

    A split has its own folder, whose name is a digest of all that the content depends on: what is stale is never found,
    and what is unfinished is continued."""
    check_folder(folder)
    how = ExtractionOptions(LayerSelection(layers), dtype, quiet=quiet)
    stores = []
    for source in sources:
        taken = source_fingerprint(upstream, source, Path(folder))
        content = [upstream.fingerprint, taken, layers, how.dtype, how.precision]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        root, split = Path(folder) / f"layer_{layers}_{digest}", source.paths[0].name
        if not (root / f"{split}.csv").is_file():
            represent(upstream, source, root, split, how)
        stores.append(Store(root / split))
        assert stores[-1].ids == source.ids, "representations are stored in the order of their source"
        same = (stores[-1].lengths == source.lengths).all()
        assert upstream.takes == "waveform" or same, "an upstream of features gives one hidden state per frame"
    return stores
