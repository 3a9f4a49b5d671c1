"""Small made-up stores for tests."""

from pathlib import Path

import numpy as np

from utility.audio import FeatureConfig
from utility.store import Row, StoreInfo, StoreWriter

MEL = FeatureConfig(kind="mel", deltas=0)


def write_store(path: Path, lengths: dict[str, int], features: FeatureConfig = MEL, seed: int = 0) -> Path:
    """A finished store `path` (root/split) of smooth random frames; ids are the keys, speakers what precedes '-'."""
    rng = np.random.default_rng(seed)
    rows = [Row(name, n, n * features.hop, name.split("-")[0], f"{name}.wav") for name, n in lengths.items()]
    info = StoreInfo(row_shape=[features.dim], frame_shift=features.frame_shift, features=features)
    writer = StoreWriter.open(path.parent, path.name, rows, info)
    for index in writer.pending():
        noise = rng.standard_normal((rows[index].length + 8, features.dim)).astype(np.float32)
        smooth = np.cumsum(noise, axis=0)
        writer.write(index, (smooth[8:] - smooth[:-8]) / np.sqrt(8))
    assert writer.finish()
    return path
