"""Statistics of the frames of a split, by speaker or of all: what CMVN of more than an utterance is made of.

The store keeps its frames as they were computed, and these beside them in `<split>.cmvn.npz`; whoever reads rows gets
them normalised. So a store can be turned back into sound, and its statistics can be those of Kaldi."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utility.arrays import ArrayFile
from utility.audio.feature_config import FeatureConfig
from utility.audio.spectrum import POPULATION
from utility.files import replacing
from utility.store.info import StoreInfo
from utility.text import short

ALL = ""  # the one name of global statistics; a speaker's is never empty
OWN = -1  # in place of a group: nobody knows the speaker, the utterance stands for itself
CHUNK_FRAMES = 1 << 14


@dataclass(frozen=True)
class Statistics:
    """Frames, sums and sums of squares of each group: int64 [G] and twice float64 [G, D]."""

    names: Sequence[str]  # [G] speakers, or `ALL` alone
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, utterances: Iterable[tuple[str, Iterable[np.ndarray]]], names: Sequence[str], dim: int) -> "Statistics":
        """Those of utterances, each the name of its group and its frames [T, D] in pieces."""
        index = {name: group for group, name in enumerate(names)}
        counts = np.zeros(len(names), np.int64)
        sums, squares = np.zeros((len(names), dim)), np.zeros((len(names), dim))
        for name, pieces in utterances:
            group = index[name]
            for piece in pieces:
                frames = piece.astype(np.float64)
                counts[group] += len(frames)
                sums[group] += frames.sum(0)
                squares[group] += np.einsum("td,td->d", frames, frames)
        return cls(names, counts, sums, squares)

    @classmethod
    def read(cls, file: Path) -> "Statistics":
        """Those of a file; ValueError where it is none, or is damaged."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                names, counts, sums, squares = (arrays[name] for name in ("names", "counts", "sums", "squares"))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError, NotImplementedError, AttributeError):
            raise ValueError(f"{file}: no statistics of a store, or damaged") from None
        kinds = "".join(array.dtype.kind for array in (names, counts, sums, squares))
        fits = kinds == "Uiff" and names.ndim == counts.ndim == 1 and len(names) == len(counts) == len(set(names))
        if not fits or sums.ndim != 2 or sums.shape != squares.shape or len(sums) != len(names):
            raise ValueError(f"{file}: no statistics of a store: expected names, counts, sums and squares of groups")
        if not (np.isfinite(sums).all() and np.isfinite(squares).all() and (counts > 0).all()):
            raise ValueError(f"{file}: statistics of no frames, or not finite")
        return cls(names.tolist(), counts, sums, squares)

    def write(self, file: Path) -> None:
        """Write the file whole, the same bytes for the same numbers."""
        names = np.array(self.names, dtype=str)
        with replacing(file) as new, new.open("wb") as stream:
            np.savez(stream, names=names, counts=self.counts, sums=self.sums, squares=self.squares)

    def digest(self) -> str:
        """16 hex digits of the names and numbers."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for array in (self.counts, self.sums, self.squares):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Level:
    """Mean and deviation that normalised frames are made with: (frames - mean) / deviation, float64 [D].

    A dimension that is constant has a deviation of 0 and becomes 0."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, count: int, sums: np.ndarray, squares: np.ndarray, features: FeatureConfig) -> "Level":
        """What CMVN makes of sums [D] over so many frames."""
        mean = sums / count
        if features.cmvn == "speaker_mean":
            return cls(mean, np.ones_like(mean))
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        parts = 1 + features.deltas
        size = np.tile(np.abs(mean[: len(mean) // parts]), parts)
        constant = deviation <= np.finfo(np.float32).eps * size
        return cls(mean, np.where(constant, 0, deviation + POPULATION.floor))

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Frames [T, D] normalised, float32."""
        scale = np.divide(1, self.deviation, where=self.deviation > 0, out=np.zeros_like(self.deviation))
        return ((frames - self.mean) * scale).astype(np.float32)

    def undo(self, frames: np.ndarray) -> np.ndarray:
        """Normalised frames as they were, float32."""
        return (frames * self.deviation + self.mean).astype(np.float32)


@dataclass(frozen=True)
class Normaliser:
    """How the rows of a corpus are normalised: the group of each, int64 [U], and the statistics of the groups."""

    features: FeatureConfig
    statistics: Statistics
    groups: np.ndarray

    @classmethod
    def by_speaker(
        cls, features: FeatureConfig, statistics: Statistics, speakers: Sequence[str], file: Path
    ) -> "Normaliser":
        """Of rows whose speakers are given; ValueError where the file has statistics of others, or of other frames."""
        if statistics.sums.shape[1] != features.dim:
            raise ValueError(
                f"{file}: statistics of {statistics.sums.shape[1]} dims, {features.in_words()} has {features.dim}"
            )
        of_all = list(statistics.names) == [ALL]
        if of_all != (features.cmvn == "global"):
            held = "statistics of all speakers together" if of_all else "statistics of each speaker"
            raise ValueError(f"{file}: {held}, but cmvn is {features.cmvn}")
        if of_all:
            return cls(features, statistics, np.zeros(len(speakers), np.int64))
        index = {name: group for group, name in enumerate(statistics.names)}
        missing = {name for name in speakers if name and name not in index}
        if missing:
            raise ValueError(f"{file}: no statistics of {len(missing)} of the speakers, {short(min(missing))} for one")
        groups = np.fromiter((index[name] if name else OWN for name in speakers), np.int64, len(speakers))
        return cls(features, statistics, groups)

    def check(self, lengths: np.ndarray, file: Path) -> None:
        """ValueError where the statistics are not those of rows of such lengths [U]."""
        known = self.groups != OWN
        frames = np.bincount(self.groups[known], lengths[known], len(self.statistics.names)).astype(np.int64)
        other = np.flatnonzero(frames != self.statistics.counts)
        if len(other):
            name = short(self.statistics.names[other[0]]) if self.features.cmvn != "global" else "all"
            raise ValueError(
                f"{file}: statistics of other frames: of {name} {self.statistics.counts[other[0]]} there, "
                f"{frames[other[0]]} in the table; make this split again"
            )

    def level(self, row: int, pieces: Callable[[], Iterable[np.ndarray]]) -> Level:
        """That of a row, whose frames `pieces` reads where it stands for itself."""
        group, found = self.groups[row], self.statistics
        if group == OWN:
            group, found = 0, Statistics.of([(ALL, pieces())], [ALL], self.features.dim)
        return Level.of(found.counts[group], found.sums[group], found.squares[group], self.features)


def write_statistics(file: Path, info: StoreInfo, array: Path, rows: Iterable[tuple[str, int, int]]) -> None:
    """Write the statistics of rows (speaker, first frame, frames) of the array of a split."""
    assert info.features is not None, "features are normalised"
    of_all = info.features.cmvn == "global"
    rows = [(ALL if of_all else speaker, first, count) for speaker, first, count in rows if speaker or of_all]
    names = sorted({name for name, _, _ in rows})
    source = ArrayFile.open(array)
    with array.open("rb") as stream:
        utterances = ((name, _pieces(source, stream, first, first + count)) for name, first, count in rows)
        Statistics.of(utterances, names, info.features.dim).write(file)


def _pieces(array: ArrayFile, stream: BinaryIO, start: int, stop: int) -> Iterator[np.ndarray]:
    """Frames `start` to `stop` of an array, some at a time; read, not mapped, so that memory stays flat."""
    dim = array.shape[1]
    for first, last in chunks(start, stop):
        stream.seek(array.start + first * dim * array.dtype.itemsize)
        data = stream.read((last - first) * dim * array.dtype.itemsize)
        yield np.frombuffer(data, array.dtype).reshape(last - first, dim)


def chunks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Parts of so many frames that few are in memory at once."""
    return ((first, min(first + CHUNK_FRAMES, stop)) for first in range(start, stop, CHUNK_FRAMES))
