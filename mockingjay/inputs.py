"""What upstreams take of a corpus: its features or the recordings behind it, read in batches."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from mockingjay.upstreams.base import Piece, Upstream
from utility.audio.headers import SCAN_THREADS, recording_state
from utility.audio.waveform import CHUNK, AudioError, Span, audio_length, read_audio, read_in_pieces
from utility.batches import pad
from utility.store.info import StoreInfo
from utility.store.lists import IdList
from utility.store.reading import Store
from utility.threads import take_one_core

Item = TypeVar("Item")
END = object()  # behind the last of some items
PAD_MULTIPLE = 64  # few shapes of batches, so that kernels are made once


class UtteranceSource(Protocol):
    """What is represented: a `Store`, or `Recordings`."""

    @property
    def paths(self) -> list[Path]: ...

    @property
    def names(self) -> list[str]: ...

    @property
    def lists(self) -> list[IdList | None]: ...

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
            _check_recordings(corpus)
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
        if self.rate is None:
            return f"no frames in {samples} samples"
        needed = max(self.field.size, self.field.shortest, 1)
        return f"no frames in {samples} samples: the upstream needs {needed} at {self.rate} Hz"

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

    def _waveform(self, index: int) -> np.ndarray:
        assert self.rate is not None, "of waveforms"
        path, span = self.corpus.audio_paths[index], self.corpus.spans[index]
        return read_audio(path, self.rate, expected=int(self.num_samples[index]) or None, span=span)

    def chunks(self, index: int) -> Iterator[np.ndarray]:
        """A long utterance from its start to its end, some samples at a time."""
        assert self.rate is not None, "only waveforms go through an upstream in pieces"
        size = int(self.sizes[index])
        parts = [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
        return read_in_pieces(self.corpus.audio_paths[index], self.rate, parts, size, self.corpus.spans[index])

    def pieces(self, index: int) -> Iterator[tuple[Tensor, Piece]]:
        """A long utterance in pieces, samples [n] of each; the next one is read while the last one is worked on."""
        assert self.rate is not None, "only waveforms go through an upstream in pieces"
        assert self.longest is not None, "nothing is long for this upstream"
        size = int(self.sizes[index])
        pieces = self.field.pieces(size, self.longest, self.overlap)
        parts = [(piece.start, piece.stop) for piece in pieces]
        path, span = self.corpus.audio_paths[index], self.corpus.spans[index]
        for piece, samples in zip(pieces, _one_ahead(read_in_pieces(path, self.rate, parts, size, span))):
            yield torch.from_numpy(samples), piece

    def batches(
        self, parts: Sequence[np.ndarray], fail: Callable[[int, str], None], pin: bool = False
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Padded batches of utterances, the next one read while the last one is worked on: who is in it, its inputs
        and their lengths. Audio that fails is noted and left out. For a GPU `pin` them."""
        return _one_ahead(self._batches(parts, fail, pin))

    def _batches(
        self, parts: Sequence[np.ndarray], fail: Callable[[int, str], None], pin: bool
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        for part in parts:
            kept, rows = [], []
            for index in part.tolist():
                try:
                    rows.append(self.read(index))
                except AudioError as error:
                    fail(index, str(error))
                else:
                    kept.append(index)
            if kept:
                lengths = torch.tensor([len(row) for row in rows])
                padded = pad(rows, multiple=PAD_MULTIPLE if self.rate is None else 1)
                yield kept, *((padded.pin_memory(), lengths.pin_memory()) if pin else (padded, lengths))


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made in another thread while the one before is worked on."""
    with ThreadPoolExecutor(1, initializer=take_one_core) as pool:
        waiting = pool.submit(next, items, END)
        while (item := waiting.result()) is not END:
            waiting = pool.submit(next, items, END)
            yield cast(Item, item)


def _check_recordings(corpus: UtteranceSource) -> None:
    """Raise ValueError where none of the recordings behind a corpus is there."""
    first = corpus.audio_paths[0]
    if isinstance(corpus, Store) and first.suffix == ".npy":
        raise ValueError(
            f"{corpus.paths[0]}: a directory of the originals does not say where its recordings are, and the upstream "
            "takes waveforms: name a folder or a table of recordings instead"
        )
    if any(path.is_file() for path in corpus.audio_paths):
        return
    help_ = "make a new table by preprocess/generate_len_for_bucket.py"
    if isinstance(corpus, Store):
        help_ = f"say in {corpus.paths[0].parent / 'features.yaml'} where they are now, audio_root: FOLDER"
    raise ValueError(
        f"{first}: no such file, nor any other recording of the utterances, and the upstream takes waveforms: put them "
        f"there, or {help_}"
    )
