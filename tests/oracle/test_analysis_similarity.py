"""Similarity and information beside the original programs' figures, and beside definitions on samples."""

import numpy as np
import pytest
import scipy.linalg

from analysis.cca import fit_cca, fit_svcca, mean_cca, mean_squared_cca, prepare, pwcca, svcca
from analysis.cka import cka, cka_debiased
from analysis.folds import divide, draw_pairs, original_folds
from analysis.information import KMeansSettings, assign_clusters, information
from analysis.original_cca import original_cross_validation, original_epsilons, original_fit, original_score
from analysis.pair_moments import PairMoments
from tests.helpers.analysis_fixtures import arrays, groups_with
from tests.helpers.original_cca import moments_procedure, original_procedure

FLOAT64 = 1e-9


def close(value: object, expected: object) -> None:
    np.testing.assert_allclose(value, expected, rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize(("file", "group"), groups_with("cca_coef", "train_pwcca", "n_train"))
def test_original_scheme_gives_the_original_s_figures(file, group):
    """With its faults: means of dimensions added to directions, weights over the first dimensions, and no more."""
    case = arrays(file, group)
    x, y = case["view1"].T.astype(np.float64), case["view2"].T.astype(np.float64)
    n = int(case["n_train"])
    fit = original_fit(x[:n], y[:n], *case["epsilon"])
    assert np.array_equal(fit.kept_x, case["x_idxs"])
    assert np.array_equal(fit.kept_y, case["y_idxs"])
    close(fit.singular_values, case["cca_coef"])
    close(fit.mean_cca, case["mean_cca"])
    for part, rows in (("train", slice(n)), ("eval", slice(n, None))):
        score = original_score(fit, x[rows], y[rows])
        close(score.correlations, case[f"{part}_corr"])
        close(score.score, case[f"{part}_pwcca"])
        close(original_score(fit, x[rows], y[rows], mean_score=True).score, case[f"{part}_pwcca_mean"])


@pytest.mark.parametrize(("file", "group"), groups_with("cca_coef", "eval_corr", "n_train"))
def test_moments_give_the_original_s_correlations(file, group):
    """Centred variates need no samples: what R32 adds is the only reason for a second pass over them."""
    case = arrays(file, group)
    n = int(case["n_train"])
    train, held_out = (
        PairMoments.from_samples(case["view1"].T[rows], case["view2"].T[rows]) for rows in (slice(n), slice(n, None))
    )
    fit = prepare(train).fit(*case["epsilon"])
    assert np.array_equal(fit.kept_x, case["x_idxs"])
    close(fit.singular_values, case["cca_coef"])
    close(fit.correlations(train), case["train_corr"])
    close(fit.correlations(held_out), case["eval_corr"])


@pytest.mark.parametrize(("file", "group"), groups_with("split_of_sample", "dev_test_pairs", "epsilons_tried"))
def test_original_cross_validation_gives_the_original_s_score(file, group):
    case = arrays(file, group)
    result = original_cross_validation(
        case["view1"].T.astype(np.float64),
        case["view2"].T.astype(np.float64),
        case["split_of_sample"],
        case["dev_test_pairs"],
        case["epsilons_tried"],
        bool(case["mean_score"]),
    )
    close(result.per_trial, case["score_per_pair"])
    close(result.score, case["score"])


@pytest.mark.parametrize(("file", "group"), groups_with("correlations", "pwcca_x", "cka_debiased"))
def test_defaults_give_the_measures_by_definition(file, group):
    case = arrays(file, group)
    moments = PairMoments.from_samples(case["x"], case["y"])
    fit = fit_cca(moments)
    close(fit.correlations(moments), case["correlations"])
    close(fit.singular_values, case["correlations"])
    close(fit.alpha_x, case["pwcca_weights_x"])
    close(fit.alpha_y, case["pwcca_weights_y"])
    close(pwcca(moments, weights="pwcca_x"), case["pwcca_x"])
    close(pwcca(moments, weights="pwcca_y"), case["pwcca_y"])
    close(mean_cca(moments), case["mean_cca"])
    close(mean_squared_cca(moments), case["mean_squared_cca"])
    for share in (99, 90):
        close(svcca(moments, share / 100), case[f"svcca_{share}"])
        assert list(fit_svcca(moments, share / 100).ranks) == list(case[f"svcca_{share}_dims"])
    close(cka(moments), case["cka"])
    close(cka_debiased(moments), case["cka_debiased"])


@pytest.mark.parametrize(("file", "group"), groups_with("eval_clusters", "train_mi", "labels"))
def test_information_of_stored_clusters_is_the_original_s(file, group):
    case = arrays(file, group)
    n = int(case["n_train"])
    train = information(case["train_clusters"], case["labels"][:n], np.random.default_rng(0))
    scored = information(case["eval_clusters"], case["labels"][n:], np.random.default_rng(0))
    close(train.mi_normalised, case["train_mi"])
    close(train.mi_nats, case["train_mi_nats"])
    close(train.label_entropy_nats, case["train_label_entropy_nats"])
    close(scored.mi_normalised, case["eval_mi"])
    settings = KMeansSettings(int(case["num_clusters"]))
    clusters = assign_clusters(case["rep"][:n], case["rep"][n:], settings, np.random.default_rng(0))
    ours = information(clusters[1], case["labels"][n:], np.random.default_rng(0))
    assert abs(ours.mi_normalised - scored.mi_normalised) < 0.15  # another clustering of the same tokens


def test_measures_equal_their_definitions_on_samples():
    """Morcos et al. 2018 with variates of unit norm, Song et al. 2012 with Gram matrices: from samples, not moments."""
    generator = np.random.default_rng(3)
    shared = generator.normal(size=(90, 4))
    x = np.concatenate([shared @ generator.normal(size=(4, 6)), generator.normal(size=(90, 3))], 1) + 5
    y = np.concatenate([shared @ generator.normal(size=(4, 3)), generator.normal(size=(90, 4))], 1) - 2
    x += 0.3 * generator.normal(size=x.shape)
    moments = PairMoments.from_samples(x, y)
    cx, cy = x - x.mean(0), y - y.mean(0)
    qx, qy = np.linalg.qr(cx)[0], np.linalg.qr(cy)[0]
    left, values, _ = np.linalg.svd(qx.T @ qy)
    close(fit_cca(moments).correlations(moments), values)
    variates = qx @ left[:, : len(values)]
    weights = np.abs(variates.T @ cx).sum(1)
    close(pwcca(moments, weights="pwcca_x"), weights @ values / weights.sum())

    def hsic(one: np.ndarray, other: np.ndarray) -> float:
        n = len(one)
        k, l = one @ one.T, other @ other.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        ones = k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l).sum() / (n - 2)
        return (np.trace(k @ l) + ones) / (n * (n - 3))

    close(cka_debiased(moments), hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)))
    gram_x, gram_y = cx @ cx.T, cy @ cy.T
    close(cka(moments), (gram_x * gram_y).sum() / (np.linalg.norm(gram_x) * np.linalg.norm(gram_y)))
    angles = scipy.linalg.subspace_angles(cx, cy)
    close(mean_cca(moments), np.cos(angles).mean())


def test_original_procedure_rebuilt_gives_what_its_scheme_gives_here(tmp_path):
    """Two readings of the same program, one with matrices on disk; and ours beside it, which writes none."""
    generator = np.random.default_rng(5)
    shared = generator.normal(size=(1500, 6))
    x = (shared @ generator.normal(size=(6, 12)) + generator.normal(size=(1500, 12))).astype(np.float32)
    y = (shared @ generator.normal(size=(6, 8)) + generator.normal(size=(1500, 8))).astype(np.float32)
    folds, pairs = original_folds(1500, generator), draw_pairs(generator)
    epsilons = [original_epsilons(generator)[:6] for _ in pairs]
    theirs = original_procedure(x, y, folds, pairs, epsilons, tmp_path)
    here = original_cross_validation(x, y, folds, pairs, epsilons)
    close(here.per_trial, theirs.per_trial)
    assert len(list(tmp_path.glob("proj_*.npy"))) == 36
    assert theirs.bytes_on_disk > 18 * (12**2 + 8**2) * 8
    division = divide(np.arange(1500), generator, resampled=0)
    ours = moments_procedure(x, y, division.set_of_unit, division.trials)
    assert ours.score == pytest.approx(theirs.score, abs=0.05)
    assert division.num_sets == 7
