"""The experiments by name: what each is made of. What they are in words stands in analysis/experiment_names."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from analysis.abx import installed
from analysis.collect import Subject
from analysis.collectors import MEL, SPEAKER
from analysis.config import AnalysisConfig
from analysis.experiment_names import EXPERIMENTS, NEEDS
from analysis.experiments_abx import PhoneAbx
from analysis.experiments_boundaries import WordBoundaries
from analysis.experiments_cca import (
    FrameCca,
    TokenCca,
    agwe_view,
    attributes_view,
    glove_view,
    labels_view,
)
from analysis.experiments_discrimination import Discrimination
from analysis.experiments_maps import LayerMap
from analysis.experiments_mi import ClusterInformation
from analysis.experiments_models import MODEL_EXPERIMENTS
from analysis.experiments_shape import Shape
from analysis.experiments_units import NAME as UNITS
from analysis.experiments_words import SentenceSimilarity, WordSimilarity
from analysis.gather import BASE, Gathered, Want
from analysis.material import Material, Utterances
from analysis.scores import LayerScore
from mockingjay.upstreams.attentive import Attentive
from mockingjay.upstreams.selection import LayerSelection
from utility.text import short


class Described(Protocol):
    """What says what its scores are of."""

    def about(self) -> dict[str, Any]:
        """Counts, and what was left out."""


class Experiment(Described, Protocol):
    """One experiment on one sample of the corpus."""

    def wants(self, labels: Sequence[str]) -> list[Want]:
        """What is to be collected of these layers."""

    def check(self, subject: Subject, labels: Sequence[str]) -> None:
        """Draw what is drawn; ValueError for what cannot work, before an upstream runs."""

    def score(self, gathered: Gathered, label: str, resamples: int) -> LayerScore:
        """The score of one layer."""

    def chance(self, gathered: Gathered, label: str) -> float | None:
        """What a layer that knows nothing scores; None where that has no meaning."""

    def ceiling(self) -> float | None:
        """What no layer does better than; None where nobody knows."""

    def controls(self, resamples: int) -> dict[str, LayerScore]:
        """Scores of what is no upstream, by name."""


# Of two upstreams at a time; of finished probes; codes are counted in analysis/experiments_units.
BETWEEN, WEIGHTS = "cca_inter", "layer_weights"
MAKERS: dict[str, Callable[[Material, int], Experiment]] = {
    "cca_phone": partial(TokenCca, "cca_phone", "phones", labels_view),
    "cca_word": partial(TokenCca, "cca_word", "words", labels_view),
    "cca_agwe": partial(TokenCca, "cca_agwe", "words", agwe_view),
    "cca_glove": partial(TokenCca, "cca_glove", "words", glove_view),
    "cca_semantic": partial(TokenCca, "cca_semantic", "all_words", attributes_view("semantic")),
    "cca_syntactic": partial(TokenCca, "cca_syntactic", "all_words", attributes_view("syntactic")),
    "cca_speaker": partial(FrameCca, "cca_speaker", SPEAKER),
    "cca_mel": partial(FrameCca, "cca_mel", MEL),
    "cca_intra": partial(FrameCca, "cca_intra", BASE),
    "mi_phone": partial(ClusterInformation, "mi_phone", "mi_phones"),
    "mi_word": partial(ClusterInformation, "mi_word", "mi_words"),
    "shape": Shape,
    "cka": LayerMap,
    "awd": Discrimination,
    "abx_phone": PhoneAbx,
    "segmentation": WordBoundaries,
    "wordsim": WordSimilarity,
    "sts": SentenceSimilarity,
}
assert MAKERS.keys() | MODEL_EXPERIMENTS.keys() | {BETWEEN, WEIGHTS, UNITS} == EXPERIMENTS.keys(), (
    "every experiment that is listed is there"
)


def missing_need(name: str, config: AnalysisConfig, utterances: Utterances, subjects: Sequence[Subject]) -> str | None:
    """Why an experiment cannot be run, in words; None where all that it needs is there."""
    words = config.words
    speakers = set(utterances.speakers)
    given = {
        "phones": config.data.alignment,
        "words": config.data.words,
        "speakers": len(speakers) > 1 and "" not in speakers,
        "several layers": any(len(subject.labels) > 1 for subject in subjects),
        "other upstream": len(subjects) > 1,
        "attention": any(isinstance(subject.upstream, Attentive) for subject in subjects),
        "vectors": words.vectors,
        "agwe": words.agwe and (words.agwe != "pronunciation" or config.data.alignment),
        "semantic": words.semantic,
        "syntactic": words.syntactic,
        "similarity": words.similarity,
        "pairs": words.pairs,
        "probes": config.probes.weighted,
        "codes": config.units.store,
        "fastabx": installed(),
    }
    missing = [NEEDS[need] for need in EXPERIMENTS[name].needs if not given[need]]
    return f"needs {' and '.join(missing)}" if missing else None


def labels_for(name: str, subject: Subject, layer: str | None) -> tuple[str, ...]:
    """The layers of an upstream that an experiment looks at: convolutions only beside the filterbank, or those of
    `--layer`. An upstream of one layer, such as the features, keeps it.

    ValueError for a layer that the upstream does not have."""
    upstream = subject.upstream
    usual = subject.labels if name == "cca_mel" else upstream.layers
    if layer is None or len(subject.labels) == 1:
        return usual
    if layer == "all":
        return subject.labels
    chosen: list[str] = []
    for part in layer.split(","):
        try:
            chosen += LayerSelection.parse(part).labels(upstream)
        except ValueError as error:
            raise ValueError(f"{subject.name}: {error}") from None
    if repeated := [label for label in chosen if chosen.count(label) > 1]:
        raise ValueError(f"--layer {short(layer)}: layer {repeated[0]} is listed twice")
    return tuple(label for label in subject.labels if label in chosen)
