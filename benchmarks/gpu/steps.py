"""Training steps: how fast, by what share of the device's products, and where the host waits."""

import itertools
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.limits import large_product
from benchmarks.gpu.table import Figures, Measurement, Scale
from benchmarks.loading import librispeech_lengths
from benchmarks.steps import APC, BASE_1, LARGE, TERA, Shape, operations
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.run import pretraining
from utility.batches import AnyBatch, Batch
from utility.device import claim_device
from utility.loader import Loader, Position, Target
from utility.training.optimization import decay_groups
from utility.training.trainer import Run, Trainer, Training

SHAPES = (BASE_1, LARGE, TERA, APC)
DATA_SHEET = 989.0  # TFLOP/s of bf16, dense, of a H100 or H200 (SXM)
BATCHES = 4  # different ones, taken in turn
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Noise:
    """Utterances of noise in memory, cut from one stretch: a source of batches."""

    lengths: np.ndarray
    frames: np.ndarray

    @classmethod
    def of(cls, lengths: np.ndarray, dim: int) -> "Noise":
        """Utterances of these lengths, a frame of `dim` values."""
        return cls(lengths, np.random.default_rng(0).standard_normal((int(lengths.max()) + 1024, dim), np.float32))

    @property
    def ids(self) -> Sequence[str]:
        """Their names."""
        return [f"u{number}" for number in range(len(self.lengths))]

    def read(self, index: int, start: int, stop: int, /) -> np.ndarray:
        """Some frames of an utterance."""
        return self.frames[index % 1024 + start : index % 1024 + stop]


@dataclass(frozen=True)
class Way:
    """A way to compute the steps of a shape."""

    shape: Shape
    budget: int
    packed: bool = False
    compiled: bool = False
    more: str | None = None  # a key of `speed`, with its value

    @property
    def name(self) -> str:
        """In words."""
        words = ["packed" if self.packed else "padded", *(["compiled"] if self.compiled else [])]
        words += [] if self.more is None else [self.more]
        return f"{self.shape.name}, {self.budget:,} frames, {', '.join(words)}"

    def config(self, scale: Scale) -> PretrainConfig:
        """The shape's config on batches of the budget."""
        words = [f"loader.batch_frames={self.budget}", f"speed.packed={self.packed}", f"speed.compile={self.compiled}"]
        words += [] if self.more is None else [f"speed.{self.more}"]
        return self.shape.resolved(*words, "trainer.accumulation=1", *scale.words)

    def trainer(self, scale: Scale) -> Trainer:
        """A trainer of the project on utterances as long as LibriSpeech's."""
        config, shape = self.config(scale), self.shape
        claim_device(cpu=not scale.gpu, precision=config.trainer.precision)
        lengths = np.minimum(librispeech_lengths(8000 if scale.gpu else 100), 10**9 if scale.gpu else 150)
        loader = Loader(Noise.of(lengths, shape.input_dim), config.loader, target=self._target(lengths))
        model = new_model(config, shape.input_dim, shape.target_dim or shape.input_dim, 0)
        objective = pretraining(model, config, scale.device)

        def step(batch: AnyBatch, generator: torch.Generator) -> Mapping[str, Tensor]:
            assert isinstance(batch, Batch), "the source holds features"
            return objective.step(batch, generator)

        folder = Path(tempfile.gettempdir())
        run = Run(folder, folder, "step", "pretrain", {}, 0, scale.device, quiet=True)
        groups = decay_groups(model.named_parameters(), config.optimizer.decay)
        return Trainer(Training(model, step, loader, groups), config.trainer, config.optimizer, run)

    def _target(self, lengths: np.ndarray) -> Target | None:
        if not self.shape.target_dim:
            return None
        frames = Noise.of(lengths, self.shape.target_dim)
        return Target(lambda index: frames.read(index, 0, int(lengths[index])))

    def operations(self, scale: Scale, batch: AnyBatch) -> float:
        """Floating-point operations of an update on the real frames of a batch: products, forward and back."""
        config, shape = self.config(scale), self.shape
        tokens = np.maximum(batch.lengths.numpy() // config.model.downsample_rate, 1)
        return 3 * operations(config, tokens, shape.input_dim, shape.target_dim or shape.input_dim)


def steps(scale: Scale) -> Iterator[Measurement]:
    """Updates of each shape, padded and packed, then compiled; large batches first, as all may not fit."""
    for way in ways(sorted(scale.budgets, reverse=True)):
        yield Measurement(way.name, 25 if way.compiled else 8, partial(_measured, way, scale))


def ways(budgets: Sequence[int]) -> Iterator[Way]:
    """Ways to compute the shapes, the largest of `budgets` first."""
    for budget, compiled in itertools.product(budgets, (False, True)):
        if compiled:  # what should pay most: half the bytes in large batches, no launches in small ones
            large = budget == budgets[0]
            yield Way(BASE_1, budget, large, compiled, "residual=bf16" if large else "graphs=True")
        for shape, packed in itertools.product(SHAPES, (False, True)):
            if shape is not APC or not (packed or compiled):  # a GRU is neither
                yield Way(shape, budget, packed, compiled)


def waits(scale: Scale) -> Iterator[Measurement]:
    """Where the host waits for the device in an update: none is the aim."""
    for shape in SHAPES:
        way = Way(shape, min(scale.budgets))
        yield Measurement(shape.name, 4, partial(_waits, way, scale))


def _measured(way: Way, scale: Scale) -> Figures:
    if not scale.gpu and (way.packed or way.compiled):
        return {"result": "on CUDA only"}
    trainer, ring, batches = _ready(way, scale)
    if scale.gpu:
        torch.cuda.reset_peak_memory_stats(scale.device)
    start = time.perf_counter()
    for _ in range(2 * BATCHES):  # kernels are chosen, or made
        trainer.update(ring)
    scale.wait()
    first = time.perf_counter() - start
    rounds = BATCHES * (2 if scale.gpu else 1)
    start = time.perf_counter()
    for _ in range(rounds):
        trainer.update(ring)
    host = (time.perf_counter() - start) / rounds
    scale.wait()
    seconds = (time.perf_counter() - start) / rounds
    frames = sum(int(batch.lengths.sum()) for batch in batches) / BATCHES
    rate = sum(way.operations(scale, batch) for batch in batches) / BATCHES / seconds / 1e12
    found: dict[str, float | int | str] = {"frames/s": frames / seconds, "ms": 1000 * seconds, "host ms": 1000 * host}
    found |= {"TFLOP/s": rate, "% of a large product": 100 * rate / _peak(scale), "first updates s": first}
    if scale.gpu:
        found["% of the data sheet's 989"] = 100 * rate / DATA_SHEET
        found["peak GiB"] = torch.cuda.max_memory_allocated(scale.device) / 2**30
    return found | _profiled(trainer, ring, scale)


@cache
def _peak(scale: Scale) -> float:
    return large_product(scale)


def _ready(way: Way, scale: Scale) -> tuple[Trainer, Iterator[tuple[Position, AnyBatch]], list[AnyBatch]]:
    """A trainer, and some batches that come again and again."""
    trainer = way.trainer(scale)
    found = list(itertools.islice(trainer.training.loader.stream(pin=scale.gpu), BATCHES))
    return trainer, itertools.cycle(found), [batch for _, batch in found]


def _profiled(trainer: Trainer, ring: Iterator[tuple[Position, AnyBatch]], scale: Scale, rounds: int = 3) -> Figures:
    """Kernels of an update, and the share of the time in which the GPU had one."""
    if not scale.gpu:
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        for _ in range(rounds):
            trainer.update(ring)
        scale.wait()
        seconds = time.perf_counter() - start
    events = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [event for event in events if not event.is_user_annotation]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6
    return {"kernels": len(kernels) // rounds, "% GPU busy": 100 * busy / seconds}


def _waits(way: Way, scale: Scale) -> Figures:
    if not scale.gpu:
        return {"waits": "told on CUDA only"}
    trainer, ring, _ = _ready(way, scale)
    for _ in range(BATCHES):
        trainer.update(ring)
    scale.wait()
    places: Counter[str] = Counter()

    def note(message: Warning | str, *_: object, **__: object) -> None:
        if "synchroniz" in str(message):
            places[_line()] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.update(ring)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return {"waits": places.total(), **places}


def _line() -> str:
    """The line of the project that is running, as file:line."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(PROJECT) and not path.is_relative_to(PROJECT / "benchmarks"):
            return f"{path.relative_to(PROJECT)}:{frame.lineno}"
    return "?"
