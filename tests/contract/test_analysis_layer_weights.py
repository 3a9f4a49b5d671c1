"""Layer weights of probes: means over seeds, beside norms and the scores of single layers; bad input by file."""

import numpy as np
import pytest

from analysis.layer_weights import layer_weights


def content(seed=0, task="phone", upstream="transformer", weights=(0.2, 0.3, 0.5), **more):
    return {
        "kind": "probe",
        "task": task,
        "upstream": upstream,
        "metric": {"name": "frame accuracy", "unit": "%", "better": "higher"},
        "value": None,
        "dev_value": 50.0,
        "seed": seed,
        "fingerprints": {"upstream": {"fingerprint": f"of {upstream}", "checkpoint": "best.ckpt"}},
        "layer": None,
        "layer_weights": None if weights is None else list(weights),
    } | more


def single(layer, value, seed=0, **more):
    return content(seed, weights=None, layer=layer, dev_value=value, **more)


def test_mean_and_deviation_over_seeds_of_each_task_and_upstream():
    weighted = {
        "a": content(0, weights=(0.2, 0.3, 0.5)),
        "b": content(0, "speaker", weights=(0.6, 0.3, 0.1)),
        "c": content(1, weights=(0.4, 0.3, 0.3)),
        "d": content(7, upstream="random", weights=(0.5, 0.5)),
    }
    phone, speaker, random = layer_weights(weighted)
    assert [(one.task, one.upstream, one.seeds) for one in (phone, speaker, random)] == [
        ("phone", "transformer", (0, 1)),
        ("speaker", "transformer", (0,)),
        ("phone", "random", (7,)),
    ]
    np.testing.assert_allclose(phone.mean, [0.3, 0.3, 0.4])
    np.testing.assert_allclose(phone.deviation, [0.2 / np.sqrt(2), 0, 0.2 / np.sqrt(2)], atol=1e-12)
    np.testing.assert_allclose(speaker.mean, [0.6, 0.3, 0.1])
    assert np.isnan(speaker.deviation).all()
    assert phone.times_norm is None
    assert phone.scores is None


def test_weights_times_the_norm_of_their_layer():
    """Weights alone also reflect how large the states of a layer are."""
    weighted = {"a": content(0), "b": content(0, upstream="random")}
    ours, random = layer_weights(weighted, norms={"transformer": [10, 1, 2]})
    np.testing.assert_allclose(ours.times_norm, [2, 0.3, 1])
    assert random.times_norm is None


def test_scores_of_single_layers_stand_beside_the_weights():
    swept = {
        "0": single(0, 40.0, 0),
        "1": single("T2", 60.0, 0),
        "2": single(0, 44.0, 1),
        "3": single("2", 61.0, 1),
    }
    (ours,) = layer_weights({"a": content()}, swept)
    np.testing.assert_allclose(ours.scores.mean, [42, np.nan, 60.5])
    np.testing.assert_allclose(ours.scores.deviation, [np.sqrt(8), np.nan, np.sqrt(0.5)])
    assert (ours.scores.metric, ours.scores.unit, ours.scores.better) == ("frame accuracy", "%", "higher")


@pytest.mark.parametrize(
    ("weighted", "swept", "norms", "reason"),
    [
        ({"x.json": content(weights=None)}, {}, {}, "x.json: it holds no layer weights: probe with --weighted_sum"),
        ({"a": content(), "x.json": content()}, {}, {}, "a: another run of phone has seed 0 too"),
        ({"a": content(), "x.json": content(1, weights=(0.5, 0.5))}, {}, {}, "x.json: 2 layer weights, a has 3"),
        (
            {"a": content(), "x.json": content(1, fingerprints={"upstream": {"fingerprint": "other"}})},
            {},
            {},
            "x.json: transformer has other weights than in a",
        ),
        ({"x.json": content(weights=(0.5, 0.7))}, {}, {}, "x.json: its layer_weights .* sum to 1"),
        ({"x.json": content(weights=(1.5, -0.5))}, {}, {}, "x.json: its layer_weights .* sum to 1"),
        ({"x.json": content(weights=("a",))}, {}, {}, "x.json: its layer_weights"),
        ({"x.json": content(weights=(float("nan"),))}, {}, {}, "x.json: its layer_weights"),
        ({"x.json": {}}, {}, {}, "x.json: no result of a probe, its metric is None"),
        ({"x.json": content(seed=True)}, {}, {}, "x.json: no result of a probe, its seed is True"),
        ({"x.json": content(layer="C7")}, {}, {}, "x.json: its layer is 'C7'"),
        ({"a": content()}, {"x.json": content()}, {}, "x.json: it is of no single layer"),
        ({"a": content()}, {"x.json": single(3, 1.0)}, {}, "x.json: layer 3, but the weighted sum has states 0 to 2"),
        (
            {"a": content()},
            {"x.json": single(1, 1.0, task="speaker")},
            {},
            "x.json: a layer of transformer for speaker",
        ),
        (
            {"a": content()},
            {"b": single(1, 1.0), "x.json": single("T1", 1.0)},
            {},
            "x.json: another run of layer 1 has seed 0 too",
        ),
        (
            {"a": content()},
            {"x.json": single(1, 1.0, metric={"name": "EER", "unit": "%", "better": "lower"})},
            {},
            "x.json: scored by EER, a by frame accuracy",
        ),
        ({"x.json": content()}, {}, {"transformer": [1, 2]}, "x.json: 3 layer weights, 2 norms"),
    ],
)
def test_results_that_do_not_go_together_are_named(weighted, swept, norms, reason):
    with pytest.raises(ValueError, match=reason):
        layer_weights(weighted, swept, norms)
