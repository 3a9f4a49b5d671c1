"""Vectors of words from files and from pronunciations: read for the words that are needed, nothing else is held."""

import gzip
import itertools
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utility.text import cut, parse_json, short

GZIP = b"\x1f\x8b"
BOUNDARY = "#"  # before the first phone and after the last
DIMENSIONS = 100  # of pronunciation vectors, at most


@dataclass(frozen=True)
class WordVectors:
    """A matrix float64 [W, D] with a row for each of `words`, lower case, in the order of the file.

    `repeated` names words that the file has more than once: the first counts. `columns` names the dimensions where they
    have names.
    """

    words: tuple[str, ...]
    matrix: np.ndarray
    columns: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """The row of each word int64 [N], compared in lower case; -1 where there is none."""
        index = {word: row for row, word in enumerate(self.words)}
        return np.array([index.get(word.lower(), -1) for word in words], dtype=np.int64)


@dataclass(frozen=True)
class Coverage:
    """Types and tokens with a vector, all of them, and the words that have none, the most frequent first."""

    types: int
    all_types: int
    tokens: int
    all_tokens: int
    missing: tuple[str, ...]

    def in_words(self) -> str:
        """What was kept and dropped, in a line."""
        kept = f"{self.types} of {self.all_types} words ({self.tokens} of {self.all_tokens} tokens) have a vector"
        return kept if not self.missing else f"{kept}; dropped: {cut(', '.join(self.missing), 200)}"


def coverage(vectors: WordVectors, words: Sequence[str], counts: np.ndarray) -> Coverage:
    """How much of the words [W] with `counts` [W] tokens has a vector; `ValueError` where nothing has."""
    covered = vectors.rows(words) >= 0
    if not covered.any():
        raise ValueError(
            f"no vector for any of {len(words)} words of the corpus, such as {short(next(iter(words), ''))}"
        )
    order = np.argsort(-counts, kind="stable")
    missing = tuple(words[i] for i in order.tolist() if not covered[i])
    return Coverage(int(covered.sum()), len(words), int(counts[covered].sum()), int(counts.sum()), missing)


def read_vectors(file: Path, needed: Iterable[str]) -> WordVectors:
    """Vectors of the needed words: lines `word v1 ... vD`, perhaps below a line `count D`, as text or gzip.

    Words are compared in lower case, and nothing is stripped: `BANK'S` takes the line `bank's` or none. `ValueError`
    with the line for one that is no vector of D finite numbers, and for a file with none of the words.
    """
    wanted = {word.lower() for word in needed}
    found: dict[str, np.ndarray] = {}
    repeated: list[str] = []
    dim = 0
    for where, line in _lines(file):
        if not dim:
            fields = line.split()
            header = len(fields) == 2 and all(field.isascii() and field.isdigit() for field in fields)
            dim = int(fields[1]) if header else len(fields) - 1
            if dim < 1:
                raise ValueError(f"{where}: expected `word v1 v2 ...`, got {short(line)}")
            if header:
                continue
        if line.split(" ", 1)[0].lower() not in wanted:
            continue
        fields = line.split(" ")
        if len(fields) > dim + 1 and not _is_number(fields[-dim - 1]):  # a word with spaces in it
            continue
        word = fields[0].lower()
        if word in found:
            repeated.append(word)
        else:
            found[word] = _vector(where, fields[1:], dim)
    if not found:
        raise ValueError(
            f"{file}: holds none of the {len(wanted)} words that are needed, in lines `word v1 v2 ...`: is it of "
            "another language, or another kind of file?"
        )
    return WordVectors(tuple(found), np.stack(list(found.values())), repeated=tuple(dict.fromkeys(repeated)))


def read_attributes(
    file: Path, needed: Iterable[str] | None = None, order: Literal["sorted", "first_seen"] = "sorted"
) -> WordVectors:
    """Shares of properties: lines `word<TAB>{"property": share, ...}`, text or gzip; a property that is missing is 0.

    A column for every property of the file, sorted, or by first sight as in the original. Rows of shares sum to 1, so
    the matrix has one rank less than columns. `needed` None: all words. `ValueError` with the line, as `read_vectors`.
    """
    wanted = None if needed is None else {word.lower() for word in needed}
    columns: dict[str, int] = {}
    found: dict[str, dict[str, float]] = {}
    repeated: list[str] = []
    for where, line in _lines(file):
        word, _, text = line.partition("\t")
        shares = _shares(where, text, line)
        for name in shares:
            columns.setdefault(name, len(columns))
        word = word.lower()
        if wanted is not None and word not in wanted:
            continue
        if word in found:
            repeated.append(word)
        else:
            found[word] = shares
    if not found:
        held = "no word" if wanted is None else f"none of the {len(wanted)} words that are needed"
        raise ValueError(f"{file}: holds {held}; expected lines `word<TAB>{{...}}`")
    names = sorted(columns) if order == "sorted" else list(columns)
    matrix = np.array([[shares.get(name, 0.0) for name in names] for shares in found.values()])
    return WordVectors(tuple(found), matrix, tuple(names), tuple(dict.fromkeys(repeated)))


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """(`file:line`, text) of the lines that are not empty; `ValueError` for what is no text, or cut off."""
    with file.open("rb") as start:
        packed = start.read(2) == GZIP
    number = 0
    try:
        with gzip.open(file) if packed else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode("utf-8").strip("\r\n ")
                if text:
                    yield f"{file}:{number}", text
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}:{number}: not UTF-8 text ({error.reason})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ValueError(f"{file}: cut off or damaged after line {number}; get it again") from None


def _vector(where: str, fields: list[str], dim: int) -> np.ndarray:
    if len(fields) != dim:
        raise ValueError(f"{where}: expected {dim} numbers after the word, got {len(fields)}")
    wrong = next((field for field in fields if not _is_number(field)), None)
    if wrong is not None:
        raise ValueError(f"{where}: expected a number, got {short(wrong)}")
    return np.array(fields, dtype=np.float64)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _shares(where: str, text: str, line: str) -> dict[str, float]:
    try:
        shares = parse_json(text)
    except ValueError:
        shares = None
    right = isinstance(shares, dict) and all(
        type(value) in (int, float) and math.isfinite(value) for value in shares.values()
    )
    if not right:
        raise ValueError(f'{where}: expected `word<TAB>{{"property": share, ...}}`, got {short(line)}')
    return {name: float(value) for name, value in shares.items()}


class PronunciationCounts:
    """Counts of phones and of pairs of phones, with boundary marks, of every word, from tokens one after another.

    A stand-in for acoustically grounded word vectors: it knows how words sound in an alignment, and nothing of meaning.
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, ...], int] = {}
        self._sums: dict[str, dict[int, int]] = {}
        self._tokens: dict[str, int] = {}

    def add(self, word: str, phones: Sequence[str]) -> None:
        """Count one token of a word, compared in lower case; one without phones counts nothing."""
        if not phones:
            return
        word, marked = word.lower(), [BOUNDARY, *phones, BOUNDARY]
        sums = self._sums.setdefault(word, {})
        for unit in [*zip(phones), *itertools.pairwise(marked)]:
            column = self._columns.setdefault(unit, len(self._columns))
            sums[column] = sums.get(column, 0) + 1
        self._tokens[word] = self._tokens.get(word, 0) + 1

    def vectors(self, dimensions: int = DIMENSIONS) -> WordVectors:
        """Mean counts of each word's tokens, log(1 + .), centred, on their leading singular directions: [W, <= 100].

        Words and columns in sorted order; each direction's largest entry is positive. `ValueError` for fewer than two
        words.
        """
        words = sorted(self._sums)
        if len(words) < 2:
            raise ValueError(f"pronunciation vectors need at least 2 words with phones, got {len(words)}")
        place = {column: rank for rank, (_, column) in enumerate(sorted(self._columns.items()))}
        counts = np.zeros((len(words), len(place)))
        for row, word in zip(counts, words):
            for column, count in self._sums[word].items():
                row[place[column]] = count / self._tokens[word]
        logarithms = np.log1p(counts)
        left, sizes, right = np.linalg.svd(logarithms - logarithms.mean(0), full_matrices=False)
        kept = min(dimensions, int((sizes > sizes[0] * 1e-10).sum()))
        signs = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(1)])
        return WordVectors(tuple(words), left[:, :kept] * sizes[:kept] * signs)


def phones_of_words(words: np.ndarray, phones: np.ndarray) -> list[np.ndarray]:
    """For each word of one utterance the indices of the phones whose middle it holds.

    `words` and `phones` are structured with `start` and `end` in seconds, ascending, as alignments give them.
    """
    middles = (phones["start"] + phones["end"]) / 2
    low, high = np.searchsorted(middles, words["start"]), np.searchsorted(middles, words["end"])
    return [np.arange(first, stop) for first, stop in zip(low, high)]
