"""Do neighbouring frames change most at word boundaries? A setting is chosen on some utterances, scored on others."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from analysis.boundaries import (
    DISTANCES,
    BoundaryTimes,
    Setting,
    find_boundaries,
    interval_lines,
    random_boundaries,
    uniform_boundaries,
)
from analysis.boundary_scores import (
    BoundaryCounts,
    References,
    Segmentation,
    choose_setting,
    references_of,
    score_boundaries,
    score_setting,
    token_scores,
)
from analysis.collect import Subject
from analysis.gather import CURVES, Gathered, Want
from analysis.material import Material
from analysis.scores import LayerScore, Resampled
from utility.intervals import resampled_counts


class WordBoundaries:
    """F1 of boundaries at peaks of the distance of neighbouring frames."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "segmentation"
        self.given = material.config.segmentation.setting

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Distance curves."""
        return [Want(CURVES, "", tuple(labels))]

    @cached_property
    def dev(self) -> np.ndarray:
        """Utterances on which the setting is chosen, bool [U]; none where it is given."""
        if self.given is not None:
            return np.zeros(len(self.material.utterances.ids), bool)
        places = np.arange(len(self.material.utterances.ids))
        share = self.material.config.segmentation.dev_share
        return self.material.halves("segmentation", self.sample, places, share, "utterance")

    def _references(self, chosen: np.ndarray) -> References:
        tokens, held = self.material.all_tokens("words")
        here = self.material.utterances
        said, seconds = [], []
        for place in np.flatnonzero(chosen & held).tolist():
            rows = tokens.table[tokens.of_utterance(place)]
            said.append((here.ids[place], [(row["start"], row["end"], tokens.classes[row["label"]]) for row in rows]))
            seconds.append(float(here.durations[place]))
        return references_of(said, seconds)[0]

    @cached_property
    def references(self) -> tuple[References | None, References]:
        """Of dev, None where the setting is given, and of the utterances that are scored."""
        dev = None if self.given is not None else self._references(self.dev)
        return dev, self._references(~self.dev)

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError where a part has no words."""
        assert self.references[1].ids, "or there was an error"

    def ceiling(self) -> float | None:
        return 1.0

    def chance(self, gathered: Gathered, label: str) -> float | None:
        """Boundaries at random times, as many as there are."""
        generator = self.material.generator("random boundaries", self.sample)
        references = self.references[1]
        return self._counts(random_boundaries(references.durations, self._rate(), generator)).f1

    def _rate(self) -> float:
        """Boundaries a second, on the utterances that choose; of all where the setting is given."""
        references = self.references[0] or self.references[1]
        return len(references.boundaries.seconds) / float(references.durations.sum())

    def _counts(self, predicted: BoundaryTimes) -> BoundaryCounts:
        return score_boundaries(predicted, self.references[1], self.material.config.segmentation.scoring)

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        """Boundaries at equal distances."""
        predicted = uniform_boundaries(self.references[1].durations, self._rate())
        return {"equal distances": self._score(self._counts(predicted), resamples, {})}

    def about(self) -> dict[str, Any]:
        """Utterances of both parts, and the boundaries that are scored."""
        dev, test = self.references
        return {
            "dev_utterances": 0 if dev is None else len(dev.ids),
            "scored_utterances": len(test.ids),
            "scored_boundaries": len(test.boundaries.seconds),
        }

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """One layer."""
        config, (dev, test) = self.material.config.segmentation, self.references
        curves, times = gathered.curves(label)
        detail: dict[str, Any] = {}
        if self.given is not None:
            setting = self.given
        else:
            assert dev is not None
            own, rules = self._part(dev, curves, times), (config.criterion, config.scoring, config.times)
            setting, on_dev = choose_setting(own, dev, *rules, *config.choices)
            detail = {"dev_f1": on_dev.f1, "dev_r_value": on_dev.r_value}
        part = self._part(test, curves, times)
        counts = score_setting(part, test, setting, () if dev is None else dev.ids, config.scoring, config.times)
        predicted = part.peaks(setting.distance, setting.window, config.times).above(setting.prominence)
        detail |= {"setting": asdict(setting), "token_f1": token_scores(predicted, test).f1}
        return self._score(counts, resamples, detail)

    def intervals(self, gathered: Gathered, label: str, score: LayerScore) -> dict[str, list[str]]:
        """The original's lines `start stop xxx` of every utterance, by id, under the setting of a score."""
        setting = Setting(**score.detail["setting"])
        curves, times = gathered.curves(label)
        peaks = find_boundaries(curves[DISTANCES.index(setting.distance)], times, setting.window, "literature")
        lines = {}
        for name, centres, seconds in zip(self.material.utterances.ids, times, peaks.above(setting.prominence).of_each):
            shift = round(float(centres[1] - centres[0]), 9)  # two frames at least: shorter utterances are left out
            lines[name] = interval_lines(np.rint(seconds / shift - 0.5), len(centres), shift)
        return lines

    def _score(self, counts: BoundaryCounts, resamples: int, detail: dict[str, Any]) -> LayerScore:
        names = ("precision", "recall", "r_value", "over_segmentation")
        detail = detail | {name: getattr(counts, name) for name in names}
        utterances, resampled = len(counts.hits), None
        if resamples and utterances > 1:
            generator = self.material.generator("bootstrap segmentation", self.sample)
            drawn = resampled_counts(utterances, resamples, generator)
            values = [counts.take(np.repeat(np.arange(utterances), row)).f1 for row in drawn]
            resampled = Resampled("bootstrap", f"segmentation {self.sample} {utterances}", utterances, tuple(values))
        return LayerScore.of(counts.f1, utterances, resampled, detail=detail)

    def _part(
        self, references: References, curves: Sequence[Sequence[np.ndarray]], times: Sequence[np.ndarray]
    ) -> Segmentation:
        index = {name: place for place, name in enumerate(self.material.utterances.ids)}
        rows = [index[name] for name in references.ids]
        return Segmentation(
            references.ids, tuple([some[row] for row in rows] for some in curves), [times[row] for row in rows]
        )
