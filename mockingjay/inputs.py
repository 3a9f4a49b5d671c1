"""What upstreams take of a corpus: its features or the recordings behind it, read in batches."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mockingjay.upstreams.base import Upstream
from utility.audio.waveform import AudioError, Span, audio_length, read_audio
from utility.batches import pad
from utility.store.info import StoreInfo
from utility.threads import take_one_core

PAD_MULTIPLE = 64  # few shapes of batches, so that kernels are made once


class UtteranceSource(Protocol):
    """What is represented: a `Store`, or `Recordings`."""

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


class Inputs:
    """What an upstream takes of a corpus: its features, or the recordings behind it."""

    def __init__(self, upstream: Upstream, corpus: UtteranceSource):
        self.corpus, self.frames, self.read = corpus, corpus.lengths, corpus.__getitem__
        if upstream.takes == "waveform":
            assert upstream.sample_rate is not None, "an upstream of waveforms says at which rate"
            self.rate, self.read = upstream.sample_rate, self._waveform
            samples = [self._num_samples(path, span) for path, span in zip(corpus.audio_paths, corpus.spans)]
            self.frames = upstream.num_frames(torch.tensor(samples)).clamp(min=0).numpy()  # [U] of the hidden states

    def reason(self, index: int) -> str:
        """Why an utterance has no frames."""
        try:
            self.read(index)
        except ValueError as error:
            return str(error)
        return "no frames"

    def _waveform(self, index: int) -> np.ndarray:
        return read_audio(self.corpus.audio_paths[index], self.rate, span=self.corpus.spans[index])

    def _num_samples(self, path: Path, span: Span) -> int:
        try:
            return audio_length(path, self.rate, span)
        except AudioError:
            return 0

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
                    yield kept, pad(rows, multiple=PAD_MULTIPLE), lengths
