"""Recordings on disk: finding them, reading their headers, and a corpus of them that needs no feature store."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from utility.audio.extensions import recording_extensions
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.headers import SCAN_THREADS, audio_files, recording_state, scan
from utility.audio.waveform import WHOLE, AudioError, Span, read_audio, resampled_length
from utility.store.files import read_table
from utility.store.info import StoreInfo
from utility.store.lists import SIGN, IdList, Unaligned, rows_listed, without_list
from utility.store.statistics import Normaliser, Statistics
from utility.text import cut, short
from utility.utterance_ids import utterance_ids

RECORDING_COLUMNS = ("id", "path", "speaker", "rate", "num_samples")  # of a table; num_samples at its own rate
LOOKED_AT_ONCE = 1000


class Recordings:
    """Recordings as one corpus: waveforms by `read`, which is what a loader asks for, and features by index.

    Each of `paths` is a table by `preprocess/generate_len_for_bucket.py`, a folder (all audio below it, called by
    the rule of `utterance_ids`) or one recording. Lengths come from headers alone; recordings that are broken or too
    short have length 0. Of a path with a list behind it, `folder@list.txt`, only the utterances in the list are meant
    (`Store` has the same). Nothing but the table is held in memory. Without `features` they are
    waveforms alone, at `sample_rate`: a frame is a sample. Raises ValueError for what is none of these and for ids that
    are not unique."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        features: FeatureConfig | None,
        sample_rate: int | None = None,
        unaligned: Unaligned | None = None,
        statistics: Path | None = None,
    ):
        """`statistics` is the file of a store (`<split>.cmvn.npz`) where `features` are normalised by more than the
        utterance; speakers are those of a table, and a recording without one stands for itself."""
        self._join([_source(path, unaligned) for path in paths], features, sample_rate, statistics)

    @classmethod
    def with_splits(
        cls,
        paths: Sequence[str | Path],
        features: FeatureConfig | None,
        sample_rate: int | None = None,
        unaligned: Unaligned | None = None,
    ) -> tuple["Recordings", list["Recordings"]]:
        """All paths as one corpus, and each as one of its own; every header is read once."""
        sources = [_source(path, unaligned) for path in paths]
        made = [cls.__new__(cls) for _ in range(len(sources) + 1)]
        for one, some in zip(made, [sources, *([source] for source in sources)]):
            one._join(some, features, sample_rate)
        return made[0], made[1:]

    def _join(
        self,
        sources: list["_Source"],
        features: FeatureConfig | None,
        sample_rate: int | None,
        statistics: Path | None = None,
    ) -> None:
        self.paths, self.names = [source.path for source in sources], [source.name for source in sources]
        self.lists = [source.listed for source in sources]
        table = pd.concat([source.table for source in sources], ignore_index=True)
        if table.empty:
            raise ValueError(f"{', '.join(self.names)}: no recordings")
        repeated = table["id"][table["id"].duplicated()]
        if len(repeated):
            raise ValueError(
                f"utterance id {short(repeated.iloc[0])} is not unique in {', '.join(self.names)}: name one "
                "folder above them, or a table with ids (preprocess/generate_len_for_bucket.py)"
            )
        if features is not None and statistics is None:
            features.check_alone()
        self.features, self._normaliser = features, None
        rate_wanted = sample_rate if features is None else features.sample_rate
        assert rate_wanted is not None, "waveforms have a rate"
        self.sample_rate: int = rate_wanted
        self.ids, self.speakers = table["id"].tolist(), table["speaker"].tolist()
        self.spans: list[Span] = [WHOLE] * len(self.ids)  # a recording is read whole
        self._paths = np.array(table["path"].tolist(), np.dtypes.StringDType())
        native, rate = table["num_samples"].to_numpy(), table["rate"].to_numpy()
        self.num_samples = np.where(native, resampled_length(native, rate, self.sample_rate), 0)  # [U]
        self.lengths = self.num_samples  # [U] frames
        if features is not None:
            enough = self.num_samples >= features.min_samples
            self.lengths = np.where(enough, features.num_frames(self.num_samples), 0)
        if statistics is not None:
            self._normaliser = _normaliser(features, statistics, self.speakers)
        first = self.paths[0]
        root = None if len(self.paths) > 1 or first.suffix == ".csv" else first if first.is_dir() else first.parent
        self.info = StoreInfo(
            row_shape=[1 if features is None else features.dim],
            frame_shift=1 / self.sample_rate if features is None else features.frame_shift,
            features=features,
            audio_root=None if root is None else str(root),
            made_by={"sample_rate": self.sample_rate} if features is None else {},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """What computes the features."""
        assert self.features is not None, "these are waveforms"
        return FeatureExtractor(self.features if self._normaliser is None else self.features.before_corpus)

    def __getitem__(self, index: int) -> np.ndarray:
        """Features of recording `index`, float32 [T, D]."""
        wave = torch.from_numpy(self.read(index, 0, int(self.lengths[index])))
        frames = self.extractor(wave[None], torch.tensor([len(wave)]))[0][0].numpy()
        return frames if self._normaliser is None else self._normaliser.level(index, lambda: [frames]).apply(frames)

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        """Samples of recording `index`, float32 [n]: all of them for all frames, else as many as frames `start` to
        `stop` take. Raises `AudioError` for a file that is broken, too short, or not what it was."""
        total, part = int(self.num_samples[index]), slice(None)
        if self.features is None:
            return read_audio(self._paths[index], self.sample_rate, slice(start, stop), total or None)
        if total and not self.lengths[index]:
            raise AudioError(f"{self._paths[index]}: {self.features.too_short(total)}")
        if stop - start < self.lengths[index]:
            size = self.features.samples(stop - start)
            first = min(start * self.features.hop, total - size)
            part = slice(first, first + size)
        return read_audio(self._paths[index], self.sample_rate, part, total or None)

    def check(self) -> None:
        """Raise ValueError with the reason where a recording has no frames, or is not there any more."""
        paths = self._paths.tolist()
        parts = [paths[start : start + LOOKED_AT_ONCE] for start in range(0, len(paths), LOOKED_AT_ONCE)]
        with ThreadPoolExecutor(SCAN_THREADS) as pool:
            missing = [path for part in pool.map(_missing, parts) for path in part]
        if missing:
            raise ValueError(
                f"{', '.join(self.names)}: {len(missing)} of {len(paths)} recordings are not there, "
                f"{cut(missing[0], 120)} for one: preprocess/generate_len_for_bucket.py makes a new table"
            )
        for index in np.flatnonzero(self.lengths == 0).tolist():
            self.read(index, 0, 0)

    @property
    def paths_in_table(self) -> list[str]:
        """Path of each recording [U], absolute."""
        return self._paths.tolist()

    @cached_property
    def audio_paths(self) -> list[Path]:
        """Where each recording is [U]."""
        return [Path(path) for path in self._paths.tolist()]

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each id."""
        return {name: i for i, name in enumerate(self.ids)}

    def fingerprint(self, beside: Path | None = None) -> str:
        """The paths, and 16 hex digits of the sizes and times of the recordings: no frames are there to be read.

        Nothing is kept, so `beside` is not needed."""
        digest = hashlib.sha256(b"".join(map(recording_state, self.audio_paths)))
        if self._normaliser is not None:
            digest.update(self._normaliser.statistics.digest().encode())
        return f"{', '.join(self.names)} {digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class _Source:
    name: str  # with its list, if it has one
    path: Path
    table: pd.DataFrame
    listed: IdList | None


def _source(name: str | Path, unaligned: Unaligned | None) -> _Source:
    path, file = without_list(Path(name).expanduser())
    path = path.resolve()
    table = _listed(path)
    if file is None:
        return _Source(str(path), path, table, None)
    rows, listed = rows_listed(file, table["id"].tolist(), path, unaligned)
    return _Source(f"{path}{SIGN}{file}", path, table.iloc[rows], listed)


def _normaliser(features: FeatureConfig | None, file: Path, speakers: Sequence[str]) -> Normaliser:
    if features is None or not features.of_corpus:
        named = "waveforms" if features is None else f"cmvn {features.cmvn}"
        raise ValueError(f"--statistics {file} would change nothing: what is taken of the recordings has {named}")
    return Normaliser.by_speaker(features, Statistics.read(file), speakers, file)


def _missing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not os.path.isfile(path)]


def _listed(source: Path) -> pd.DataFrame:
    """The recordings of one path, columns as in a table and paths absolute."""
    if source.suffix == ".csv" and source.is_file():
        table = read_table(source, RECORDING_COLUMNS)
        wrong = np.flatnonzero((table["rate"] == 0) | (table["num_samples"] == 0))
        if len(wrong):
            raise ValueError(f"{source}: line {wrong[0] + 2}: rate and num_samples must be above 0")
        table["path"] = [str(source.parent / path) for path in table["path"]]
        return table
    if not source.exists():
        raise ValueError(
            f"{source}: neither a folder of audio nor a table of recordings; "
            "preprocess/generate_len_for_bucket.py makes a table"
        )
    base, names = (
        (source, audio_files(source, recording_extensions())) if source.is_dir() else (source.parent, [source.name])
    )
    if not names:
        raise ValueError(f"{source}: no audio ({', '.join(recording_extensions())})")
    headers = list(scan([base / name for name in names]))
    columns = {
        "id": utterance_ids(names),
        "path": [str(base / name) for name in names],
        "speaker": "",
        "rate": [header.rate for header in headers],
        "num_samples": [header.num_samples for header in headers],
    }
    return pd.DataFrame(columns)
