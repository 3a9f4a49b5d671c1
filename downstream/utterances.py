"""The utterances of a corpus as a probe sees them: with the frames of the hidden states, not those of the store."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from downstream.sources import Corpus
from mockingjay.inputs import Inputs
from mockingjay.upstreams.base import Upstream
from utility.audio.headers import SCAN_THREADS
from utility.labels.table import LabelRows
from utility.labels.trials import TrialParts
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.store.recordings import Recordings


@dataclass(frozen=True)
class FramedUtterances:
    """The utterances of `corpus`, each with so many frames.

    `lengths` [U] are those of the states, 0 of an utterance too short for one. `durations` [U] are in seconds, NaN
    where nobody knows. `info` says when a frame is. `rows` is what `data.labels` says of them, if there is any;
    `trials` are those of `data.trials`."""

    corpus: Corpus
    lengths: np.ndarray
    durations: np.ndarray
    info: StoreInfo
    rows: LabelRows | None = None
    trials: TrialParts | None = None

    @classmethod
    def of(cls, corpus: Corpus) -> "FramedUtterances":
        """Those of an upstream of features: its states have the frames of the features."""
        return cls(corpus, corpus.lengths, corpus.info.durations(corpus.num_samples), corpus.info)

    @classmethod
    def heard(cls, upstream: Upstream, corpus: Corpus, label: str, samples: np.ndarray) -> "FramedUtterances":
        """Those of an upstream of waveforms, whose recordings have so many `samples` [U] at its rate."""
        shift, offset = upstream.times(label)
        assert shift is not None, "waveforms have a clock"
        assert upstream.sample_rate is not None, "and a rate"
        info = replace(corpus.info, features=None, frame_shift=shift, frame_offset=offset)
        frames = Inputs(upstream, corpus, label, samples).frames
        return cls(corpus, frames, samples / upstream.sample_rate, info)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def ids(self) -> list[str]:
        """Utterance ids [U]."""
        return self.corpus.ids

    @property
    def speakers(self) -> list[str]:
        """Speaker of each utterance [U]; empty where unknown."""
        return self.corpus.speakers

    @property
    def recorded(self) -> bool:
        """Whether they are recordings, of which no store was made."""
        return isinstance(self.corpus, Recordings)

    def frame_times(self, index: int) -> np.ndarray:
        """Centres of the frames of an utterance in seconds, float64 [T]."""
        if np.isnan(self.info.frame_shift):
            assert isinstance(self.corpus, Store), "recordings have a clock"
            return self.corpus.frame_times(index)  # says what is missing
        return self.info.frame_times(int(self.lengths[index]))

    @cached_property
    def key(self) -> tuple[float, float, str]:
        """What tells these frames from those of another upstream, or layer, of the same utterances."""
        digest = hashlib.sha256(self.lengths.astype("<i8").tobytes()).hexdigest()
        return self.info.frame_shift, self.info.frame_offset or 0.0, digest


def check_readable(upstream: Upstream, corpus: Corpus, samples: np.ndarray) -> None:
    """Raise ValueError where a recording is not there, or is broken, and so has no `samples` [U]."""
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        there = np.fromiter(pool.map(os.path.isfile, corpus.audio_paths), bool, len(corpus))
    broken = np.flatnonzero(~there | (samples == 0))
    if len(broken):
        first, hint = int(broken[0]), ""
        reason = f"{corpus.audio_paths[first]} is not there"
        if there[first]:
            reason = Inputs(upstream, corpus, None, samples).reason(first)
        if isinstance(corpus, Store):
            hint = ": this upstream takes waveforms; audio_root in features.yaml says where those of a store are"
        raise ValueError(f"{len(broken)} of {len(corpus)} recordings cannot be used, {reason} for one{hint}")
