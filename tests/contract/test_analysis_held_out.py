"""Held-out scores: leaks, chance, the choice of epsilon, intervals and paired differences."""

import numpy as np
import pytest

from analysis import original_cca
from analysis.folds import divide, original_folds
from analysis.original_cca import original_epsilons
from analysis.similarity import (
    CcaSettings,
    VariateSums,
    cross_validated_cca,
    one_hot,
    score_difference,
    score_interval,
)
from tests.helpers.analysis_views import held_out, moments_of, related


def test_independent_views_score_0_on_held_out_groups():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(6000, 150)), generator.normal(size=(6000, 120))
    scored = held_out(x, y, np.arange(6000) // 20)
    limit = 3 / np.sqrt(600)  # of 600 samples in a test fold
    assert all(abs(trial.score) < limit < trial.train for trial in scored.trials)  # chance is not 0 where it was fitted


def test_frames_of_one_utterance_on_both_sides_leak():
    """A12: features that only tell utterances apart. Divided by sample they score high, by utterance near 0."""
    generator = np.random.default_rng(0)
    utterance = np.arange(3000) // 50  # 60 utterances
    x = generator.normal(size=(60, 30))[utterance] + 0.3 * generator.normal(size=(3000, 30))
    y = generator.normal(size=(60, 30))[utterance] + 0.3 * generator.normal(size=(3000, 30))
    by_sample = held_out(x, y, np.arange(3000)).score
    by_utterance = held_out(x, y, utterance).score
    assert by_sample > 0.5
    assert abs(by_utterance) < 0.25


def test_epsilon_is_chosen_on_dev_and_helps_with_few_samples():
    """A8: with few samples per dimension a larger epsilon gives a better held-out score."""
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 10, 700)
    x = 0.12 * generator.normal(size=(10, 120))[labels] + generator.normal(size=(700, 120))
    x *= np.logspace(0, -1.5, 120)
    x[:, :8] += generator.normal(size=(10, 8))[labels]
    y = one_hot(labels.astype(str), np.arange(10).astype(str))
    groups = np.arange(700) // 5
    scores = [held_out(x, y, groups, settings=CcaSettings(epsilons=(epsilon,))) for epsilon in CcaSettings().epsilons]
    chosen = held_out(x, y, groups)
    assert chosen.score > scores[0].score + 0.02
    for number, trial in enumerate(chosen.trials):
        on_dev = [scored.trials[number].dev for scored in scores]
        assert trial.dev == max(on_dev)
        assert trial.epsilon == CcaSettings().epsilons[int(np.argmax(on_dev))]
        assert trial.score == scores[int(np.argmax(on_dev))].per_trial[number]


def test_few_samples_are_refused_or_told():
    """A11: the original asserted N > D, where D + 1 samples give a training score of 1 to any two views."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(100, 80)), generator.normal(size=(100, 5))
    groups = np.arange(100)
    with pytest.raises(ValueError, match=r"x and y: 80 training samples for 79 dimensions.*at least 81 .*better 790"):
        held_out(x, y, groups)
    scored = held_out(x[:, :20], y, groups)
    assert any("80 training samples for 20 dimensions, 4.0 each: below 10" in note for note in scored.notes)
    assert held_out(x[:, :8], y, groups).notes == ()


def test_scores_from_moments_are_scores_from_samples():
    """No projected samples, no QR: the covariances of the held-out part give the correlations."""
    x, y = related()
    division = divide(np.arange(2000) // 10, np.random.default_rng(0))
    scored = cross_validated_cca(moments_of(x, y, division), "x", "y", division.trials)
    for trial, sets in zip(scored.trials, division.trials):
        rows = np.isin(division.set_of_unit, sets.test)
        projected = x[rows] @ trial.fit.x, y[rows] @ trial.fit.y
        direct = [np.corrcoef(a, b)[0, 1] for a, b in zip(projected[0].T, projected[1].T)]
        np.testing.assert_allclose(trial.test_correlations, direct, atol=1e-10)
        groups = np.searchsorted(sets.test, division.set_of_unit[rows])
        half = len(groups) // 2
        parts = [
            VariateSums.from_samples(trial.fit, x[rows][part], y[rows][part], groups[part], len(sets.test))
            for part in (slice(half), slice(half, None))
        ]
        counts = np.random.default_rng(0).integers(0, 3, (5, len(sets.test)))
        second_pass = parts[0].plus(parts[1]).correlations(counts)
        np.testing.assert_allclose(second_pass, trial.test.correlations(counts), atol=1e-10)
    whole = [np.ones((1, len(trial.test.count)), np.int64) for trial in scored.trials]
    assert scored.resampled(whole)[0] == pytest.approx(scored.score, abs=1e-12)


def test_samples_are_needed_for_the_original_scheme():
    x, y = related(200)
    with pytest.raises(ValueError, match=r"cca.scheme=original needs the samples, and moments hold none"):
        held_out(x, y, np.arange(200), settings=CcaSettings(scheme="original"))
    with pytest.raises(ValueError, match=r"cca.epsilons"):
        CcaSettings(epsilons=(-1.0,))
    with pytest.raises(ValueError, match=r"cca.measure is 'cca': expected one of pwcca"):
        CcaSettings("cca")  # type: ignore[arg-type]


@pytest.mark.slow
def test_intervals_cover_chance_when_labels_are_shuffled():
    """Of 50 seeds at least 45 intervals hold 0, and they are no wider than they must be."""
    generator = np.random.default_rng(0)
    covered, widths, scores = 0, [], []
    for seed in range(50):
        labels = generator.permutation(np.arange(1500) % 6)
        x = generator.normal(size=(1500, 12))
        y = one_hot([str(n) for n in labels], [str(n) for n in range(6)])
        scored = held_out(x, y, np.arange(1500) // 5, seed)
        interval = score_interval(scored, np.random.default_rng(seed), 100)
        covered += interval.covers(0)
        widths.append(interval.high - interval.low)
        scores.append(scored.score)
    assert covered >= 45
    assert np.mean(widths) < 6 * np.std(scores)


def test_paired_difference_sees_what_two_intervals_hide():
    """Both layers rest on the same groups; the difference of layers is far surer than either of them."""
    generator = np.random.default_rng(0)
    utterance = np.arange(4000) // 20
    hard = np.where(generator.random(200) < 0.4, 6.0, 0.2)[utterance][:, None]  # noise of some utterances
    shared = generator.normal(size=(4000, 3))
    y = shared @ generator.normal(size=(3, 6)) + hard * generator.normal(size=(4000, 6))
    layer, better = shared + 0.55 * generator.normal(size=(2, 4000, 3)) * np.array([[[1.0]], [[0.85]]])
    one, other = held_out(layer, y, utterance), held_out(better, y, utterance)
    intervals = [score_interval(scored, np.random.default_rng(0)) for scored in (one, other)]
    difference = score_difference(other, one, np.random.default_rng(0))
    assert other.score > one.score
    assert intervals[1].low < intervals[0].high  # they overlap
    assert difference.clear
    assert difference.value == pytest.approx(other.score - one.score)
    width = difference.interval.high - difference.interval.low
    assert width < 0.6 * (intervals[0].high - intervals[0].low)
    same = score_difference(one, one, np.random.default_rng(0))
    assert (same.value, same.interval.low, same.interval.high, same.clear) == (0, 0, 0, False)
    with pytest.raises(ValueError, match="same test groups and the same measure"):
        score_difference(one, held_out(better, y, utterance, seed=1), np.random.default_rng(0))
    with pytest.raises(ValueError, match="same test groups and the same measure"):
        score_difference(one, held_out(layer, y, utterance, settings=CcaSettings("mean_cca")), np.random.default_rng(0))


def test_same_seed_same_numbers():
    x, y = related()
    runs = [held_out(x, y, np.arange(2000) // 10, seed) for seed in (0, 0, 1)]
    assert runs[0].per_trial == runs[1].per_trial != runs[2].per_trial
    intervals = [score_interval(runs[0], np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]
    assert intervals[0].low < runs[0].score < intervals[0].high


def test_the_original_tries_no_epsilon_above_1e9():
    """A8: six pairs, all of the nine smallest; ours reach 0.1."""
    tried = original_epsilons(np.random.default_rng(0))
    assert len(set(tried)) == 25
    assert max(max(pair) for pair in tried[:9]) == 1e-9
    assert max(CcaSettings().epsilons) == 0.1


def test_pairs_of_epsilons_that_fail_are_passed_over(monkeypatch):
    """A29: where fewer than six pairs succeeded the original ended in a TypeError."""
    x, y = related(400)
    division = original_folds(400, np.random.default_rng(0))
    pairs, tried = np.array([[0, 1]]), [original_epsilons(np.random.default_rng(0))]
    fits = []

    def failing(x, y, epsilon_x, epsilon_y):
        if len(fits) == 3 or epsilon_x == 1e-10:
            raise np.linalg.LinAlgError
        fits.append((epsilon_x, epsilon_y))
        return fit(x, y, epsilon_x, epsilon_y)

    fit = original_cca.original_fit
    monkeypatch.setattr(original_cca, "original_fit", failing)
    scored = original_cca.original_cross_validation(x, y, division, pairs, tried)
    assert len(fits) == 3
    assert scored.epsilons[0] in fits
    assert np.isfinite(scored.score)
    with pytest.raises(ValueError, match="the solver failed for every pair of epsilons"):
        original_cca.original_cross_validation(x, y, division, pairs, tried)
