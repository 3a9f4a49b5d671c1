"""Word similarity: do static vectors of spoken words agree with what people say of pairs of words?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import scipy.sparse
import scipy.stats

from analysis.centring import Centring, DimensionStatistics, centred, unit_vectors
from utility.arrays import number
from utility.intervals import fisher_interval
from utility.text import read_text, short

SETS = {  # the name of a set by the name of its file
    "EN-RW-STANFORD": "RW",
    "EN-MEN-TR-3k": "MEN",
    "EN-MTurk-771": "MTurk-771",
    "EN-MTurk-287": "MTurk-287",
    "EN-RG-65": "RG-65",
    "EN-MC-30": "MC-30",
    "EN-WS-353-ALL": "WS-353",
    "EN-WS-353-SIM": "WS-353-SIM",
    "EN-WS-353-REL": "WS-353-REL",
    "EN-SIMLEX-999": "SimLex-999",
    "EN-SimVerb-3500": "SimVerb-3500",
    "EN-VERB-143": "VERB-143",
    "EN-YP-130": "YP-130",
}
PARTS_OF_OTHERS = frozenset(("MC-30", "WS-353"))  # MC-30 is a part of RG-65; WS-353-SIM and -REL are parts of WS-353
FEWEST = 20  # covered pairs of a set that has a place in the averages
SHARED = 0.5  # of the pairs of a set: more of them in another set, and it is hardly a set of its own


@dataclass(frozen=True)
class SimilaritySet:
    """Pairs of words, compared in lower case, with human scores float64 [P], the higher the more similar."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    human: np.ndarray


@dataclass(frozen=True)
class SetScore:
    """Spearman's correlation of one set over its covered pairs, with Fisher's 95 % interval; `note` says why not."""

    name: str
    rho: float
    low: float
    high: float
    pairs: int
    all_pairs: int
    note: str = ""


@dataclass(frozen=True)
class Averages:
    """Means of the sets' correlations, weighed by pairs (micro) and not (macro), and the sets that they are of."""

    micro: float
    macro: float
    sets: tuple[str, ...]


def read_similarity_set(file: Path) -> SimilaritySet:
    """Lines `word1 word2 score`, separated by tabs or spaces, without a header; words become lower case.

    `ValueError` with the line for another form, and for a file without a pair.
    """
    pairs, human = [], []
    for place, line in enumerate(read_text(file).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3:
            raise ValueError(f"{file}:{place}: expected `word1 word2 score`, got {short(line)}")
        try:
            human.append(number(fields[2]))
        except ValueError:
            raise ValueError(f"{file}:{place}: expected a score, got {short(fields[2])}") from None
        pairs.append((fields[0].lower(), fields[1].lower()))
    if not pairs:
        raise ValueError(f"{file}: no pair of words")
    return SimilaritySet(SETS.get(file.stem, file.stem), tuple(pairs), np.array(human))


def overlaps(sets: Sequence[SimilaritySet]) -> list[tuple[str, str, float]]:
    """(set, another, the share of the first's pairs that the other has too) where that is over a half.

    A known collection has YP-130's pairs under the name of VERB-143, and averages over it count those pairs twice.
    """
    unordered = {each.name: {frozenset(pair) for pair in each.pairs} for each in sets}
    found = []
    for one, other in combinations(unordered, 2):
        small, large = sorted((one, other), key=lambda name: len(unordered[name]))
        share = len(unordered[small] & unordered[large]) / len(unordered[small])
        if share > SHARED:
            found.append((small, large, share))
    return found


def static_vectors(pooled: np.ndarray, words: np.ndarray, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean over a word's tokens of their pooled states [N, D], `words` [N] in 0 ... num_words - 1.

    Every token weighs the same, whatever its length. Returns float64 [W, D], zero of a word without tokens, and the
    counts int64 [W].
    """
    counts = np.bincount(words, minlength=num_words)
    which = scipy.sparse.csr_array((np.ones(len(words)), (words, np.arange(len(words)))), shape=(num_words, len(words)))
    return (which @ pooled.astype(np.float64)) / np.maximum(counts, 1)[:, None], counts


def cosines(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines float64 [P] of rows `first` and `second` [P] of vectors [N, D]; 0 where either is zero."""
    unit = unit_vectors(np.asarray(vectors, dtype=np.float64))
    return np.einsum("pd,pd->p", unit[first], unit[second])


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of values [P], with average ranks of ties; 0 where either is constant or P < 2."""
    if len(one) < 2:
        return 0.0
    ranks = [scipy.stats.rankdata(values) - (len(values) + 1) / 2 for values in (one, other)]
    sizes = [float(rank @ rank) for rank in ranks]
    return float(ranks[0] @ ranks[1]) / (sizes[0] * sizes[1]) ** 0.5 if all(sizes) else 0.0


def correlation_bounds(rho: float, pairs: int) -> tuple[float, float]:
    """Fisher's 95 % interval of a correlation over so many pairs; [-1, 1] below 4."""
    if pairs < 4:
        return -1.0, 1.0
    interval = fisher_interval(rho, pairs)
    return interval.low, interval.high


def score_set(
    each: SimilaritySet,
    words: Sequence[str],
    vectors: np.ndarray,
    counts: np.ndarray | None = None,
    threshold: int = 0,
    statistics: DimensionStatistics | None = None,
    centring: Centring = "none",
) -> SetScore:
    """Correlation of cosines of `vectors` [W, D] with human scores over the pairs of words that have a vector.

    `words` [W] name the rows, compared in lower case. A word counts if it was spoken more than `threshold` times
    (`counts` [W]). A pair of a word with itself has the cosine 1. The vectors are `centred` first.
    """
    kept = np.ones(len(words), dtype=bool) if counts is None else counts > threshold
    index = {word.lower(): row for row, word in enumerate(words) if kept[row]}
    known = [[index.get(word.lower(), -1) for word in pair] for pair in each.pairs]
    covered = [k for k, pair in enumerate(known) if min(pair) >= 0]
    rows = np.array([known[k] for k in covered], dtype=np.int64).reshape(-1, 2)
    similarity = cosines(centred(vectors, statistics, centring), rows[:, 0], rows[:, 1])
    human = each.human[covered]
    note = ""
    if len(covered) < FEWEST:
        note = f"fewer than {FEWEST} covered pairs: not in the averages"
    elif np.ptp(similarity) == 0 or np.ptp(human) == 0:
        note = "all pairs have one similarity: no correlation"
    rho = spearman(similarity, human)
    return SetScore(each.name, rho, *correlation_bounds(rho, len(covered)), len(covered), len(each.pairs), note)


def averages(scores: Iterable[SetScore], fewest: int = FEWEST, left_out: frozenset[str] = PARTS_OF_OTHERS) -> Averages:
    """Averages over the sets with at least `fewest` covered pairs, without those that are parts of, or hold, others.

    Zero over no sets.
    """
    kept = [score for score in scores if score.pairs >= fewest and score.name not in left_out]
    total = sum(score.pairs for score in kept)
    micro = sum(score.rho * score.pairs for score in kept) / total if total else 0.0
    macro = sum(score.rho for score in kept) / len(kept) if kept else 0.0
    return Averages(micro, macro, tuple(score.name for score in kept))
