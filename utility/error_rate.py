"""Errors of recognised against spoken sequences, counted as NIST's sclite counts them.

Among the alignments with the fewest errors, each costing 1, the one with the fewest substitutions counts: so the three
kinds of errors are unique, where other tools take any of those alignments. A rate is of all utterances together, the
sum of their errors by the sum of their reference tokens; it may exceed 100 %."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
from numba import njit

AT_ONCE = 1000  # utterances that the compiled loop gets together
CORRECT, SUBSTITUTION, DELETION, INSERTION = range(4)
BIG = 1 << 32  # an error of any kind, beside which a substitution costs 1 more

Tokens = Sequence[Hashable]


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of some utterances; the sum of two is that of all their utterances."""

    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    utterances: int = 0
    wrong: int = 0  # utterances with an error

    @classmethod
    def of(cls, counts: np.ndarray) -> Self:
        """The sums of what `count_all` gives, [U, 4]."""
        correct, substitutions, deletions, insertions = counts.sum(axis=0).tolist()
        wrong = int(np.count_nonzero(counts[:, 1:].any(axis=1)))
        return cls(correct, substitutions, deletions, insertions, len(counts), wrong)

    def __add__(self, other: Self) -> Self:
        pairs = zip(self._values(), other._values())
        return type(self)(*(ours + theirs for ours, theirs in pairs))

    def _values(self) -> tuple[int, ...]:
        kinds = (self.correct, self.substitutions, self.deletions, self.insertions)
        return (*kinds, self.utterances, self.wrong)

    @property
    def errors(self) -> int:
        """Errors of all three kinds."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        """Tokens of the references."""
        return self.correct + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors by reference tokens, in percent. ValueError where the references are empty."""
        if not self.reference:
            raise ValueError(f"{self.utterances} utterances, and no reference has a token: an error rate needs some")
        return 100 * self.errors / self.reference

    @property
    def sentence_rate(self) -> float:
        """The share of utterances with an error, in percent. ValueError where there is none."""
        if not self.utterances:
            raise ValueError("no utterance: an error rate needs some")
        return 100 * self.wrong / self.utterances


def count_errors(reference: Tokens, hypothesis: Tokens) -> tuple[int, int, int, int]:
    """Correct tokens, substitutions, deletions and insertions of one utterance.

    The tokens are anything that has equals: words of a list, or the characters of a string."""
    correct, substitutions, deletions, insertions = count_all([(reference, hypothesis)])[0].tolist()
    return correct, substitutions, deletions, insertions


def count_all(pairs: Iterable[tuple[Tokens, Tokens]]) -> np.ndarray:
    """The same of many utterances, (reference, hypothesis) each: int64 [U, 4]. It holds few of them at a time."""
    rest, counts = iter(pairs), [np.empty((0, 4), np.int64)]
    while some := list(islice(rest, AT_ONCE)):
        codes: dict[Hashable, int] = {}
        references, starts = _coded([pair[0] for pair in some], codes)
        hypotheses, begins = _coded([pair[1] for pair in some], codes)
        counts.append(_count(references, starts, hypotheses, begins))
    return np.concatenate(counts)


def as_words(text: str) -> list[str]:
    """The tokens of a word error rate."""
    return text.split()


def as_characters(text: str) -> str:
    """The tokens of a character error rate: those between words count as one blank each."""
    return " ".join(text.split())


def _coded(sequences: Sequence[Tokens], codes: dict[Hashable, int]) -> tuple[np.ndarray, np.ndarray]:
    """All tokens one after another as numbers, int32, and where each sequence begins [U + 1]."""
    starts = np.zeros(len(sequences) + 1, np.int64)
    np.cumsum([len(sequence) for sequence in sequences], out=starts[1:])
    numbers = (codes.setdefault(token, len(codes)) for sequence in sequences for token in sequence)
    return np.fromiter(numbers, np.int32, int(starts[-1])), starts


@njit(nogil=True, cache=True)
def _count(references: np.ndarray, starts: np.ndarray, hypotheses: np.ndarray, begins: np.ndarray) -> np.ndarray:
    counts = np.empty((len(starts) - 1, 4), np.int64)
    for u in range(len(counts)):
        reference, hypothesis = references[starts[u] : starts[u + 1]], hypotheses[begins[u] : begins[u + 1]]
        rows, columns = len(reference), len(hypothesis)
        costs = np.arange(columns + 1) * BIG  # of the hypothesis' beginnings against what of the reference was read
        for i in range(rows):
            diagonal = costs[0]
            left = costs[0] = (i + 1) * BIG
            token = reference[i]
            for j in range(columns):
                above = costs[j + 1]
                changed = diagonal if token == hypothesis[j] else diagonal + BIG + 1
                left = min(changed, min(above, left) + BIG)
                costs[j + 1], diagonal = left, above
        errors, substitutions = costs[columns] // BIG, costs[columns] % BIG
        insertions = (errors - substitutions + columns - rows) // 2  # both are known: their sum, and their difference
        deletions = errors - substitutions - insertions
        counts[u, 0] = rows - substitutions - deletions
        counts[u, 1], counts[u, 2], counts[u, 3] = substitutions, deletions, insertions
    return counts


def aligned(reference: Tokens, hypothesis: Tokens) -> list[tuple[int, Hashable | None, Hashable | None]]:
    """The alignment that counts, piece by piece: its kind, the reference's token and the hypothesis' one.

    A deletion has no token of the hypothesis, an insertion none of the reference. Its counts are those of
    `count_errors`; among alignments with these an error comes as late as it can."""
    codes: dict[Hashable, int] = {}
    first, _ = _coded([reference], codes)
    second, _ = _coded([hypothesis], codes)
    pieces: list[tuple[int, Hashable | None, Hashable | None]] = []
    i = j = 0
    for kind in _path(first, second).tolist():
        takes, gives = kind != INSERTION, kind != DELETION
        pieces.append((kind, reference[i] if takes else None, hypothesis[j] if gives else None))
        i, j = i + takes, j + gives
    return pieces


@njit(nogil=True, cache=True)
def _path(reference: np.ndarray, hypothesis: np.ndarray) -> np.ndarray:
    rows, columns = len(reference), len(hypothesis)
    left = np.empty((rows + 1, columns + 1), np.int64)  # the cost of what is still to be read of both
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            if i == rows or j == columns:
                left[i, j] = (rows - i + columns - j) * BIG
                continue
            apart = 0 if reference[i] == hypothesis[j] else BIG + 1
            left[i, j] = min(left[i + 1, j + 1] + apart, min(left[i + 1, j], left[i, j + 1]) + BIG)
    kinds = np.empty(rows + columns, np.int64)
    i = j = count = 0
    while i < rows or j < columns:
        here = left[i, j]
        if i < rows and j < columns and reference[i] == hypothesis[j] and here == left[i + 1, j + 1]:
            kinds[count], i, j = 0, i + 1, j + 1
        elif i < rows and j < columns and reference[i] != hypothesis[j] and here == left[i + 1, j + 1] + BIG + 1:
            kinds[count], i, j = 1, i + 1, j + 1
        elif i < rows and here == left[i + 1, j] + BIG:
            kinds[count], i = 2, i + 1
        else:
            kinds[count], j = 3, j + 1
        count += 1
    return kinds[:count]
