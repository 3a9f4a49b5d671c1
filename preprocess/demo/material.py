"""What the built-in corpus speaks, and who speaks it: a grammar's sentences, chosen words, or pairs of sentences."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from preprocess.demo.sentence_pairs import SentencePair, built_in_pairs, distinct_sentences, read_pairs
from preprocess.demo.sentences import sentences
from preprocess.demo.voices import Speaker, make_speakers
from preprocess.demo.word_sentences import word_sentences
from utility.seeds import text_seed

Kind = Literal["grammar", "words", "sts"]
Texts = Callable[[str, np.random.Generator], Iterator[str]]  # split, generator -> sentences, perhaps without end
GROUP = 4  # speakers of one process, whose voices' state runs on from one to the next
STS_VOICES = 4  # as the spoken STS data of the papers have


@dataclass(frozen=True)
class Material:
    """Who speaks what: each of `cast` says the sentences of its `texts` until `seconds` of speech are reached.

    `group` speakers share a process. `settings` are what tells this corpus from others; `pairs` are written beside the
    audio where there are any."""

    cast: Sequence[Speaker]
    texts: Sequence[Texts]
    seconds: float
    group: int
    settings: Mapping[str, Any]
    pairs: Sequence[SentencePair] = field(default=())


def choose_material(kind: Kind, sts_pairs: Path | None, minutes: float, speakers: int, seed: int) -> Material:
    """The material of the flags; `ValueError` or `OSError` for a file of pairs that cannot be read or spoken."""
    cast = make_speakers(speakers, seed)
    if kind == "sts":
        pairs = built_in_pairs() if sts_pairs is None else read_pairs(sts_pairs)
        content = f"{len(pairs)} of checksum {text_seed(repr(pairs)):08x}"
        return Material(
            cast=[replace(speaker, split="test") for speaker in cast],
            texts=[partial(_all_of, distinct_sentences(pairs))] * len(cast),
            seconds=math.inf,
            group=1,
            settings={"sentences": kind, "pairs": content, "speakers": speakers},
            pairs=pairs,
        )
    texts: list[Texts] = [sentences] * len(cast)
    if kind == "words":
        texts = [partial(word_sentences, number / len(cast)) for number in range(len(cast))]
    settings = {"sentences": kind, "minutes": minutes, "speakers": speakers}
    return Material(cast, texts, 60 * minutes / len(cast), GROUP, settings)


def _all_of(texts: Sequence[str], split: str, generator: np.random.Generator) -> Iterator[str]:
    """All texts in their order, whatever the split."""
    return iter(texts)
