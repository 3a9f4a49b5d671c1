"""The shape of a layer from moments is that of its samples."""

import numpy as np
import pytest

from analysis.moments import Layout, Moments
from analysis.shape import Shape, shape


def shape_of(states: np.ndarray, sets: list[int] | None = None) -> Shape:
    moments = Moments(Layout({"T0": states.shape[1]}, (), 3))
    for start in range(0, len(states), 37):
        block = states[start : start + 37]
        moments.add({"T0": block}, np.arange(start, start + len(block)) % 3)
    return shape(moments, "T0", sets)


@pytest.mark.parametrize("sets", [None, [0, 2]])
def test_shape_is_that_of_the_samples(sets):
    generator = np.random.default_rng(0)
    states = generator.normal(size=(300, 8)) * np.linspace(0.5, 2, 8) + generator.normal(size=8)
    states[7] = 0  # no direction
    found = shape_of(states, sets)
    states = states if sets is None else states[np.isin(np.arange(300) % 3, sets)]
    unit = states[np.abs(states).sum(1) > 0]
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    norms = np.linalg.norm(states, axis=1)
    shares = np.linalg.eigvalsh(np.cov(states, rowvar=False))
    shares = shares / shares.sum()
    assert found.anisotropy == pytest.approx(cosines.mean())
    assert found.norm == pytest.approx(norms.mean())
    assert found.norm_deviation == pytest.approx(norms.std())
    assert found.norm_of_mean == pytest.approx(np.linalg.norm(states.mean(0)))
    assert found.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert found.participation_ratio == pytest.approx(1 / (shares**2).sum())
    variances = states.var(0, ddof=1)
    assert found.deviation == pytest.approx(np.sqrt(variances.mean()))
    assert found.largest_share == pytest.approx(variances.max() / variances.sum())
    assert (found.samples, found.notes) == (len(states), ())


def test_isotropic_states_fill_all_dimensions_and_a_line_fills_one():
    generator = np.random.default_rng(0)
    found = shape_of(generator.normal(size=(20_000, 12)))
    assert found.effective_rank == pytest.approx(12, rel=0.01)
    assert found.participation_ratio == pytest.approx(12, rel=0.01)
    assert found.anisotropy == pytest.approx(0, abs=0.01)
    line = shape_of(generator.normal(size=(500, 1)) * np.ones(6) + 10)
    assert (line.effective_rank, line.participation_ratio) == pytest.approx((1, 1))
    assert line.anisotropy == pytest.approx(1, abs=1e-6)


def test_collapsed_and_dominated_layers_are_told():
    """Constant representations are a known complaint of released models."""
    for value in (0.0, 0.1, 1234.567):
        constant = shape_of(np.full((90, 5), value))
        assert constant.notes == ("T0 is constant: every sample gives the same vector",)
        figures = constant.effective_rank, constant.participation_ratio, constant.deviation, constant.largest_share
        assert figures == (0, 0, 0, 0)
        assert np.isnan(constant.anisotropy) == (value == 0)
    states = np.random.default_rng(0).normal(size=(500, 6)) * [30, 1, 1, 1, 1, 1]
    (note,) = shape_of(states).notes
    assert note.startswith("T0: one of 6 dimensions holds 99% of the variance")
