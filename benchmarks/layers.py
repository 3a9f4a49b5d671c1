"""cca_phone and cca_mel of all layers of a Base model: ours beside the original's procedure, on the same states.

The states are made up and cost little, so that what is measured is the analysis. The original's procedure runs once
over some of the layers; its time and the memory of its extraction grow with layers, that of its scores does not."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np

from analysis.collect import Subject
from analysis.collectors import MEL, Cut, DrawnTokens, FrameMoments, FrameViews, PooledTokens
from analysis.config import AnalysisConfig, CcaConfig
from analysis.experiments_cca import ROWS, score_of
from analysis.folds import Division, divide, draw_pairs, original_folds
from analysis.gather import more_sets
from analysis.moment_files import load_moments
from analysis.moments import Moments, with_reference
from analysis.original_cca import TRIES, original_epsilons
from analysis.packed import packed_size
from analysis.sampling import Tokens, tokens_of
from analysis.similarity import cross_validated_cca, one_hot
from benchmarks.contest import peak_memory
from mockingjay.upstreams.base import Upstream
from tests.helpers.original_cca import original_extraction, original_procedure
from utility.threads import blas_in_the_calling_thread

SHIFT, OFFSET = 0.02, 0.0125  # seconds: of wav2vec 2.0 and its like
POOL = 2048  # different rows of noise
RESAMPLES = 200
Scores = dict[str, list[float]]  # cca_phone and cca_mel: a score for each layer


@dataclass(frozen=True)
class Task:
    """Utterances of so many frames, in which every phone is said once."""

    layers: int = 12
    width: int = 768
    utterances: int = 200
    frames: int = 450
    phones: int = 39
    bands: int = 80

    @property
    def labels(self) -> tuple[str, ...]:
        """T0 ..."""
        return tuple(f"T{number}" for number in range(self.layers))

    @cached_property
    def noise(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((POOL, self.width), np.float32)

    @cached_property
    def means(self) -> np.ndarray:
        """Of the phones' frames."""
        return 0.3 * np.random.default_rng(1).standard_normal((self.phones, self.width), np.float32)

    @property
    def length(self) -> int:
        """Frames of a phone."""
        return self.frames // self.phones

    def order(self, index: int) -> np.ndarray:
        """The phones of an utterance [phones]."""
        return np.random.default_rng([2, index]).permutation(self.phones)

    def states(self, index: int, layer: int) -> np.ndarray:
        """Of an utterance, float32 [frames, width]."""
        start = (7919 * index + 104729 * layer) % POOL
        rows = (start + np.arange(self.frames)) % POOL
        phones = np.repeat(self.order(index), self.length)
        states = self.noise[rows]
        states[: len(phones)] += self.means[phones] / (1 + 0.1 * layer)
        return states

    def mel(self, index: int) -> np.ndarray:
        """The filterbank's frames of an utterance, float32 [frames, bands]."""
        start = (6007 * index) % POOL
        rows = (start + np.arange(self.frames)) % POOL
        return self.noise[rows][:, -self.bands :] + 0.5 * self.states(index, 0)[:, : self.bands]

    def times(self) -> np.ndarray:
        """Centres of the frames in seconds."""
        return OFFSET + SHIFT * np.arange(self.frames)

    def tokens(self) -> Tokens:
        """All phones of all utterances, whose edges lie between frames."""
        edges = OFFSET - SHIFT / 2 + SHIFT * self.length * np.arange(self.phones + 1)
        names = [f"p{number:02}" for number in range(self.phones)]
        return tokens_of(
            (f"u{index:04}", list(zip(edges[:-1].tolist(), edges[1:].tolist(), (names[k] for k in self.order(index)))))
            for index in range(self.utterances)
        )


class Synthetic(Upstream):
    """What collectors ask of an upstream."""

    takes = "waveform"

    def __init__(self, task: Task):
        super().__init__()
        self.layers, self.hidden_size = task.labels, task.width

    def times(self, label: str | None = None) -> tuple[float | None, float | None]:
        return SHIFT, OFFSET


@dataclass(frozen=True)
class Ours:
    """One pass with the collectors, then all scores, with intervals where `groups` are resampled."""

    task: Task
    groups: int = CcaConfig().groups
    memory_mib: float = CcaConfig().memory_mib

    def __call__(self, folder: Path) -> Scores:
        task, config = self.task, AnalysisConfig()
        subject = Subject("synthetic", Synthetic(task), cast(Any, None))
        tokens, places = task.tokens(), np.arange(task.utterances)
        durations = np.full(task.utterances, task.frames * SHIFT + OFFSET)
        drawn = DrawnTokens(tokens, places, durations, Cut("middle_third"))
        numbers = task.layers * (packed_size(task.width) + task.width * task.bands)
        trials = config.cca.trials
        spare = int(self.memory_mib * 2**20) - 8 * numbers * (1 + 2 * trials)
        resampled = min(self.groups, trials + more_sets(self.memory_mib, spare, 8 * numbers))
        frame_folds = divide(places, np.random.default_rng(0), resampled=resampled)
        times = task.times()
        views = FrameViews(
            sets=dict(enumerate(frame_folds.set_of_unit.tolist())),
            num_sets=frame_folds.num_sets,
            mel=lambda index: (task.mel(index), times),
            mel_width=task.bands,
        )
        collectors: list[PooledTokens | FrameMoments] = [
            PooledTokens(folder, subject, task.labels, drawn),
            FrameMoments(folder, subject, task.labels, views),
        ]
        for index in range(task.utterances):
            states = {label: task.states(index, layer) for layer, label in enumerate(task.labels)}
            for collector in collectors:
                collector.add(index, states)
        for collector in collectors:
            collector.finish()
        del collectors, collector
        view = one_hot([tokens.classes[k] for k in tokens.labels], tokens.classes)
        token_folds = divide(
            tokens.table["utterance"], np.random.default_rng(0), labels=tokens.labels, resampled=self.groups
        )
        scores: Scores = {"cca_phone": [], "cca_mel": []}
        for label in task.labels:
            means = np.load(folder / f"{label}.npy", mmap_mode="r")
            sums = Moments(with_reference({label: task.width}, "phones", task.phones, token_folds.num_sets))
            for low in range(0, len(means), ROWS):
                rows = slice(low, low + ROWS)
                sums.add({label: means[rows], "phones": view[rows]}, token_folds.set_of_unit[rows])
            scores["cca_phone"].append(self._score(sums, label, "phones", token_folds, config))
            frames = load_moments(folder / "0.npz", (label, MEL))
            scores["cca_mel"].append(self._score(frames, label, MEL, frame_folds, config))
        return scores

    def _score(self, sums: Moments, label: str, view: str, folds: Division, config: AnalysisConfig) -> float:
        similarity = cross_validated_cca(sums, label, view, folds.trials, config.cca.settings)
        return score_of(similarity, np.random.default_rng(0), RESAMPLES if self.groups else 0).score


@dataclass(frozen=True)
class OriginalExtraction:
    """Every utterance through numpy lists, then a file for each layer."""

    task: Task

    def __call__(self, folder: Path) -> Scores:
        task = self.task
        outer = (task.length + 1) // 3  # frames that the middle third loses at either end
        starts = task.length * np.arange(task.phones)
        segments = [(start + outer, start + task.length - outer) for start in starts.tolist()]
        folders = folder / "frames", folder / "phones"
        original_extraction(range(task.utterances), task.layers, task.states, lambda index: segments, *folders)
        return {}


@dataclass(frozen=True)
class OriginalScores:
    """18 fits for each layer and experiment, from the files of the extraction."""

    task: Task

    def __call__(self, folder: Path) -> Scores:
        task, tokens = self.task, self.task.tokens()
        view = one_hot([tokens.classes[k] for k in tokens.labels], tokens.classes)
        mel = np.concatenate([task.mel(index) for index in range(task.utterances)])
        scores: Scores = {"cca_phone": [], "cca_mel": []}
        for layer in range(task.layers):
            states = np.load(folder / "phones" / f"layer_{layer}.npy")
            made = original_draws(len(view), tokens.labels)
            scores["cca_phone"].append(_original_score(states, view, made, folder / f"phone{layer}"))
            states = np.load(folder / "frames" / f"layer_{layer}.npy")
            made = original_draws(len(mel), None)
            scores["cca_mel"].append(_original_score(mel, states, made, folder / f"mel{layer}"))
        return scores


Draws = tuple[np.ndarray, np.ndarray, list[tuple[tuple[float, float], ...]]]


def original_draws(count: int, labels: np.ndarray | None) -> Draws:
    """The part of each sample, the pairs of parts, and the pairs of epsilons that each trial tries."""
    generator = np.random.default_rng(0)
    folds, pairs = original_folds(count, generator, labels), draw_pairs(generator)
    return folds, pairs, [original_epsilons(generator)[:TRIES] for _ in pairs]


def _original_score(one: np.ndarray, other: np.ndarray, made: Draws, folder: Path) -> float:
    folder.mkdir()
    return original_procedure(one, other, *made, folder).score


@dataclass(frozen=True)
class Measured:
    """Seconds by the clock and of the processor, most memory beyond an idle process in MiB, and the scores."""

    seconds: float
    processor: float
    memory: float
    scores: Scores


def measured(work: Callable[[Path], Scores], folder: Path) -> Measured:
    """Do some work once, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=_serve, args=(work, folder, there))
    worker.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise RuntimeError(f"{type(work).__name__}: its process ended, see its error above") from None
    finally:
        worker.join()


def _serve(work: Callable[[Path], Scores], folder: Path, pipe: Connection) -> None:
    idle, start, processor = peak_memory(), time.perf_counter(), time.process_time()
    with blas_in_the_calling_thread() if isinstance(work, Ours) else nullcontext():
        scores = work(folder)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    pipe.send(Measured(seconds, processor, peak_memory() - idle, scores))


@dataclass(frozen=True)
class Comparison:
    """The original's procedure, as long as all layers take it, and ours."""

    layers: int  # of the original that were measured
    extraction: Measured
    scoring: Measured
    ours: Measured
    lean: Measured  # without intervals
    scale: float

    @property
    def seconds(self) -> float:
        """The original's, of all layers."""
        return self.scale * (self.extraction.seconds + self.scoring.seconds)

    @property
    def processor(self) -> float:
        """Likewise."""
        return self.scale * (self.extraction.processor + self.scoring.processor)

    @property
    def memory(self) -> float:
        """Its extraction holds all layers, its scores one."""
        return max(self.scale * self.extraction.memory, self.scoring.memory)


def compare(task: Task, layers: int) -> Comparison:
    """Measure both; the original's procedure on the first `layers` layers."""
    if not 1 <= layers <= task.layers:
        raise ValueError(f"--layers {layers}: expected 1 to {task.layers}")
    some = replace(task, layers=layers)
    folders = [Path(tempfile.mkdtemp()) for _ in range(3)]
    extraction, scoring = (measured(work, folders[0]) for work in (OriginalExtraction(some), OriginalScores(some)))
    ours, lean = measured(Ours(task), folders[1]), measured(Ours(task, groups=0), folders[2])
    return Comparison(layers, extraction, scoring, ours, lean, task.layers / layers)


def rows(task: Task, layers: int) -> Iterator[tuple[str, float, str, float | None, float]]:
    """Stage, figure, unit, how many times the original takes as long, and memory."""
    found = compare(task, layers)
    of = f"{task.layers} layers of {task.width}, cca_phone and cca_mel"
    said = f"{of}: original, {layers} measured, times {found.scale:g}"
    yield said, found.seconds, "s", None, found.memory
    yield f"{said}, processor", found.processor, "s", None, found.memory
    for name, one in {"ours": found.ours, "ours without intervals": found.lean}.items():
        yield f"{of}: {name}", one.seconds, "s", found.seconds / one.seconds, one.memory
        yield f"{of}: {name}, processor", one.processor, "s", found.processor / one.processor, one.memory
        yield f"{of}: memory of the original beside {name}", found.memory / one.memory, "times", None, one.memory
