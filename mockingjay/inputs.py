"""What upstreams take of a corpus: its features or the recordings behind it, read in batches."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mockingjay.upstreams.base import Upstream
from utility.audio.headers import SCAN_THREADS, recording_state
from utility.audio.waveform import AudioError, Span, audio_header, audio_length, read_audio
from utility.batches import pad
from utility.store.info import StoreInfo
from utility.threads import take_one_core

PAD_MULTIPLE = 64  # few shapes of batches, so that kernels are made once


class UtteranceSource(Protocol):
    """What is represented: a `Store`, or `Recordings`."""

    @property
    def paths(self) -> list[Path]: ...

    @property
    def info(self) -> StoreInfo: ...

    @property
    def ids(self) -> list[str]: ...

    @property
    def lengths(self) -> np.ndarray: ...

    @property
    def num_samples(self) -> np.ndarray: ...

    @property
    def speakers(self) -> list[str]: ...

    @property
    def audio_paths(self) -> list[Path]: ...

    @property
    def spans(self) -> list[Span]: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...

    def fingerprint(self, beside: Path | None = None, /) -> str: ...


def source_fingerprint(upstream: Upstream, corpus: UtteranceSource, beside: Path) -> str:
    """Changes with what the upstream takes of a corpus; for one of waveforms with ids, parts, sizes and times of the
    recordings alone, so that stores of other features share its states.

    `beside` is where digests of stores are kept that may only be read."""
    if upstream.takes == "features":
        return corpus.fingerprint(beside)
    digest = hashlib.sha256(json.dumps([corpus.ids, corpus.spans]).encode())
    digest.update(b"".join(map(recording_state, corpus.audio_paths)))
    return digest.hexdigest()[:16]


class Inputs:
    """What an upstream takes of a corpus: its features, or the recordings behind it; and the frames that the states of
    a label (None: of `layers`) will have. `samples` [U] at the upstream's rate, where they are known."""

    def __init__(
        self,
        upstream: Upstream,
        corpus: UtteranceSource,
        label: str | None = None,
        samples: np.ndarray | None = None,
    ):
        self.corpus, self.frames, self.sizes, self.read = corpus, corpus.lengths, corpus.lengths, corpus.__getitem__
        self.num_samples, self.rate, self.long = corpus.num_samples, None, np.zeros(len(corpus.lengths), bool)  # [U]
        if upstream.takes == "waveform":
            assert upstream.sample_rate is not None, "an upstream of waveforms says at which rate"
            self.rate, self.read = upstream.sample_rate, self._waveform
            self.field, self.longest, self.overlap = upstream.field(label), upstream.longest, upstream.overlap
            self.num_samples = self.sizes = self._all_samples() if samples is None else samples
            self.frames = upstream.num_frames(torch.tensor(self.sizes), label).numpy()
            if self.longest is not None:
                self.long = self.sizes > self.longest  # these go through the upstream in pieces

    def reason(self, index: int) -> str:
        """Why an utterance has no frames."""
        try:
            samples = len(self.read(index))
        except ValueError as error:
            return str(error)
        short_of = f": the upstream needs {max(self.field.size, 1)} at {self.rate} Hz" if self.rate else ""
        return f"no frames in {samples} samples{short_of}"

    def _all_samples(self) -> np.ndarray:
        """Samples of each utterance at the upstream's rate, int64 [U]; 0 where its file cannot be used."""
        if self.corpus.info.sample_rate == self.rate and self.corpus.num_samples.all():
            return self.corpus.num_samples
        paths = zip(self.corpus.audio_paths, self.corpus.spans)
        with ThreadPoolExecutor(SCAN_THREADS) as pool:
            return np.fromiter(pool.map(self._num_samples, paths), np.int64, len(self.corpus.ids))

    def _num_samples(self, where: tuple[Path, Span]) -> int:
        assert self.rate is not None, "of waveforms"
        try:
            return audio_length(where[0], self.rate, where[1])
        except AudioError:
            return 0

    def _waveform(self, index: int, part: slice = slice(None)) -> np.ndarray:
        assert self.rate is not None, "of waveforms"
        path, span = self.corpus.audio_paths[index], self.corpus.spans[index]
        return read_audio(path, self.rate, part, int(self.num_samples[index]) or None, span)

    def pieces(self, index: int) -> Iterator[tuple[Tensor, int, int]]:
        """A long utterance in pieces: samples [n], how many of their frames to drop, and how many to keep then.

        A piece is at most `longest` samples; what `overlap` samples at either end give is dropped, but for the start
        and the end of the utterance."""
        dropped = -(-self.overlap // self.field.stride)
        kept = int(self.field.num_frames(torch.tensor(self.longest))) - 2 * dropped
        assert kept > 0, "a piece is longer than what is dropped of it"
        total = int(self.frames[index])
        whole = self._waveform(index) if self._resampled(index) else None
        for start in range(0, total, kept):
            stop = min(start + kept, total)
            first, last = max(start - dropped, 0), min(stop + dropped, total)
            low, high = self.field.samples(first, last)
            high = int(self.sizes[index]) if last == total else high
            samples = self._waveform(index, slice(low, high)) if whole is None else whole[low:high]
            yield torch.from_numpy(samples), start - first, stop - start

    def _resampled(self, index: int) -> bool:
        """Whether a recording has another rate, so that a part of it is not to be had without the rest."""
        return audio_header(self.corpus.audio_paths[index])[1] != self.rate

    def batches(
        self, parts: Sequence[np.ndarray], fail: Callable[[int, str], None]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Padded batches, the next one read while the last one is worked on; audio that fails is noted and left out."""

        def read(batch: np.ndarray) -> tuple[list[int], list[np.ndarray]]:
            kept, rows = [], []
            for index in batch.tolist():
                try:
                    rows.append(self.read(index))
                except AudioError as error:
                    fail(index, str(error))
                else:
                    kept.append(index)
            return kept, rows

        with ThreadPoolExecutor(1, initializer=take_one_core) as pool:
            waiting = pool.submit(read, parts[0]) if parts else None
            for following in [*parts[1:], None]:
                if waiting is None:
                    return
                kept, rows = waiting.result()
                waiting = None if following is None else pool.submit(read, following)
                if kept:
                    lengths = torch.tensor([len(row) for row in rows])
                    yield kept, pad(rows, multiple=PAD_MULTIPLE if self.rate is None else 1), lengths
