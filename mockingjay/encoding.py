"""The hidden states that an upstream gives of a corpus, utterances in batches, long recordings in pieces."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mockingjay.inputs import Inputs, UtteranceSource
from mockingjay.upstreams.base import RowError, Upstream
from mockingjay.upstreams.selection import LayerSelection
from utility.loader import frame_batches
from utility.precision import Precision
from utility.store.files import Row
from utility.text import short
from utility.training.trainer import autocast

BATCH_FRAMES = 12000  # of features, padding included,
BATCH_SECONDS = 40.0  # or of waveforms


@dataclass(frozen=True)
class Encoding:
    """An upstream, what it takes of a corpus, and which of its hidden states are wanted."""

    upstream: Upstream
    inputs: Inputs
    layers: LayerSelection
    precision: Precision = "fp32"

    @property
    def device(self) -> torch.device:
        """Where the upstream computes."""
        return next(iter(self.upstream.parameters()), torch.zeros(0)).device

    def batches(self, frames: int = BATCH_FRAMES, seconds: float = BATCH_SECONDS) -> list[np.ndarray]:
        """Utterances of like length together, then each long one alone; they depend on the lengths alone."""
        inputs = self.inputs
        readable = np.flatnonzero(inputs.frames)
        long = inputs.long[readable]
        budget = frames if inputs.rate is None else round(seconds * inputs.rate)
        batches = [readable[~long][batch] for batch in frame_batches(inputs.sizes[readable[~long]], budget, None)]
        return batches + [np.array([index]) for index in readable[long]]

    def whole(
        self, batches: Sequence[np.ndarray], fail: Callable[[int, str], None]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Of each batch who is in it, the inputs [B, ...], and the states [B, T, ...]; audio that fails is left out."""
        for indices, rows, lengths in self.inputs.batches(batches, fail, pin=self.device.type == "cuda"):
            yield indices, rows, self._states(indices, rows, lengths)

    def pieces(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each piece of a long utterance its samples [n], and the states [t, ...] of those frames that are its own.

        AudioError where the recording fails."""
        with self.upstream.pieces_of(partial(self.inputs.chunks, index)):
            for samples, piece in self.inputs.pieces(index):
                states = self._states([index], samples[None], torch.tensor([len(samples)]))[0]
                yield samples, states[piece.dropped : piece.dropped + piece.kept]

    def _states(self, indices: Sequence[int], rows: Tensor, lengths: Tensor) -> Tensor:
        try:
            with autocast(self.device, self.precision):
                inputs = (part.to(self.device, non_blocking=True) for part in (rows, lengths))
                given = self.upstream(*inputs, self.layers.labels(self.upstream))
        except RowError as error:
            raise ValueError(f"utterance {short(self.inputs.corpus.ids[indices[error.row]])}: {error}") from None
        return self.layers.combine(given)


def rows_of(corpus: UtteranceSource, frames: np.ndarray, num_samples: np.ndarray) -> list[Row]:
    """The rows of a store of what was made of a corpus: so many frames [U] and samples [U] of each utterance."""
    root = corpus.info.audio_root
    paths = [
        path.relative_to(root).as_posix() if root and path.is_relative_to(root) else path.as_posix()
        for path in corpus.audio_paths
    ]
    columns = zip(corpus.ids, frames.tolist(), num_samples.tolist(), corpus.speakers, paths)
    return [Row(*values, *span) for values, span in zip(columns, corpus.spans)]
