"""ABX errors of phones (Schatz et al. 2013), by the library fastabx (MIT, needs Python 3.12).

Of two tokens of one phone, A and X, and one of another, B, all three between the same neighbours: an error is that X
lies nearer to B than to A. Frames are compared by their angle, tokens by dynamic time warping. The error is the mean
over neighbours, then over speakers, then over pairs of phones, as in ZeroSpeech 2021. Within speakers A, B and X are of
one; across speakers X is of another one than A and B.

Every token lies between one pair of neighbours, so that cells of different neighbours share no token. The bootstrap
resamples these pairs of neighbours: it says how sure the error is for these speakers and phones. It resamples no
speakers, for a cell across speakers has two, and no pairs of phones, for each token serves in many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch

from analysis.sampling import LeftOut, Sample, Sampling, Tokens, draw
from analysis.segments import microseconds
from utility.intervals import resampled_counts
from utility.labels.phone_sets import SILENCES

Speakers = Literal["within", "across"]
PHONE, PREVIOUS, NEXT, SPEAKER = "#phone", "prev-phone", "next-phone", "speaker"  # of an item file
SILENCE, UNKNOWN = "SIL", "unknown"  # a neighbour that is a pause; a speaker
HEADER = f"#file onset offset {PHONE} {PREVIOUS} {NEXT} {SPEAKER}"
BY: Mapping[Speakers, tuple[tuple[str, ...], tuple[str, ...]]] = {  # what A, B and X share, and what X has of its own
    "within": ((PREVIOUS, NEXT, SPEAKER), ()),
    "across": ((PREVIOUS, NEXT), (SPEAKER,)),
}


def installed() -> bool:
    """Whether fastabx is there."""
    return find_spec("fastabx") is not None


@dataclass(frozen=True)
class Items:
    """Tokens of phones, arrays of text [N] each."""

    phone: np.ndarray
    previous: np.ndarray
    next: np.ndarray
    speaker: np.ndarray

    @classmethod
    def of(cls, tokens: Tokens, every: Tokens, speakers: Sequence[str]) -> "Items":
        """Tokens of an alignment with the phones before and after them among `every` token of it, and the speakers of
        their utterances. A pause, and the edge of an utterance, is the neighbour SIL.

        ValueError for a token that is not there."""
        marks = [SILENCE if name.lower() in SILENCES else name for name in every.classes]
        previous, following = _neighbours(every.table, marks)
        there, wanted = _moments(every), _moments(tokens)
        places = np.searchsorted(there, wanted).clip(max=len(every) - 1)
        if (there[places] != wanted).any():
            raise ValueError("the tokens that were given are not those of data.alignment")
        known = np.array([name or UNKNOWN for name in speakers])
        return cls(
            np.array(tokens.classes)[tokens.labels],
            previous[places],
            following[places],
            known[tokens.table["utterance"]],
        )

    @property
    def columns(self) -> dict[str, list[str]]:
        """As an item file names them."""
        values = self.phone, self.previous, self.next, self.speaker
        return dict(zip((PHONE, PREVIOUS, NEXT, SPEAKER), (column.tolist() for column in values)))


@dataclass(frozen=True)
class AbxError:
    """An error in %, and what resampling it needs: of each cell its error, its speaker and pair of phones as a number,
    and its neighbours as a number, [C] each."""

    cells: np.ndarray
    of_speaker: np.ndarray
    pair_of_speaker: np.ndarray  # [speakers and pairs]: the pair of each number in `of_speaker`
    context: np.ndarray

    @property
    def error(self) -> float:
        """In %, the mean of the pairs of phones."""
        return float(self._means(np.ones((1, self.contexts)))[0])

    @property
    def contexts(self) -> int:
        """Pairs of neighbours."""
        return int(self.context.max()) + 1

    @property
    def pairs(self) -> int:
        """Pairs of phones, either way round."""
        return int(self.pair_of_speaker.max()) + 1

    def resampled(self, generator: np.random.Generator, resamples: int) -> np.ndarray:
        """Errors in % of resamples of the neighbours, [R]."""
        return self._means(resampled_counts(self.contexts, resamples, generator))

    def _means(self, counts: np.ndarray) -> np.ndarray:
        """With neighbours k `counts[:, k]` times, [R]; what has no cell in a resample is left out of its mean."""
        found = np.empty(len(counts))
        for row, count in enumerate(counts):
            times = count[self.context]
            held = np.bincount(self.of_speaker, times)
            errors = np.bincount(self.of_speaker, times * self.cells)
            there = held > 0
            pair = self.pair_of_speaker[there]
            speakers = np.bincount(pair, minlength=self.pairs)
            of_pairs = np.bincount(pair, errors[there] / held[there], minlength=self.pairs)
            found[row] = (of_pairs[speakers > 0] / speakers[speakers > 0]).mean()
        return 100 * found


class AbxTask:
    """The cells of some tokens: which A, B and X are compared. Made once for all layers.

    At most `max_size_group` tokens are A, B or X in a cell, and at most `max_x_across` speakers give the X of the same
    A and B. ValueError where no two phones have the same neighbours."""

    def __init__(self, items: Items, speakers: Speakers, max_size_group: int, max_x_across: int, seed: int):
        from fastabx import Dataset, Subsampler, Task
        from fastabx.verify import EmptyTaskError

        by, across = BY[speakers]
        subsampler = Subsampler(max_size_group, max_x_across if across else None, seed)
        self.labels = Dataset.from_numpy(np.zeros((len(items.phone), 1)), items.columns, device="cpu").labels
        dataset = Dataset(self.labels, _accessor(np.zeros((len(items.phone), 1), np.float32), None, "cpu"))
        try:
            self.cells = Task(dataset, on=PHONE, by=list(by), across=list(across), subsampler=subsampler).cells
        except EmptyTaskError:
            raise ValueError(
                f"no two phones between the same neighbours {speakers} speakers: more speech is needed"
            ) from None
        self.symmetric = not across
        columns = {name: self.cells[name].to_numpy() for name in (PHONE, f"{PHONE}_b", PREVIOUS, NEXT, SPEAKER)}
        pairs = _numbers(columns[PHONE], columns[f"{PHONE}_b"])
        self.of_speaker = _numbers(pairs, columns[SPEAKER])
        self.pair_of_speaker = pairs[np.unique(self.of_speaker, return_index=True)[1]]
        self.context = _numbers(columns[PREVIOUS], columns[NEXT])

    def error(self, frames: np.ndarray, lengths: np.ndarray, device: torch.device | str = "cpu") -> AbxError:
        """The error of states: frames of all tokens float32 [F, D], one token after another, and how many each has
        [N]."""
        from fastabx import Dataset, Score, Task

        dataset = Dataset(self.labels, _accessor(frames, lengths, device))
        task = Task.from_cells(dataset, self.cells, is_symmetric=self.symmetric)
        cells = Score(task, "angular", progress=False).cells["score"].to_numpy().astype(np.float64)
        return AbxError(cells, self.of_speaker, self.pair_of_speaker, self.context)


def _accessor(frames: np.ndarray, lengths: np.ndarray | None, device: torch.device | str) -> Any:
    from fastabx.accessor import InMemoryAccessor

    stops = np.arange(1, len(frames) + 1) if lengths is None else np.cumsum(lengths)
    starts = np.concatenate([[0], stops[:-1]])
    indices = dict(enumerate(zip(starts.tolist(), stops.tolist())))
    data = torch.from_numpy(np.array(frames, np.float32))  # a copy: fastabx writes in it
    return InMemoryAccessor(indices, data, torch.device(device))


def _numbers(*columns: np.ndarray) -> np.ndarray:
    """The same number, from 0, for equal rows of several columns [N]."""
    codes = np.stack([np.unique(column, return_inverse=True)[1] for column in columns])
    return np.unique(codes, axis=1, return_inverse=True)[1].reshape(-1)


def _neighbours(table: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The phones before and after each token of an alignment [N], whose labels are called so; SIL at the edge of an
    utterance."""
    own = np.array([*names, SILENCE])[table["label"]]
    other = table["utterance"][1:] != table["utterance"][:-1]
    previous, following = np.roll(own, 1), np.roll(own, -1)
    previous[np.concatenate([[True], other])] = SILENCE
    following[np.concatenate([other, [True]])] = SILENCE
    return previous, following


def _moments(tokens: Tokens) -> np.ndarray:
    """Utterance and start of tokens in microseconds, as one ascending number [N]."""
    return tokens.table["utterance"].astype(np.int64) * 10**11 + microseconds(tokens.table["start"])


def draw_contrasted(
    tokens: Tokens,
    speakers: Sequence[str],
    max_size_group: int,
    max_tokens: int,
    generator: np.random.Generator,
    frame_shift: float,
    durations: np.ndarray,
) -> Sample:
    """Draw, of all tokens of an alignment, phones whose neighbours another phone has too.

    At most `max_size_group` of one phone, neighbours and speaker, for no cell takes more; and whole pairs of neighbours
    until there would be more than `max_tokens` tokens. ValueError where there are no such phones."""
    whole = draw(tokens, Sampling(None, 1), generator, frame_shift, durations)
    items = Items.of(whole.tokens, tokens, speakers)
    rows = generator.permutation(len(whole.tokens))
    context = _numbers(items.previous, items.next)[rows]
    place = _place_among_equals(_numbers(items.phone, items.previous, items.next, items.speaker)[rows])
    pairs = np.unique(np.stack([context, whole.tokens.labels[rows]]), axis=1)[0]
    kept = (place < max_size_group) & (np.bincount(pairs) > 1)[context]
    rows, context = rows[kept], context[kept]
    if not len(rows):
        raise ValueError("no two phones have the same neighbours: more speech is needed")
    sizes = np.bincount(context)
    drawn = generator.permutation(np.flatnonzero(sizes))
    chosen = drawn[np.cumsum(sizes[drawn]) <= max_tokens]
    if not len(chosen):
        raise ValueError(f"abx.max_tokens={max_tokens} is less than one pair of neighbours has: {sizes[drawn[0]]}")
    rows = np.sort(rows[np.isin(context, chosen)])
    rest = LeftOut("neighbours of no other phone, or not drawn", len(whole.tokens) - len(rows))
    return Sample(whole.tokens.take(rows), (*whole.left_out, rest))


def _place_among_equals(numbers: np.ndarray) -> np.ndarray:
    """How many equal numbers stand before each, [N]."""
    order, counts = np.argsort(numbers, kind="stable"), np.bincount(numbers)
    place = np.empty(len(numbers), np.int64)
    place[order] = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place
