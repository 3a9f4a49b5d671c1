"""Equal error rate and detection cost beside scores made by hand, and beside scikit-learn's ROC."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from downstream.metrics.verification import ErrorCurve, detection_cost, equal_error_rate


def rate(targets, nontargets) -> float:
    scores = np.array([*targets, *nontargets], np.float32)
    target = np.arange(len(scores)) < len(targets)
    return 100 * equal_error_rate(*ErrorCurve(scores, target).rates())[0]


@pytest.mark.parametrize(
    ("targets", "nontargets", "expected"),
    [
        ((0.9, 0.8), (0.1, 0.2), 0),
        ((0.1, 0.2), (0.9, 0.8), 100),
        ((0.5,), (0.5,), 50),
        ((0.5, 0.5, 0.5), (0.5,), 50),
        ((3, 1), (2, 0), 50),
        ((4, 3, 1), (2, 0, 0), 100 / 3),
        ((3, 1), (2, 2, 0), 50),  # false acceptances rise from 0 to 67 % while half of the targets are missed
        ((5, 2, 1), (4, 2, 0, 0), 100 * (1 / 4 + 5 / 28)),  # between (1/4, 2/3) and (2/4, 1/3): a score that both have
    ],
)
def test_rates_of_scores_made_by_hand(targets, nontargets, expected):
    assert rate(targets, nontargets) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_rate_is_where_scikit_learn_s_curve_crosses_the_diagonal(seed):
    rng = np.random.default_rng(seed)
    targets = rng.normal(rng.uniform(0, 2), 1, rng.integers(2, 300))
    nontargets = rng.normal(0, 1, rng.integers(2, 300))
    if seed % 2:  # many scores are alike
        targets, nontargets = targets.round(1), nontargets.round(1)
    scores, target = np.concatenate([targets, nontargets]), np.arange(len(targets) + len(nontargets)) < len(targets)
    curve = ErrorCurve(scores, target)
    false, missed = curve.rates()
    found, place, _ = equal_error_rate(false, missed)
    positives, trues, thresholds = roc_curve(target, scores, drop_intermediate=False)
    assert np.allclose(curve.thresholds[1:], thresholds[1:])
    assert np.allclose([false, 1 - missed], [positives, trues])
    line = interp1d(positives, trues)
    assert found == pytest.approx(brentq(lambda x: 1 - x - line(x), 0, 1), abs=1e-6)
    assert min(false[place - 1], missed[place]) - 1e-12 <= found <= max(false[place], missed[place - 1]) + 1e-12
    costs = [0.05 * (1 - t) + 0.95 * f for f, t in zip(positives, trues)]
    assert detection_cost(false, missed) == pytest.approx(min(costs) / 0.05)


def test_answering_always_no_costs_one():
    assert detection_cost(*ErrorCurve(np.array([0.1, 0.9]), np.array([True, False])).rates()) == 1
    assert detection_cost(*ErrorCurve(np.array([0.1, 0.9]), np.array([False, True])).rates()) == 0


def test_a_trial_counts_as_often_as_it_is_told():
    rng = np.random.default_rng(1)
    scores, target, times = rng.normal(size=60).round(1), rng.random(60) < 0.4, rng.integers(0, 4, 60)
    counted = ErrorCurve(scores, target).rates(times)
    repeated = ErrorCurve(np.repeat(scores, times), np.repeat(target, times)).rates()
    assert equal_error_rate(*counted)[0] == pytest.approx(equal_error_rate(*repeated)[0], abs=1e-12)
    assert np.isnan(equal_error_rate(*ErrorCurve(scores, target).rates(times * target))[0])
