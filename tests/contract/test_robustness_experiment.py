"""Attacks on the input of real models of features and of waveforms: their size, their units, what arrives at layers."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from analysis.reconstruction import reconstruction_loss
from analysis.robustness_content import lnsr_content
from analysis.robustness_experiment import (
    LnsrOptions,
    changed_inputs,
    drift,
    input_deviations,
    measure_lnsr,
)
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.checkpoint import load_pretrained
from mockingjay.upstream import load_upstream
from tests.helpers.checkpoints import GRU, write_checkpoint
from tests.helpers.heard_corpus import FEATURES, heard_corpus
from utility.store.reading import Store
from utility.store.recordings import Recordings

MODEL = {"layers": 2, "hidden_size": 24, "heads": 3, "ffn_size": 48, "initializer_range": 0.3, "downsample_rate": 3}
OPTIONS = LnsrOptions(sizes=(0.1, 0.5), steps=3, resamples=50)
NAMES = [
    f"{attack} {size}{control}"
    for attack in ("fgsm", "pgd")
    for control in ("", ", noise max", ", noise L2")
    for size in (0.1, 0.5)
]
pytestmark = pytest.mark.slow


def by_name(made) -> dict[str, torch.Tensor]:
    """The changed inputs [1, ...] of an utterance, each by its name."""
    return {name: one for names, changed in made for name, one in zip(names, changed.split(1), strict=True)}


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    return heard_corpus(tmp_path_factory.mktemp("heard"))


@pytest.fixture(scope="module")
def corpus(heard):
    return Store(heard.store)


@pytest.fixture(scope="module")
def recordings(heard):
    return Recordings([heard.recordings], None, sample_rate=16000)


def linear(inputs, lengths):
    """A loss with the same gradient everywhere."""
    return inputs.sum() - 2 * inputs[..., ::2].sum()


def test_sizes_are_in_deviations_of_each_feature(corpus):
    utterances = UtteranceInputs.of(load_upstream("baseline", info=corpus.info), corpus, range(6))
    ramp = np.linspace(0.1, 3, 80).astype(np.float32)
    utterances.inputs.read = lambda number: ramp * corpus[number]
    frames = np.concatenate([ramp * corpus[i] for i in range(6)]).astype(np.float64)
    deviations = input_deviations(utterances)
    np.testing.assert_allclose(deviations, frames.std(axis=0), rtol=1e-6)
    inputs = utterances.read(0)
    changes = by_name(changed_inputs(utterances, 0, inputs, linear, deviations, OPTIONS))
    assert list(changes) == NAMES
    units = {name: ((noisy - inputs)[0].double() / deviations).numpy() for name, noisy in changes.items()}
    signs = np.where(np.arange(80) % 2, 1, -1)
    assert deviations.max() > 10 * deviations.min()
    np.testing.assert_allclose(units["fgsm 0.5"], np.broadcast_to(0.5 * signs, units["fgsm 0.5"].shape), rtol=2e-3)
    assert np.abs(units["pgd 0.1"]).max() == pytest.approx(0.1, rel=2e-3)
    assert np.abs(units["fgsm 0.5, noise max"]).max() == pytest.approx(0.5, rel=2e-3)
    energy = {name: float((noisy - inputs).norm()) for name, noisy in changes.items()}
    assert energy["pgd 0.5, noise L2"] == pytest.approx(energy["pgd 0.5"], rel=1e-3)
    assert energy["pgd 0.5, noise max"] < 0.7 * energy["pgd 0.5"]


def test_features_as_an_upstream_have_the_ratio_of_the_input(corpus):
    utterances = UtteranceInputs.of(load_upstream("baseline", info=corpus.info), corpus, range(6))
    content = measure_lnsr(utterances, corpus.speakers[:6], lambda number: linear, OPTIONS)
    assert list(content["curves"]) == NAMES
    ratios = []
    for number, inputs in utterances.each():
        changed = by_name(changed_inputs(utterances, number, inputs, linear, input_deviations(utterances), OPTIONS))
        noise = (changed["fgsm 0.5"] - inputs)[0].double().numpy()
        ratios.append(
            [np.linalg.norm(noise, order) / np.linalg.norm(inputs[0].double(), order) for order in (2, "fro")]
        )
    (point,) = content["curves"]["fgsm 0.5"]
    assert (point["label"], point["samples"]) == ("F", 6)
    np.testing.assert_allclose([point["score"], point["detail"]["frobenius"]], np.mean(ratios, axis=0), rtol=1e-5)
    assert point["low"] < point["score"] < point["high"]
    assert content["unit"] == "deviations of each feature"


def test_attacks_on_our_model_raise_its_loss_more_than_noise(corpus, tmp_path):
    ckpt = write_checkpoint(tmp_path / "m.ckpt", FEATURES, model=MODEL)
    upstream, saved = load_upstream("pretrained", ckpt, corpus.info), load_pretrained(ckpt)
    utterances, loss = UtteranceInputs.of(upstream, corpus, range(4)), reconstruction_loss(upstream, saved)
    one, again = (measure_lnsr(utterances, list("abab"), lambda number: loss, OPTIONS) for _ in range(2))
    assert json.dumps(one, allow_nan=False) == json.dumps(again, allow_nan=False)
    other = measure_lnsr(utterances, list("abab"), lambda number: loss, dataclasses.replace(OPTIONS, seed=1))
    assert other["curves"]["pgd 0.1"] != one["curves"]["pgd 0.1"]
    assert [point["label"] for point in one["curves"]["pgd 0.5"]] == ["F", "T0", "T1", "T2"]
    for attack in ("fgsm", "pgd"):
        for size in (0.1, 0.5):
            name = f"{attack} {size}"
            assert one["raised"][name] > 1.5 * abs(one["raised"][f"{name}, noise L2"])
        assert one["raised"][f"{attack} 0.5"] > one["raised"][f"{attack} 0.1"] > 0
    content = lnsr_content({"m": one})
    assert list(content["upstreams"]) == ["m, pgd 0.5", "m, pgd 0.5, noise L2"]
    assert set(content["changes"]["m"]) == set(NAMES)


@pytest.mark.parametrize("kind", ["hf", "gru", "own"])
def test_drift_needs_no_labels_for_any_upstream(kind, corpus, recordings, tmp_path):
    """Descent moves the last layer further than noise of its energy; waveforms count in deviations of samples."""
    if kind == "gru":
        ckpt = write_checkpoint(tmp_path / "g.ckpt", FEATURES, **GRU)
        utterances = UtteranceInputs.of(load_upstream("pretrained", ckpt, corpus.info), corpus, range(3))
    elif kind == "hf":
        pytest.importorskip("transformers")
        from tests.helpers import huggingface_models as models

        upstream = load_upstream(f"hf:{models.write_model(tmp_path / 'm', 'hubert_stable', normalise=True)}")
        utterances = UtteranceInputs.of(upstream, recordings, range(3))
    else:
        utterances = UtteranceInputs.of(
            load_upstream("tests.contract.test_robustness_experiment:Waves"), recordings, range(3)
        )
    upstream = utterances.upstream
    options = LnsrOptions(attacks=("pgd",), sizes=(0.05,), steps=4, resamples=0)
    content = measure_lnsr(utterances, list("abc"), drift(upstream, utterances), options)
    attack, noise = content["curves"]["pgd 0.05"], content["curves"]["pgd 0.05, noise L2"]
    label = "F" if upstream.takes == "features" else "W"
    assert [point["label"] for point in attack] == [label, *upstream.layers]
    assert attack[-1]["detail"]["frobenius"] > 1.2 * noise[-1]["detail"]["frobenius"] > 0
    assert attack[-1]["low"] is None
    if label == "W":
        assert content["unit"] == "deviations of the samples"
        samples = np.concatenate([utterances.read(i)[0] for i in range(3)])
        assert float(input_deviations(utterances)) == pytest.approx(float(samples.std()), rel=1e-4)
        changed = by_name(
            changed_inputs(
                utterances, 0, utterances.read(0), drift(upstream, utterances)(0), input_deviations(utterances), options
            )
        )
        assert changed["pgd 0.05"].shape == utterances.read(0).shape
        largest = float((changed["pgd 0.05"] - utterances.read(0)).abs().max())
        assert largest == pytest.approx(0.05 * samples.std(), rel=1e-3)


class Waves(torch.nn.Module):
    """A user's module of waveforms."""

    takes, sample_rate, downsample_rate, out_dim = "waveform", 16000, 160, 8

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 8, 320, 160)

    def forward(self, waves):
        """[1, N] -> [1, T, 8]."""
        return torch.tanh(4 * self.conv(waves[:, None])).transpose(1, 2)


def test_every_attack_and_control_of_every_utterance_has_draws_of_its_own(corpus):
    """Random starts of descent and Gaussian controls: no two of them follow each other, and all follow the seed."""
    utterances = UtteranceInputs.of(load_upstream("baseline", info=corpus.info), corpus, range(2))
    frames, options = int(corpus.lengths[:2].min()), dataclasses.replace(OPTIONS, steps=1, step_size=1e-9)
    deviations = input_deviations(utterances)

    def draws(options):
        drawn = {}
        for number, inputs in utterances.each():
            for name, noisy in by_name(changed_inputs(utterances, number, inputs, linear, deviations, options)).items():
                if name.startswith("pgd") or "noise" in name:  # a step of nothing: what is left is the start
                    change = (noisy - inputs)[0, :frames].double() / deviations
                    drawn[name, number] = (change / change.norm()).flatten().numpy()
        return drawn

    one, again, other = draws(options), draws(options), draws(dataclasses.replace(options, seed=1))
    assert len(one) == 2 * (2 + 2 * 4)
    assert all(np.array_equal(one[key], again[key]) for key in one)
    listed = np.stack([*one.values(), *other.values()])
    correlations = np.abs(listed @ listed.T - np.eye(len(listed)))
    assert correlations.max() < 6 / np.sqrt(listed.shape[1])


def test_a_point_of_several_samples_is_the_mean_of_theirs(corpus):
    utterances, groups = (
        UtteranceInputs.of(load_upstream("baseline", info=corpus.info), corpus, range(6)),
        list("abcdef"),
    )
    measured = [
        measure_lnsr(utterances, groups, lambda number: linear, OPTIONS, samples)
        for samples in ([[0, 1, 2, 3]], [[2, 3, 4, 5]], [[0, 1, 2, 3], [2, 3, 4, 5]])
    ]
    first, second, both = (one["curves"]["pgd 0.5"][0] for one in measured)
    assert "per_sample" not in first
    assert both["per_sample"] == [first["score"], second["score"]]
    assert both["score"] == pytest.approx((first["score"] + second["score"]) / 2)
    assert both["deviation"] == pytest.approx(abs(first["score"] - second["score"]) / np.sqrt(2))
    assert both["low"] < both["score"] < both["high"]
    assert both["samples"] == 4


def test_upstreams_are_compared_by_the_utterances_that_both_have(corpus, tmp_path):
    """The difference is that of the means, its interval narrower than both where the utterances agree."""
    curves = {}
    for name, scale in (("a", 0.3), ("b", 0.1)):
        ckpt = write_checkpoint(tmp_path / f"{name}.ckpt", FEATURES, model=MODEL | {"initializer_range": scale})
        upstream = load_upstream("pretrained", ckpt, corpus.info)
        utterances = UtteranceInputs.of(upstream, corpus, range(6 if name == "a" else 5))
        options = LnsrOptions(attacks=("pgd",), sizes=(0.1,), steps=1, resamples=100)
        ids = utterances.ids
        curves[name] = measure_lnsr(utterances, ids, drift(upstream, utterances), options, [range(5)])
    content = lnsr_content(curves, "the last layer")
    assert content["measure"] == "noise-to-signal ratio of layers, attacks on the last layer"
    assert [row["one"] for row in content["differences"]] == [["a, pgd 0.1", label] for label in ("T0", "T1", "T2")]
    for row in content["differences"]:
        one, other = (
            next(point for point in curves[name]["curves"]["pgd 0.1"] if point["label"] == row["one"][1])
            for name in "ab"
        )
        assert row["other"] == ["b, pgd 0.1", row["one"][1]]
        assert row["value"] == pytest.approx(one["score"] - other["score"])
        assert row["low"] <= row["value"] <= row["high"]
    assert (
        lnsr_content({"a": curves["a"], "w": {**curves["b"], "unit": "deviations of the samples"}})["differences"] == []
    )


def test_what_cannot_be_attacked_is_refused_in_one_line(corpus):
    utterances = UtteranceInputs.of(load_upstream("baseline", info=corpus.info), corpus, range(2))
    for loss, reason in (
        (lambda x, lengths: torch.ones((), requires_grad=True), "does not depend"),
        (lambda x, lengths: x.detach().sum(), "has a gradient"),
    ):
        with pytest.raises(ValueError, match=reason):
            measure_lnsr(utterances, ["a", "b"], lambda number, loss=loss: loss, OPTIONS)
    for wrong, reason in (
        ({"attacks": ("cw",)}, "unknown attack 'cw': expected fgsm or pgd"),
        ({"attacks": ()}, "needs attacks, and sizes above 0"),
        ({"sizes": (0.1, 0.0)}, "needs attacks, and sizes above 0"),
    ):
        with pytest.raises(ValueError, match=reason):
            LnsrOptions(**wrong)
