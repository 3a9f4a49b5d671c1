"""Upstream + corpus -> stored representations."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import kaldiio
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mockingjay.upstream import Upstream
from utility.audio import AudioError, FeatureConfig, FeatureExtractor, audio_length, read_audio
from utility.checkpoint import replacing
from utility.loader import frame_batches
from utility.store import Failure, Row, Store, StoreInfo, StoreWriter
from utility.trainer import autocast

AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg", ".sph")


@dataclass(frozen=True)
class Layers:
    """Which hidden states are kept: one, all of them, or their weighted sum with fixed weights [num_layers + 1]."""

    which: int | Literal["last", "all"] | tuple[float, ...] = "last"

    def row_shape(self, upstream: Upstream) -> list[int]:
        """Shape of what is stored for a frame; ValueError for a layer that the upstream does not have."""
        count = upstream.num_layers + 1
        if isinstance(self.which, tuple) and len(self.which) != count:
            raise ValueError(f"{len(self.which)} layer weights for {count} hidden states")
        if isinstance(self.which, int) and not 0 <= self.which < count:
            raise ValueError(f"layer {self.which} does not exist: the upstream has hidden states 0 to {count - 1}")
        return [count, upstream.hidden_size] if self.which == "all" else [upstream.hidden_size]

    def pick(self, states: Sequence[Tensor]) -> Tensor:
        """From hidden states [B, T, H] to what is stored, [B, T, *row_shape]."""
        if self.which == "all":
            return torch.stack(tuple(states), dim=2)
        if isinstance(self.which, tuple):
            return sum(weight * state for weight, state in zip(self.which, states))
        return states[-1 if self.which == "last" else self.which]


class Corpus(Protocol):
    """What is represented: a `Store`, or audio."""

    info: StoreInfo
    ids: list[str]
    lengths: np.ndarray
    num_samples: np.ndarray
    speakers: list[str]
    audio_paths: list[Path]

    def __getitem__(self, index: int) -> np.ndarray: ...

    def fingerprint(self) -> str: ...


class AudioFolder:
    """Every recording below a folder (or one file) as a corpus of features computed when read.

    Ids are the paths below the folder, without suffix; a file whose header cannot be read goes to `failures`."""

    def __init__(self, root: Path, features: FeatureConfig):
        root = Path(root).resolve()
        found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        base = root.parent if root.is_file() else root
        self.extractor = FeatureExtractor(features)
        self.info = StoreInfo(
            row_shape=[features.dim], frame_shift=features.frame_shift, features=features, audio_root=str(base)
        )
        self.audio_paths, self.failures, samples = [], [], []
        for path in found:
            try:
                samples.append(audio_length(path, features.sample_rate))
            except AudioError as error:
                self.failures.append(Failure(path.relative_to(base).as_posix(), str(error)))
                continue
            self.audio_paths.append(path)
        if not samples:
            raise ValueError(f"{root}: no readable audio ({', '.join(AUDIO_SUFFIXES)})")
        self.num_samples = np.array(samples)
        self.lengths = features.num_frames(self.num_samples)
        self.ids = [path.relative_to(base).with_suffix("").as_posix() for path in self.audio_paths]
        self.speakers = [""] * len(self.ids)

    def __getitem__(self, index: int) -> np.ndarray:
        wave = torch.from_numpy(read_audio(self.audio_paths[index], self.info.features.sample_rate))
        features, _ = self.extractor(wave[None], torch.tensor([len(wave)]))
        return features[0].numpy()

    def fingerprint(self) -> str:
        """Nothing is promised of audio that may change."""
        return str(self.info.audio_root)


@dataclass(frozen=True)
class Representing:
    """How representations are computed and stored."""

    layers: Layers = Layers()
    dtype: Literal["float32", "float16"] = "float32"
    precision: Literal["fp32", "bf16"] = "fp32"
    batch_frames: int = 12000
    shard: tuple[int, int] = (0, 1)
    quiet: bool = False


def represent(upstream: Upstream, corpus: Corpus, root: Path | str, split: str, how: Representing) -> bool:
    """Write the representations of every utterance to the store `root/split`; True when all of it is there.

    Batches depend on the lengths alone, and one is redone whole where any of its rows is missing, so a killed run
    continued, or several shards, leave the same bytes as one undisturbed run."""
    roots = corpus.info.audio_root
    info = StoreInfo(
        kind="representation",
        dtype=how.dtype,
        row_shape=how.layers.row_shape(upstream),
        frame_shift=corpus.info.frame_shift,
        features=corpus.info.features,
        audio_root=roots,
        made_by={
            "upstream": upstream.fingerprint,
            "source": corpus.fingerprint(),
            "layers": list(how.layers.which) if isinstance(how.layers.which, tuple) else how.layers.which,
            "precision": how.precision,
        },
    )
    rows = [
        Row(name, int(length), int(samples), speaker, _relative(path, roots))
        for name, length, samples, speaker, path in zip(
            corpus.ids, corpus.lengths, corpus.num_samples, corpus.speakers, corpus.audio_paths
        )
    ]
    writer = StoreWriter.open(root, split, rows, info)
    pending = set(writer.pending())
    batches = frame_batches(np.asarray(corpus.lengths), how.batch_frames, None)[how.shard[0] :: how.shard[1]]
    batches = [batch for batch in batches if pending.intersection(batch.tolist())]
    device = next(iter(upstream.parameters()), torch.zeros(0)).device
    frames = int(sum(corpus.lengths[batch].sum() for batch in batches))
    with torch.inference_mode(), tqdm(total=frames, unit="frame", unit_scale=True, disable=how.quiet) as bar:
        for indices, features, lengths in _read(corpus, batches, writer.fail):
            with autocast(device, how.precision):
                states = upstream(features.to(device), lengths.to(device))
            chosen = how.layers.pick(states).float().cpu().numpy()
            for index, length, values in zip(indices, lengths.tolist(), chosen):
                writer.write(index, values[:length])
            bar.update(int(lengths.sum()))
    return writer.finish()


def _read(
    corpus: Corpus, batches: Sequence[np.ndarray], fail: Callable[[int, str], None]
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Padded batches, the next one read while the last one is worked on; audio that fails is noted and left out."""

    def read(batch: np.ndarray) -> tuple[list[int], list[Tensor]]:
        kept, rows = [], []
        for index in batch.tolist():
            try:
                rows.append(torch.from_numpy(corpus[index]))
            except AudioError as error:
                fail(index, str(error))
            else:
                kept.append(index)
        return kept, rows

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, batches[0]) if batches else None
        for following in [*batches[1:], None]:
            if waiting is None:
                return
            kept, rows = waiting.result()
            waiting = None if following is None else pool.submit(read, following)
            if kept:
                lengths = torch.tensor([len(row) for row in rows])
                yield kept, torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


def _relative(path: Path, root: str | None) -> str:
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else path.as_posix()


def write_ark(store: Store, path: Path) -> None:
    """Write a store of one vector per frame as a Kaldi archive `path`.ark with its index `path`.scp."""
    if len(store.info.row_shape) != 1:
        raise ValueError(f"a Kaldi archive holds one vector per frame, not {store.info.row_shape}: choose one layer")
    ark, scp = path.with_name(f"{path.name}.ark"), path.with_name(f"{path.name}.scp")
    with replacing(scp) as new_scp, replacing(ark) as new_ark:
        with kaldiio.WriteHelper(f"ark,scp:{new_ark},{new_scp}") as out:
            for index, name in enumerate(store.ids):
                out(name, store[index])
        new_scp.write_text(new_scp.read_text().replace(f" {new_ark}:", f" {ark}:"))
