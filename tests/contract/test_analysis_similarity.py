"""CCA in closed form, and what it does not change under: maps, orders, dead, double and null dimensions."""

import warnings

import numpy as np
import pytest

from analysis.cca import (
    FullRank,
    Spectrum,
    fit_cca,
    fit_svcca,
    mean_cca,
    mean_squared_cca,
    prepare,
    problem_of,
    pwcca,
    spectrum,
    svcca,
)
from analysis.cka import cka, cka_debiased
from analysis.original_cca import original_fit, original_score
from analysis.pair_moments import PairMoments
from analysis.similarity import (
    CcaSettings,
    one_hot,
    score_interval,
)
from tests.helpers.analysis_views import UNREGULARISED, changed, held_out, related


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
    rounded = PairMoments.from_samples(x, y + 1e-5 * generator.normal(size=y.shape))  # shares that sum to 1 in a file
    assert fit_cca(rounded, 1e-2).directions == 7
    original = original_fit(x, y, 1e-9, 1e-9)
    assert len(original.singular_values) == 8
    assert original.mean_cca < mean_cca(moments) * 7 / 8 + 0.01
    assert held_out(x, y, np.arange(4000) // 20).trials[0].directions == 7


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


def test_one_hot_refuses_what_is_no_class():
    assert one_hot(["b", "a"], ["a", "b"]).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="label 'c' is none of the 2 classes"):
        one_hot(["a", "c"], ["a", "b"])
    with pytest.raises(ValueError, match="1 classes"):
        one_hot(["a"], ["a"])


def wide_samples(dead: bool = False) -> PairMoments:
    """Views of 80 and 70 dimensions that share six; a dead dimension, or one that is another's double, if asked."""
    generator = np.random.default_rng(7)
    shared = generator.normal(size=(900, 6))
    x = shared @ generator.normal(size=(6, 80)) + generator.normal(size=(900, 80))
    y = shared @ generator.normal(size=(6, 70)) + generator.normal(size=(900, 70))
    if dead:
        x[:, 3], x[:, 5] = 1.0, x[:, 7]
    return PairMoments.from_samples(x, y)


@pytest.mark.parametrize("epsilon", [0.0, 1e-8, 1e-2, 0.1])
def test_wide_views_of_full_rank_have_the_directions_that_eigenvectors_give(epsilon):
    moments = wide_samples()
    fast = prepare(moments)
    assert isinstance(fast.x, FullRank)
    assert isinstance(fast.y, FullRank)
    both = spectrum(moments.xx, moments.mean_x), spectrum(moments.yy, moments.mean_y)
    for views in (both, (fast.x, both[1]), (both[0], fast.y)):
        one, other = fast.fit(epsilon), problem_of(moments, *views).fit(epsilon)
        assert one.ranks == other.ranks == (80, 70)
        assert np.abs(one.singular_values - other.singular_values).max() < 1e-10
        assert np.abs(np.abs(one.x) - np.abs(other.x)).max() < 1e-8
        assert np.abs(np.abs(one.y) - np.abs(other.y)).max() < 1e-8
        assert np.abs(one.alpha("pwcca") - other.alpha("pwcca")).max() < 1e-10
        assert np.abs(one.correlations(moments) - other.correlations(moments)).max() < 1e-10


def test_wide_views_with_null_directions_keep_their_rank():
    fit = fit_cca(wide_samples(dead=True), 1e-8)
    assert fit.ranks == (78, 70)
    assert fit.kept_x.sum() == 79
    assert isinstance(prepare(wide_samples(dead=True)).x, Spectrum)
