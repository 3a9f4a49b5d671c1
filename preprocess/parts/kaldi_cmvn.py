"""Normalisation of matrices by Kaldi's cumulated statistics, as `apply-cmvn` does it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from preprocess.parts.kaldi_matrices import MatrixSource
from utility.kaldi.archives import Matrices, read_ark, read_scp
from utility.text import cut, short

Cmvn = Literal["none", "utterance", "speaker"]
SMALLEST = 1e-20  # a variance, as in Kaldi
KEPT = 1000  # statistics held in memory


class Normaliser:
    """Takes off the mean of each speaker or utterance of a split, and with `norm_vars` divides by the deviation.

    Statistics are those of `file` (.scp or .ark), else of the source's cmvn.scp. Without any, each utterance has its
    own, computed from its frames; speakers need theirs. ValueError where those of some utterance are missing."""

    def __init__(self, source: MatrixSource, how: Cmvn, norm_vars: bool, file: Path | None = None):
        self.how, self.norm_vars = how, norm_vars
        self.file = file or source.statistics
        self.key_of: Callable[[str], str] = lambda key: key
        if how == "speaker":
            _check_speakers(source)
            self.key_of = source.speakers.__getitem__
        there = self.file is not None and self.file.is_file()
        own = how == "utterance" and file is None and (bool(source.speakers) or not there)
        self.statistics = None if own or how == "none" else self._statistics(there, source.root)
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if self.statistics is not None:
            missing = sorted({self.key_of(key) for key in source.shapes} - set(_keys(self.statistics)))
            if missing:
                raise ValueError(f"{self.file}: no statistics of {len(missing)} {how}s, {cut(missing[0])} for one")

    def _statistics(self, there: bool, root: Path | None) -> "Matrices | Mapping[str, np.ndarray]":
        if self.file is None or not there:
            where = "cmvn.scp" if self.file is None else str(self.file)
            raise ValueError(
                f"{where}: no such file, --apply_cmvn {self.how} needs its statistics: name it by --cmvn_file"
            )
        return read_scp(self.file, root) if self.file.suffix == ".scp" else dict(read_ark(self.file))

    def __call__(self, key: str, values: np.ndarray) -> np.ndarray:
        """The normalised matrix [T, D] of an utterance."""
        if self.how == "none":
            return values
        if self.statistics is None:
            wide = values.astype(np.float64)
            mean, scale = _normalisation(np.stack([_padded(wide.sum(0), len(wide)), _padded((wide**2).sum(0), 0)]))
        else:
            mean, scale = self._of(self.key_of(key), values.shape[1])
        normalised = values - mean
        return normalised * scale if self.norm_vars else normalised

    def _of(self, name: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
        if name not in self._known:
            assert self.statistics is not None, "they are not the utterance's own"
            sums = self.statistics[name]
            if sums.shape != (2, dim + 1):
                shape = " x ".join(map(str, sums.shape))
                raise ValueError(f"{self.file}: statistics of {short(name)} are {shape}, expected 2 x {dim + 1}")
            if not sums[0, -1] > 0:
                raise ValueError(f"{self.file}: statistics of {short(name)} are of {sums[0, -1]:g} frames")
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[name] = _normalisation(sums.astype(np.float64))
        return self._known[name]


def _normalisation(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / deviation [D] of sums [2, D + 1]: of values with the count of frames behind them, and of squares."""
    count = sums[0, -1]
    mean = sums[0, :-1] / count
    return mean, 1 / np.sqrt(np.maximum(sums[1, :-1] / count - mean**2, SMALLEST))


def _padded(values: np.ndarray, last: float) -> np.ndarray:
    return np.append(values, last)


def _keys(statistics: "Matrices | Mapping[str, np.ndarray]") -> list[str]:
    return statistics.keys if isinstance(statistics, Matrices) else list(statistics)


def _check_speakers(source: MatrixSource) -> None:
    unknown = [key for key in source.shapes if key not in source.speakers]
    if unknown:
        raise ValueError(
            f"{source.named}: --apply_cmvn speaker, but utt2spk has no speaker of {len(unknown)} utterances, "
            f"{cut(unknown[0])} for one"
        )
