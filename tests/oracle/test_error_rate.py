"""Errors as NIST's sclite counts them, by its own counts, by another package, and by looking at every alignment."""

import csv
import time
from functools import cache

import editdistance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.shared import FIXTURES
from utility.error_rate import ErrorCounts, as_characters, as_words, count_all, count_errors

SCLITE = FIXTURES / "sclite"
TOKENS = st.lists(st.integers(0, 2), max_size=7)


def said(name: str) -> dict[str, list[str]]:
    """The words of a .trn file by id."""
    lines = [line.rpartition("(") for line in (SCLITE / name).read_text().splitlines()]
    return {key.rstrip(")"): text.split() for text, _, key in lines}


@pytest.mark.skipif(not SCLITE.is_dir(), reason="no counts of sclite here")
def test_counts_are_those_of_sclite_in_every_utterance():
    references, hypotheses = said("ref.trn"), said("hyp.trn")
    with (SCLITE / "counts.tsv").open() as file:
        rows = [[row.pop("utterance"), *map(int, row.values())] for row in csv.DictReader(file, delimiter="\t")]
    ours = count_all((references[key], hypotheses[key]) for key, *_ in rows)
    assert len(rows) == 400
    assert ours.tolist() == [counts for _, *counts in rows]
    total = ErrorCounts.of(ours)
    assert (total.reference, total.substitutions, total.deletions, total.insertions) == (2063, 362, 236, 327)
    assert f"{total.rate:.1f}" == "44.8"


def every_split(reference: list[int], hypothesis: list[int]) -> tuple[int, int, int, int]:
    """The same counts as the smallest of all alignments, by recursion."""

    @cache
    def best(i: int, j: int) -> tuple[int, int, int, int, int]:  # errors, substitutions, deletions, insertions, correct
        ways = []
        if i and j:
            errors, subs, dels, ins, hits = best(i - 1, j - 1)
            same = reference[i - 1] == hypothesis[j - 1]
            ways.append((errors + (not same), subs + (not same), dels, ins, hits + same))
        if i:
            errors, subs, dels, ins, hits = best(i - 1, j)
            ways.append((errors + 1, subs, dels + 1, ins, hits))
        if j:
            errors, subs, dels, ins, hits = best(i, j - 1)
            ways.append((errors + 1, subs, dels, ins + 1, hits))
        return min(ways, default=(0, 0, 0, 0, 0))

    _, subs, dels, ins, hits = best(len(reference), len(hypothesis))
    return hits, subs, dels, ins


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=4))
def test_many_utterances_have_the_counts_of_each(pairs):
    counts = count_all(pairs)
    for (reference, hypothesis), row in zip(pairs, counts.tolist(), strict=True):
        assert tuple(row) == count_errors(reference, hypothesis) == every_split(reference, hypothesis)
        assert sum(row[1:]) == editdistance.eval(reference, hypothesis)
        assert row[0] + row[1] + row[2] == len(reference)
        assert row[0] + row[1] + row[3] == len(hypothesis)


def test_fewest_substitutions_decide_between_alignments_with_equally_many_errors():
    assert count_errors("ab", "bc") == (1, 0, 1, 1)  # others see two substitutions
    assert count_errors(["eins"], []) == (0, 0, 1, 0)
    assert count_errors([], ["eins"]) == (0, 0, 0, 1)
    assert count_errors("", "") == (0, 0, 0, 0)
    assert count_errors([("a", 1), None], [("a", 1), None]) == (2, 0, 0, 0)  # tokens of any kind


def test_rate_of_a_part_is_no_mean_of_rates():
    counts = count_all([("abcd", "abcd"), ("a", "bcd"), ("", "x")])
    total = ErrorCounts.of(counts)
    assert total.reference == 5
    assert total.rate == 100 * 4 / 5  # the mean of the rates would be 150, and the empty reference has none
    assert total.sentence_rate == pytest.approx(200 / 3)
    assert ErrorCounts.of(counts[:1]) + ErrorCounts.of(counts[1:]) == total
    assert ErrorCounts.of(counts[1:]).rate == 400  # it may exceed 100
    with pytest.raises(ValueError, match="1 utterances, and no reference has a token"):
        _ = ErrorCounts.of(counts[2:]).rate
    with pytest.raises(ValueError, match="no utterance"):
        _ = ErrorCounts().sentence_rate
    assert ErrorCounts.of(count_all([])) == ErrorCounts()


def test_blanks_between_words_are_characters_and_count_once():
    assert as_characters("  ein \t wort ") == "ein wort"
    assert as_words("  ein \t wort ") == ["ein", "wort"]
    assert count_errors(as_characters("ein wort"), as_characters("einwort")) == (7, 0, 1, 0)


@pytest.mark.slow
def test_a_thousand_long_utterances_take_less_than_a_second():
    draw = np.random.default_rng(0).integers(97, 123, (2000, 300))
    texts = ["".join(map(chr, row)) for row in draw.tolist()]
    count_errors("a", "b")  # compiled
    spent = []
    for _ in range(3):
        start = time.process_time()
        counts = count_all(zip(texts[:1000], texts[1000:]))
        spent.append(time.process_time() - start)
        if spent[-1] < 1:
            break
    assert min(spent) < 1
    assert counts.shape == (1000, 4)
