"""k-means of a corpus that is read in parts: a sample, restarts on it, passes over all, each kept when it is done.

A run that was killed goes on in the same folder, and ends with the same bits."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from utility.clusters import KMeans, Totals, first_centroids, nearest
from utility.files import replace_file, replacing
from utility.seeds import numpy_generator
from utility.text import parse_json, read_text, short

SETTINGS, SAMPLE, TAKEN = "settings.json", "sample.f32", "sample.taken"  # files of an unfinished run
CENTROIDS, DISTANCES = "centroids.npz", "distances.f64"
CHUNK = 1 << 20  # numbers written at once
Fail = Callable[[int, str], None]  # of an utterance, and why
Say = Callable[[str], None]


@dataclass(frozen=True)
class Group:
    """Points that were read together: `rows` [N, D], in the order of `spans`: (utterance, first point, how many)."""

    part: int
    spans: Sequence[tuple[int, int, int]]
    rows: Tensor
    last: bool = True  # of its part


class Points(Protocol):
    """Points of utterances in parts, which are always the same: `lengths` [U] points each, `parts` who is in which."""

    @property
    def width(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray: ...

    @property
    def parts(self) -> Sequence[np.ndarray]: ...

    @property
    def device(self) -> torch.device: ...

    def read(self, parts: Sequence[int], fail: Fail) -> Iterator[Group]:
        """The points of some parts, in their order."""


@dataclass(frozen=True)
class Found:
    """Centroids [K, D] float32, how many passes over all points led to them, and the inertia at the start of each."""

    centroids: Tensor
    inertias: tuple[float, ...]

    @property
    def passes(self) -> int:
        return len(self.inertias)

    def ended(self, how: KMeans) -> bool:
        """Whether no further pass is to be made."""
        if self.passes >= how.passes:
            return True
        if self.passes < 2:
            return False
        before, last = self.inertias[-2:]
        return before - last < how.tolerance * before


@contextlib.contextmanager
def kept_in(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Begin `folder` for a run of these settings, or go on with it; ValueError where it was begun with others.

    When a ValueError ends a run that was begun here, nothing of it stays."""
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    begun = (folder / SETTINGS).is_file()
    if begun:
        _check_same(folder, parse_json(read_text(folder / SETTINGS)), parse_json(text))
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / SETTINGS, text.encode())
    try:
        yield
    except ValueError:
        if not begun:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_same(folder: Path, there: Any, here: Mapping[str, Any]) -> None:
    if there == here:
        return
    known = there if isinstance(there, dict) else {}
    name = next(name for name in (*here, "settings") if known.get(name) != here.get(name))
    raise ValueError(
        f"{folder} was begun with {name} {short(known.get(name))}, this is {short(here.get(name))}: repeat that "
        "command to go on with it, or remove the folder"
    )


def find_centroids(points: Points, folder: Path, how: KMeans, say: Say) -> Found:
    """Centroids of all points, float32 [K, D]; `folder` is one of `kept_in`. ValueError for too many clusters."""
    check_enough(points, how)
    state = folder / CENTROIDS
    if state.is_file():
        found = _read_state(state, points.device)
    else:
        sample = _sample(points, folder, how, say)
        centroids, inertias = first_centroids(sample, how, points.device)
        listed = ", ".join(f"{inertia:.6g}" for inertia in inertias)
        say(f"sample of {len(sample)} points: inertia per point of {how.restarts} restarts: {listed}")
        found = Found(centroids, ())
        _write_state(state, found)
    while not found.ended(how):
        totals = _pass(points, found.centroids)
        inertia = totals.inertia(found.centroids)
        generator = numpy_generator(how.seed, how.restarts + 1, found.passes)
        centroids = totals.moved(found.centroids, lambda: _read_sample(folder, points.width), generator)
        found = Found(centroids, (*found.inertias, inertia))
        _write_state(state, found)
        say(f"pass {found.passes} of {how.passes} at most: inertia per point {inertia:.6g}")
    return found


def check_enough(points: Points, how: KMeans) -> None:
    """Raise ValueError for more clusters than points, or than the sample holds."""
    size = _sample_size(points, how)
    if size < how.clusters:
        total = int(points.lengths.sum())
        where = f"{total} frames" if size == total else f"a sample of {size} frames"
        raise ValueError(f"{how.clusters} clusters for {where}: ask for fewer")


def _pass(points: Points, centroids: Tensor) -> Totals:
    totals = Totals(len(centroids), points.width, points.device)
    for group in points.read(range(len(points.parts)), _ignored):
        totals.add(group.rows, nearest(group.rows, centroids))
    return totals


def _ignored(utterance: int, reason: str) -> None:
    """A recording that fails is told of when codes are written."""


def _sample_size(points: Points, how: KMeans) -> int:
    return int(min(points.lengths.sum(), how.sample_bytes // (4 * points.width)))


def drawn(total: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """`size` different numbers below `total`, each set of them as likely, sorted; memory grows with `size` alone."""
    if 2 * size >= total:
        return np.sort(generator.permutation(total)[:size])
    chosen = np.unique(generator.integers(total, size=size))
    while len(chosen) < size:
        chosen = np.union1d(chosen, generator.integers(total, size=size - len(chosen)))
    return chosen


def _sample(points: Points, folder: Path, how: KMeans, say: Say) -> np.ndarray:
    """Points drawn from all, [S, D]: those of a part are written at their places, then the part is noted as taken."""
    file, taken = folder / SAMPLE, folder / TAKEN
    size = _sample_size(points, how)
    positions = drawn(int(points.lengths.sum()), size, numpy_generator(how.seed, how.restarts + 2))
    ends = np.searchsorted(positions, np.cumsum(points.lengths))  # [U]; of each utterance's rows in the sample
    starts = np.concatenate([[0], ends[:-1]])
    first = np.cumsum(points.lengths) - points.lengths  # position of each utterance's first point
    if not taken.is_file():
        _write_missing(file, size * points.width)
        replace_file(taken, bytes(len(points.parts)))
    done = np.frombuffer(taken.read_bytes(), np.uint8)
    waiting = [part for part, who in enumerate(points.parts) if not done[part] and (ends[who] > starts[who]).any()]
    say(f"a sample of {size} of {int(points.lengths.sum())} points is taken from {len(waiting)} batches")
    with file.open("r+b") as stream, taken.open("r+b") as marks:
        for group in points.read(waiting, _ignored):
            rows = group.rows.cpu().numpy()
            at = 0
            for utterance, begin, count in group.spans:
                low, high = np.searchsorted(positions, first[utterance] + np.array([begin, begin + count]))
                chosen = positions[low:high] - first[utterance] - begin
                stream.seek(4 * points.width * int(low))
                stream.write(rows[at + chosen].astype("<f4").tobytes())
                at += count
            if group.last:
                stream.flush()
                marks.seek(group.part)
                marks.write(b"\1")
                marks.flush()
    sample = _read_sample(folder, points.width)
    if len(sample) < how.clusters:
        raise ValueError(f"{how.clusters} clusters for {len(sample)} frames that can be read: ask for fewer")
    return sample


def _write_missing(file: Path, count: int) -> None:
    """NaN for every number of a sample: rows of recordings that fail stay so."""
    with replacing(file) as new, new.open("wb") as stream:
        for start in range(0, count, CHUNK):
            stream.write(np.full(min(CHUNK, count - start), np.nan, "<f4").tobytes())


def _read_sample(folder: Path, width: int) -> np.ndarray:
    rows = np.fromfile(folder / SAMPLE, "<f4").reshape(-1, width)
    there = ~np.isnan(rows[:, 0])
    return rows if there.all() else rows[there]


def _write_state(file: Path, found: Found) -> None:
    content = io.BytesIO()
    np.savez(content, centroids=found.centroids.cpu().numpy(), inertias=np.array(found.inertias, np.float64))
    replace_file(file, content.getvalue())


def _read_state(file: Path, device: torch.device) -> Found:
    with np.load(file, allow_pickle=False) as content:
        return Found(torch.from_numpy(content["centroids"]).to(device), tuple(content["inertias"].tolist()))


class Distances:
    """The sum of squared distances of each part's points to their centroids, and how many points: a killed run that
    goes on has them, and their sum is the same."""

    def __init__(self, folder: Path, parts: int):
        self.file = folder / DISTANCES
        if not self.file.is_file():
            replace_file(self.file, np.full((parts, 2), np.nan, "<f8").tobytes())
        self.values = np.frombuffer(self.file.read_bytes(), "<f8").reshape(-1, 2).copy()

    @property
    def missing(self) -> np.ndarray:
        """Which parts have none yet, bool [P]."""
        return np.isnan(self.values[:, 0])

    def put(self, part: int, total: float, count: int) -> None:
        """Note those of a part."""
        self.values[part] = total, count
        with self.file.open("r+b") as stream:
            stream.seek(part * 16)
            stream.write(self.values[part].tobytes())

    def mean(self) -> tuple[float, int]:
        """The mean of a point over all parts, and how many points there are."""
        total, count = np.nansum(self.values, axis=0)
        return float(total / max(count, 1)), int(count)


def squared_distances(rows: Tensor, centroids: Tensor, labels: Tensor) -> float:
    """The sum of squared distances of rows [N, D] to their centroids, in float64."""
    return float((rows.double() - centroids[labels].double()).square().sum())
