"""Clusters of a layer's tokens beside phones or words."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np

from analysis.collect import Subject
from analysis.gather import Gathered, Want
from analysis.information import (
    KMeansSettings,
    layer_information,
    left_out_scores,
    phone_settings,
    word_settings,
)
from analysis.material import Material, described
from analysis.scores import LayerScore, Resampled

GROUPS = 30  # of utterances, left out one after another for the interval


class ClusterInformation:
    """Adjusted mutual information of clusters, fitted on some groups of utterances, and labels of the others."""

    def __init__(self, name: str, tokens: str, material: Material, sample: int):
        self.name, self.set, self.material, self.sample = name, tokens, material, sample

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """The means of the tokens."""
        return [Want("tokens", self.set, tuple(labels))]

    @cached_property
    def train(self) -> np.ndarray:
        """Which tokens clusters are fitted on, bool [N]."""
        places = self.material.tokens(self.set, self.sample).tokens.table["utterance"]
        return self.material.halves(self.name, self.sample, places, self.material.config.mi.train_share)

    def settings(self) -> KMeansSettings:
        """How clusters are made of so many tokens."""
        mi, count = self.material.config.mi, int(self.train.sum())
        phones = self.set == "mi_phones"
        clusters = mi.phone_clusters if phones else mi.word_clusters
        if clusters is None:
            settings = (phone_settings if phones else word_settings)(count)
        else:
            settings = KMeansSettings(clusters, 1500 if phones else 4000)
        return replace(settings, standardise=mi.standardise)

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """Draw the tokens; ValueError for too few of them, or one label among those that are scored."""
        settings, train = self.settings(), int(self.train.sum())
        if settings.clusters > train:
            key = "mi.phone_clusters" if self.set == "mi_phones" else "mi.word_clusters"
            raise ValueError(f"{key}={settings.clusters}: there are {train} training tokens: ask for fewer clusters")
        labels_there = self.material.tokens(self.set, self.sample).tokens.labels[~self.train]
        if len(np.unique(labels_there)) < 2:
            raise ValueError(f"{len(labels_there)} scored tokens of one class: at least 2 classes are needed")

    def ceiling(self) -> float | None:
        """Of labels beside themselves."""
        return 1.0

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Tokens, classes, and what was left out."""
        drawn = self.material.tokens(self.set, self.sample)
        return {**described(drawn), "train_tokens": int(self.train.sum()), "scored_tokens": int((~self.train).sum())}

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """The information of one layer."""
        tokens = self.material.tokens(self.set, self.sample).tokens
        states, scored = np.asarray(gathered.tokens(self.set, self.sample, label)), ~self.train
        generator = self.material.generator(f"{self.name} {label}", self.sample)
        settings, names = self.settings(), tokens.labels[scored]
        found = layer_information(
            states[self.train], states[scored], names, settings, generator, self.material.config.mi.seeds
        )
        resampled = None
        groups = self._groups(tokens.table["utterance"][scored])
        if resamples and len(np.unique(groups)) > 2:
            without = left_out_scores(found.clusters, names, groups)
            first = found.per_seed[0].adjusted  # the interval is of the first seed, moved to the mean of all
            values = tuple((np.array(without) + found.adjusted - first).tolist())
            key = f"{self.name} {self.sample} {len(names)}"
            resampled = Resampled("jackknife", key, len(values), values)
        detail = _means([asdict(one) for one in found.per_seed])
        detail |= {
            "deviation_over_seeds": found.deviation,
            "k": settings.clusters,
            "train_tokens": int(self.train.sum()),
        }
        detail |= {"standardised": settings.standardise}
        detail["mi_normalised_per_seed"] = [one.mi_normalised for one in found.per_seed]
        notes = tuple(dict.fromkeys(note for one in found.per_seed for note in one.notes))
        trials = tuple(one.adjusted for one in found.per_seed)
        return LayerScore.of(found.adjusted, len(names), resampled, per_trial=trials, detail=detail, notes=notes)

    def _groups(self, places: np.ndarray) -> np.ndarray:
        """Utterances in at most GROUPS groups, [n]."""
        numbers = np.unique(
            self.material.utterances.groups(self.material.config.cca.group, places), return_inverse=True
        )
        order = self.material.generator(f"groups {self.name}", self.sample).permutation(len(numbers[0]))
        return (order % GROUPS)[numbers[1]]

    def chance(self, gathered: Gathered, label: str) -> float | None:
        """Of the adjusted score; the floor of the original's stands in the detail."""
        return 0.0


def _means(rows: Sequence[dict]) -> dict:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key not in ("notes", "adjusted")}
