"""The CCA experiments: a layer beside labels, vectors, a filterbank, another layer or speakers, held out by groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.collect import Subject
from analysis.collectors import MEL, SPEAKER
from analysis.config import file_of
from analysis.folds import Division
from analysis.gather import BASE, FRAME_ROWS, Gathered, Want
from analysis.material import FRAMES, Material, described, frames_described
from analysis.moments import Moments, with_reference
from analysis.original_scheme import check_original_folds, original_score_of
from analysis.packed import packed_size
from analysis.sampling import Tokens
from analysis.scores import LayerScore, Resampled
from analysis.similarity import CcaSettings, Similarity, cross_validated_cca, one_hot
from analysis.word_vectors import (
    PronunciationCounts,
    WordVectors,
    coverage,
    phones_of_words,
    read_attributes,
    read_vectors,
)
from utility.intervals import resampled_counts

ROWS = 4096  # tokens whose products are summed at once
VIEW = "view 2"
NO_GROUPS = "no interval: beside the folds no groups to resample fit into cca.memory_mib; raise it, or look at less"


def beside_reference(settings: CcaSettings) -> CcaSettings:
    """Of a layer beside labels, vectors or bands these give the weights, however wide the layer is.

    By the rule of the fewer dimensions a layer narrower than the labels would be weighed by itself, which scores
    higher: features of 160 dimensions beside 213 words got 0.15, where a wider map of them got 0.05."""
    return replace(settings, measure="pwcca_y") if settings.measure == "pwcca" else settings


def score_of(similarity: Similarity, generator: np.random.Generator, resamples: int) -> LayerScore:
    """A held-out similarity as the score of a layer."""
    resampled = None
    groups = sum(len(trial.test.count) for trial in similarity.trials)
    notes = similarity.notes
    if resamples and min(len(trial.test.count) for trial in similarity.trials) < 2:
        notes = (*notes, NO_GROUPS)
    elif resamples:
        counts = [resampled_counts(len(trial.test.count), resamples, generator) for trial in similarity.trials]
        values = tuple(similarity.resampled(counts).tolist())
        resampled = Resampled("bootstrap", similarity.trials[0].trial.division, groups, values)
    trials = similarity.trials
    detail = {
        "measure": similarity.measure,
        "epsilon": [trial.epsilon for trial in trials],
        "directions": [trial.directions for trial in trials],
        "ranks": [list(trial.fit.ranks) for trial in trials],
        "training_samples": [trial.fit.count for trial in trials],
        "train": float(np.mean([trial.train for trial in trials])),
        "dev": float(np.mean([trial.dev for trial in trials])),
        "pwcca_by_layer": float(np.mean([trial.pwcca_x for trial in trials])),
        "pwcca_by_view": float(np.mean([trial.pwcca_y for trial in trials])),
        "mean_cca": float(np.mean([trial.test_correlations.mean() if trial.directions else 0.0 for trial in trials])),
    }
    return LayerScore.of(
        similarity.score,
        similarity.samples,
        resampled,
        per_trial=similarity.per_trial,
        detail=detail,
        notes=notes,
    )


@dataclass(frozen=True)
class TokenView:
    """What tokens are beside a layer: which of them [N] bool, the other view [n, q], and labels for even folds [n]."""

    kept: np.ndarray
    view: np.ndarray
    labels: np.ndarray
    note: str = ""


class TokenCca:
    """A layer's token means beside a view of the tokens: phones, words, word vectors, attributes of words."""

    def __init__(
        self, name: str, tokens: str, view: Callable[[Material, Tokens], TokenView], material: Material, sample: int
    ):
        self.name, self.set, self.material, self.sample = name, tokens, material, sample
        self.make = view
        self.divided = cache(self._divided)  # of one object alone: folds by label take seconds

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """The means of the tokens."""
        return [Want("tokens", self.set, tuple(labels))]

    @cached_property
    def tokens(self) -> Tokens:
        return self.material.tokens(self.set, self.sample).tokens

    @cached_property
    def view(self) -> TokenView:
        return self.make(self.material, self.tokens)

    @cached_property
    def places(self) -> np.ndarray:
        """The utterance of each token [n]."""
        return self.tokens.table["utterance"][self.view.kept]

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """Draw the tokens; ValueError for fewer of them than a fit needs, or than folds need groups."""
        cca, count = self.material.config.cca, len(self.view.view)
        widest = max(self.view.view.shape[1], *(subject.upstream.width(label) for label in labels))
        training = count * (cca.folds - 2) // cca.folds
        if cca.scheme == "standard" and training < widest + 2:
            raise ValueError(
                f"about {training} training tokens for {widest} dimensions of {subject.name}: any layer would look "
                f"right; at least {widest + 2} are needed, better {10 * widest}: take more data or more tokens a class"
            )
        if cca.scheme == "standard":
            self._division(widest)
            return
        directions = min(self.view.view.shape[1], *(subject.upstream.width(label) for label in labels))
        check_original_folds(self.name, self.material, self.sample, self.view.labels, directions)

    def ceiling(self) -> float | None:
        return 1.0

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Tokens, classes, what was left out, and what the other view is."""
        drawn = self.material.tokens(self.set, self.sample)
        note = self.view.note or f"one-hot of {self.view.view.shape[1]} {self.set}"
        return {**described(drawn), "used_tokens": len(self.view.view), "note": note}

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """The similarity of one layer."""
        return self._score(gathered, label, resamples, self.view.view)

    def chance(self, gathered: Gathered, label: str) -> float:
        """The score with tokens' views in a random order."""
        order = self.material.generator(f"chance {self.name}", self.sample).permutation(len(self.view.view))
        return self._score(gathered, label, 0, self.view.view[order]).score

    def _score(self, gathered: Gathered, label: str, resamples: int, view: np.ndarray) -> LayerScore:
        states = gathered.tokens(self.set, self.sample, label)
        rows = np.flatnonzero(self.view.kept)
        if self.material.config.cca.scheme == "original":
            drawn = self.name, self.material, self.sample
            return original_score_of(*drawn, np.asarray(states[rows]), view, self.view.labels)
        division = self._division(states.shape[1])
        moments = Moments(with_reference({label: states.shape[1]}, VIEW, view.shape[1], division.num_sets))
        for low in range(0, len(rows), ROWS):
            block = {label: states[rows[low : low + ROWS]], VIEW: view[low : low + ROWS]}
            moments.add(block, division.set_of_unit[low : low + ROWS])
        settings = beside_reference(self.material.config.cca.settings)
        similarity = cross_validated_cca(moments, label, VIEW, division.trials, settings)
        score = score_of(similarity, self.material.generator(f"bootstrap {self.name}", self.sample), resamples)
        return replace(score, notes=(*score.notes, self.view.note)) if self.view.note else score

    def _division(self, width: int) -> Division:
        other = self.view.view.shape[1]
        numbers = packed_size(width) + width * other + packed_size(other)
        fitting = self.material.groups_that_fit(8 * numbers, "one layer")
        return self.divided(fitting)

    def _divided(self, groups: int) -> Division:
        """The folds of the tokens, with so many groups of the bootstrap."""
        return self.material.divided(self.name, self.sample, self.places, self.view.labels, groups)


def labels_view(material: Material, tokens: Tokens) -> TokenView:
    """One-hot columns of the tokens' labels."""
    names = np.array(tokens.classes)[tokens.labels]
    return TokenView(np.ones(len(tokens), bool), one_hot(names, tokens.classes), tokens.labels)


def vectors_view(vectors: WordVectors, tokens: Tokens) -> TokenView:
    """The vector of each token's word; tokens of words without one are left out."""
    covered = coverage(vectors, tokens.classes, tokens.counts)
    rows = vectors.rows(tokens.classes)[tokens.labels]
    kept = rows >= 0
    repeated = f"; {len(vectors.repeated)} words are there twice, the first counts" if vectors.repeated else ""
    view = vectors.matrix[rows[kept]]
    return TokenView(kept, view, tokens.labels[kept], covered.in_words() + repeated)


def glove_view(material: Material, tokens: Tokens) -> TokenView:
    """Word vectors of a file."""
    assert material.config.words.vectors is not None, "the need was checked"
    return vectors_view(read_vectors(file_of_key(material, "vectors"), tokens.classes), tokens)


def agwe_view(material: Material, tokens: Tokens) -> TokenView:
    """Acoustically grounded word vectors of a file, or vectors of pronunciations."""
    if material.config.words.agwe == "pronunciation":
        return vectors_view(pronunciations(material), tokens)
    return vectors_view(read_vectors(file_of_key(material, "agwe"), tokens.classes), tokens)


def attributes_view(key: str) -> Callable[[Material, Tokens], TokenView]:
    """Shares of senses or parts of speech."""

    def view(material: Material, tokens: Tokens) -> TokenView:
        return vectors_view(read_attributes(file_of_key(material, key), tokens.classes), tokens)

    return view


def file_of_key(material: Material, key: str) -> Path:
    """The file of words.KEY."""
    return file_of(getattr(material.config.words, key), f"words.{key}")


def pronunciations(material: Material) -> WordVectors:
    """Vectors of all words of the corpus, from the phones that the alignments say."""
    words, _ = material.all_tokens("words")
    phones, _ = material.all_tokens("phones")
    counts = PronunciationCounts()
    for place in range(len(words.ids)):
        own, theirs = words.table[words.of_utterance(place)], phones.table[phones.of_utterance(place)]
        for row, inside in zip(own, phones_of_words(own, theirs)):
            counts.add(words.classes[row["label"]], [phones.classes[k] for k in theirs["label"][inside]])
    return counts.vectors()


class FrameCca:
    """A layer's frames beside the filterbank, the base layer, or the speakers."""

    def __init__(self, name: str, reference: str, material: Material, sample: int):
        self.name, self.reference, self.material, self.sample = name, reference, material, sample
        self.original = material.config.cca.scheme == "original"
        if reference == SPEAKER and material.config.cca.group == "speaker":
            raise ValueError("cca.group=speaker: cca_speaker scores speakers that it was fitted on; group by utterance")

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Moments of frames; the original's scheme needs the frames themselves."""
        if self.original:
            if self.reference == MEL:
                return [Want(FRAME_ROWS, MEL, tuple(labels))]
            return [Want(FRAME_ROWS, "", tuple(labels), frozenset([self.reference]) & {BASE})]
        return [Want(FRAMES, "", tuple(labels), frozenset([self.reference]))]

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError for fewer utterances than folds need; the original divides utterances."""
        if self.original:
            self.material.frame_utterances(self.sample)
        else:
            self.material.check_frames(self.sample)

    def chance(self, gathered: Gathered, label: str) -> float | None:
        """Held-out frames of views that know nothing of each other; by the original's scheme, frames in random order,
        for its score of these is not 0."""
        if not self.original or label == self._other(gathered):
            return 0.0
        order = self.material.generator(f"chance {self.name}", self.sample)
        return self._original(gathered, label, order).score

    def ceiling(self) -> float | None:
        return 1.0

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Utterances, and their seconds."""
        return frames_described(self.material, self.sample)

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """The similarity of one layer."""
        other = self._other(gathered)
        if self.original and label != other:
            return self._original(gathered, label)
        if label == other:
            return LayerScore(1.0, self._frames(gathered, label), notes=("the base layer beside itself",))
        moments = gathered.moments(self.sample, label)
        if (label, other) not in moments.products and (other, label) not in moments.products:
            raise ValueError(f"{self.name}: frames of {label} and {other} come at different times")
        trials = gathered.division(self.sample).trials
        settings = self.material.config.cca.settings
        settings = settings if self.reference == BASE else beside_reference(settings)
        similarity = cross_validated_cca(moments, label, other, trials, settings)
        return score_of(similarity, self.material.generator(f"bootstrap {self.name}", self.sample), resamples)

    def _frames(self, gathered: Gathered, label: str) -> int:
        if self.original:
            return len(gathered.frame_rows(self.sample, label).taken(self.material.config.sampling.every))
        return int(gathered.moments(self.sample, label).counts.sum())

    def _other(self, gathered: Gathered) -> str:
        """What a layer stands beside: the label of the base layer, or the reference."""
        return gathered.base() if self.reference == BASE else self.reference

    def _original(self, gathered: Gathered, label: str, shuffled: np.random.Generator | None = None) -> LayerScore:
        """The original's scheme on all frames of one layer: the filterbank and the base layer are its first view."""
        sample, every = self.sample, self.material.config.sampling.every
        rows = gathered.frame_rows(sample, label, MEL if self.reference == MEL else "")
        taken = rows.taken(every)
        states = rows.states[taken]
        if self.reference == BASE:
            base = gathered.frame_rows(sample, gathered.base())
            if not np.array_equal(base.counts, rows.counts):
                raise ValueError(f"{self.name}: frames of {label} and {gathered.base()} come at different times")
            views = base.states[base.taken(every)], states
        elif rows.view is not None:
            views = rows.view[taken], states
        else:
            speakers = np.array(self.material.utterances.speakers)[self.material.frame_utterances(sample)]
            views = states, one_hot(np.repeat(speakers, -(-rows.counts // every)), tuple(sorted(set(speakers))))
        if shuffled is not None:
            views = views[0], views[1][shuffled.permutation(len(taken))]
        return original_score_of(self.name, self.material, sample, *views)
