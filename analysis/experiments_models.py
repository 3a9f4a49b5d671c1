"""Experiments that run an upstream themselves, utterance by utterance: attention, its blocks, and noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.attention_blocks import BlockOptions, block_boundaries, block_content
from analysis.attention_experiment import AttentionOptions, Score, analyse_attention, attention_content
from analysis.collect import Subject
from analysis.config import AnalysisConfig
from analysis.frame_phones import FramePhones
from analysis.material import Material
from analysis.reconstruction import L1, reconstruction_loss, reconstruction_score
from analysis.robustness_content import lnsr_content
from analysis.robustness_experiment import LnsrOptions, LossOf, drift, measure_lnsr
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.upstreams.attentive import attentive
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.labels.alignment import Alignment
from utility.labels.phone_sets import SILENCES

Content = dict[str, Any]
PROBE, RECONSTRUCTION, DRIFT = "probe", "reconstruction", "drift"
OBJECTIVES = {RECONSTRUCTION: "the reconstruction", DRIFT: "the last layer"}  # in words


@dataclass(frozen=True)
class Look:
    """One upstream, and how it is looked at: `samples` draws of utterances, all with the same `shared` words."""

    subject: Subject
    material: Material
    samples: int
    resamples: int
    shared: str = ""


def nothing_shared(_subjects: Sequence[Subject], _config: AnalysisConfig) -> str:
    """For what needs no agreement."""
    return ""


@dataclass(frozen=True)
class ModelExperiment:
    """`of_one` gives what is said of one upstream, `joined` the experiment from these by curve and what is shared,
    `check` a ValueError for an upstream that it is not for, `shared` what all that it is for have in common."""

    check: Callable[[Subject], None]
    of_one: Callable[[Look], Content]
    joined: Callable[[Mapping[str, Mapping[str, Any]], str], Content]
    shared: Callable[[Sequence[Subject], AnalysisConfig], str] = nothing_shared


@dataclass(frozen=True)
class Drawn:
    """The utterances of all samples together, the group of each, and the places of each sample's."""

    utterances: UtteranceInputs
    groups: list[str]
    samples: list[list[int]]

    @classmethod
    def of(cls, look: Look, name: str, count: int) -> "Drawn":
        """Some drawn utterances; those that several samples share are looked at once."""
        material, here = look.material, look.material.utterances
        chosen = [material.generator(name, k).permutation(len(here.ids))[:count] for k in range(look.samples)]
        numbers = here.numbers[np.unique(np.concatenate(chosen))].tolist()
        taken = UtteranceInputs.of(look.subject.upstream, look.subject.corpus, numbers)
        place = {number: k for k, number in enumerate(taken.numbers)}
        samples = [[place[n] for n in here.numbers[np.sort(some)].tolist() if n in place] for some in chosen]
        if not all(samples):
            raise ValueError(f"a sample of {count} utterances has none that can be looked at: draw more of them")
        return cls(taken, _groups(material, taken), samples)


def _groups(material: Material, utterances: UtteranceInputs) -> list[str]:
    places = np.searchsorted(material.utterances.numbers, np.array(utterances.numbers))
    return material.utterances.groups(material.config.cca.group, places).tolist()


def check_attention(subject: Subject) -> None:
    """ValueError for an upstream without attention."""
    attentive(subject.upstream)


def attention(look: Look) -> Content:
    """Heads of one upstream; with an alignment the phones that they look at, with a head or probes what cuts cost."""
    subject, material, config = look.subject, look.material, look.material.config.attention
    drawn = Drawn.of(look, "attention", config.utterances)
    options = AttentionOptions(resamples=look.resamples, seed=material.seed, step=config.step, spans=config.spans)
    phones = None
    if path := material.config.data.alignment:
        phones = FramePhones.of(Alignment(path), lambda label: None if label.lower() in SILENCES else label)
    scores, units = _pruning_scores(subject, drawn.utterances) if config.pruning else ([], {})

    def score(upstream: Upstream) -> dict[str, float]:
        return {name: value for one in scores for name, value in one(upstream).items()}

    content = analyse_attention(
        drawn.utterances, drawn.groups, options, phones, score if scores else None, units, drawn.samples
    )
    if scores:
        content["pruning"]["probes"] = [dict(one) for one in subject.probed.scored_by]
    return content


def _pruning_scores(subject: Subject, utterances: UtteranceInputs) -> tuple[list[Score], dict[str, str]]:
    """What pruning is measured by: the reconstruction of a checkpoint with its head, and probes; and their units."""
    scores: list[Score] = []
    units: dict[str, str] = {}
    if has_reconstruction(subject):
        assert subject.saved is not None
        assert isinstance(subject.upstream, PretrainedUpstream)
        scores, units = [reconstruction_score(subject.upstream, subject.saved, utterances)], {L1: ""}
    if subject.probed.score is not None:
        scores.append(subject.probed.score)
    return scores, units | dict(subject.probed.units)


def has_reconstruction(subject: Subject) -> bool:
    """Whether it is of a checkpoint with a trained head that predicts what it takes.

    The head of random weights is random too: its loss is the size of the input, and says nothing of the layers."""
    if subject.saved is None or not isinstance(subject.upstream, PretrainedUpstream):
        return False
    try:
        reconstruction_loss(subject.upstream, subject.saved)
    except ValueError:  # its head predicts other features, or there is none
        return False
    return True


def blocks(look: Look) -> Content:
    """Phone boundaries by blocks of like frames, of the utterances of one sample."""
    material = look.material
    utterances = Drawn.of(replace(look, samples=1), "attention_blocks", material.config.attention.utterances).utterances
    places = np.arange(len(utterances.numbers))
    dev = places < max(round(material.config.segmentation.dev_share * len(places)), 1)
    tune, test = (utterances.take(np.flatnonzero(part).tolist()) for part in (dev, ~dev))
    path = material.config.data.alignment
    assert path is not None, "the need was checked"
    generator = material.generator("attention_blocks bootstrap", 0)
    options = BlockOptions(resamples=look.resamples)
    return block_boundaries(tune, test, _groups(material, test), Alignment(path), options, generator)


def objective(subjects: Sequence[Subject], config: AnalysisConfig) -> str:
    """What attacks raise, of all upstreams alike: as the config says, or what every one has, drift at last.

    ValueError names an upstream without what the config says."""
    lacking = {
        PROBE: [subject.name for subject in subjects if subject.probed.loss is None],
        RECONSTRUCTION: [subject.name for subject in subjects if not has_reconstruction(subject)],
        DRIFT: [],
    }
    tasks = {subject.probed.loss_of for subject in subjects}
    if not lacking[PROBE] and len(tasks) > 1:
        raise ValueError(f"lnsr.probe: probes of {' and '.join(sorted(tasks))}: give probes of one task")
    if config.lnsr.objective == "auto":
        return next(name for name, missing in lacking.items() if not missing)
    if missing := lacking[config.lnsr.objective]:
        what = "lnsr.probe names no probe" if config.lnsr.objective == PROBE else "there is no trained head"
        raise ValueError(f"lnsr.objective={config.lnsr.objective}: {what} of {', '.join(missing)}")
    return config.lnsr.objective


def objective_in_words(subjects: Sequence[Subject], config: AnalysisConfig) -> str:
    """For results and titles."""
    found = objective(subjects, config)
    return f"the probe {subjects[0].probed.loss_of}" if found == PROBE else OBJECTIVES[found]


def lnsr(look: Look) -> Content:
    """How much of an attack on what all upstreams share arrives at each layer."""
    subject, config = look.subject, look.material.config.lnsr
    drawn = Drawn.of(look, "lnsr", config.utterances)
    utterances, attacks = drawn.utterances, tuple(config.attacks)
    loss_of: LossOf
    if look.shared == OBJECTIVES[DRIFT]:
        loss_of, attacks = drift(subject.upstream, utterances), ("pgd",)  # one step has no gradient there
    elif look.shared == OBJECTIVES[RECONSTRUCTION]:
        assert subject.saved is not None, "it has a head"
        assert isinstance(subject.upstream, PretrainedUpstream)
        reconstruction = reconstruction_loss(subject.upstream, subject.saved)
        loss_of = lambda _: reconstruction  # noqa: E731
    else:
        probe = subject.probed.loss
        assert probe is not None, "all have one"
        loss_of = lambda number: probe(utterances.read(number))  # noqa: E731
    seed = look.material.seed
    options = LnsrOptions(attacks, tuple(config.sizes), config.steps, resamples=look.resamples, seed=seed)
    return measure_lnsr(utterances, drawn.groups, loss_of, options, drawn.samples)


def check_lnsr(subject: Subject) -> None:
    """ValueError for the features themselves: nothing happens to noise in them."""
    if subject.upstream.layers == ("F",):
        raise ValueError("the features themselves have no layers")


MODEL_EXPERIMENTS: dict[str, ModelExperiment] = {
    "attention": ModelExperiment(check_attention, attention, lambda curves, _: attention_content(curves)),
    "attention_blocks": ModelExperiment(check_attention, blocks, lambda curves, _: block_content(curves)),
    "lnsr": ModelExperiment(check_lnsr, lnsr, lnsr_content, objective_in_words),
}
