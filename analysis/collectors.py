"""What is kept of an utterance's states: means of tokens on disk, moments of frames, distance curves.

Each is written below a folder that appears when it is whole. Files are written, not mapped: a full disk is an error."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.boundaries import DISTANCES, distance_curves
from analysis.centring import DimensionStatistics
from analysis.collect import States, Subject
from analysis.frame_rates import average_onto
from analysis.moment_files import save_moments
from analysis.moments import Layout, Moments
from analysis.sampling import Tokens
from analysis.segments import FrameRanges, Part, Rule, microseconds, pool_segments, token_frames
from utility.arrays import array_header
from utility.files import naming


class RowFile:
    """A .npy file of float32 rows [N, D], written in any order."""

    def __init__(self, path: Path, shape: Sequence[int]):
        self.path, self.width = path, int(np.prod(shape[1:]))
        header = array_header(shape, np.dtype("<f4"))
        self.start = len(header)
        with naming(path), path.open("wb") as file:
            file.write(header)
            file.truncate(self.start + 4 * int(np.prod(shape)))
        self.file = path.open("r+b", buffering=0)

    def write(self, row: int, rows: np.ndarray) -> None:
        """Put rows [n, D] at `row` and after."""
        data = np.ascontiguousarray(rows, "<f4").tobytes()
        with naming(self.path):
            os.pwrite(self.file.fileno(), data, self.start + 4 * row * self.width)

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True)
class Cut:
    """Which frames a token has."""

    part: Part = "mean"
    rule: Rule = "centre"


@dataclass(frozen=True)
class DrawnTokens:
    """Tokens of a corpus, and which frames they have in it.

    `numbers` [U] are the corpus' numbers of the tokens' utterances, `durations` [U] their seconds."""

    tokens: Tokens
    numbers: np.ndarray
    durations: np.ndarray
    cut: Cut

    @property
    def utterances(self) -> list[int]:
        """The corpus' numbers of the utterances that have a token."""
        return [int(self.numbers[place]) for place in np.unique(self.tokens.table["utterance"])]

    def rows(self, index: int) -> np.ndarray:
        """Where the tokens of an utterance (the corpus' number) stand: int64 [n], one after another."""
        return self.tokens.of_utterance(int(np.searchsorted(self.numbers, index)))

    def ranges(self, subject: Subject, index: int, label: str, frames: int) -> FrameRanges:
        """The frames of the tokens of an utterance that has so many."""
        place = int(np.searchsorted(self.numbers, index))
        table, times = self.tokens.table[self.rows(index)], subject.times(label, frames)
        end, name = float(self.durations[place]), self.tokens.ids[place]
        return token_frames(table["start"], table["end"], times, self.cut.part, self.cut.rule, end, name)


class PooledTokens:
    """The mean of each token's frames: LABEL.npy [tokens, width] for each label."""

    def __init__(self, folder: Path, subject: Subject, labels: Sequence[str], drawn: DrawnTokens):
        self.subject, self.labels, self.drawn, self.utterances = subject, labels, drawn, drawn.utterances
        shapes = {label: (len(drawn.tokens), subject.upstream.width(label)) for label in labels}
        self.files = {label: RowFile(folder / f"{label}.npy", shape) for label, shape in shapes.items()}

    def add(self, index: int, states: States) -> None:
        first = int(self.drawn.rows(index)[0])
        for label in self.labels:
            ranges = self.drawn.ranges(self.subject, index, label, len(states[label]))
            self.files[label].write(first, pool_segments(states[label], ranges))

    def finish(self) -> None:
        for file in self.files.values():
            file.close()


class TokenFrames:
    """All frames of each token: LABEL.npy [frames of all tokens, width], and LABEL.lengths.npy [tokens] int64."""

    def __init__(self, folder: Path, subject: Subject, labels: Sequence[str], drawn: DrawnTokens):
        self.subject, self.labels, self.drawn, self.utterances = subject, labels, drawn, drawn.utterances
        self.files: dict[str, RowFile] = {}
        self.starts: dict[str, np.ndarray] = {}
        for label in labels:
            lengths, counts = np.zeros(len(drawn.tokens), np.int64), subject.frames(label)
            for index in self.utterances:
                ranges = drawn.ranges(subject, index, label, int(counts[index]))
                lengths[drawn.rows(index)] = ranges.stop - ranges.first
            self.starts[label] = np.cumsum(lengths) - lengths
            np.save(folder / f"{label}.lengths.npy", lengths)
            self.files[label] = RowFile(folder / f"{label}.npy", (int(lengths.sum()), subject.upstream.width(label)))

    def add(self, index: int, states: States) -> None:
        first = int(self.drawn.rows(index)[0])
        for label in self.labels:
            ranges = self.drawn.ranges(self.subject, index, label, len(states[label]))
            pairs = zip(ranges.first.tolist(), ranges.stop.tolist())
            rows = np.concatenate([states[label][low:high] for low, high in pairs])
            self.files[label].write(int(self.starts[label][first]), rows)

    def finish(self) -> None:
        for file in self.files.values():
            file.close()


Reference = Callable[[int], tuple[np.ndarray, np.ndarray]]  # an utterance's number -> frames [S, Q], and their centres


@dataclass(frozen=True)
class FrameViews:
    """What is summed of frames: every label, beside these. `sets` says the set of each utterance's frames.

    `mel` gives the acoustic view, `speakers` the column of each utterance, `base` is a label, `maps` asks for the
    products of every two labels of one clock."""

    sets: Mapping[int, int]
    num_sets: int
    every: int = 1
    mel: Reference | None = None
    mel_width: int = 0
    speakers: Mapping[int, int] | None = None
    num_speakers: int = 0
    base: str | None = None
    maps: bool = False


MEL, SPEAKER = "mel", "speaker"


class FrameMoments:
    """Moments of all frames: CLOCK.npz for labels whose frames come at the same times, once the mel view is paired."""

    def __init__(self, folder: Path, subject: Subject, labels: Sequence[str], views: FrameViews):
        self.folder, self.subject, self.labels, self.views = folder, subject, labels, views
        self.utterances = list(views.sets)
        self.groups: dict[tuple[float, float], list[str]] = {}
        for label in labels:
            self.groups.setdefault(subject.clock(label), []).append(label)
        self.moments = {clock: Moments(self.layout(some)) for clock, some in self.groups.items()}

    def layout(self, labels: Sequence[str]) -> Layout:
        """The views and pairs of labels of one clock."""
        views, width = self.views, self.subject.upstream.width
        widths = {label: width(label) for label in labels}
        pairs: list[tuple[str, str]] = []
        if views.maps:
            pairs += [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]
        if (base := views.base) is not None and base in labels:
            pairs += [(label, base) for label in labels if label != base]
        if views.mel is not None:
            widths[MEL] = views.mel_width
            pairs += [(label, MEL) for label in labels]
        if views.speakers is not None:
            widths[SPEAKER] = views.num_speakers
            pairs += [(label, SPEAKER) for label in labels]
        return Layout(widths, tuple(dict.fromkeys(pairs)), views.num_sets)

    def add(self, index: int, states: States) -> None:
        views = self.views
        mel = None if views.mel is None else views.mel(index)
        for clock, labels in self.groups.items():
            some = {label: states[label] for label in labels}
            times = self.subject.times(labels[0], len(some[labels[0]]))
            if mel is not None:
                some = paired(some, times, *mel)
            if not len(next(iter(some.values()))):
                continue
            some = {name: block[:: views.every] for name, block in some.items()}
            if views.speakers is not None:
                block = np.zeros((len(next(iter(some.values()))), views.num_speakers), np.float32)
                block[:, views.speakers[index]] = 1
                some[SPEAKER] = block
            self.moments[clock].add(some, views.sets[index])

    def finish(self) -> None:
        for number, moments in enumerate(self.moments.values()):
            save_moments(moments, self.folder / f"{number}.npz")


def paired(
    states: Mapping[str, np.ndarray], times: np.ndarray, other: np.ndarray, other_times: np.ndarray, name: str = MEL
) -> dict[str, np.ndarray]:
    """States of one clock beside another view of the same utterance: the faster is averaged at the slower's centres."""
    count = min(len(times), len(other_times))
    if np.array_equal(microseconds(times[:count]), microseconds(other_times[:count])) and count > 1:
        return {**{label: state[:count] for label, state in states.items()}, name: other[:count]}
    if len(times) < 2 or len(other_times) < 2:
        return {**{label: state[:0] for label, state in states.items()}, name: other[:0]}
    if other_times[1] - other_times[0] <= times[1] - times[0] + 1e-9:
        averaged, kept = average_onto(other, other_times, times)
        return {**{label: state[kept] for label, state in states.items()}, name: averaged}
    onto = {label: average_onto(state, times, other_times) for label, state in states.items()}
    kept = next(iter(onto.values()))[1]
    return {**{label: state for label, (state, _) in onto.items()}, name: other[kept]}


class Statistics:
    """Mean and deviation of every dimension of every label over all frames."""

    def __init__(self, labels: Sequence[str], utterances: Sequence[int]):
        self.labels, self.utterances = labels, utterances
        self.of = {label: DimensionStatistics() for label in labels}

    def add(self, index: int, states: States) -> None:
        for label in self.labels:
            self.of[label].add(states[label][:, None])  # [T, 1, D]


class Curves:
    """Distances of neighbouring frames: LABEL.npy [2, all T - 1] float32 for each label, utterance after utterance."""

    def __init__(self, folder: Path, subject: Subject, statistics: Statistics):
        self.labels, self.utterances, self.of = statistics.labels, statistics.utterances, statistics.of
        self.files, self.starts = {}, {}
        for label in self.labels:
            sizes = np.maximum(subject.frames(label)[np.array(self.utterances)] - 1, 0)
            ends = np.cumsum(sizes)
            self.starts[label] = dict(zip(self.utterances, (ends - sizes).tolist()))
            self.files[label] = [RowFile(folder / f"{label}.{name}.npy", (int(ends[-1]),)) for name in DISTANCES]

    def add(self, index: int, states: States) -> None:
        for label in self.labels:
            curves = distance_curves(states[label][:, None], self.of[label])[:, 0]  # [2, T - 1]
            for file, curve in zip(self.files[label], curves):
                file.write(self.starts[label][index], curve)

    def finish(self) -> None:
        for files in self.files.values():
            for file in files:
                file.close()
