"""The benchmark of layer analysis, small: both sides look at the same states, and agree where they shall."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.original_cca import original_cross_validation
from analysis.similarity import one_hot
from benchmarks.layers import Comparison, Measured, OriginalExtraction, OriginalScores, Ours, Task, original_draws
from tests.helpers.original_cca import original_procedure

SMALL = Task(layers=2, width=24, utterances=40, frames=90, phones=8, bands=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "ours").mkdir()
    (folder / "theirs").mkdir()
    return folder


@pytest.fixture(scope="module")
def ours(folder):
    return Ours(SMALL)(folder / "ours")


@pytest.fixture(scope="module")
def theirs(folder):
    assert OriginalExtraction(SMALL)(folder / "theirs") == {}
    return OriginalScores(SMALL)(folder / "theirs")


def test_both_have_the_same_frames_and_means_of_phones(folder, ours, theirs):
    for layer, label in enumerate(SMALL.labels):
        frames = np.load(folder / "theirs" / "frames" / f"layer_{layer}.npy")
        assert np.array_equal(frames, np.concatenate([SMALL.states(k, layer) for k in range(SMALL.utterances)]))
        means = np.load(folder / "theirs" / "phones" / f"layer_{layer}.npy")
        assert np.abs(means - np.load(folder / "ours" / f"{label}.npy")).max() < 1e-6


def test_the_original_scheme_here_gives_the_score_of_the_original_procedure(folder, theirs, tmp_path):
    """To 1e-9, but for what the null direction of one-hot labels brings in: that is the solver's rounding."""
    tokens = SMALL.tokens()
    view = one_hot([tokens.classes[k] for k in tokens.labels], tokens.classes)
    mel = np.concatenate([SMALL.mel(index) for index in range(SMALL.utterances)])
    for layer in range(SMALL.layers):
        frames, means = (np.load(folder / "theirs" / kind / f"layer_{layer}.npy") for kind in ("frames", "phones"))
        assert here(mel, frames, None) == pytest.approx(theirs["cca_mel"][layer], abs=1e-9)
        assert here(means, view, tokens.labels) == pytest.approx(theirs["cca_phone"][layer], abs=0.05)
        (tmp_path / str(layer)).mkdir()
        without = view[:, 1:], *original_draws(len(view), tokens.labels)
        there = original_procedure(means, *without, tmp_path / str(layer)).score
        assert original_cross_validation(means, *without).score == pytest.approx(there, abs=1e-9)
    assert len(list((folder / "theirs").glob("*/proj_x_*.npy"))) == 2 * SMALL.layers * 18


def here(one: np.ndarray, other: np.ndarray, labels: np.ndarray | None) -> float:
    """The score of cca.scheme=original."""
    return original_cross_validation(one, other, *original_draws(len(one), labels)).score


def test_our_scores_are_like_theirs(ours, theirs):
    """Not the same: whole utterances are held out here, null directions do not count, dev has a choice."""
    for name in ("cca_phone", "cca_mel"):
        assert len(ours[name]) == len(theirs[name]) == SMALL.layers
        assert np.abs(np.array(ours[name]) - theirs[name]).max() < 0.2
    assert ours["cca_mel"][0] > ours["cca_mel"][1] + 0.1  # the filterbank is made of the first layer
    assert Ours(SMALL, groups=0).groups == 0


def test_figures_of_some_layers_are_scaled_to_all():
    one = Measured(10.0, 8.0, 100.0, {})
    found = Comparison(2, one, replace(one, memory=500.0), one, one, 6.0)
    assert found.seconds == 120
    assert found.processor == 96
    assert found.memory == 600  # the lists of all layers
    assert replace(found, scale=2.0).memory == 500  # the scores of one layer
