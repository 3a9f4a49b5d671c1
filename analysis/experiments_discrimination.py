"""Are two spoken tokens the same word? Pooled distances, and dynamic time warping."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from analysis.centring import Centring, DimensionStatistics, centred, centred_by
from analysis.collect import Subject
from analysis.discrimination import (
    TokenPairs,
    pooled_distances,
    resampled_precision,
    score_pairs,
    token_pairs,
    warped_distances,
)
from analysis.gather import Gathered, Want
from analysis.material import Material, described
from analysis.sampling import Tokens
from analysis.scores import LayerScore, Resampled


class Discrimination:
    """Are two tokens of one word nearer than two of different words? Average precision of pooled distances."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "awd"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Means of the tokens, and their frames for dynamic time warping."""
        frames = [Want("token_frames", "awd", tuple(labels))] if self.material.config.awd.dtw else []
        return [Want("tokens", "awd", tuple(labels)), *frames]

    @cached_property
    def tokens(self) -> Tokens:
        return self.material.tokens("awd", self.sample).tokens

    @cached_property
    def others(self) -> np.ndarray:
        """Which tokens give the mean that is taken off, bool [N]: of utterances that are not scored."""
        return self.material.centred_on(self.name, self.sample, self.tokens.table["utterance"])

    @cached_property
    def rows(self) -> np.ndarray:
        """The tokens that are scored."""
        return np.flatnonzero(~self.others)

    def _pairs(self, most: int) -> TokenPairs:
        places = self.tokens.table["utterance"][self.rows]
        speakers = np.array(self.material.utterances.speakers)[places]
        known = speakers if all(speakers) else None
        generator = self.material.generator(f"awd pairs {most}", self.sample)
        return token_pairs(self.tokens.labels[self.rows], known, most, generator)

    @cached_property
    def pairs(self) -> TokenPairs:
        return self._pairs(self.material.config.awd.max_pairs)

    @cached_property
    def warped_pairs(self) -> TokenPairs:
        return self._pairs(self.material.config.awd.dtw_pairs)

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """Draw tokens and pairs; ValueError where no two are of one word."""
        assert len(self.pairs), "or there was an error"

    def ceiling(self) -> float | None:
        return 1.0

    def chance(self, gathered: Gathered, label: str) -> float | None:
        """The share of pairs of one word."""
        weight = self.pairs.weight
        same = self.pairs.same_word
        return float(same.mean() if weight is None else weight[same].sum() / weight.sum())

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Tokens, words, pairs, and what was left out."""
        pairs = {"pairs": len(self.pairs), "same_word": int(self.pairs.same_word.sum())}
        return {**described(self.material.tokens("awd", self.sample)), **pairs, "scored_tokens": len(self.rows)}

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """Average precision of one layer, centred as the config says; its interval by resampling words."""
        states, how = np.asarray(gathered.tokens("awd", self.sample, label)), self.material.config.words.centre
        vectors = centred_by(states, self.others, how)[self.rows].astype(np.float32)
        distances = pooled_distances(vectors, self.pairs)
        found = score_pairs(distances, self.pairs)
        detail = asdict(found) | {"centre": how}
        detail["plain_cosine"] = score_pairs(
            pooled_distances(states[self.rows], self.pairs), self.pairs
        ).average_precision
        for positives in ("other_speaker", "same_speaker"):
            detail[positives] = self._by_speakers(distances, positives)
        if self.material.config.awd.dtw:
            detail["dtw"] = self._warped(gathered, label, how)
        resampled = None
        if resamples:
            words = self.tokens.labels[self.rows]
            generator = self.material.generator("bootstrap awd", self.sample)
            values = tuple(resampled_precision(distances, self.pairs, words, generator, resamples).tolist())
            key = f"awd {self.sample} {len(self.pairs)}"
            resampled = Resampled("bootstrap", key, len(np.unique(words)), values)
        return LayerScore.of(found.average_precision, len(self.rows), resampled, detail=detail)

    def _by_speakers(self, distances: np.ndarray, positives: Any) -> float | None:
        try:
            return score_pairs(distances, self.pairs, positives).average_precision
        except ValueError:  # speakers are unknown, or there is no such pair
            return None

    def _warped(self, gathered: Gathered, label: str, how: Centring) -> float:
        frames, lengths = gathered.token_frames("awd", self.sample, label)
        pooled = np.asarray(gathered.tokens("awd", self.sample, label))
        statistics = DimensionStatistics()
        statistics.add(pooled[self.others])
        kept = np.repeat(~self.others, lengths)
        states = centred(frames[kept], statistics if self.others.any() else None, how).astype(np.float32)
        distances = warped_distances(states, lengths[self.rows], self.warped_pairs)
        return score_pairs(distances, self.warped_pairs).average_precision
