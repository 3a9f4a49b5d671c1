"""Rows of a split that are normalised by its statistics as they are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from utility.store.files import SplitFiles
from utility.store.info import StoreInfo
from utility.store.statistics import Level, Normaliser, Statistics, chunks


class Rows(Protocol):
    """What reads the rows as they lie on disk."""

    lengths: np.ndarray

    def read(self, row: int, start: int, stop: int) -> np.ndarray: ...

    def content(self, beside: Path | None) -> str: ...


class NormalisedRows:
    """Rows as they are to be used, of rows as they lie there."""

    def __init__(self, rows: Rows, normaliser: Normaliser):
        self.rows, self.normaliser = rows, normaliser

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of a row, float32."""
        return self.level(row).apply(self.rows.read(row, start, stop))

    def level(self, row: int) -> Level:
        """By what a row is normalised; only one that stands for itself is read for it."""
        length = int(self.rows.lengths[row])
        return self.normaliser.level(row, lambda: (self.rows.read(row, *part) for part in chunks(0, length)))

    def content(self, beside: Path | None) -> str:
        """The digest of the frames and of what they are normalised by."""
        return f"{self.rows.content(beside)} {self.normaliser.statistics.digest()}"


def normalised(files: SplitFiles, info: StoreInfo, rows: Rows, speakers: Sequence[str]) -> NormalisedRows:
    """Rows of a split, whose speakers are given; ValueError where its statistics are not there, or of other rows."""
    assert info.features is not None, "features are normalised"
    if not files.statistics.is_file():
        raise ValueError(
            f"{files.statistics}: no such file, and {files.info} says cmvn {info.features.cmvn}: make this split again"
        )
    statistics = Statistics.read(files.statistics)
    normaliser = Normaliser.by_speaker(info.features, statistics, speakers, files.statistics)
    normaliser.check(rows.lengths, files.statistics)
    return NormalisedRows(rows, normaliser)
