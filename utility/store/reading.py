"""Feature stores on disk: many utterances in one array per split, read as one corpus of any number of splits."""

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from utility.arrays import ArrayFile
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict
from utility.store.digest import content_digest, row_digest
from utility.store.files import (
    SPAN_COLUMNS,
    STORE_COLUMNS,
    SplitFiles,
    read_info,
    read_table,
    spans_of,
    unlike,
)
from utility.store.info import WORDS, StoreInfo
from utility.store.lists import IdList, Unaligned, rows_listed, without_list
from utility.store.normalised import NormalisedRows, normalised
from utility.store.originals import NpyFiles, read_legacy
from utility.store.statistics import Level
from utility.text import short

_OPENING = threading.Lock()  # several threads may read first


class Store:
    """One or many `root/split` paths as one corpus of utterances; of `root/split@list.txt` only those in the list.

    `lists` are these, None for a split without one; `names` are the paths with their lists, as they were given.
    Codes are opened where they are wanted alone: with `codes`, and without it frames.
    `unaligned` says what becomes of ids that a split lacks (`rows_listed`).

    `features` is what the caller believes about an originals' directory (`<split>.csv` with `file_path,length` and one
    .npy per utterance), which does not say how it was made; without it `info.features` is None and `info.frame_shift`
    NaN there. Where the store does know, `features` must agree. Raises ValueError for splits that are missing,
    unfinished, damaged or made differently, and for ids that are not unique.

    Frames are read at their place in the file when asked for, so memory does not grow with the corpus.
    """

    def __init__(
        self,
        paths: Sequence[str | Path] | str | Path,
        features: FeatureConfig | None = None,
        unaligned: Unaligned | None = None,
        codes: bool = False,
    ):
        self._join([_open_split(path, features, unaligned) for path in _as_list(paths)])
        self._check_kind(codes)

    def _check_kind(self, codes: bool) -> None:
        """Raise ValueError for codes where frames are wanted, and for frames where codes are."""
        if (self.info.kind == "codes") == codes:
            return
        here, wanted = ("frames", "codes") if codes else ("codes", "frames")
        help_ = "runner_mockingjay.py --cluster makes codes" if codes else "name the store that they were made of"
        raise ValueError(f"{self.names[0]} holds {here}, expected {wanted}: {help_}")

    @classmethod
    def with_splits(
        cls,
        paths: Sequence[str | Path],
        features: FeatureConfig | None = None,
        unaligned: Unaligned | None = None,
    ) -> tuple["Store", list["Store"]]:
        """All paths as one corpus, and each as one of its own; every file is opened once."""
        opened = [_open_split(path, features, unaligned) for path in _as_list(paths)]
        whole = cls._of(opened)
        return whole, [whole] if len(opened) == 1 else [cls._of([split]) for split in opened]

    @classmethod
    def _of(cls, opened: list["_Split"]) -> "Store":
        store = cls.__new__(cls)
        store._join(opened)
        store._check_kind(codes=False)
        return store

    def _join(self, opened: list["_Split"]) -> None:
        self.paths, self.names = [split.path for split in opened], [split.name for split in opened]
        self.lists = [split.listed for split in opened]
        self.info = opened[0].info
        for name, split in zip(self.names, opened):
            different = unlike(self.info, split.info, ignore=("dtype", "audio_root"))
            if different:
                raise ValueError(f"{self.names[0]} and {name} were made differently: {different}")
        table = pd.concat([split.table for split in opened], ignore_index=True)
        repeated = table["id"][table["id"].duplicated()]
        if len(repeated):
            raise ValueError(f"utterance id {short(repeated.iloc[0])} is not unique in {', '.join(self.names)}")
        if table.empty:
            raise ValueError(f"{', '.join(self.names)}: no utterances")
        self.lengths = table["length"].to_numpy(np.int64)  # [U] frames
        self.num_samples = table["num_samples"].to_numpy(np.int64)  # [U]; 0 where unknown
        self._text = {
            name: np.array(table[name].tolist(), np.dtypes.StringDType()) for name in ("id", "speaker", "path")
        }
        self.spans = spans_of(table)  # [U] start and end in seconds of its recording; None where it is all of it
        self._readers = [split.reader for split in opened]
        self._audio_roots = [split.info.audio_root or "" for split in opened]
        sizes = [len(split.table) for split in opened]
        self._split = np.repeat(np.arange(len(sizes)), sizes)
        self._row = np.concatenate([split.rows for split in opened])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        """Frames of utterance `i`, float32 [T, *row_shape]; codes are int32."""
        frames = self.read(i)
        return frames.astype(np.float32) if frames.dtype == np.float16 else frames

    def __getstate__(self) -> dict:
        cached = ("ids", "speakers", "audio_paths", "index")
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    def read(self, i: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames `start` to `stop` of utterance `i`, [stop - start, *row_shape]; nothing else is read.

        Those that lie in float16, and are not normalised as they are read, stay float16; all others are as of `[i]`."""
        start, stop, _ = slice(start, stop).indices(int(self.lengths[i]))
        reader = self._readers[self._split[i]]
        read = reader.stored if isinstance(reader, _Array) else reader.read
        return read(int(self._row[i]), start, max(start, stop))

    @cached_property
    def ids(self) -> list[str]:
        """Utterance ids [U]."""
        return self._text["id"].tolist()

    @cached_property
    def speakers(self) -> list[str]:
        """Speaker of each utterance [U]; empty where unknown."""
        return self._text["speaker"].tolist()

    @property
    def paths_in_table(self) -> list[str]:
        """Path of each recording [U] as the table has it."""
        return self._text["path"].tolist()

    @cached_property
    def audio_paths(self) -> list[Path]:
        """Audio file of each utterance [U]; of an originals' directory, its .npy file."""
        return [Path(self._audio_roots[k], path) for k, path in zip(self._split, self._text["path"])]

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each id."""
        return {name: i for i, name in enumerate(self.ids)}

    def level(self, i: int) -> Level | None:
        """What frames of utterance `i` are normalised by as they are read; None where they are read as they lie."""
        reader = self._readers[self._split[i]]
        return reader.level(int(self._row[i])) if isinstance(reader, NormalisedRows) else None

    def frame_times(self, i: int) -> np.ndarray:
        """Centres of the frames of utterance `i` in seconds, float64 [T]."""
        length = int(self.lengths[i])
        if np.isnan(self.info.frame_shift):
            raise ValueError(f"{self.paths[self._split[i]]}: made by the originals, so say which features these are")
        return self.info.frame_times(length)

    def fingerprint(self, beside: Path | None = None) -> str:
        """16 hex digits of what the store is: its info, its tables, and the digests of its frames.

        Where a split has no digest (an earlier version or the originals made it) its frames are read once and the
        digest is kept beside it, or in the folder `beside` if the store may only be read."""
        usual = {"frame_offset"} if self.info.frame_offset == self.info.usual_offset else set()
        values = {k: v for k, v in as_dict(self.info).items() if k not in {"dtype", "audio_root", *usual}}
        values["made_by"] = {k: v for k, v in self.info.made_by.items() if k not in WORDS}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        for name in ("id", "speaker", "path"):
            digest.update("\n".join(self._text[name]).encode())
        for numbers in (self.lengths, self.num_samples):
            digest.update(numbers.astype("<i8").tobytes())
        if any(span != (None, None) for span in self.spans):
            digest.update(json.dumps(self.spans).encode())
        for reader in self._readers:
            digest.update(reader.content(beside).encode())
        return digest.hexdigest()[:16]


@dataclasses.dataclass
class _Split:
    name: str  # as it was given, perhaps with a list
    path: Path
    info: StoreInfo
    table: pd.DataFrame  # columns id, length, num_samples, speaker, path, perhaps start and end
    reader: "_Array | NpyFiles | NormalisedRows"
    rows: np.ndarray  # those of the reader that the table has
    listed: IdList | None


class _Array:
    """Rows of one .npy file. Read by position instead of mapped: resident memory stays flat, and a file that was cut
    off meanwhile is an error instead of the death of the process."""

    def __init__(self, files: SplitFiles, info: StoreInfo, table: pd.DataFrame):
        self.files, self.file = files, files.array
        self.offsets, self.lengths = table["offset"].to_numpy(), table["length"].to_numpy()
        self.row_shape, self.dtype = tuple(info.row_shape), np.dtype(info.dtype).newbyteorder("<")
        self._frame_bytes = self.dtype.itemsize * int(np.prod(self.row_shape))
        self._descriptor: int | None = None
        try:
            array = ArrayFile.open(self.file)
        except ValueError as error:
            raise ValueError(f"{error}; make this split again") from None
        self._start = array.start
        frames = int((self.offsets + self.lengths).max(initial=0))
        shape, dtype = array.shape, array.dtype
        if array.fortran or dtype != self.dtype or shape[1:] != self.row_shape or shape[0] < frames:
            raise ValueError(
                f"{self.file}: array {shape} {dtype}, expected at least {frames} rows of {self.row_shape} {self.dtype}"
            )

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_descriptor": None}

    def __del__(self):
        descriptor = self.__dict__.get("_descriptor")  # not there when the file could not be opened
        if descriptor is not None:
            os.close(descriptor)

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        frames = self.stored(row, start, stop)
        return frames.astype(np.float32 if self.dtype.kind == "f" else np.int32, copy=False)

    def stored(self, row: int, start: int, stop: int) -> np.ndarray:
        """Frames as they lie."""
        if self._descriptor is None:
            with _OPENING:
                if self._descriptor is None:
                    self._descriptor = os.open(self.file, os.O_RDONLY)
        frames = np.empty((stop - start, *self.row_shape), self.dtype)
        position = self._start + (int(self.offsets[row]) + start) * self._frame_bytes
        data = frames.reshape(-1).view(np.uint8).data
        while len(data):
            count = os.preadv(self._descriptor, [data], position)
            if not count:
                raise ValueError(f"{self.file}: cut off at {position} bytes; make this split again")
            data, position = data[count:], position + count
        return frames.astype(self.dtype.newbyteorder("="), copy=False)

    def content(self, beside: Path | None) -> str:
        """The digest of the frames."""
        rows = range(len(self.lengths))
        return content_digest(self.files, [self.file], lambda: map(self._row_digest, rows), beside)

    def _row_digest(self, row: int) -> bytes:
        with self.file.open("rb") as stream:
            stream.seek(self._start + int(self.offsets[row]) * self._frame_bytes)
            return row_digest(stream.read(int(self.lengths[row]) * self._frame_bytes))


def _as_list(paths: Sequence[str | Path] | str | Path) -> Sequence[str | Path]:
    listed = [paths] if isinstance(paths, str | Path) else paths
    if not listed:
        raise ValueError("a store needs at least one path root/split")
    return listed


def is_split(path: str | Path) -> bool:
    """Whether `path` names a split of a store, root/split, or some of its utterances, root/split@list.txt."""
    path, _ = without_list(path)  # '.' has no name
    return bool(path.name) and path.with_name(f"{path.name}.csv").is_file()


def splits_in(root: str | Path) -> list[str]:
    """Names of the finished splits of a store or an originals' directory."""
    root = Path(root)
    tables = sorted(path.stem for path in root.glob("*.csv"))
    return [name for name in tables if (root / f"{name}.npy").is_file() or (root / name).is_dir()]


def _open_split(name: str | Path, features: FeatureConfig | None, unaligned: Unaligned | None) -> _Split:
    path, file = without_list(name)
    info, table, reader = _opened(path, features)
    if file is None:
        return _Split(str(path), path, info, table, reader, np.arange(len(table)), None)
    rows, listed = rows_listed(file, table["id"].tolist(), path, unaligned)
    return _Split(str(name), path, info, table.iloc[rows], reader, rows, listed)


def _opened(
    path: Path, features: FeatureConfig | None
) -> tuple[StoreInfo, pd.DataFrame, "_Array | NpyFiles | NormalisedRows"]:
    """What a split is, all of its utterances, and what reads their frames."""
    files = SplitFiles(path.parent, path.name)
    if not files.table.is_file():
        raise ValueError(_why_not(files))
    if not files.info.exists():
        return read_legacy(files, features)
    info = read_info(files.info)
    if features is not None and features != info.features:
        there, here = (dataclasses.replace(info, features=config) for config in (info.features, features))
        raise ValueError(f"{files.info} holds other features: {unlike(there, here)}")
    table = read_table(files.table, STORE_COLUMNS, SPAN_COLUMNS)
    array = _Array(files, info, table)
    if info.normalised_when_read:
        return info, table, normalised(files, info, array, table["speaker"].tolist())
    return info, table, array


def _why_not(files: SplitFiles) -> str:
    if files.plan.is_file():
        return f"{files} is not finished: run the command that makes it again, it continues where it was"
    for name in (files.root, files.root / files.split):
        if splits_in(name):
            return f"{files}: no such split; {name} has {', '.join(splits_in(name))}"
    return f"{files}: no feature store here ({files.table} is missing)"
