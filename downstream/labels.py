"""Where answers come from: an alignment, or the speaker column."""

from collections.abc import Sequence

import numpy as np

from utility.labels.alignment import IGNORE, Alignment
from utility.spool import Spool
from utility.store.reading import Store


class PhoneLabels:
    """The phone of every frame of the chosen utterances, at the store's own frame times."""

    def __init__(self, store: Store, alignment: Alignment, chosen: Sequence[int]):
        self.classes = alignment.labels
        lengths = store.lengths[chosen]
        self.start = dict(zip(map(int, chosen), (np.cumsum(lengths) - lengths).tolist()))
        self.spool = Spool(np.int16)
        self.seen = np.zeros(len(self.classes), dtype=np.int64)
        rate = store.info.features.sample_rate if store.info.features else None
        for index in map(int, chosen):
            samples = int(store.num_samples[index])
            duration = samples / rate if rate and samples else None
            labels = alignment.frame_labels(store.ids[index], store.frame_times(index), duration)
            self.spool.append(labels)
            self.seen += np.bincount(labels[labels != IGNORE], minlength=len(self.classes))

    def frames(self, index: int, start: int, stop: int) -> np.ndarray:
        """Class of frames `start` to `stop`, int64; IGNORE where the alignment has no segment."""
        begin = self.start[index]
        return self.spool.read(begin + start, begin + stop).astype(np.int64)


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
