"""Reading the originals' feature directories: `<split>.csv` with `file_path,length` and one .npy per utterance."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from utility.arrays import ArrayFile
from utility.audio.feature_config import FeatureConfig
from utility.store.digest import content_digest, row_digest
from utility.store.files import SplitFiles, read_table
from utility.store.info import StoreInfo

LIBRISPEECH_ID = re.compile(r"(\d+)-\d+-\d+")


class LegacySplit(NamedTuple):
    """What the directory is (`features` as the caller believes), its utterances, and the reader of their frames."""

    info: StoreInfo
    table: pd.DataFrame
    reader: "NpyFiles"


class NpyFiles:
    """One .npy file [T, D] per utterance."""

    def __init__(self, split: SplitFiles, files: Sequence[Path], lengths: np.ndarray, row_shape: Sequence[int]):
        self.split, self.files = split, np.array([str(file) for file in files], np.dtypes.StringDType())
        self.lengths, self.row_shape = lengths, tuple(row_shape)

    def content(self, beside: Path | None) -> str:
        """The digest of what the files hold."""
        paths = [Path(file) for file in self.files]
        return content_digest(self.split, paths, lambda: (row_digest(path.read_bytes()) for path in paths), beside)

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of one utterance, float32; ValueError when the file is not what the table says."""
        array = _load(self.files[row])
        if array.shape != (self.lengths[row], *self.row_shape):
            expected = (int(self.lengths[row]), *self.row_shape)
            raise ValueError(f"{self.files[row]}: shape is {array.shape}, expected {expected}")
        return np.array(array[start:stop], np.float32)


def read_legacy(files: SplitFiles, features: FeatureConfig | None) -> LegacySplit:
    """Open a directory of the originals; ids are the file names, speakers known for LibriSpeech's names only."""
    table = read_table(files.table, ("file_path", "length"))
    if table.empty:
        raise ValueError(f"{files.table}: no utterances")
    paths = [PurePosixPath(path.replace("\\", "/")) for path in table["file_path"]]
    names = pd.Series([path.stem for path in paths])
    if names.duplicated().any():
        names = pd.Series([str(path.with_suffix("")) for path in paths])
    first = files.root / paths[0]
    row_shape = list(_load(first).shape[1:])
    if len(row_shape) != 1:
        raise ValueError(f"{first}: expected an array [frames, dims]")
    if features is not None and row_shape != [features.dim]:
        raise ValueError(f"{files} has {row_shape[0]} dims, but features {features.kind} as given have {features.dim}")
    info = StoreInfo(
        row_shape=row_shape,
        frame_shift=features.frame_shift if features is not None else float("nan"),
        features=features,
        audio_root=str(files.root),
    )
    speakers = [match[1] if (match := LIBRISPEECH_ID.fullmatch(path.stem)) else "" for path in paths]
    rows = pd.DataFrame(
        {"id": names, "length": table["length"], "num_samples": 0, "speaker": speakers, "path": map(str, paths)}
    )
    lengths = table["length"].to_numpy()
    return LegacySplit(info, rows, NpyFiles(files, [files.root / path for path in paths], lengths, row_shape))


def _load(file: str | Path) -> np.ndarray:
    array = ArrayFile.open(Path(file))
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{file}: holds {array.dtype}, expected real numbers")
    return array.mapped()
