"""CKA in closed form, what it does not change under, maps of layers and their intervals."""

import numpy as np
import pytest

from analysis.cca import svcca
from analysis.cka import cka, cka_debiased, cka_interval, similarity_map
from analysis.moments import Moments, all_pairs
from analysis.pair_moments import PairMoments
from tests.helpers.analysis_views import changed, related


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
    table = similarity_map(moments, names, names)
    assert (table.rows, table.columns) == (tuple(names), tuple(names))
    assert np.allclose(np.diag(table.values), 1)
    assert np.allclose(table.values, table.values.T)
    assert table.values[0, 1] > 0.5 > abs(table.values[0, 2])
    assert similarity_map(moments, ["T0"], ["T0", "T2"], svcca).values[0] == pytest.approx([1, 0.1], abs=0.1)
    assert cka_interval(moments, "T0", "T2").covers(0)
    near = cka_interval(moments, "T0", "T1")
    assert near.low < table.values[0, 1] < near.high < 1
    assert near.groups == 20
    assert np.all(similarity_map(moments, ["T0"], ["T2"], cka).values > table.values[0, 2])
