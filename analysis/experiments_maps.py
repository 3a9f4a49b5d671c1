"""Layers beside layers: CKA maps of one upstream, and two upstreams beside each other."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from analysis.cca import svcca
from analysis.cka import SimilarityMap, cka, cka_debiased, cka_interval, similarity_map
from analysis.collect import Subject
from analysis.experiments_cca import score_of
from analysis.gather import FRAME_ROWS, MAPS, Gathered, Want
from analysis.joint import Joint, named, samples_of
from analysis.material import Material, frames_described
from analysis.original_scheme import original_score_of
from analysis.scores import LayerScore, kept
from analysis.similarity import cross_validated_cca
from utility.runs import read_json, write_json

MEASURES = {  # cca.map: the measure and what it is called
    "cka_debiased": (cka_debiased, "debiased CKA"),
    "cka": (cka, "CKA, biased"),
    "svcca": (svcca, "SVCCA of the same frames"),
}


def check_one_clock(subject: Subject, labels: Sequence[str]) -> None:
    """ValueError for layers whose frames come at different times."""
    if len({subject.clock(label) for label in labels}) > 1:
        raise ValueError(f"{subject.name}: layers {', '.join(labels)} come at different times: choose some (--layer)")


class LayerMap:
    """Debiased CKA of every layer with every other; the curve is that with the base layer (cca.base_layer)."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "cka"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Products of every two layers' frames."""
        return [Want(MAPS, "", tuple(labels))]

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError for layers whose frames come at different times."""
        check_one_clock(subject, labels)

    def ceiling(self) -> float | None:
        return 1.0

    def chance(self, gathered: Gathered, label: str) -> float | None:
        return 0.0

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Utterances, and their seconds."""
        return frames_described(self.material, self.sample)

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """One layer beside the base layer, or the first that is looked at; its interval leaves groups out."""
        moments, labels = gathered.map_moments(self.sample), gathered.wanted[MAPS, "", self.sample].labels
        base = gathered.base() if gathered.base() in labels else labels[0]
        count = int(moments.counts.sum())
        if label == base:
            return LayerScore(1.0, count, notes=("the base layer beside itself",))
        value, sets = cka_debiased(moments.pair(label, base)), int((moments.counts > 0).sum())
        if not resamples or sets < 3:
            return LayerScore(value, count, detail={"base": base})
        interval = cka_interval(moments, label, base)
        return LayerScore(value, count, interval.low, interval.high, detail={"base": base, "groups": sets})

    def maps(self, gathered: Gathered) -> dict[str, SimilarityMap]:
        """The map of an upstream."""
        labels, (measure, _) = gathered.wanted[MAPS, "", self.sample].labels, MEASURES[self.material.config.cca.map]
        return {gathered.subject.name: similarity_map(gathered.map_moments(self.sample), labels, labels, measure)}


def map_content(found: SimilarityMap, row_axis: str, column_axis: str, measure: str) -> dict[str, Any]:
    """A map for result.json; `measure` is a key of MEASURES."""
    return {
        "values": found.values.tolist(),
        "rows": list(found.rows),
        "columns": list(found.columns),
        "row_axis": row_axis,
        "column_axis": column_axis,
        "measure": MEASURES[measure][1],
        "unit": "",
    }


class BetweenUpstreams:
    """Layers of one number of two upstreams: held-out CCA similarity; and all pairs as a map (cca.map)."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "cca_inter"
        self.original = material.config.cca.scheme == "original"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Nothing of one upstream alone, but for the original's scheme."""
        return [Want(FRAME_ROWS, "", tuple(labels))] if self.original else []

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError for layers whose frames come at different times."""
        check_one_clock(subject, labels)

    def about(self) -> dict[str, Any]:
        """Utterances, and their seconds."""
        return frames_described(self.material, self.sample)

    def scores(self, joint: Joint, resamples: int, say: Callable[[str], None]) -> Mapping[str, LayerScore]:
        """The similarity of layers of one number, by the first's label; each is kept as soon as it is there."""
        moments, folder = cache(joint.by_fold), joint.scores(resamples)

        def make(number: int) -> LayerScore:
            say(" ".join((self.name, *joint.pairs[number])))
            if self.original:
                return original_score_of(self.name, self.material, self.sample, *samples_of(joint, number))
            trials, settings = joint.division.trials, self.material.config.cca.settings
            similarity = cross_validated_cca(moments(), *joint.pairs[number], trials, settings)
            return score_of(similarity, self.material.generator("bootstrap cca_inter", self.sample), resamples)

        labels = [label for label, _ in zip(*joint.layers)]
        return {label: kept(folder / f"{label}.json", partial(make, n)) for n, label in enumerate(labels)}

    def map(self, joint: Joint, resamples: int) -> SimilarityMap:
        """Every layer of the first with every one of the second; kept, too."""
        path = joint.scores(resamples) / "map.json"
        if not path.is_file():
            rows, columns = ([named(k, label) for label in some] for k, some in enumerate(joint.layers))
            measure, _ = MEASURES[self.material.config.cca.map]
            write_json(path, {"values": similarity_map(joint.of_all_pairs(), rows, columns, measure).values.tolist()})
        return SimilarityMap(tuple(joint.layers[0]), tuple(joint.layers[1]), np.array(read_json(path)["values"]))
