"""Pairs of sentences with a score of how alike their meanings are: the built-in ones, and a user's file."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.files import naming
from utility.text import read_text, short

SAME, RELATED, UNRELATED = 5.0, 2.5, 0.0
COLUMNS = {  # of a file of pairs, and other names of them; capitals do not matter
    "pair": ("pair", "pair_id", "id"),
    "sentence_a": ("sentence_a", "sentence1", "text_a"),
    "sentence_b": ("sentence_b", "sentence2", "text_b"),
    "score": ("score", "relatedness_score", "similarity"),
}

# A sentence; one that means the same in other words; one on the same matter, with many of the words, that does not.
# The unrelated partner of a sentence is another line's paraphrase.
_TRIPLES = """
    the doctor helped a sick child | a physician took care of an ill kid | the sick doctor saw no child today
    a boy is running along the beach | a lad jogs beside the sea | a boy is sleeping far from the beach
    the train came late this morning | the railway service was delayed early today | the train left before this morning
    she bought a new car last week | she got herself another automobile seven days ago | she sold her old car last week
    my brother cooks dinner every night | each evening the meal is made by him | my brother skips dinner every night
    the heavy rain flooded our street | our road was under water after the storm | our street stayed dry without rain
    the old house was very cold | it was freezing inside that ancient building | the old house was sold very fast
    a large dog chased the cat | a big hound ran after a kitten | the cat watched a large dog sleep
    the king lives near the lake | close to the water is the home of their ruler | the king swims across the lake
    two friends talked about music | a pair of pals discussed songs | two friends played loud music
    the teacher gave us hard work | our instructor assigned a difficult task | the teacher praised our hard work
    nobody could open the wooden door | everyone failed to unlock that gate | somebody painted the wooden door
    the farmer grows apples and pears | fruit trees are kept by this man on his land | the farmer eats apples and bread
    they plan to visit Paris | a journey to the French capital is what they want | they plan to leave Paris
    the baby started to cry loudly | all at once the infant began weeping | the baby started to walk slowly
    he drinks hot coffee before work | a warm cup wakes him up ahead of his job | he spilled cold coffee after work
    the judge did not believe the story | that tale seemed false to the court | the judge wrote a long story
    the ship sank near the rocky coast | the vessel went down by a stony shore | the ship sailed past the rocky coast
    it is too dark to read here | there is not enough light for a book | it is too loud to sleep here
    the young girl won the race | first place went to the little lady runner | the young girl missed the race
    please shut the window at once | close that glass pane right now, will you | please wash the window at noon
    the price of bread went up again | a loaf costs even more than before | the smell of bread woke me again
    many people were waiting for the bus | a crowd stood at the stop | many people were sitting inside the bus
    her garden is full of red roses | bright flowers cover the yard behind her house | her kitchen is full of red apples
"""


@dataclass(frozen=True)
class SentencePair:
    """Two sentences as they are spoken, and how alike their meanings are; a greater score is more alike."""

    name: str
    first: str
    second: str
    score: float


def built_in_pairs() -> tuple[SentencePair, ...]:
    """Our own pairs, scored by construction: 5 for the same meaning, 2.5 for related, 0 for unrelated sentences."""
    triples = [[part.strip() for part in line.split("|")] for line in _TRIPLES.splitlines() if line.strip()]
    pairs = []
    for number, (sentence, same, related) in enumerate(triples):
        other = triples[(number + len(triples) // 2) % len(triples)][1]
        for kind, partner, score in (
            ("same", same, SAME),
            ("related", related, RELATED),
            ("unrelated", other, UNRELATED),
        ):
            pairs.append(SentencePair(f"{kind}-{number:02d}", sentence, partner, score))
    return tuple(pairs)


def read_pairs(path: Path) -> tuple[SentencePair, ...]:
    """The pairs of a user's table with commas or tabs and a header: pair, sentence_a, sentence_b, score.

    SICK's column names are understood too; other columns are not read. Raises ValueError with the line for a missing
    column or value, a pair that comes twice, a score that is no number, and text that cannot be spoken as words."""
    text = read_text(path).removeprefix("\ufeff")
    lines = io.StringIO(text, newline="")
    if "\t" in text.partition("\n")[0]:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)  # quotes are text there
    else:
        rows = csv.DictReader(lines)
    pairs: dict[str, SentencePair] = {}
    try:
        columns = _columns(path, rows.fieldnames or ())
        for row in rows:
            pair = _pair(f"{path}:{rows.line_num}", {name: row[column] for name, column in columns.items()})
            if pair.name in pairs:
                raise ValueError(f"{path}:{rows.line_num}: pair {short(pair.name)} comes twice")
            pairs[pair.name] = pair
    except csv.Error as error:
        raise ValueError(f"{path}: not a readable table after line {rows.line_num}: {error}") from None
    if not pairs:
        raise ValueError(f"{path}: holds no pairs below its header")
    return tuple(pairs.values())


def distinct_sentences(pairs: Sequence[SentencePair]) -> tuple[str, ...]:
    """Every sentence of the pairs once, in the order in which they first come."""
    return tuple(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))


def write_pairs(file: Path, pairs: Sequence[SentencePair], spoken: Mapping[str, Sequence[str]]) -> None:
    """Write `pair,utterance_a,utterance_b,score`: a row for each voice of the first and each of the second sentence.

    `spoken` are the ids of the utterances of each sentence, one by each voice."""
    with naming(file), file.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["pair", "utterance_a", "utterance_b", "score"])
        for pair in pairs:
            for first in spoken[pair.first]:
                table.writerows([pair.name, first, second, f"{pair.score:g}"] for second in spoken[pair.second])


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """The file's own name of each of our columns."""
    there = {name.strip().lower(): name for name in header}
    columns = {name: next((there[n] for n in names if n in there), None) for name, names in COLUMNS.items()}
    if missing := [name for name, column in columns.items() if column is None]:
        raise ValueError(f"{path}: its header lacks {', '.join(missing)}: expected {','.join(COLUMNS)}")
    return {name: column for name, column in columns.items() if column is not None}


def _pair(where: str, values: Mapping[str, str | None]) -> SentencePair:
    """A pair from the texts of one line."""
    if missing := [name for name, value in values.items() if not (value or "").strip()]:
        raise ValueError(f"{where}: no {missing[0]}")
    name, first, second, score = ((values[column] or "").strip() for column in COLUMNS)
    try:
        number = float(score)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: score {short(score)}: expected a number")
    return SentencePair(name, _speakable(where, first), _speakable(where, second), number)


def _speakable(where: str, text: str) -> str:
    """Words of letters and apostrophes, with commas: what the synthesiser gives word times for."""
    plain = text.lower().replace("’", "'")
    words = " ".join(re.sub(r"[-–—.;:!?\"“”()\[\]/]", " ", plain).split())
    words = re.sub(r"(?: ?,)+", ",", words).strip(", ")
    strange = sorted(set(re.sub(r"[a-z', ]", "", words)))
    if strange:
        raise ValueError(f"{where}: {short(text)} holds {short(strange[0])}: write it in words of the letters a to z")
    if not all(re.search("[a-z]", word) for word in words.split()) or not words:
        raise ValueError(f"{where}: {short(text)} is no sentence")
    return words
