"""Acoustic word discrimination: are two spoken tokens the same word? (Carlin et al., Interspeech 2011)"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.centring import unit_vectors
from analysis.warping import warping_costs

BLOCK = 1 << 22  # values of a matrix of cosines held at once
Positives = Literal["all", "other_speaker", "same_speaker"]


@dataclass(frozen=True)
class TokenPairs:
    """Pairs of tokens `first` < `second` int32 [P], ordered by `first`, then `second`.

    `same_word` bool [P]; `same_speaker` bool [P], None where speakers are unknown. `weight` float64 [P]: how many
    pairs of the corpus one stands for, None where all are here.
    """

    num_tokens: int
    first: np.ndarray
    second: np.ndarray
    same_word: np.ndarray
    same_speaker: np.ndarray | None
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.first)

    @property
    def complete(self) -> bool:
        """Whether all pairs of the tokens are here."""
        return len(self) == self.num_tokens * (self.num_tokens - 1) // 2


@dataclass(frozen=True)
class Discrimination:
    """Scores of distances: average precision, precision-recall break-even, and the share of positives (chance)."""

    average_precision: float
    break_even: float
    chance: float
    positives: int
    pairs: int


def token_pairs(
    words: np.ndarray,
    speakers: np.ndarray | None = None,
    max_pairs: int | None = None,
    generator: np.random.Generator | None = None,
) -> TokenPairs:
    """The pairs of tokens with `words` [N] and `speakers` [N], any comparable values.

    Above `max_pairs`, pairs of the same word are drawn so that they fill at most half of it, and the others the rest;
    each drawn pair then weighs as much as it stands for, so that scores estimate those of all pairs. Drawing needs the
    `generator`, and gives about `max_pairs` of them. `ValueError` where no pair is of the same word, or none of
    different ones.
    """
    num_tokens, total = len(words), len(words) * (len(words) - 1) // 2
    words = np.unique(words, return_inverse=True)[1]
    speakers = None if speakers is None else np.unique(speakers, return_inverse=True)[1]
    counts = np.bincount(words, minlength=1)
    positives = int((counts * (counts - 1) // 2).sum())
    if not 0 < positives < total:
        what = "no two tokens of one word" if not positives else "no two tokens of different words"
        raise ValueError(f"{what} among {num_tokens} tokens: nothing to discriminate")
    rates = _rates(positives, total, max_pairs)
    if rates != (1.0, 1.0) and generator is None:
        raise ValueError(f"{total} pairs are more than max_pairs {max_pairs}: drawing them needs a generator")
    first, second = [], []
    for token in range(num_tokens - 1):
        others = np.arange(token + 1, num_tokens, dtype=np.int32)
        if rates != (1.0, 1.0):
            assert generator is not None
            chance = np.where(words[others] == words[token], *rates)
            others = others[generator.random(len(others)) < chance]
        first.append(np.full(len(others), token, dtype=np.int32))
        second.append(others)
    one, other = np.concatenate(first), np.concatenate(second)
    same = words[one] == words[other]
    weight = None
    if rates != (1.0, 1.0):
        drawn = int(same.sum())
        weight = np.where(same, positives / max(drawn, 1), (total - positives) / max(len(same) - drawn, 1))
    same_speaker = None if speakers is None else speakers[one] == speakers[other]
    return TokenPairs(num_tokens, one, other, same, same_speaker, weight)


def _rates(positives: int, total: int, most: int | None) -> tuple[float, float]:
    """The chances of a pair of the same word, and of another, to be drawn."""
    if most is None or total <= most:
        return 1.0, 1.0
    kept = min(positives, max(most // 2, most - (total - positives)))
    return kept / positives, min((most - kept) / (total - positives), 1.0)


def pooled_distances(vectors: np.ndarray, pairs: TokenPairs) -> np.ndarray:
    """1 - cosine of the tokens' vectors [N, D] for each pair, [P] of the dtype of `vectors`; 1 where one is zero.

    All pairs come from blocks of one matrix product, others from gathered rows; only the distances are held whole.
    """
    unit = unit_vectors(vectors)
    distances = np.empty(len(pairs), dtype=unit.dtype)
    if not pairs.complete:
        step = max(BLOCK // max(unit.shape[1], 1), 1)
        for begin in range(0, len(pairs), step):
            rows = slice(begin, begin + step)
            distances[rows] = 1 - np.einsum("pd,pd->p", unit[pairs.first[rows]], unit[pairs.second[rows]])
        return distances
    done, step = 0, max(BLOCK // max(len(unit), 1), 1)
    for begin in range(0, len(unit), step):
        cosine = unit[begin : begin + step] @ unit[begin:].T  # [step, N - begin]
        for row, values in enumerate(cosine):
            count = len(values) - row - 1
            np.subtract(1, values[row + 1 :], out=distances[done : done + count])
            done += count
    return distances


def warped_distances(frames: np.ndarray, lengths: np.ndarray, pairs: TokenPairs, normalised: bool = True) -> np.ndarray:
    """The cost of the best alignment of both tokens' frames for each pair, float64 [P].

    `frames` [F, D] of tokens one after another, `lengths` [N]. A frame costs 1 - cosine; steps (1, 0), (0, 1) and (1,
    1) weigh 1. The sum is divided by the sum of both lengths unless `normalised` is off: long words look different
    then. Cosines are of the dtype of `frames`. `ValueError` for lengths that do not fit.
    """
    if lengths.min(initial=1) < 1 or lengths.sum() != len(frames) or len(lengths) != pairs.num_tokens:
        raise ValueError(
            f"{len(lengths)} lengths of {lengths.sum()} frames, but {pairs.num_tokens} tokens of {len(frames)} frames"
        )
    costs = warping_costs(unit_vectors(frames), lengths, pairs.first, pairs.second)
    return costs / (lengths[pairs.first] + lengths[pairs.second]) if normalised else costs


def score_pairs(distances: np.ndarray, pairs: TokenPairs, positives: Positives = "all") -> Discrimination:
    """Average precision and break-even of `distances` [P].

    `positives`: pairs of the same word, or those of them by two speakers, or by one; negatives are all pairs of
    different words, always. `ValueError` where speakers are asked for and unknown, or no positive pair is there.
    """
    kept = slice(None)
    if positives != "all":
        if pairs.same_speaker is None:
            raise ValueError(f"positives {positives} need speakers, which are unknown")
        kept = ~pairs.same_word | (pairs.same_speaker == (positives == "same_speaker"))
    same = pairs.same_word[kept]
    if not same.any():
        raise ValueError(f"no pair of the same word for positives {positives}")
    weight = None if pairs.weight is None else pairs.weight[kept]
    curve = _curve(distances[kept], same, weight)
    total = len(same) if weight is None else weight.sum()
    return Discrimination(
        _average_precision(*curve), _break_even(*curve), float(curve[0][-1] / total), int(same.sum()), len(same)
    )


def average_precision(distances: np.ndarray, same: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The sum over thresholds of precision times the rise of recall; pairs at one distance are one threshold.

    Equal to scikit-learn's `average_precision_score(same, -distances, sample_weight=weight)`.
    """
    return _average_precision(*_curve(distances, same, weight))


def _curve(distances: np.ndarray, same: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the same-word pairs, and of all, up to each different distance, ascending."""
    order = np.argsort(distances, kind="stable")
    last = np.flatnonzero(np.append(np.diff(distances[order]) != 0, True))
    weights = np.ones(len(order)) if weight is None else weight[order]
    return np.cumsum(weights * same[order])[last], np.cumsum(weights)[last]


def _average_precision(right: np.ndarray, taken: np.ndarray) -> float:
    rise = np.diff(right, prepend=0.0)
    return float((rise * np.divide(right, taken, out=np.zeros_like(right), where=taken > 0)).sum() / right[-1])


def _break_even(right: np.ndarray, taken: np.ndarray) -> float:
    """The mean of precision and recall where they are nearest; a precision is the greatest at its recall or above."""
    recall = right / right[-1]
    precision = np.divide(right, taken, out=np.zeros_like(right), where=taken > 0)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    nearest = np.argmin(np.abs(recall - precision))
    return float((recall[nearest] + precision[nearest]) / 2)


def resampled_precision(
    distances: np.ndarray,
    pairs: TokenPairs,
    words: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 200,
) -> np.ndarray:
    """Average precision float64 [resamples] with word types drawn with replacement: pairs of one type hang together.

    `words` [N] of the tokens. A type drawn m times stands m times with its own pairs; a pair of two types stands as
    often as both are combined. Percentiles of the result are an interval. One sort serves all.
    """
    types = np.unique(words, return_inverse=True)[1]
    order = np.argsort(distances, kind="stable")
    last = np.flatnonzero(np.append(np.diff(distances[order]) != 0, True))
    same = pairs.same_word[order]
    one, other = types[pairs.first[order]], types[pairs.second[order]]
    base = 1.0 if pairs.weight is None else pairs.weight[order]
    scores = np.full(resamples, np.nan)
    for k in range(resamples):
        drawn = generator.multinomial(types.max() + 1, np.full(types.max() + 1, 1 / (types.max() + 1)))
        weights = base * drawn[one] * np.where(same, 1, drawn[other])
        right, taken = np.cumsum(weights * same)[last], np.cumsum(weights)[last]
        if right[-1]:
            scores[k] = _average_precision(right, taken)
    return scores[~np.isnan(scores)]
