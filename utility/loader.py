"""Batches filled to a budget of frames; their order is a pure function of (seed, epoch), their position resumable."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
import pydantic
import torch
from torch import Tensor

from utility.batches import AnyBatch, Batch, Waveforms, pad
from utility.config import section
from utility.seeds import numpy_generator
from utility.threads import side_by_side, take_one_core

AUTO = "auto"
AHEAD = 2  # batches for each thread that reads ahead
WORKERS = 4  # threads that feed a GPU
BUCKET_NOISE = 0.03  # lengths are compared up to this share, so that batches differ between epochs


class Position(NamedTuple):
    """The next batch of an endless stream: `batch` counts within `epoch`."""

    epoch: int
    batch: int


START = Position(0, 0)
Key = tuple[Position, Position, np.ndarray]  # this position, the next one, and the utterances of a batch


class Source(Protocol):
    """What batches are made of: a `Store`, or anything that answers like one.

    `lengths` are in frames; of some of them `read` gives an array [frames, ...], or a waveform [n] that has as many:
    float32, or float16 where that is what is stored."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def lengths(self) -> np.ndarray: ...

    def read(self, index: int, start: int, stop: int, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Target:
    """What goes with an utterance: `read(index)` gives a label or an array [T, ...], `fill` stands on padding.

    An array has the utterance's frames, and is cropped with them, from a multiple of `step` on; or it has a length of
    its own."""

    read: Callable[[int], np.ndarray | np.generic]
    fill: float = 0.0
    own_length: bool = False
    step: int = 1


@section
class LoaderConfig:
    """How batches are filled."""

    # Frames of a batch, padding included; auto: as many as the memory of the GPU affords, found before a training.
    batch_frames: Annotated[int, pydantic.Field(gt=0)] | Literal["auto"] = 9000
    max_frames: int | None = pydantic.Field(None, gt=0)  # longer utterances give a random crop when training
    # Padded lengths are multiples of this: few shapes, kernels made once.
    pad_multiple: int = pydantic.Field(1, ge=1, le=100_000)
    # Threads that read ahead; None: none on a CPU, 4 on CUDA, or a thread for each core where recordings are decoded.
    workers: int | None = pydantic.Field(None, ge=0, le=1000)

    @property
    def budget(self) -> int:
        """Frames of a batch, once they are known."""
        assert isinstance(self.batch_frames, int), "it is found before anything is read"
        return self.batch_frames


def frame_batches(lengths: np.ndarray, budget: int, rng: np.random.Generator | None) -> list[np.ndarray]:
    """Split all utterances into batches of at most `budget` frames, padding included; each appears exactly once.

    Utterances of like length go together; an utterance longer than the budget is a batch of its own. With `rng` the
    composition and the order of the batches are drawn from it, without they are fixed (longest first)."""
    noise = 1.0 if rng is None else rng.uniform(1 - BUCKET_NOISE, 1 + BUCKET_NOISE, len(lengths))
    order = np.argsort(-lengths * noise, kind="stable")
    batches, start, longest = [], 0, 0
    for end, length in enumerate(lengths[order].tolist()):
        longest = max(longest, length)
        if end > start and longest * (end - start + 1) > budget:
            batches.append(order[start:end])
            start, longest = end, length
    if start < len(order):
        batches.append(order[start:])
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def balanced_shares(classes: Sequence[int]) -> np.ndarray:
    """How probably each utterance is drawn so that all classes are drawn equally often: [U], their sum 1."""
    _, which, counts = np.unique(np.asarray(classes), return_inverse=True, return_counts=True)
    return 1 / (len(counts) * counts[which])


class Loader:
    """Batches of a corpus: `stream` without end for training, `once` for each utterance once, whole, in fixed order.

    They are `Waveforms` where the source reads `waveforms`, else a `Batch`. With `shares`, one of each utterance that
    is read, an epoch of `stream` draws as many utterances as there are, with replacement, as probably as these say."""

    def __init__(
        self,
        source: Source,
        config: LoaderConfig,
        seed: int = 0,
        target: Target | None = None,
        subset: np.ndarray | None = None,
        waveforms: bool = False,
        shares: np.ndarray | None = None,
    ):
        self.source, self.config, self.seed, self.target = source, config, seed, target
        self.waveforms, self.shares = waveforms, shares
        self.subset = np.arange(len(source.ids)) if subset is None else np.asarray(subset)
        if not len(self.subset):
            raise ValueError("the loader got no utterances")
        limit = config.max_frames or np.iinfo(np.int64).max
        self.lengths = np.asarray(source.lengths)[self.subset]
        self.cropped = np.minimum(self.lengths, limit)

    def stream(
        self, start: Position = START, rank: int = 0, world: int = 1, pin: bool = False
    ) -> Generator[tuple[Position, AnyBatch]]:
        """Endless training batches from `start` on, each with the position of the batch after it.

        Of `world` processes number `rank` gets every `world`-th batch, with the position after all of theirs; epochs
        follow each other without a gap, so that no process runs out before the others. For a GPU `pin` them."""
        return self._read(_Keys(self, start, rank, world), True, pin)

    def once(self, pin: bool = False) -> Iterator[AnyBatch]:
        """Every utterance once, uncropped, in an order that depends on the lengths alone; for a GPU `pin` them."""
        batches = frame_batches(self._rounded(self.lengths), self.config.budget, None)
        keys = [(START, START, self.subset[batch]) for batch in batches]
        return (batch for _, batch in self._read(keys, False, pin))

    def one(self, index: int) -> AnyBatch:
        """Utterance `index` of the source alone and whole."""
        whole = _Batches(self, LoaderConfig(), crop=False)
        return whole[START, START, np.array([index])][1]

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch as utterance indices."""
        rng = numpy_generator(self.seed, epoch)
        subset, cropped = self.subset, self.cropped
        if self.shares is not None:
            drawn = rng.choice(len(subset), len(subset), p=self.shares)
            subset, cropped = subset[drawn], cropped[drawn]
        batches = frame_batches(self._rounded(cropped), self.config.budget, rng)
        return [subset[batch] for batch in batches]

    def _rounded(self, lengths: np.ndarray) -> np.ndarray:
        return -(-lengths // self.config.pad_multiple) * self.config.pad_multiple

    def _workers(self, pin: bool) -> int:
        """How many threads read ahead."""
        if self.config.workers is not None:
            return self.config.workers
        if not pin:
            return 0
        return max(WORKERS, torch.get_num_threads()) if self.waveforms else WORKERS

    def _read(self, keys: Iterable[Key], crop: bool, pin: bool) -> Generator[tuple[Position, AnyBatch]]:
        """The batches of `keys`. Threads read ahead, not processes: reading and copying let other threads work, and a
        batch need not be copied from one process to another."""
        batches = _Batches(self, self.config, crop, half=pin)

        def made(key: Key) -> tuple[Position, AnyBatch]:
            following, batch = batches[key]
            return following, batch.pin_memory() if pin else batch

        workers = self._workers(pin)
        if not workers:
            yield from map(made, keys)
            return
        pool, rest = ThreadPoolExecutor(workers, "loader", initializer=take_one_core), iter(keys)
        ahead: deque[Future[tuple[Position, AnyBatch]]] = deque()
        try:
            ahead.extend(pool.submit(made, key) for key in islice(rest, AHEAD * workers))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(made, key) for key in islice(rest, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


class _Keys:
    """The endless keys that say what to read."""

    def __init__(self, loader: Loader, start: Position, rank: int, world: int):
        self.loader, self.start, self.rank, self.world = loader, start, rank, world

    def __iter__(self) -> Iterator[Key]:
        keys = self._all()
        while True:
            turn = list(islice(keys, self.world))
            here, _, indices = turn[self.rank]
            yield here, turn[-1][1], indices

    def _all(self) -> Iterator[Key]:
        epoch, first = self.start
        while True:
            batches = self.loader.epoch(epoch)
            for index in range(first, len(batches)):
                last = index + 1 == len(batches)
                following = Position(epoch + 1, 0) if last else Position(epoch, index + 1)
                yield Position(epoch, index), following, batches[index]
            epoch, first = epoch + 1, 0


class _Batches:
    """Reads and pads one batch; in any thread. With `half` what lies in float16 stays that."""

    def __init__(self, loader: Loader, config: LoaderConfig, crop: bool, half: bool = False):
        self.source, self.target, self.seed = loader.source, loader.target, loader.seed
        self.waveforms, self.half = loader.waveforms, half
        self.max_frames, self.multiple = config.max_frames if crop else None, config.pad_multiple

    def __getitem__(self, key: Key) -> tuple[Position, AnyBatch]:
        here, following, indices = key
        crops = [self._crop(here.epoch, index) for index in indices]
        spans = [(index, crop.start, crop.stop) for index, crop in zip(indices, crops)]
        threads = torch.get_num_threads() if self.waveforms else 1  # recordings are decoded
        rows = side_by_side(lambda span: self.source.read(*span), spans, threads)
        lengths = torch.tensor([crop.stop - crop.start for crop in crops])
        ids = [self.source.ids[index] for index in indices]
        targets = self._targets(indices, crops)
        if self.waveforms:
            counts = torch.tensor([len(row) for row in rows])
            return following, Waveforms(pad(rows), counts, lengths, ids, *targets)
        return following, Batch(pad(rows, 0.0, self.multiple, self.half), lengths, ids, *targets)

    def _targets(self, indices: np.ndarray, crops: Sequence[slice]) -> tuple[Tensor | None, Tensor | None]:
        """The target of a batch and, where it has its own, its lengths [B]."""
        if self.target is None:
            return None, None
        values = [np.asarray(self.target.read(index)) for index in indices]
        if self.target.own_length:
            return pad(values, self.target.fill, half=self.half), torch.tensor([len(value) for value in values])
        values = [value[crop] if value.ndim else value for value, crop in zip(values, crops)]
        return pad(values, self.target.fill, self.multiple, self.half), None

    def _crop(self, epoch: int, index: int) -> slice:
        length = int(self.source.lengths[index])
        if self.max_frames is None or length <= self.max_frames:
            return slice(0, length)
        step = 1 if self.target is None else self.target.step
        starts = (length - self.max_frames) // step + 1
        start = int(numpy_generator(self.seed, epoch, int(index)).integers(starts)) * step
        return slice(start, start + self.max_frames)
