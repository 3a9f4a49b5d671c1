"""What a probe is trained on: frames from a store with labels from an alignment or from the speaker column."""

import tempfile
from collections.abc import Sequence

import numpy as np

from utility.alignment import IGNORE, Alignment
from utility.loader import Target
from utility.store import Store


class Frames:
    """Consecutive stores as a probe reads them: of stored hidden states [T, L + 1, H] one layer, or all (None)."""

    def __init__(self, stores: Sequence[Store], layer: int | None):
        self.stores, self.layer = list(stores), layer
        self.ends = np.cumsum([len(store) for store in self.stores])
        self.ids = [key for store in self.stores for key in store.ids]
        self.lengths = np.concatenate([store.lengths for store in self.stores])

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of utterance `index`, float32 [stop - start, D], with all layers [..., L + 1, H]."""
        place = int(np.searchsorted(self.ends, index, side="right"))
        store = self.stores[place]
        frames = store.read(index - int(self.ends[place]) + len(store), start, stop)
        return frames[:, self.layer] if frames.ndim == 3 and self.layer is not None else frames


class PhoneLabels:
    """The phone of every frame of the chosen utterances, at the store's own frame times.

    The labels lie in a temporary file that is mapped into memory, so that memory does not grow with the corpus."""

    def __init__(self, store: Store, alignment: Alignment, chosen: Sequence[int]):
        self.classes = alignment.labels
        lengths = store.lengths[chosen]
        ends = np.cumsum(lengths)
        self.start = dict(zip(map(int, chosen), (ends - lengths).tolist()))
        self.values = np.memmap(tempfile.TemporaryFile(), np.int16, "w+", shape=(int(ends[-1]),))  # noqa: SIM115
        self.seen = np.zeros(len(self.classes), dtype=np.int64)
        rate = store.info.features.sample_rate if store.info.features else None
        for index, end in zip(map(int, chosen), ends.tolist()):
            samples = int(store.num_samples[index])
            duration = samples / rate if rate and samples else None
            labels = alignment.frame_labels(store.ids[index], store.frame_times(index), duration)
            self.values[end - len(labels) : end] = labels
            self.seen += np.bincount(labels[labels != IGNORE], minlength=len(self.classes))

    def frames(self, index: int, start: int, stop: int) -> np.ndarray:
        """Class of frames `start` to `stop`, int64; IGNORE where the alignment has no segment."""
        begin = self.start[index]
        return self.values[begin + start : begin + stop].astype(np.int64)


class SpeakerLabels:
    """The speaker of each chosen utterance, as an index into `classes`, the sorted speakers of the training part."""

    def __init__(self, store: Store, classes: Sequence[str], chosen: Sequence[int]):
        self.classes = list(classes)
        codes = {name: code for code, name in enumerate(self.classes)}
        self.code = {int(index): codes[store.speakers[index]] for index in chosen}
        self.seen = np.zeros(len(self.classes), dtype=np.int64)
        for index, code in self.code.items():
            self.seen[code] += int(store.lengths[index])

    def frames(self, index: int, start: int, stop: int) -> np.ndarray:
        """The speaker at every frame `start` to `stop`, int64."""
        return np.full(stop - start, self.code[index], dtype=np.int64)

    def utterance(self, index: int) -> np.ndarray:
        """The speaker, a scalar int64."""
        return np.int64(self.code[index])


Labels = PhoneLabels | SpeakerLabels


class Pieces:
    """Utterances, or pieces of them, with a label for every frame: each labelled frame is in exactly one piece.

    Utterances are cut evenly into pieces of at most `size` frames. A piece is read with up to `reach` frames on either
    side, which get no label, so that a classifier with context sees what it would see in the whole utterance."""

    def __init__(self, frames: Frames, labels: Labels, chosen: Sequence[int], size: int | None = None, reach: int = 0):
        self.frames, self.labels = frames, labels
        rows = []
        for index in map(int, chosen):
            length = int(frames.lengths[index])
            count = -(-length // (size or length))
            edges = np.arange(count + 1) * length // count
            start, stop = edges[:-1], edges[1:]
            low, high = np.maximum(start - reach, 0), np.minimum(stop + reach, length)
            rows.append(np.stack([np.full(len(start), index), low, start, stop, high], axis=1))
        self.table = np.concatenate(rows)
        self.lengths = self.table[:, 4] - self.table[:, 1]
        self.ids = [frames.ids[index] for index in self.table[:, 0]]
        self.target = Target(self._labels, IGNORE)

    def read(self, piece: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of a piece."""
        index, low = self.table[piece, :2].tolist()
        return self.frames.read(index, low + start, low + stop)

    def _labels(self, piece: int) -> np.ndarray:
        index, low, start, stop, high = self.table[piece].tolist()
        labels = np.full(high - low, IGNORE, dtype=np.int64)
        labels[start - low : stop - low] = self.labels.frames(index, start, stop)
        return labels


class Wholes:
    """Whole utterances with one label each."""

    def __init__(self, frames: Frames, labels: SpeakerLabels, chosen: Sequence[int]):
        self.frames, self.chosen = frames, [int(index) for index in chosen]
        self.lengths = frames.lengths[self.chosen]
        self.ids = [frames.ids[index] for index in self.chosen]
        self.target = Target(lambda place: labels.utterance(self.chosen[place]))

    def read(self, place: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of an utterance."""
        return self.frames.read(self.chosen[place], start, stop)


class Means:
    """Utterances as their mean frame, each [1, D] or [1, L + 1, H], with one label each.

    The mean of a weighted sum of layers is the weighted sum of their means, so frozen features are pooled only once;
    the means lie in a temporary file that is mapped into memory."""

    def __init__(self, frames: Frames, labels: SpeakerLabels, chosen: Sequence[int]):
        whole = Wholes(frames, labels, chosen)
        self.ids, self.target = whole.ids, whole.target
        self.lengths = np.ones(len(whole.ids), dtype=np.int64)
        for place in range(len(whole.ids)):
            mean = whole.read(place, 0, int(whole.lengths[place])).mean(axis=0, dtype=np.float64)
            if place == 0:
                shape = (len(whole.ids), 1, *mean.shape)
                self.values = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=shape)  # noqa: SIM115
            self.values[place, 0] = mean

    def read(self, place: int, start: int, stop: int) -> np.ndarray:
        """The one mean frame of an utterance."""
        return np.array(self.values[place, start:stop])


Examples = Pieces | Wholes | Means
