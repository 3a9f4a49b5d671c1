"""Spoken sentence similarity: does the distance between utterances follow how near people find their meanings?"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.centring import Centring, DimensionStatistics, centred
from analysis.words import correlation_bounds, cosines, spearman
from utility.arrays import number
from utility.text import read_text, short

COLUMNS = ["pair", "utterance_a", "utterance_b", "score"]


@dataclass(frozen=True)
class SentencePairs:
    """Pairs of sentences, each spoken by several voices: R rows of P pairs.

    `names` [P] and human scores `human` float64 [P]; of each row its pair int64 [R], and both utterances [R].
    """

    names: tuple[str, ...]
    human: np.ndarray
    pair: np.ndarray
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class SentenceScore:
    """Spearman's correlations with human scores.

    `mean`: of each pair's mean cosine over its rows, with Fisher's 95 % interval over pairs. `every_row`: each row is a
    pair of its own. `different_speakers`: `mean` over rows of two speakers, None where speakers are unknown or no pair
    has one; `different_pairs` counts what it is of.
    """

    mean: float
    low: float
    high: float
    pairs: int
    every_row: float
    different_speakers: float | None
    different_pairs: int


def read_sentence_pairs(file: Path) -> SentencePairs:
    """A CSV with the columns `pair,utterance_a,utterance_b,score`, several rows a pair where voices differ.

    `ValueError` with the line for other columns, a score that is none, or rows of one pair with two scores.
    """
    rows = csv.reader(read_text(file).splitlines())
    if next(rows, None) != COLUMNS:
        raise ValueError(f"{file}: expected the columns {','.join(COLUMNS)}")
    names: dict[str, int] = {}
    human: list[float] = []
    pair, first, second = [], [], []
    for fields in rows:
        where = f"{file}:{rows.line_num}"
        if len(fields) != len(COLUMNS) or not all(fields):
            raise ValueError(f"{where}: expected {','.join(COLUMNS)}, got {short(','.join(fields))}")
        try:
            score = number(fields[3])
        except ValueError:
            raise ValueError(f"{where}: expected a score, got {short(fields[3])}") from None
        index = names.setdefault(fields[0], len(names))
        if index == len(human):
            human.append(score)
        elif human[index] != score:
            raise ValueError(f"{where}: pair {short(fields[0])} has the scores {human[index]:g} and {score:g}")
        pair.append(index)
        first.append(fields[1])
        second.append(fields[2])
    if not pair:
        raise ValueError(f"{file}: no pair of sentences")
    return SentencePairs(tuple(names), np.array(human), np.array(pair), tuple(first), tuple(second))


def score_sentences(
    pairs: SentencePairs,
    ids: Sequence[str],
    vectors: np.ndarray,
    speakers: Sequence[str] | None = None,
    statistics: DimensionStatistics | None = None,
    centring: Centring = "none",
) -> SentenceScore:
    """Cosines of utterance vectors [U, D] (the mean of all frames) against the human scores.

    `ids` [U] and `speakers` [U] name the rows of `vectors`, which are `centred` first. The original averages all
    combinations of voices, those of one speaker too, which raises every cosine alike; both are reported. `ValueError`
    for an utterance that has no vector.
    """
    index = {name: row for row, name in enumerate(ids)}
    unknown = next((name for name in (*pairs.first, *pairs.second) if name not in index), None)
    if unknown is not None:
        raise ValueError(f"no utterance {short(unknown)} in the store that the sentence pairs are looked up in")
    first, second = (np.array([index[name] for name in side]) for side in (pairs.first, pairs.second))
    cosine = cosines(centred(vectors, statistics, centring), first, second)
    mean, _ = _of_pairs(pairs, cosine, np.ones(len(cosine), dtype=bool))
    different, count = None, 0
    if speakers is not None and all(speakers):
        differ = np.array([speakers[a] != speakers[b] for a, b in zip(first.tolist(), second.tolist())], dtype=bool)
        if differ.any():
            different, count = _of_pairs(pairs, cosine, differ)
    low, high = correlation_bounds(mean, len(pairs.names))
    every = spearman(cosine, pairs.human[pairs.pair])
    return SentenceScore(mean, low, high, len(pairs.names), every, different, count)


def _of_pairs(pairs: SentencePairs, cosine: np.ndarray, rows: np.ndarray) -> tuple[float, int]:
    """The correlation of mean cosines over the chosen rows, and of how many pairs."""
    counts = np.bincount(pairs.pair[rows], minlength=len(pairs.names))
    sums = np.bincount(pairs.pair[rows], cosine[rows], minlength=len(pairs.names))
    held = counts > 0
    return spearman(sums[held] / counts[held], pairs.human[held]), int(held.sum())


def word_overlap(first: str, second: str) -> float:
    """Jaccard's index of the words of two sentences, in lower case and without punctuation: the text baseline."""
    one, other = ({word for part in text.lower().split() if (word := _bare(part))} for text in (first, second))
    return len(one & other) / len(one | other) if one | other else 0.0


def score_text(human: np.ndarray, texts: Sequence[tuple[str, str]]) -> tuple[float, float, float]:
    """Spearman's correlation of `word_overlap` with the human scores [P], and its 95 % interval."""
    rho = spearman(np.array([word_overlap(*pair) for pair in texts]), human)
    return rho, *correlation_bounds(rho, len(texts))


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'()[]")
