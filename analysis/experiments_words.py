"""What vectors of words and sentences know: word similarity, sentence similarity."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from analysis.centring import centred_by
from analysis.collect import Subject
from analysis.config import file_of
from analysis.experiments_cca import pronunciations
from analysis.gather import Gathered, Want
from analysis.material import Material, described
from analysis.sampling import Tokens
from analysis.scores import LayerScore, Resampled
from analysis.sentences import SentencePairs, score_sentences
from analysis.word_vectors import WordVectors, read_vectors
from analysis.words import (
    FEWEST,
    PARTS_OF_OTHERS,
    SimilaritySet,
    averages,
    cosines,
    overlaps,
    score_set,
    spearman,
    static_vectors,
)
from utility.text import short

TEXT = "word vectors"
LEAST_OTHERS = 10  # utterances whose mean is taken off others


class WordSimilarity:
    """Do cosines of words' mean vectors follow what people say? The mean correlation of the sets, weighed by pairs."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "wordsim"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Means of the tokens of all words."""
        return [Want("tokens", "all_words", tuple(labels))]

    @cached_property
    def tokens(self) -> Tokens:
        return self.material.tokens("all_words", self.sample).tokens

    @cached_property
    def others(self) -> np.ndarray:
        """Which tokens give the mean that is taken off, bool [N]: of utterances that are not scored."""
        return self.material.centred_on(self.name, self.sample, self.tokens.table["utterance"])

    @cached_property
    def sets(self) -> list[SimilaritySet]:
        """The sets, each with the pairs whose words were both spoken in scored utterances, if there are any."""
        spoken = {self.tokens.classes[code] for code in np.unique(self.tokens.labels[~self.others])}
        found = []
        for each in self.material.similarity_sets():
            kept = [k for k, pair in enumerate(each.pairs) if spoken.issuperset(pair)]
            if kept:
                pairs = tuple(each.pairs[k] for k in kept)
                found.append(SimilaritySet(each.name, pairs, each.human[kept]))
        return found

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """Draw the tokens; ValueError where no set has pairs enough."""
        sizes = {each.name: len(each.pairs) for each in self.sets}
        if not any(size >= FEWEST for name, size in sizes.items() if name not in PARTS_OF_OTHERS):
            counts = ", ".join(f"{name} has {size}" for name, size in sizes.items()) or "none at all"
            raise ValueError(f"no set has {FEWEST} pairs whose words were both spoken: {counts}")

    def chance(self, gathered: Gathered, label: str) -> float | None:
        return 0.0

    def ceiling(self) -> float | None:
        """Of word vectors of text, where they are given."""
        vectors = self.vectors.get(TEXT)
        return None if vectors is None else self._score(vectors.words, vectors.matrix, {}, 0).score

    @cached_property
    def vectors(self) -> dict[str, WordVectors]:
        """Word vectors of text, and of pronunciations, of the words that the sets pair."""
        made: dict[str, WordVectors] = {}
        words = sorted({word for each in self.sets for pair in each.pairs for word in pair})
        if path := self.material.config.words.vectors:
            made[TEXT] = read_vectors(file_of(path, "words.vectors"), words)
        if self.material.config.data.alignment:
            made["pronunciations"] = pronunciations(self.material)
        return made

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        """Word vectors of text, and of pronunciations: how much of a score is form."""
        return {name: self._score(one.words, one.matrix, {}, resamples) for name, one in self.vectors.items()}

    def about(self) -> dict[str, Any]:
        """Tokens, sets and their pairs, and sets that share pairs."""
        shared = [f"{one} shares {share:.0%} of its pairs with {other}" for one, other, share in overlaps(self.sets)]
        pairs = {each.name: len(each.pairs) for each in self.sets}
        return {**described(self.material.tokens("all_words", self.sample)), "pairs": pairs, "overlaps": shared}

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """One layer, centred as the config says; the plain cosine stands in the detail."""
        states = np.asarray(gathered.tokens("all_words", self.sample, label))
        how, words = self.material.config.words.centre, self.tokens.labels[~self.others]
        plain = self._averages(states[~self.others], words)
        centred_states = centred_by(states, self.others, how)[~self.others]
        vectors, counts = static_vectors(centred_states, words, len(self.tokens.classes))
        there = counts > 0
        names = tuple(np.array(self.tokens.classes)[there].tolist())
        detail = {"centre": how, "plain_cosine": plain}
        return self._score(names, vectors[there], detail, resamples)

    def _averages(self, states: np.ndarray, words: np.ndarray) -> float:
        vectors, counts = static_vectors(states, words, len(self.tokens.classes))
        return averages(score_set(each, self.tokens.classes, vectors, counts) for each in self.sets).micro

    def _score(self, names: Sequence[str], vectors: np.ndarray, detail: dict[str, Any], resamples: int) -> LayerScore:
        scores = [score_set(each, names, vectors) for each in self.sets]
        mean = averages(scores)
        detail = detail | {"macro": mean.macro, "averaged": list(mean.sets)}
        detail["sets"] = {
            one.name: {"rho": one.rho, "low": one.low, "high": one.high, "pairs": one.pairs} for one in scores
        }
        notes = tuple(f"{one.name}: {one.note}" for one in scores if one.note)
        total = sum(one.pairs for one in scores if one.name in mean.sets)
        resampled = None
        if resamples and mean.sets:
            values = self._resampled(names, vectors, mean.sets, resamples)
            resampled = Resampled("bootstrap", f"wordsim {self.sample} {total}", total, tuple(values.tolist()))
        return LayerScore.of(mean.micro, total, resampled, detail=detail, notes=notes)

    def _resampled(self, names: Sequence[str], vectors: np.ndarray, sets: Sequence[str], resamples: int) -> np.ndarray:
        """The average over sets with pairs drawn with replacement, [resamples]."""
        generator = self.material.generator("bootstrap wordsim", self.sample)
        index = {name: row for row, name in enumerate(names)}
        totals, weights = np.zeros(resamples), 0
        for each in self.sets:
            if each.name not in sets:
                continue
            kept = [k for k, pair in enumerate(each.pairs) if index.keys() >= set(pair)]
            rows = np.array([[index[word] for word in each.pairs[k]] for k in kept])
            similarity, human = cosines(vectors, rows[:, 0], rows[:, 1]), each.human[kept]
            for number, drawn in enumerate(generator.integers(len(kept), size=(resamples, len(kept)))):
                totals[number] += len(kept) * spearman(similarity[drawn], human[drawn])
            weights += len(kept)
        return totals / weights


class SentenceSimilarity:
    """Do cosines of utterances' mean states follow how near people find the sentences? Spearman's correlation."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "sts"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Means of whole utterances."""
        return [Want("tokens", "utterances", tuple(labels))]

    @cached_property
    def pairs(self) -> SentencePairs:
        return self.material.pairs()

    @cached_property
    def others(self) -> np.ndarray:
        """Utterances of no pair, whose mean is taken off, bool [U]; all where there are too few."""
        paired = {*self.pairs.first, *self.pairs.second}
        others = np.array([name not in paired for name in self.material.utterances.ids])
        return others if others.sum() >= LEAST_OTHERS else np.ones(len(others), bool)

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError for an utterance of a pair that is not there, and for fewer than 4 pairs."""
        known = set(self.material.utterances.ids)
        for name in (*self.pairs.first, *self.pairs.second):
            if name not in known:
                file = self.material.config.words.pairs
                raise ValueError(f"words.pairs={file}: utterance {short(name)} is not in the corpus, or too short")
        if len(self.pairs.names) < 4:
            raise ValueError(f"words.pairs: {len(self.pairs.names)} pairs, at least 4 are needed for a correlation")

    def chance(self, gathered: Gathered, label: str) -> float | None:
        return 0.0

    def ceiling(self) -> float | None:
        return None

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Pairs, their rows, and where the mean comes from."""
        own = not bool((~self.others).any())
        about = {
            "pairs": len(self.pairs.names),
            "rows": len(self.pairs.pair),
            "utterances_of_mean": int(self.others.sum()),
        }
        return about | ({"note": "the mean that is taken off is of the scored utterances too"} if own else {})

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """One layer, centred as the config says; the plain cosine stands in the detail."""
        states = np.asarray(gathered.tokens("utterances", self.sample, label))
        here, how = self.material.utterances, self.material.config.words.centre
        vectors = centred_by(states, self.others, how)
        found = score_sentences(self.pairs, here.ids, vectors, here.speakers)
        plain = score_sentences(self.pairs, here.ids, states, here.speakers)
        detail = asdict(found) | {"centre": how, "plain_cosine": plain.mean}
        resampled = None
        if resamples:
            values = tuple(self._resampled(vectors, resamples).tolist())
            resampled = Resampled("bootstrap", f"sts {len(self.pairs.names)}", len(self.pairs.names), values)
        return LayerScore.of(found.mean, found.pairs, resampled, detail=detail)

    def _resampled(self, vectors: np.ndarray, resamples: int) -> np.ndarray:
        """The correlation with pairs drawn with replacement, [resamples]."""
        index = {name: row for row, name in enumerate(self.material.utterances.ids)}
        first, second = ([index[name] for name in side] for side in (self.pairs.first, self.pairs.second))
        cosine = cosines(vectors, np.array(first), np.array(second))
        count = len(self.pairs.names)
        mean = np.bincount(self.pairs.pair, cosine, count) / np.bincount(self.pairs.pair, minlength=count)
        drawn = self.material.generator("bootstrap sts", self.sample).integers(count, size=(resamples, count))
        return np.array([spearman(mean[some], self.pairs.human[some]) for some in drawn])
