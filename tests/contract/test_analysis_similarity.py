"""CCA and CKA in closed form, what they do not change under, leaks, chance, intervals and paired differences."""

import warnings

import numpy as np
import pytest

from analysis.cca import fit_cca, fit_svcca, mean_cca, mean_squared_cca, prepare, pwcca, svcca
from analysis.cka import cka, cka_debiased, cka_interval, cka_map
from analysis.folds import Division, divide
from analysis.moments import Moments, all_pairs, with_reference
from analysis.original_cca import original_epsilons, original_fit, original_score
from analysis.pair_moments import PairMoments
from analysis.similarity import (
    CcaSettings,
    Similarity,
    VariateSums,
    cross_validated_cca,
    one_hot,
    score_difference,
    score_interval,
)

UNREGULARISED = CcaSettings(epsilons=(1e-8,))


def moments_of(x: np.ndarray, y: np.ndarray, division: Division) -> Moments:
    moments = Moments(with_reference({"x": x.shape[1]}, "y", y.shape[1], division.num_sets))
    moments.add({"x": x, "y": y}, division.set_of_unit)
    return moments


def held_out(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 0, settings: CcaSettings | None = None
) -> Similarity:
    division = divide(groups, np.random.default_rng(seed))
    return cross_validated_cca(moments_of(x, y, division), "x", "y", division.trials, settings)


def related(count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two views of 9 and 6 dimensions that share three, at unequal scales."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(count, 3))
    x = np.concatenate([shared + 0.5 * generator.normal(size=(count, 3)), generator.normal(size=(count, 6))], 1)
    y = np.concatenate([shared + 0.5 * generator.normal(size=(count, 3)), generator.normal(size=(count, 3))], 1)
    return x @ generator.normal(size=(9, 9)), y @ generator.normal(size=(6, 6))


def test_a_linear_map_of_a_view_is_the_view():
    x, _ = related()
    y = x @ np.random.default_rng(1).normal(size=(9, 9)) + 3
    moments = PairMoments.from_samples(x, y)
    for measure in (mean_cca, mean_squared_cca, pwcca, svcca):
        assert measure(moments) == pytest.approx(1, abs=1e-9 if measure is not svcca else 0.2)
    assert held_out(x, y, np.arange(len(x)) // 10, settings=UNREGULARISED).score == pytest.approx(1, abs=1e-4)
    own = PairMoments.from_samples(x, x)
    assert (cka(own), cka_debiased(own)) == (pytest.approx(1), pytest.approx(1))


def test_shared_dimensions_are_ones():
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(50_000, 4))
    x = np.concatenate([shared, generator.normal(size=(50_000, 5))], 1) @ generator.normal(size=(9, 9))
    y = np.concatenate([shared, generator.normal(size=(50_000, 3))], 1) @ generator.normal(size=(7, 7))
    moments = PairMoments.from_samples(x, y)
    correlations = fit_cca(moments).correlations(moments)
    assert np.allclose(correlations[:4], 1, atol=1e-9)
    assert correlations[4:].max() < 0.05


def test_known_correlations_are_recovered():
    wanted = np.array([0.9, 0.5, 0.1])
    generator = np.random.default_rng(0)
    a, noise = generator.normal(size=(2, 100_000, 3))
    b = wanted * a + np.sqrt(1 - wanted**2) * noise
    x, y = a @ generator.normal(size=(3, 3)) + 2, b @ generator.normal(size=(3, 3)) - 7
    moments = PairMoments.from_samples(x, y)
    assert np.abs(fit_cca(moments).correlations(moments) - wanted).max() < 0.01
    scored = held_out(x, y, np.arange(100_000) // 100, settings=CcaSettings("mean_cca"))
    assert scored.score == pytest.approx(0.5, abs=0.01)


def test_independent_views_score_0_on_held_out_groups():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(6000, 30)), generator.normal(size=(6000, 20))
    scored = held_out(x, y, np.arange(6000) // 20)
    assert abs(scored.score) < 3 / np.sqrt(600)
    assert scored.trials[0].train > 0.04  # chance is not 0 on the samples of the fit
    assert all(abs(score) < 3 / np.sqrt(600) for score in scored.per_trial)


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


def changed(x: np.ndarray) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(9)
    return {
        "shift": x + 20,
        "scale": x * 1e3,
        "permutation": x[:, generator.permutation(x.shape[1])],
        "rotation": x @ np.linalg.qr(generator.normal(size=(x.shape[1],) * 2))[0],
        "any map": x @ generator.normal(size=(x.shape[1],) * 2) + generator.normal(size=x.shape[1]),
    }


@pytest.mark.parametrize("change", ["shift", "scale", "permutation", "rotation", "any map"])
def test_affine_maps_do_not_change_cca(change):
    """A9: a constant added to a view changed the score. A10: so did the order of its dimensions."""
    x, y = related()
    before, after = PairMoments.from_samples(x, y), PairMoments.from_samples(changed(x)[change], y)
    assert mean_cca(after) == pytest.approx(mean_cca(before), abs=1e-9)
    assert pwcca(after, weights="pwcca_y") == pytest.approx(pwcca(before, weights="pwcca_y"), abs=1e-9)
    assert mean_cca(after.swapped) == pytest.approx(mean_cca(before), abs=1e-9)
    groups = np.arange(len(x)) // 10
    settings = CcaSettings("pwcca_y", (0.0,))
    scores = [held_out(view, y, groups, settings=settings).score for view in (x, changed(x)[change])]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    if change in ("shift", "permutation"):  # nor the weights of the changed view, nor any epsilon
        scores = [held_out(view, y, groups, settings=CcaSettings("pwcca_x")).score for view in (x, changed(x)[change])]
        assert scores[0] == pytest.approx(scores[1], abs=1e-9)


def test_the_original_changes_under_a_shift_and_an_order():
    """So the test above can fail: A9 and A10 are in the original's scheme, and only there."""
    x, y = related()
    x = x * np.logspace(0, 1.5, 9)
    turned = x[:, ::-1]
    fit = original_fit(x, y, 1e-9, 1e-9)
    plain = original_score(fit, x, y, mean_score=True).score
    assert abs(original_score(fit, x + 20, y, mean_score=True).score - plain) > 1e-3
    other = original_score(original_fit(turned, y, 1e-9, 1e-9), turned, y, mean_score=True).score
    assert abs(other - plain) > 1e-4
    ours = [pwcca(PairMoments.from_samples(view, y), weights="pwcca_mean") for view in (x, x + 20, turned)]
    assert ours[1:] == pytest.approx([ours[0]] * 2, abs=1e-9)


def test_the_original_tries_no_epsilon_above_1e9():
    """A8: six pairs, all of the nine smallest; ours reach 0.1."""
    tried = original_epsilons(np.random.default_rng(0))
    assert len(set(tried)) == 25
    assert max(max(pair) for pair in tried[:9]) == 1e-9
    assert max(CcaSettings().epsilons) == 0.1


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


def test_dead_and_double_dimensions_change_nothing():
    x, y = related()
    plain = PairMoments.from_samples(x, y)
    dead = PairMoments.from_samples(np.concatenate([x, np.full((2000, 2), 7.0)], 1), y)
    double = PairMoments.from_samples(np.concatenate([x, x[:, :3]], 1), y)
    for other in (dead, double):
        assert mean_cca(other) == pytest.approx(mean_cca(plain), abs=1e-8)
        assert pwcca(other, weights="pwcca_y") == pytest.approx(pwcca(plain, weights="pwcca_y"), abs=1e-8)
    assert pwcca(dead, weights="pwcca_x") == pytest.approx(pwcca(plain, weights="pwcca_x"), abs=1e-9)
    assert fit_cca(dead).notes == ("2 of 11 dimensions of the first view are constant and left out",)
    assert fit_cca(double).ranks == (9, 6)
    assert fit_cca(plain).notes == ()
    scores = [
        held_out(view, y, np.arange(2000) // 10).score for view in (x, np.concatenate([x, np.ones((2000, 1))], 1))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, "rounding"])
@pytest.mark.parametrize("side", ["x", "y"])
def test_a_constant_view_scores_0_with_a_note(value, side):
    """Representations that have collapsed are told, not nan."""
    x, y = related()
    constant = np.full((2000, 5), 1.0 if value == "rounding" else value)
    if value == "rounding":  # the last bit of float32
        constant[np.random.default_rng(0).random((2000, 5)) < 0.5] += np.spacing(np.float32(1))
    views = (constant, y) if side == "x" else (x, constant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored = held_out(*views, np.arange(2000) // 10)
        moments = PairMoments.from_samples(*views)
        alone = mean_cca(moments), pwcca(moments), svcca(moments), cka(moments), cka_debiased(moments)
        interval = score_interval(scored, np.random.default_rng(0))
    assert (scored.score, *alone) == (0,) * 6
    assert (interval.low, interval.high) == (0, 0)
    name = "first" if side == "x" else "second"
    assert f"the {name} view is constant: the score is 0" in scored.notes


def test_directions_that_do_not_vary_on_the_held_out_part_are_0():
    x, y = related()
    fit = fit_cca(PairMoments.from_samples(x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit.correlations(PairMoments.from_samples(0 * x, y)).tolist() == [0] * 6


def test_one_hot_columns_have_one_direction_less():
    """A7: one column is known from the rest; the original counted its direction of noise."""
    generator = np.random.default_rng(0)
    labels = [f"p{n}" for n in generator.integers(0, 8, 4000)]
    y = one_hot(labels, sorted(set(labels)))
    x = y @ generator.normal(size=(8, 20)) + generator.normal(size=(4000, 20))
    moments = PairMoments.from_samples(x, y)
    for epsilon in (0.0, 1e-8, 1e-2):
        assert prepare(moments).fit(epsilon).directions == 7
    original = original_fit(x, y, 1e-9, 1e-9)
    assert len(original.singular_values) == 8
    assert original.mean_cca < mean_cca(moments) * 7 / 8 + 0.01
    assert held_out(x, y, np.arange(4000) // 20).trials[0].directions == 7


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


def test_weights_come_from_the_view_with_fewer_dimensions_and_the_first_of_equals():
    x, y = related()
    fit = fit_cca(PairMoments.from_samples(x, y))
    assert np.array_equal(fit.alpha("pwcca"), fit.alpha_y)
    assert np.array_equal(
        fit_cca(PairMoments.from_samples(y, x)).alpha("pwcca"), fit_cca(PairMoments.from_samples(y, x)).alpha_x
    )
    square = fit_cca(PairMoments.from_samples(x[:, :6], y))
    assert np.array_equal(square.alpha("pwcca"), square.alpha_x)
    trial = held_out(x, y, np.arange(2000) // 10).trials[0]
    assert trial.score == trial.pwcca_y != trial.pwcca_x
    assert trial.pwcca_mean == pytest.approx((trial.pwcca_x + trial.pwcca_y) / 2)


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


def test_svcca_keeps_the_fewest_components_that_hold_the_share():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(5000, 5)) * [10, 5, 1, 0.1, 0.01]
    y = np.concatenate([x[:, :2], 10 * generator.normal(size=(5000, 1))], 1)
    moments = PairMoments.from_samples(x, y)
    assert fit_svcca(moments, 0.99).ranks == (2, 3)
    assert fit_svcca(moments, 0.995).ranks[0] == 3
    assert fit_svcca(moments, 1.0).ranks == (5, 3)
    assert svcca(moments) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="share"):
        fit_svcca(moments, 0.0)


def test_cka_changes_under_no_rotation_and_no_scale_but_under_other_maps():
    x, y = related()
    before = PairMoments.from_samples(x, y)
    for measure in (cka, cka_debiased):
        for change in ("shift", "scale", "permutation", "rotation"):
            after = PairMoments.from_samples(changed(x)[change], y)
            assert measure(after) == pytest.approx(measure(before), abs=1e-8)
        assert abs(measure(PairMoments.from_samples(changed(x)["any map"], y)) - measure(before)) > 0.01
        assert measure(before.swapped) == pytest.approx(measure(before), abs=1e-12)


def test_debiased_cka_of_independent_views_is_0_and_may_be_negative():
    generator = np.random.default_rng(0)
    pairs = [PairMoments.from_samples(*generator.normal(size=(2, 32, 10))) for _ in range(200)]
    biased, debiased = ([measure(pair) for pair in pairs] for measure in (cka, cka_debiased))
    assert np.mean(biased) > 0.2
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(200)
    assert min(debiased) < 0
    with pytest.raises(ValueError, match="3 samples: debiased CKA needs at least 4"):
        cka_debiased(PairMoments.from_samples(*generator.normal(size=(2, 3, 2))))


def test_map_of_layers_and_its_intervals():
    generator = np.random.default_rng(0)
    x, _ = related(1000)
    views = {"T0": x, "T1": x + generator.normal(size=x.shape), "T2": generator.normal(size=(1000, 4))}
    moments = Moments(all_pairs({name: view.shape[1] for name, view in views.items()}, 20))
    moments.add(views, np.arange(1000) // 50)
    names = list(views)
    table = cka_map(moments, names, names)
    assert (table.rows, table.columns) == (tuple(names), tuple(names))
    assert np.allclose(np.diag(table.values), 1)
    assert np.allclose(table.values, table.values.T)
    assert table.values[0, 1] > 0.5 > abs(table.values[0, 2])
    assert cka_interval(moments, "T0", "T2").covers(0)
    near = cka_interval(moments, "T0", "T1")
    assert near.low < table.values[0, 1] < near.high < 1
    assert near.groups == 20
    assert np.all(cka_map(moments, ["T0"], ["T2"], debiased=False).values > table.values[0, 2])


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


def test_one_hot_refuses_what_is_no_class():
    assert one_hot(["b", "a"], ["a", "b"]).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="label 'c' is none of the 2 classes"):
        one_hot(["a", "c"], ["a", "b"])
    with pytest.raises(ValueError, match="1 classes"):
        one_hot(["a"], ["a"])
