"""Layers beside layers: CKA maps of one upstream, and two upstreams beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.cka import SimilarityMap, cka_debiased, cka_interval, similarity_map
from analysis.collect import Subject
from analysis.experiments_cca import score_of
from analysis.gather import MAPS, Gathered, Want
from analysis.joint import Joint, named
from analysis.material import Material, frames_described
from analysis.scores import LayerScore
from analysis.similarity import cross_validated_cca

CKA = "debiased CKA"


class LayerMap:
    """Debiased CKA of every layer with every other; the curve is that with the base layer (cca.base_layer)."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "cka"

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Products of every two layers' frames."""
        return [Want(MAPS, "", tuple(labels))]

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError for layers whose frames come at different times."""
        if len({subject.clock(label) for label in labels}) > 1:
            raise ValueError(
                f"{subject.name}: layers {', '.join(labels)} come at different times: choose some (--layer)"
            )

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
        labels = gathered.wanted[MAPS, "", self.sample].labels
        return {gathered.subject.name: similarity_map(gathered.map_moments(self.sample), labels, labels)}


def map_content(found: SimilarityMap, row_axis: str, column_axis: str) -> dict[str, Any]:
    """A map for result.json."""
    return {
        "values": found.values.tolist(),
        "rows": list(found.rows),
        "columns": list(found.columns),
        "row_axis": row_axis,
        "column_axis": column_axis,
        "measure": CKA,
        "unit": "",
    }


class BetweenUpstreams:
    """Layers of one number of two upstreams: held-out CCA similarity; and the CKA of all pairs as a map."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample, self.name = material, sample, "cca_inter"

    def about(self) -> dict[str, Any]:
        """Utterances, and their seconds."""
        return frames_described(self.material, self.sample)

    def scores(self, first: Gathered, second: Gathered, resamples: int) -> Mapping[str, LayerScore]:
        """The similarity of layers of one number, by the first's label."""
        joint = Joint(first, second, self.sample)
        moments, _ = joint.moments()
        found = {}
        for (x, y), label in zip(joint.pairs, joint.layers[0]):
            similarity = cross_validated_cca(moments, x, y, joint.division.trials, self.material.config.cca.settings)
            generator = self.material.generator("bootstrap cca_inter", self.sample)
            found[label] = score_of(similarity, generator, resamples)
        return found

    def map(self, first: Gathered, second: Gathered) -> SimilarityMap:
        """Every layer of the first with every one of the second."""
        joint = Joint(first, second, self.sample)
        _, moments = joint.moments()
        rows, columns = ([named(k, label) for label in some] for k, some in enumerate(joint.layers))
        values = similarity_map(moments, rows, columns).values
        return SimilarityMap(joint.layers[0], joint.layers[1], values)
