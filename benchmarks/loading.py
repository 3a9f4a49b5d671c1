"""Reading stores and filling batches: frames per second, time to the first batch, share of padding."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.contest import Turn
from benchmarks.steps import BASE_1, made_up, recorded
from utility.arrays import array_header
from utility.audio.feature_config import FeatureConfig
from utility.device import claim_device
from utility.files import replace_file
from utility.loader import Loader
from utility.store.files import STORE_COLUMNS, SplitFiles, create_info, offsets_of, table_bytes
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.store.recordings import Recordings

DIM = 160
UTTERANCES, FRAMES = 120, 1000


@dataclass(frozen=True)
class Loading:
    """An epoch of batches of Mockingjay Base from a store of noise, or `decoded` from FLAC as waveforms."""

    workers: int
    decoded: bool = False

    def __call__(self) -> Turn:
        claim_device(cpu=True)
        config = BASE_1.resolved(f"loader.workers={self.workers}").loader
        folder = Path(tempfile.mkdtemp())
        if self.decoded:
            recorded(folder, FRAMES, UTTERANCES)
            loader = Loader(Recordings([folder], FeatureConfig()), config, waveforms=True)
        else:
            loader = Loader(Store([made_up(folder, "input", DIM, FRAMES, UTTERANCES)]), config)
        count = len(loader.epoch(0))
        stream = loader.stream()

        def turn() -> None:
            for _ in range(count):
                next(stream)

        return turn


def plain_loading() -> Turn:
    """The same from a file per utterance, padded by PyTorch, in one process."""
    folder = Path(tempfile.mkdtemp())
    draw = np.random.default_rng(0)
    paths = [folder / f"{number}.npy" for number in range(UTTERANCES)]
    for path in paths:
        np.save(path, draw.standard_normal((FRAMES, DIM), dtype=np.float32))

    def turn() -> None:
        for start in range(0, len(paths), 9):
            rows = [torch.from_numpy(np.load(path)) for path in paths[start : start + 9]]
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    return turn


def librispeech_lengths(count: int) -> np.ndarray:
    """Frames of 12.5 ms of so many made-up utterances, distributed about as those of train-clean-360: most between 11
    and 17 s, a fifth spread evenly below, 12.6 s in the mean (363.6 h in 104,014 utterances)."""
    draw = np.random.default_rng(0)
    seconds = np.where(draw.random(count) < 0.2, draw.uniform(1.5, 11, count), draw.normal(14.3, 1.3, count))
    return (seconds.clip(1.5, 24) / 0.0125).astype(np.int64)


def padding_share() -> float:
    """Share of padding in the batches of Mockingjay Base over LibriSpeech's lengths."""
    source = _Lengths(librispeech_lengths(20_000))
    config = BASE_1.resolved().loader
    loader = Loader(source, config)
    rounded = -(-loader.cropped // config.pad_multiple) * config.pad_multiple
    computed = sum(len(batch) * int(rounded[batch].max()) for batch in loader.epoch(0))
    return 1 - int(loader.cropped.sum()) / computed


@dataclass(frozen=True)
class _Lengths:
    lengths: np.ndarray

    @property
    def ids(self) -> Sequence[str]:
        return [str(number) for number in range(len(self.lengths))]

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        raise NotImplementedError("these utterances have lengths alone")


def first_batch(utterances: int) -> float:
    """Seconds from the path of a store of so many utterances (a sparse file) to its first training batch."""
    root = Path(tempfile.mkdtemp())
    sparse_store(root, librispeech_lengths(utterances))
    start = time.perf_counter()
    next(Loader(Store([root / "all"]), BASE_1.resolved().loader).stream())
    return time.perf_counter() - start


def sparse_store(root: Path, lengths: np.ndarray) -> None:
    """A finished split `all` of utterances of these lengths that holds zeros and takes no room."""
    files, info = SplitFiles(root, "all"), StoreInfo(row_shape=[DIM], frame_shift=0.0125)
    create_info(files.info, info)
    header = array_header([int(lengths.sum()), DIM], info.dtype)
    with files.array.open("wb") as array:
        array.write(header)
    os.truncate(files.array, len(header) + int(lengths.sum()) * DIM * 4)
    numbered = enumerate(zip(offsets_of(lengths).tolist(), lengths.tolist()))
    rows = [(f"u{i}", offset, n, n * 200, f"s{i % 900}", f"u{i}.flac") for i, (offset, n) in numbered]
    replace_file(files.table, table_bytes(STORE_COLUMNS, rows))
