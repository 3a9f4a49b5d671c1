"""Experiments that run an upstream themselves, utterance by utterance: attention, its blocks, and noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.attention_blocks import BlockOptions, block_boundaries, block_content
from analysis.attention_experiment import AttentionOptions, FramePhones, analyse_attention, attention_content
from analysis.collect import Subject
from analysis.material import Material
from analysis.reconstruction import L1, reconstruction_loss, reconstruction_score
from analysis.robustness_experiment import LnsrOptions, drift, lnsr_content, measure_lnsr
from analysis.sampling import SILENCES
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.upstreams.attentive import attentive
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.labels.alignment import Alignment

Content = dict[str, Any]


@dataclass(frozen=True)
class ModelExperiment:
    """`of_one` gives what is said of one upstream, `joined` the experiment from these by curve, `check` a ValueError
    for an upstream that it is not for."""

    check: Callable[[Subject], None]
    of_one: Callable[[Subject, Material, int], Content]
    joined: Callable[[Mapping[str, Mapping[str, Any]]], Content]


def _utterances(subject: Subject, material: Material, name: str, count: int) -> tuple[UtteranceInputs, list[str]]:
    """Some drawn utterances, and the group of each."""
    here = material.utterances
    chosen = material.generator(name, 0).permutation(len(here.ids))[:count]
    places = np.sort(chosen)
    taken = UtteranceInputs.of(subject.upstream, subject.corpus, here.numbers[places].tolist())
    return taken, _groups(material, taken)


def _groups(material: Material, utterances: UtteranceInputs) -> list[str]:
    places = np.searchsorted(material.utterances.numbers, np.array(utterances.numbers))
    return material.utterances.groups(material.config.cca.group, places).tolist()


def check_attention(subject: Subject) -> None:
    """ValueError for an upstream without attention."""
    attentive(subject.upstream)


def attention(subject: Subject, material: Material, resamples: int) -> Content:
    """Heads of one upstream; with an alignment the phones that they look at, with a head what pruning costs."""
    config = material.config.attention
    utterances, groups = _utterances(subject, material, "attention", config.utterances)
    options = AttentionOptions(resamples=resamples, seed=material.seed, step=config.step, spans=config.spans)
    phones = score = units = None
    if path := material.config.data.alignment:
        phones = FramePhones.of(Alignment(path), lambda label: None if label.lower() in SILENCES else label)
    if config.pruning and subject.saved is not None and isinstance(subject.upstream, PretrainedUpstream):
        try:
            score, units = reconstruction_score(subject.upstream, subject.saved, utterances), {L1: ""}
        except ValueError:  # its head predicts other features: pruning is measured by nothing
            score = None
    return analyse_attention(utterances, groups, options, phones, score, units)


def blocks(subject: Subject, material: Material, resamples: int) -> Content:
    """Phone boundaries by blocks of like frames."""
    utterances, _ = _utterances(subject, material, "attention_blocks", material.config.attention.utterances)
    places = np.arange(len(utterances.numbers))
    dev = places < max(round(material.config.segmentation.dev_share * len(places)), 1)
    tune, test = (utterances.take(np.flatnonzero(part).tolist()) for part in (dev, ~dev))
    path = material.config.data.alignment
    assert path is not None, "the need was checked"
    generator = material.generator("attention_blocks bootstrap", 0)
    options = BlockOptions(resamples=resamples)
    return block_boundaries(tune, test, _groups(material, test), Alignment(path), options, generator)


def lnsr(subject: Subject, material: Material, resamples: int) -> Content:
    """How much of an attack on the reconstruction arrives at each layer; of other upstreams, on the last layer."""
    config = material.config.lnsr
    utterances, groups = _utterances(subject, material, "lnsr", config.utterances)
    attacks, loss_of = tuple(config.attacks), None
    if subject.saved is not None and isinstance(subject.upstream, PretrainedUpstream):
        try:
            loss = reconstruction_loss(subject.upstream, subject.saved)
            loss_of = lambda _: loss  # noqa: E731
        except ValueError:  # as above
            loss_of = None
    if loss_of is None:
        loss_of, attacks = drift(subject.upstream, utterances), ("pgd",)  # one step has no gradient there
    options = LnsrOptions(attacks, tuple(config.sizes), config.steps, resamples=resamples, seed=material.seed)
    return measure_lnsr(utterances, groups, loss_of, options)


def check_lnsr(subject: Subject) -> None:
    """ValueError for the features themselves: nothing happens to noise in them."""
    if subject.upstream.layers == ("F",):
        raise ValueError("the features themselves have no layers")


MODEL_EXPERIMENTS: dict[str, ModelExperiment] = {
    "attention": ModelExperiment(check_attention, attention, attention_content),
    "attention_blocks": ModelExperiment(check_attention, blocks, block_content),
    "lnsr": ModelExperiment(check_lnsr, lnsr, lnsr_content),
}
