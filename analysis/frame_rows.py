"""Frames on disk, for what needs all of them at once (`cca.scheme=original`); one layer is read at a time.

An utterance's frames are written behind those that came before it, so nothing holds the corpus while it is read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.collect import States, Subject
from analysis.collectors import MEL, Reference, RowFile, paired
from analysis.frame_rates import CONV_POOLING, pool_frames
from utility.arrays import array_header
from utility.files import naming

HOP = 0.01  # seconds between the frames of the original's filterbank, whose first lies at 0
# Kernel and stride of the original's pooling, by how many frames of a convolution make 10 ms.
POOLING = {2 ** (6 - layer): pooling for layer, pooling in CONV_POOLING.items()}
ORDER = "order.npy"  # the utterances in the order in which they came


class GrowingFile:
    """A .npy file of float32 rows [N, width] whose N is known at the end."""

    def __init__(self, path: Path, width: int):
        self.file, self.path, self.width, self.rows = RowFile(path, (0, width)), path, width, 0

    def append(self, rows: np.ndarray) -> None:
        """Put rows [n, width] behind the others."""
        self.file.write(self.rows, rows)
        self.rows += len(rows)

    def close(self) -> None:
        header = array_header((self.rows, self.width), "<f4")
        if len(header) != self.file.start:  # numpy leaves room for the number of rows
            raise RuntimeError(f"{self.path}: a header of {len(header)} bytes does not replace {self.file.start}")
        with naming(self.path):
            os.pwrite(self.file.file.fileno(), header, 0)
        self.file.close()


@dataclass(frozen=True)
class Beside:
    """The other view of an utterance's frames, its width, and whether it is paired as the original does."""

    view: Reference
    width: int
    original: bool = False


class FrameRows:
    """All frames of some utterances: LABEL.npy [frames, width], and LABEL.counts.npy [U] int64, in the order of ORDER.

    With another view only the frames that have a partner in it are kept; N.mel.npy holds these for the labels of
    group N, which LABEL.group.npy names."""

    def __init__(
        self, folder: Path, subject: Subject, labels: Sequence[str], utterances: Sequence[int], beside: Beside | None
    ):
        self.folder, self.subject, self.labels = folder, subject, labels
        self.utterances, self.beside = utterances, beside
        self.groups: dict[object, list[str]] = {}
        for label in labels:
            key = label if beside is not None and beside.original else subject.clock(label)
            self.groups.setdefault(key, []).append(label)
        self.files = {label: GrowingFile(folder / f"{label}.npy", subject.upstream.width(label)) for label in labels}
        self.views = (
            [GrowingFile(folder / f"{n}.{MEL}.npy", beside.width) for n in range(len(self.groups))] if beside else []
        )
        self.order: list[int] = []
        self.counts: dict[str, list[int]] = {label: [] for label in labels}

    def add(self, index: int, states: States) -> None:
        self.order.append(index)
        other = None if self.beside is None else self.beside.view(index)
        for number, labels in enumerate(self.groups.values()):
            some = {label: states[label] for label in labels}
            if other is not None and self.beside is not None:
                shift = self.subject.clock(labels[0])[0]
                if self.beside.original:
                    some = paired_as_original(labels[0], some[labels[0]], shift, other[0])
                else:
                    some = paired(some, self.subject.times(labels[0], len(some[labels[0]])), *other)
                self.views[number].append(some[MEL])
            for label in labels:
                self.files[label].append(some[label])
                self.counts[label].append(len(some[label]))

    def finish(self) -> None:
        for file in (*self.files.values(), *self.views):
            file.close()
        np.save(self.folder / ORDER, np.array(self.order, np.int64))
        for number, labels in enumerate(self.groups.values()):
            for label in labels:
                np.save(self.folder / f"{label}.counts.npy", np.array(self.counts[label], np.int64))
                np.save(self.folder / f"{label}.group.npy", np.int64(number))


def paired_as_original(label: str, states: np.ndarray, shift: float, bands: np.ndarray) -> dict[str, np.ndarray]:
    """States [T, D] every `shift` seconds beside the original's filterbank [S, 80] every 10 ms, as the original has it.

    Convolutions of 10 ms and less are averaged to 10 ms; beside slower states stands every 2nd band frame (20 ms), or
    every 4th (40 ms). The longer view is cut at its end: the times of the two differ (fault A3). ValueError for states
    whose frames fit no such rule."""
    faster, slower = round(HOP / shift), round(shift / HOP)
    if label.startswith("C") and faster in POOLING and abs(faster * shift - HOP) < 1e-6:
        states = pool_frames(states, *POOLING[faster])
    elif slower >= 1 and abs(slower * HOP - shift) < 1e-6:
        bands = bands[::slower]
    else:
        raise ValueError(
            f"cca.filterbank=original: frames of {label} every {1000 * shift:g} ms stand beside no frames of 10 ms: "
            "leave it out, or use cca.filterbank=kaldi"
        )
    count = min(len(states), len(bands))
    return {label: states[:count], MEL: bands[:count]}


@dataclass(frozen=True)
class Rows:
    """Frames of a layer on disk, [frames, width], and of the view beside it; each utterance's are `counts` [U] rows
    from `starts` [U], utterances in the order of the corpus."""

    states: np.ndarray
    view: np.ndarray | None
    starts: np.ndarray
    counts: np.ndarray

    @classmethod
    def read(cls, folder: Path, label: str) -> "Rows":
        """What FrameRows wrote; the frames stay on disk."""
        order, counts = np.load(folder / ORDER), np.load(folder / f"{label}.counts.npy")
        view = folder / f"{int(np.load(folder / f'{label}.group.npy'))}.{MEL}.npy"
        corpus, starts = np.argsort(order), np.cumsum(counts) - counts
        return cls(
            np.load(folder / f"{label}.npy", mmap_mode="r"),
            np.load(view, mmap_mode="r") if view.is_file() else None,
            starts[corpus],
            counts[corpus],
        )

    def taken(self, every: int) -> np.ndarray:
        """Where every so manieth frame of each utterance stands, int64 [N]."""
        parts = [np.arange(0, count, every) + start for start, count in zip(self.starts, self.counts)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def of(self, place: int) -> np.ndarray:
        """The frames of an utterance [T, width]."""
        return self.states[self.starts[place] : self.starts[place] + self.counts[place]]
