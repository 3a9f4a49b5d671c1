"""How a layer's states lie in space, over all frames."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis.collect import Subject
from analysis.gather import Gathered, Want
from analysis.material import FRAMES, Material, frames_described
from analysis.scores import LayerScore, Resampled
from analysis.shape import shape


class Shape:
    """How a layer's states lie in space: effective rank is the score, the rest is detail."""

    def __init__(self, material: Material, sample: int):
        self.material, self.sample = material, sample

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """Moments of frames."""
        return [Want(FRAMES, "", tuple(labels))]

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """ValueError for fewer utterances than folds need."""
        self.material.check_frames(self.sample)

    def chance(self, gathered: Gathered, label: str) -> float | None:
        return None

    def ceiling(self) -> float | None:
        return None

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        return {}

    def about(self) -> dict[str, Any]:
        """Utterances, and their seconds."""
        return frames_described(self.material, self.sample)

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """The shape of one layer, its interval by leaving groups of utterances out."""
        moments = gathered.moments(self.sample, label)
        whole = shape(moments, label)
        resampled = None
        filled = [number for number in range(moments.layout.sets) if moments.counts[number]]
        if resamples and len(filled) > 2:
            without = [shape(moments, label, [s for s in filled if s != left]).effective_rank for left in filled]
            key = "-".join(map(str, moments.counts.tolist()))
            resampled = Resampled("jackknife", key, len(filled), tuple(without))
        detail = asdict(whole)
        notes = tuple(detail.pop("notes"))
        detail = {name: None if value != value else value for name, value in detail.items()}
        return LayerScore.of(whole.effective_rank, whole.samples, resampled, detail=detail, notes=notes)
