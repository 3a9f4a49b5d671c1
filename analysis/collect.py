"""ONE pass of an upstream over a corpus: all layers of an utterance at once, for all that is collected from them.

    upstream, utterances -> states of every label -> moments of frames, means of tokens, curves (analysis/collectors)

Nothing holds the corpus: an utterance's states are given to the collectors and let go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from analysis.probed import NO_PROBE, Probed
from mockingjay.checkpoint import Pretrained
from mockingjay.inputs import Inputs, UtteranceSource
from mockingjay.upstreams.base import RowError, Upstream
from utility.loader import frame_batches
from utility.text import cut, short

States = Mapping[str, np.ndarray]  # by label, [T, width] float32 each


@dataclass(frozen=True)
class Subject:
    """What is analysed: an upstream, the corpus as that takes it, the name of its curve, its checkpoint and probes."""

    name: str
    upstream: Upstream
    corpus: UtteranceSource
    saved: Pretrained | None = None  # with the head that it was trained with
    probed: Probed = NO_PROBE

    @cached_property
    def inputs(self) -> Inputs:
        """What the upstream takes of the corpus."""
        return Inputs(self.upstream, self.corpus)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all states, in the order of the network: convolutions, projection, blocks, and what follows."""
        first = [label for label in self.upstream.inner if label[:1] in "CP" and label[1:2] in "0123456789"]
        last = [label for label in self.upstream.inner if label not in first]
        return (*first, *self.upstream.layers, *last)

    def frames(self, label: str) -> np.ndarray:
        """Frames of each utterance in the states of a label, int64 [U]; 0 where there is none."""
        if self.upstream.takes == "features":
            return self.inputs.frames
        return self.upstream.num_frames(torch.tensor(self.inputs.sizes), label).numpy()

    def clock(self, label: str) -> tuple[float, float]:
        """Seconds from frame to frame, and to the centre of the first; ValueError where nobody states them."""
        shift, offset = self.upstream.times(label)
        if self.upstream.takes == "features":
            shift, offset = self.corpus.info.frame_shift, self.corpus.info.frame_offset
        if shift is None or np.isnan(shift):
            raise ValueError(f"{self.name}: its store does not say when a frame is: make the features again")
        return float(shift), float(offset or 0.0)

    def times(self, label: str, frames: int) -> np.ndarray:
        """Centres of an utterance's frames in seconds, float64 [T]."""
        if self.upstream.takes == "features":
            return self.corpus.info.frame_times(frames)
        shift, offset = self.clock(label)
        return offset + shift * np.arange(frames)


class Collector(Protocol):
    """What is collected of some utterances' states."""

    @property
    def labels(self) -> Sequence[str]:
        """The states that it wants."""

    @property
    def utterances(self) -> Sequence[int]:
        """Numbers of the utterances that it wants."""

    def add(self, index: int, states: States) -> None:
        """Take in an utterance."""


def batches_of(utterances: Sequence[int], durations: np.ndarray, batch_seconds: float) -> list[np.ndarray]:
    """Utterances of like length together, `batch_seconds` at most with padding; of `durations` [U] alone, so that
    every upstream meets them in the same order."""
    chosen = np.array(sorted(utterances), np.int64)
    sizes = np.maximum(np.rint(durations[chosen] * 1000).astype(np.int64), 1)
    return [chosen[batch] for batch in frame_batches(sizes, max(round(batch_seconds * 1000), 1), None)]


def collect(subject: Subject, batches: Sequence[np.ndarray], collectors: Sequence[Collector], quiet: bool) -> None:
    """Give every collector the states of the utterances that it wants."""
    labels = tuple(dict.fromkeys(label for collector in collectors for label in collector.labels))
    wanted = [frozenset(collector.utterances) for collector in collectors]
    chosen = frozenset().union(*wanted)
    parts = [part for part in ([i for i in batch.tolist() if i in chosen] for batch in batches) if part]
    total = sum(map(len, parts))
    with tqdm(total=total, unit="utterance", desc=subject.name, disable=quiet or None) as bar:
        for index, states in states_of(subject, [np.array(part) for part in parts], labels):
            for collector, some in zip(collectors, wanted):
                if index in some:
                    collector.add(index, states)
            bar.update()


def states_of(
    subject: Subject, batches: Sequence[np.ndarray], labels: Sequence[str]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Utterance after utterance, in the order of `batches`: its number, and its states by label.

    ValueError for audio that fails, states that are not finite, and recordings too long for the labels."""
    inputs = subject.inputs
    runs: list[list[np.ndarray]] = []  # neighbours that go whole, or one that goes in pieces
    for batch in batches:
        for part in (batch[~inputs.long[batch]], *batch[inputs.long[batch]][:, None]):
            if len(part):
                alone = bool(inputs.long[part[0]])
                if alone or not runs or inputs.long[runs[-1][0][0]]:
                    runs.append([])
                runs[-1].append(part)
    for run in runs:
        if inputs.long[run[0][0]]:
            yield int(run[0][0]), _in_pieces(subject, int(run[0][0]), labels)
            continue
        for indices, rows, lengths in inputs.batches(run, _failing(subject)):
            given = _states(subject, indices, rows, lengths, labels)
            for row, index in enumerate(indices):
                yield index, {label: given[label][row, : int(subject.frames(label)[index])] for label in labels}


def _in_pieces(subject: Subject, index: int, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """The states of a recording that is longer than the upstream takes at once."""
    name = subject.corpus.ids[index]
    if other := [label for label in labels if label not in subject.upstream.layers]:
        seconds = subject.inputs.sizes[index] / (subject.inputs.rate or 1)
        raise ValueError(
            f"{cut(name)}: {seconds:.0f} s go through {subject.name} in pieces, from which states {', '.join(other)} "
            "are not put together: cut the recording, or leave these layers out"
        )
    parts: dict[str, list[np.ndarray]] = {label: [] for label in labels}
    with subject.upstream.pieces_of(lambda: subject.inputs.chunks(index)):
        for samples, piece in subject.inputs.pieces(index):
            given = _states(subject, [index], samples[None], torch.tensor([len(samples)]), labels)
            for label in labels:
                parts[label].append(given[label][0, piece.dropped : piece.dropped + piece.kept])
    return {label: np.concatenate(some) for label, some in parts.items()}


def _states(
    subject: Subject, indices: Sequence[int], rows: Tensor, lengths: Tensor, labels: Sequence[str]
) -> dict[str, np.ndarray]:
    upstream = subject.upstream
    device = next(iter(upstream.parameters()), torch.zeros(0)).device
    try:
        with torch.inference_mode():  # of no generator: what asks for the next utterance would be in it too
            given = upstream(rows.to(device), lengths.to(device), tuple(labels))
            states = {label: given[k].float().cpu().numpy() for k, label in enumerate(labels)}  # [B, T, width]
    except RowError as error:
        raise ValueError(f"utterance {short(subject.corpus.ids[indices[error.row]])}: {error}") from None
    for label in labels:
        if not np.isfinite(states[label]).all():
            row = int(np.argmin(np.isfinite(states[label]).all((1, 2))))
            name = subject.corpus.ids[indices[row]]
            raise ValueError(
                f"utterance {short(name)}: the states {label} of {subject.name} are not finite: look at its input and "
                "at the weights"
            )
    return states


def _failing(subject: Subject):
    def fail(index: int, reason: str) -> None:
        raise ValueError(f"utterance {short(subject.corpus.ids[index])} cannot be used: {reason}: mend or remove it")

    return fail
