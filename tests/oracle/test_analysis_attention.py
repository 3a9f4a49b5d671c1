"""Attention heads, phoneme relation maps, pruned spans and block boundaries: the numbers of the paper's formulas."""

import numpy as np
import pytest

from analysis.attention.block_boundaries import find_blocks
from analysis.attention.head_metrics import HeadMetrics, head_ranks, mean_metrics, utterance_metrics
from analysis.attention.maps import upsample
from analysis.attention.pruning import prune_spans
from analysis.attention.relation_maps import RelationMaps
from tests.helpers.analysis_fixtures import analysis_files, below


@pytest.fixture(params=analysis_files(), scope="module")
def expected(request) -> dict[str, np.ndarray]:
    return below(request.param, "attention/")


@pytest.fixture(scope="module")
def maps(expected) -> list[np.ndarray]:
    """The maps of all utterances, layers x heads x T x T each."""
    names = sorted((name for name in expected if name.startswith("map")), key=lambda name: int(name[3:]))
    assert names
    return [expected[name] for name in names]


@pytest.fixture(scope="module")
def metrics(maps) -> HeadMetrics:
    return mean_metrics(utterance_metrics([attention]) for attention in maps)


METRICS = ("globalness", "verticality", "diagonality", "max_weight", "mean_row_max_weight")


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_heads(name, metrics, expected):
    np.testing.assert_allclose(getattr(metrics, name), expected[name], rtol=0, atol=1e-9)


def test_ranks_and_categories_of_heads(metrics, expected):
    ranked = head_ranks(metrics)
    np.testing.assert_array_equal(
        np.stack([ranked.globalness, ranked.verticality, ranked.diagonality]), expected["ranks_gvd"]
    )
    np.testing.assert_array_equal(ranked.category, expected["category"])


def test_phoneme_relation_maps_with_the_correction_of_their_authors(maps, expected):
    running = RelationMaps(int(expected["num_phones"]))
    for number, attention in enumerate(maps):
        assert len(expected[f"phones{number}"]) == attention.shape[-1] * expected["downsampling"]
        running.add([attention], expected[f"phones{number}"])
    relations = running.result()
    for name in ("joint", "baseline", "map"):
        ours = relations.relation if name == "map" else getattr(relations, name)
        np.testing.assert_allclose(ours, expected[f"relation_{name}"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(relations.concentration, expected["concentration"], rtol=0, atol=1e-9)
    assert np.isnan(relations.relation).any()


def test_pruned_spans(maps, expected):
    np.testing.assert_array_equal(prune_spans(maps[0], int(expected["span_radius"])), expected["span_pruned0"])


def test_block_boundaries_of_a_head(maps, expected):
    layer, head = expected["block_head"]
    rows = upsample(maps[int(expected["block_utterance"])][layer, head], int(expected["downsampling"]))
    blocks = find_blocks(rows, *expected["block_alpha_beta"])
    np.testing.assert_allclose(blocks.kernel, expected["block_kernel"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(blocks.filtered, expected["block_filtered"])
    np.testing.assert_array_equal(blocks.score, expected["block_score"])
