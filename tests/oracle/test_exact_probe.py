"""Solved heads beside scikit-learn's logistic regression and the definition of the problem."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from downstream.exact import objective, rows, sample
from downstream.exact.minimise import minimise
from downstream.exact.objective import Moments, Objective, Point
from downstream.exact.rows import Block
from downstream.exact.sample import Sample
from tests.contract.test_exact_probe import CLASSES, batches, drawn, solved


@pytest.fixture(scope="module")
def block() -> Block:
    return drawn(3000)


def standardised(block: Block) -> np.ndarray:
    values = block.inputs.double().numpy()
    return (values - values.mean(0)) / values.std(0)


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("wide", [False, True])
def test_weights_are_those_of_scikit_learn(block, l2, wide, monkeypatch):
    monkeypatch.setattr(objective, "WIDEST", 1 if wide else 2048)
    made, said, _ = solved(batches(block), batches(block), l2=(l2,), flat=1e-7)
    oracle = LogisticRegression(C=1 / (l2 * len(block.classes)), tol=1e-9, max_iter=3000)
    values = standardised(block)
    oracle.fit(values, block.classes.numpy())
    scores = made(block.inputs[None], torch.tensor([len(block.classes)]))[0].double().detach()
    chances = oracle.predict_proba(values)
    assert np.abs(scores.softmax(-1).numpy() - chances).max() < 1e-4
    losses = -np.log(chances[np.arange(len(chances)), block.classes])
    assert said["loss"] == pytest.approx(losses.mean(), abs=1e-6)


def test_value_gradient_and_moments_are_those_of_the_definition(block, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 700)
    blocks = rows.Rows(partial(batches, block), lambda features, _: features)
    moments, values = Moments.of(blocks, CLASSES), torch.from_numpy(standardised(block))
    assert (moments.mean + blocks.shift).numpy() == pytest.approx(block.inputs.double().mean(0).numpy(), rel=1e-7)
    assert moments.scale.numpy() == pytest.approx(block.inputs.double().numpy().std(0), rel=1e-6)
    assert moments.variances.numpy() == pytest.approx(np.linalg.eigvalsh(np.cov(values.T, bias=True)), rel=1e-5)
    one_hot = F.one_hot(block.classes, CLASSES).double()
    assert moments.sums.numpy() == pytest.approx((one_hot.T @ values / 3000).numpy(), abs=1e-7)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CLASSES, values.shape[1], generator=generator).double().requires_grad_()
    bias = torch.randn(CLASSES, generator=generator).double().requires_grad_()
    loss = F.cross_entropy(values @ weight.T + bias, block.classes)
    (loss + 0.01 / 2 * weight.square().sum()).backward()
    found = Objective(blocks, moments).at(Point(weight.detach(), bias.detach()), 0.01)
    assert found.loss == pytest.approx(float(loss.detach()), abs=1e-6)
    assert found.gradient.weight.numpy() == pytest.approx(weight.grad.numpy(), abs=1e-6)
    assert found.gradient.bias.numpy() == pytest.approx(bias.grad.numpy(), abs=1e-7)
    chances = (values @ weight.T + bias).softmax(-1).detach()
    curvature = torch.diag(chances.mean(0)) - chances.T @ chances / 3000
    assert found.curvature.numpy() == pytest.approx(curvature.numpy(), abs=1e-6)


def test_sample_bends_as_the_loss_of_its_rows_does(block, monkeypatch):
    monkeypatch.setattr(sample, "ENOUGH", 500)
    blocks = [
        Block(block.inputs[start : start + 700], block.classes[start : start + 700]) for start in range(0, 3000, 700)
    ]
    moments = Moments.of(blocks, CLASSES)
    found = Sample.of(blocks, moments)
    values = ((block.inputs.double() - moments.mean) / moments.scale)[::6]
    assert torch.equal(found.inputs, values.float())
    generator = torch.Generator().manual_seed(2)
    place, along = torch.randn(2, CLASSES, values.shape[1] + 1, generator=generator, dtype=torch.float64)

    def value(flat):
        parts = flat.view_as(place)
        return (values @ parts[:, :-1].T + parts[:, -1]).logsumexp(1).mean() + 0.01 / 2 * parts[:, :-1].square().sum()

    expected = torch.autograd.functional.hvp(value, place.flatten(), along.flatten())[1].view_as(place)
    product = found.hessian(Point(place[:, :-1], place[:, -1]), 0.01)(Point(along[:, :-1], along[:, -1]))
    assert product.weight.numpy() == pytest.approx(expected[:, :-1].numpy(), abs=1e-5)
    assert product.bias.numpy() == pytest.approx(expected[:, -1].numpy(), abs=1e-5)


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_gap_is_never_less_than_what_is_left_to_gain(block, l2):
    """At points all along the way, and far from it where only the bias is wrong."""
    moments = Moments.of([block], CLASSES)
    shares = moments.shares
    start = Point(torch.zeros_like(moments.sums), shares.log())
    curvature = torch.diag(shares) - torch.outer(shares, shares)
    task = Objective([block], moments)
    best, found = minimise(task, Sample.of([block], moments), start, curvature, l2, 1e-8, 500)
    assert 0 <= found.gap < 1e-5
    seen = []
    for share in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999):
        for shift in (0.0, 1e-3, 0.3):
            bias = share * best.bias + (1 - share) * start.bias + shift * torch.linspace(-1, 1, CLASSES)
            here = task.at(Point(share * best.weight, bias), l2)
            assert here.gap >= here.value - found.value - 1e-7
            seen.append(here.gap / max(here.value - found.value, 1e-7))
    assert min(seen) < 1e4  # a bound that says something


def test_start_from_a_stronger_l2_takes_fewer_passes(block):
    _, cold, _ = solved(batches(block), batches(block), l2=(1e-4,))
    _, warm, _ = solved(batches(block), batches(block), l2=(2e-4, 1e-4))
    assert warm["strengths"][1]["passes"] < cold["strengths"][0]["passes"]
    assert warm["strengths"][1]["loss"] == pytest.approx(cold["strengths"][0]["loss"], abs=1e-6)
