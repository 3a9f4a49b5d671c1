"""Small made-up stores for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from utility.arrays import array_header
from utility.audio.feature_config import FeatureConfig
from utility.files import replace_file
from utility.store.digest import EMPTY, write_digest
from utility.store.files import STORE_COLUMNS, Row, SplitFiles, create_info, offsets_of, table_bytes
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter

MEL = FeatureConfig(kind="mel", deltas=0)
UNEVEN = {f"s{i % 3}-{i}": 1 + 17 * i % 90 for i in range(30)}  # lengths of utterances of three speakers


def write_store(
    path: Path, lengths: dict[str, int], features: FeatureConfig = MEL, seed: int = 0, dtype: Any = "float32"
) -> Path:
    """A finished store `path` (root/split) of smooth random frames; ids are the keys, speakers what precedes '-'."""
    rng = np.random.default_rng(seed)
    rows = [Row(name, n, n * features.hop, name.split("-")[0], f"{name}.wav") for name, n in lengths.items()]
    info = StoreInfo(row_shape=[features.dim], frame_shift=features.frame_shift, features=features, dtype=dtype)
    writer = StoreWriter.open(path.parent, path.name, rows, info)
    for index in writer.pending():
        noise = rng.standard_normal((rows[index].length + 8, features.dim)).astype(np.float32)
        smooth = np.cumsum(noise, axis=0)
        writer.write(index, (smooth[8:] - smooth[:-8]) / np.sqrt(8))
    assert writer.finish()
    return path


def write_originals(path: Path, utterances: dict[str, np.ndarray]) -> Path:
    """The directory that the originals' preprocessing leaves for the split `path`: a table with an unnamed index, and a
    .npy file for each utterance."""
    lines = [",file_path,length,label"]
    for number, (name, frames) in enumerate(utterances.items()):
        file = path / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.asarray(frames, np.float32))
        lines.append(f"{number},{path.name}/{name}.npy,{len(frames)},")
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path


def sparse_store(path: Path, lengths: np.ndarray, features: FeatureConfig = MEL, speakers: int = 50) -> Path:
    """A finished store `path` of zeros that takes no disk, of any size; ids are `<speaker>-<split>-<number>`."""
    info = StoreInfo(row_shape=[features.dim], frame_shift=features.frame_shift, features=features)
    files = SplitFiles(path.parent, path.name)
    files.root.mkdir(parents=True, exist_ok=True)
    create_info(files.info, info)
    rows = [
        (f"{i % speakers}-{path.name}-{i}", offset, length, length * features.hop, str(i % speakers), f"{i}.flac")
        for i, (offset, length) in enumerate(zip(offsets_of(lengths).tolist(), lengths.tolist()))
    ]
    replace_file(files.table, table_bytes(STORE_COLUMNS, rows))
    header = array_header([int(lengths.sum()), features.dim], info.dtype)
    replace_file(files.array, header, len(header) + int(lengths.sum()) * features.dim * 4)
    write_digest(files, [EMPTY])  # as a store has one: else somebody would read all of it
    return path


def wav(path: Path, samples: int = 1600, seed: int = 0, rate: int = 16000) -> Path:
    """A recording of seeded noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng([seed, samples]).standard_normal(samples)
    soundfile.write(path, noise, rate, format="WAV" if path.suffix.lower() == ".wav" else None)
    return path


def write_codes(path: Path, lengths: dict[str, int], size: int, shift: float, books: int = 1, seed: int = 0) -> Path:
    """A finished store of codes `path`; each code stays for some frames."""
    rng = np.random.default_rng(seed)
    rows = [Row(name, n, 0, name.split("-")[0], f"{name}.wav") for name, n in lengths.items()]
    info = StoreInfo(kind="codes", dtype="int32", row_shape=[books], codes=size, frame_shift=shift, stated="of a test")
    writer = StoreWriter.open(path.parent, path.name, rows, info)
    for index in writer.pending():
        length = rows[index].length
        writer.write(index, rng.integers(0, size, (length, books))[np.arange(length) // 3 * 3 % length])
    assert writer.finish()
    return path
