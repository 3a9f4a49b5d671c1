"""What a batch is cut from: pieces of utterances, whole ones, or their means, each with its target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from downstream.config import DataConfig, ProbeConfig
from downstream.splits import Indices
from utility.labels.alignment import IGNORE
from utility.loader import Source, Target
from utility.store.reading import Store
from utility.temporary_array import TemporaryArray

BLOCK = 1 << 14  # utterances cut into pieces at once
EVAL_FRAMES = 3000  # of a batch of frozen hidden states


@dataclass(frozen=True)
class Use:
    """What examples are for: the config, whether the probe is trained on them, and whether the upstream is too."""

    data: DataConfig
    training: bool = False
    fine_tune: bool = False
    probe: ProbeConfig = field(default_factory=ProbeConfig)


class Examples(Source, Protocol):
    """What a loader fills batches from."""

    @property
    def target(self) -> Target:
        """What goes with each."""

    @property
    def crop(self) -> int | None:
        """A longer one gives a random piece of so many frames in training; None: all are read whole."""

    def batch_frames(self, use: Use) -> int:
        """Frames of a batch of frozen hidden states, padding included."""


FrameLabels = Callable[[int, int, int], np.ndarray]  # utterance, first frame, end -> [frames]
UtteranceLabel = Callable[[int], np.ndarray | np.generic]  # utterance -> its label: a scalar, or an array [...]


class Frames:
    """Consecutive stores as a probe reads them: of frames [T, ...] what `pick` makes of them.

    With `ids` the corpus has these, of which the stores may lack some: those that have no frame."""

    def __init__(
        self,
        stores: Sequence[Store],
        pick: Callable[[np.ndarray], np.ndarray] | None = None,
        ids: Sequence[str] | None = None,
    ):
        self.stores, self.pick = list(stores), pick
        self.ends = np.cumsum([len(store) for store in self.stores])
        stored = [key for store in self.stores for key in store.ids]
        lengths = np.concatenate([store.lengths for store in self.stores])
        self.ids = stored if ids is None else list(ids)
        if self.ids == stored:
            self.rows, self.lengths = np.arange(len(stored)), lengths
        else:
            number = {key: row for row, key in enumerate(stored)}
            self.rows = np.array([number.get(key, -1) for key in self.ids])
            self.lengths = np.where(self.rows < 0, 0, lengths[self.rows])

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of utterance `index`, [stop - start, D], of several layers [..., n, D].

        float32; without `pick` float16 where the store holds that."""
        row = int(self.rows[index])
        number = int(np.searchsorted(self.ends, row, side="right"))
        store = self.stores[number]
        frames = store.read(row - int(self.ends[number]) + len(store), start, stop)
        return frames if self.pick is None else self.pick(frames.astype(np.float32, copy=False))


class Sound:
    """Recordings as an upstream that is tuned reads them: each whole, with the frames of its states."""

    def __init__(self, ids: Sequence[str], lengths: np.ndarray, whole: Callable[[int], np.ndarray]):
        self.ids, self.lengths, self.whole = ids, lengths, whole

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        """The waveform [n] of utterance `index`."""
        assert (start, stop) == (0, self.lengths[index]), "what tunes an upstream is read whole"
        return self.whole(index)


class Unread:
    """Utterances of these lengths whose frames nobody looks at: how many batches they give is asked for."""

    def __init__(self, ids: Sequence[str], lengths: np.ndarray):
        self.ids, self.lengths = ids, lengths

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        """Zeros, [stop - start, 1]."""
        return np.zeros((stop - start, 1), np.float32)


class Pieces:
    """Utterances, or pieces of them, with a label for every frame: each labelled frame is in exactly one piece.

    Utterances are cut evenly into pieces of at most `size` frames. A piece is read with up to `reach` frames on either
    side, which get no label, so that a classifier with context sees what it would see in the whole utterance."""

    crop = None

    def __init__(self, frames: Source, labels: FrameLabels, chosen: Indices, size: int | None = None, reach: int = 0):
        self.frames, self.labels, self.reach = frames, labels, reach
        self.chosen = np.asarray(chosen, dtype=np.int64)
        self.whole = frames.lengths[self.chosen]
        self.counts = np.ones_like(self.whole) if size is None else -(-self.whole // size)
        self.ends = np.cumsum(self.counts)
        blocks = range(0, len(self.chosen), BLOCK)
        self.lengths = np.concatenate([self._lengths(slice(begin, begin + BLOCK)) for begin in blocks])
        self.ids = [frames.ids[index] for index, count in zip(chosen, self.counts.tolist()) for _ in range(count)]
        self.target = Target(self._labels, IGNORE)

    def batch_frames(self, use: Use) -> int:
        """A batch is counted in frames; what is only read may be larger."""
        return _batch_frames(use)

    def read(self, piece: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of a piece."""
        index, (low, *_) = self._piece(piece)
        return self.frames.read(index, low + start, low + stop)

    def _labels(self, piece: int) -> np.ndarray:
        index, (low, start, stop, high) = self._piece(piece)
        labels = np.full(high - low, IGNORE, dtype=np.int64)
        labels[start - low : stop - low] = self.labels(index, start, stop)
        return labels

    def _lengths(self, block: slice) -> np.ndarray:
        """Frames to be read of every piece of some utterances; not of all at once, for the arrays are large."""
        counts = self.counts[block]
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        whole, counts = np.repeat(self.whole[block], counts), np.repeat(counts, counts)
        start, stop = number * whole // counts, (number + 1) * whole // counts
        return np.minimum(stop + self.reach, whole) - np.maximum(start - self.reach, 0)

    def _piece(self, piece: int) -> tuple[int, tuple[int, int, int, int]]:
        """The utterance, and where in it the piece begins to be read, begins, ends, and ends to be read."""
        utterance = int(self.ends.searchsorted(piece, side="right"))
        whole, count = int(self.whole[utterance]), int(self.counts[utterance])
        number = int(piece) - int(self.ends[utterance]) + count
        start, stop = number * whole // count, (number + 1) * whole // count
        return int(self.chosen[utterance]), (max(start - self.reach, 0), start, stop, min(stop + self.reach, whole))


class Wholes:
    """Whole utterances with one label each, or with `own_length` a sequence of them; in training random pieces of those
    longer than `crop` frames."""

    def __init__(
        self,
        frames: Source,
        label: UtteranceLabel,
        chosen: Indices,
        crop: int | None = None,
        own_length: bool = False,
    ):
        self.frames, self.chosen, self.crop = frames, [int(index) for index in chosen], crop
        self.lengths = frames.lengths[self.chosen]
        self.ids = [frames.ids[index] for index in self.chosen]
        self.target = Target(lambda number: label(self.chosen[number]), own_length=own_length)

    def batch_frames(self, use: Use) -> int:
        """A batch is counted in frames; what is only read may be larger."""
        return _batch_frames(use)

    def read(self, number: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of the utterance that was chosen as `number`."""
        return self.frames.read(self.chosen[number], start, stop)


class Means:
    """Utterances as their mean frame, each [1, D] or [1, L + 1, H], with one label each.

    The mean of a weighted sum of layers is the weighted sum of their means, so frozen features are pooled only once.
    """

    crop = None

    def __init__(self, frames: Source, label: UtteranceLabel, chosen: Indices):
        whole = Wholes(frames, label, chosen)
        self.ids, self.target = whole.ids, whole.target
        self.lengths = np.ones(len(whole.ids), dtype=np.int64)
        for number in range(len(whole.ids)):
            rows = whole.read(number, 0, int(whole.lengths[number])).astype(np.float32, copy=False)
            mean = rows.mean(axis=0, dtype=np.float64)
            if number == 0:
                self.means = TemporaryArray(np.float32, mean.shape)
            self.means.append(mean)

    def batch_frames(self, use: Use) -> int:
        """A batch is counted in utterances: each is one frame."""
        return use.data.batch_utterances

    def read(self, number: int, start: int, stop: int) -> np.ndarray:
        """The one mean frame of the utterance that was chosen as `number`."""
        return self.means.read(number + start, number + stop)


def _batch_frames(use: Use) -> int:
    return use.data.batch_frames if use.training else max(use.data.batch_frames, EVAL_FRAMES)
