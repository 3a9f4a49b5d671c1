"""Attention metrics, relation maps, pruning and block boundaries: closed forms, blocks of rows, ties, bad input."""

import dataclasses

import numpy as np
import pytest

from analysis.attention.block_boundaries import choose_block_settings, find_blocks
from analysis.attention.head_metrics import head_ranks, length_band, mean_metrics, ranks, utterance_metrics
from analysis.attention.maps import RunningMean, upsample
from analysis.attention.pruning import (
    RADII,
    head_masks,
    order_by,
    prune_heads,
    prune_spans,
    pruning_curves,
    pruning_orders,
    span_curve,
    span_mask,
)
from analysis.attention.relation_maps import RelationMaps

T = 40


def random_maps(seed: int, frames: int = T, layers: int = 2, heads: int = 3, sharpness: float = 2.0) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).normal(size=(layers, heads, frames, frames))
    weights = np.exp(logits)
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def blocks_of(attention: np.ndarray, rows: int) -> list[np.ndarray]:
    return [attention[:, :, first : first + rows] for first in range(0, attention.shape[2], rows)]


def heads_of_one_layer(*maps: np.ndarray) -> np.ndarray:
    return np.stack(maps)[None]


IDENTITY = np.eye(T)
VERTICAL = np.tile(np.eye(T)[7], (T, 1))  # all queries look at frame 7
UNIFORM = np.full((T, T), 1 / T)


def test_closed_forms_of_a_diagonal_a_vertical_and_a_uniform_head():
    metrics = utterance_metrics([heads_of_one_layer(IDENTITY, VERTICAL, UNIFORM)])
    log, far = np.log(T), np.abs(np.arange(T)[:, None] - np.arange(T))
    np.testing.assert_allclose(metrics.globalness, [[0, 0, log]], atol=1e-12)  # G of uniform attention is ln T
    np.testing.assert_allclose(metrics.verticality, [[-log, 0, -log]], atol=1e-12)
    np.testing.assert_allclose(metrics.diagonality, [[0, -far[7].sum() / T**2, -far.sum() / T**3]], atol=1e-12)
    np.testing.assert_allclose(metrics.max_weight, [[1, 1, 1 / T]], atol=1e-12)
    np.testing.assert_allclose(metrics.mean_row_max_weight, [[1, 1, 1 / T]], atol=1e-12)
    np.testing.assert_allclose(metrics.relative_globalness, [[0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(metrics.relative_verticality, [[-1, 0, -1]], atol=1e-12)
    assert head_ranks(metrics).category.tolist() == [["diagonal", "vertical", "global"]]


@pytest.mark.parametrize("rows", [1, 7, 16, T])
def test_blocks_of_rows_give_what_the_whole_map_gives(rows):
    attention = random_maps(0)
    whole, parts = utterance_metrics([attention]), utterance_metrics(blocks_of(attention, rows))
    for one, other in zip(dataclasses.astuple(whole), dataclasses.astuple(parts)):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    phones = np.random.default_rng(1).integers(-1, 5, 2 * T)
    results = []
    for blocks in ([attention], blocks_of(attention, rows)):
        running = RelationMaps(5)
        running.add(blocks, phones)
        results.append(running.result())
    np.testing.assert_allclose(results[0].relation, results[1].relation, rtol=1e-10)


def test_the_mean_is_over_utterances_not_over_frames():
    short, long = utterance_metrics([random_maps(1, 10)]), utterance_metrics([random_maps(2, 300)])
    mean = mean_metrics(iter([short, long]))
    np.testing.assert_allclose(mean.globalness, (short.globalness + long.globalness) / 2, rtol=1e-12)
    np.testing.assert_allclose(
        mean.relative_globalness,
        (short.globalness / np.log(10) + long.globalness / np.log(300)) / 2,
        rtol=1e-12,
    )


def test_equal_heads_share_a_rank_and_ties_of_categories_go_global_vertical_diagonal():
    assert ranks(np.array([[2.0, 3.0], [3.0, 1.0]])).tolist() == [[3, 1], [1, 4]]
    metrics = utterance_metrics([heads_of_one_layer(UNIFORM, UNIFORM, UNIFORM)])
    ranked = head_ranks(metrics)
    assert ranked.globalness.tolist() == [[1, 1, 1]]
    assert ranked.globalness.dtype == np.int64
    assert ranked.category.tolist() == [["global"] * 3]
    shifted = [np.roll(IDENTITY, shift, axis=1) for shift in (1, 2, 3)]  # alike but for the distance to the diagonal
    assert head_ranks(utterance_metrics([heads_of_one_layer(*shifted)])).category.tolist() == [["global"] * 3]
    assert head_ranks(utterance_metrics([heads_of_one_layer(VERTICAL, UNIFORM, UNIFORM)])).category[0, 0] == "vertical"


def test_a_band_of_lengths_holds_the_most_utterances():
    lengths = [100, 120, 140, 150, 400, 420, 1000]
    assert length_band(lengths).tolist() == [True] * 4 + [False] * 3
    assert length_band([100, 150, 400, 450]).tolist() == [True, True, False, False]  # both ends count
    assert length_band([300, 100], 1).tolist() == [False, True]
    with pytest.raises(ValueError, match="a band of lengths needs utterances"):
        length_band([])


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([random_maps(0)[0]], "expected layers, heads, queries, keys"),
        ([random_maps(0)[:, :, :10]], "hold 10 of 40 queries"),
        ([random_maps(0), random_maps(0)[:, :, :1]], "hold 41 of 40 queries"),
        ([random_maps(0)[:, :, :20], random_maps(1)[:1, :, 20:]], r"has shape \(1, 3, 20, 40\)"),
        ([0.5 * random_maps(0)], "sums to 0.5, not 1"),
        ([random_maps(0) * np.where(np.arange(T) == 3, np.nan, 1)], "negative or not finite"),
        ([random_maps(0, 1)], "one frame"),
        ([], "hold 0 of 0 queries"),
    ],
)
def test_what_is_no_attention_is_refused(blocks, reason):
    with pytest.raises(ValueError, match=reason):
        utterance_metrics(blocks)


def test_a_running_mean_refuses_nothing_and_other_shapes():
    running = RunningMean()
    with pytest.raises(ValueError, match="no utterance"):
        running.mean()
    running.add(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shape \(3, 2\), those before \(2, 3\)"):
        running.add(np.ones((3, 2)))


def relations_by_definition(attention, phones, num_phones):
    """The joint and the baseline from the up-sampled map, phone by phone."""
    raw = upsample(attention.astype(np.float64), len(phones) // attention.shape[-1])
    known = phones >= 0
    raw, phones = raw[..., known, :][..., known], phones[known]
    raw /= raw.sum(-1, keepdims=True)
    one_hot = np.eye(num_phones)[phones]
    joint = np.einsum("qm,lhqk,kn->lhmn", one_hot, raw, one_hot) / len(phones)
    return joint, np.outer(one_hot.mean(0), one_hot.mean(0))


def test_relation_maps_follow_the_definition_on_the_up_sampled_map_without_unlabelled_frames():
    running, joints, baselines = RelationMaps(5), [], []
    for seed, frames in enumerate((12, 30, 17)):
        attention = random_maps(seed, frames)
        phones = np.random.default_rng(seed).integers(-1, 4, 3 * frames)  # phone 4 never occurs
        running.add([attention], phones)
        joint, baseline = relations_by_definition(attention, phones, 5)
        joints.append(joint)
        baselines.append(baseline)
    result = running.result()
    np.testing.assert_allclose(result.joint, np.mean(joints, 0), rtol=1e-10)
    np.testing.assert_allclose(result.baseline, np.mean(baselines, 0), rtol=1e-10)
    assert np.isnan(result.relation[..., 4, :]).all()
    assert np.isnan(result.relation[..., :, 4]).all()
    assert np.isnan(result.concentration[..., 4]).all()
    np.testing.assert_allclose(result.concentration[..., :4], result.relation[..., :4, :4].mean(-2), rtol=1e-12)


def test_the_joint_of_a_relation_map_sums_to_one():
    """A30: the published equation divides by T squared, which makes the sum 1/T; its authors corrected it to T."""
    running = RelationMaps(4)
    for seed in range(3):
        running.add([random_maps(seed)], np.random.default_rng(seed).integers(-1, 4, 2 * T))
    np.testing.assert_allclose(running.result().joint.sum((-2, -1)), 1, rtol=1e-12)


def test_uniform_attention_has_a_relation_map_of_zero():
    running = RelationMaps(4)
    running.add([heads_of_one_layer(UNIFORM)], np.arange(3 * T) % 4)
    result = running.result()
    np.testing.assert_allclose(result.relation, 0, atol=1e-12)
    np.testing.assert_allclose(result.concentration, 0, atol=1e-12)


def test_a_head_that_looks_at_one_phone_focuses_on_it_and_neglects_the_others():
    phones = np.arange(T) % 4
    look = np.where(phones == 2, 1.0, 0.0) / (phones == 2).sum()
    running = RelationMaps(4)
    running.add([heads_of_one_layer(np.tile(look, (T, 1)))], phones)
    np.testing.assert_allclose(running.result().concentration, [[[-1, -1, 3, -1]]], atol=1e-12)


def test_relation_maps_leave_out_utterances_without_a_phone_and_refuse_other_labels():
    running = RelationMaps(4)
    running.add([random_maps(0)], np.full(T, -1))
    with pytest.raises(ValueError, match="no utterance"):
        running.result()
    for phones, reason in (
        (np.zeros(T + 1, int), "expected r·40"),
        (np.zeros(0, int), "expected r·40"),
        (np.full(T, 4), "expected 0 to 3, or -1"),
        (np.full(T, -2), "a label is -2"),
    ):
        with pytest.raises(ValueError, match=reason):
            running.add([random_maps(0)], phones)


def test_orders_prune_from_high_to_low_and_random_ones_follow_their_generator():
    metrics = utterance_metrics([heads_of_one_layer(IDENTITY, VERTICAL, UNIFORM)])
    orders = {
        order.name: order for order in pruning_orders(metrics, [np.random.default_rng(seed) for seed in range(3)])
    }
    assert list(orders) == [
        "globalness", "verticality", "diagonality", "weight", "random 0", "random 1", "random 2",
    ]  # fmt: skip
    assert orders["diagonality"].heads[0] == (0, 0)
    assert orders["verticality"].heads[0] == (0, 1)
    assert orders["globalness"].heads[0] == (0, 2)
    assert orders["weight"].heads == ((0, 0), (0, 1), (0, 2))  # two are equal: the lower head comes first
    large = utterance_metrics([random_maps(0, 10, 4, 6)])
    draws = [pruning_orders(large, [np.random.default_rng(seed)])[-1].heads for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert sorted(draws[2]) == [(layer, head) for layer in range(4) for head in range(6)]


def test_masks_prune_cumulatively_to_the_last_head():
    order = order_by("x", np.array([[0.1, 0.9, 0.2], [0.8, 0.3, 0.7], [0.0, 0.5, 0.4]]))
    masks = head_masks(order, 4)
    assert masks.shape == (4, 3, 3)
    assert masks.dtype == bool
    assert [int((~mask).sum()) for mask in masks] == [0, 4, 8, 9]
    assert masks[1].tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert not (masks[1:] & ~masks[:-1]).any()
    assert len(head_masks(order_by("x", np.arange(144.0).reshape(12, 12)))) == 7  # 24 of 144 at a time, as the paper
    assert order_by("ties", np.arange(60.0).reshape(5, 12) % 3).heads[:3] == ((0, 2), (0, 5), (0, 8))
    for step in (0, 10):
        with pytest.raises(ValueError, match="expected 1 to 9"):
            head_masks(order, step)


def test_curves_score_each_mask_once():
    scored = []

    def score(mask):
        scored.append(mask)
        return {"kept": float(mask.sum()), "first": float(mask[0, 0])}

    orders = [order_by(name, values.reshape(2, 3)) for name, values in (("a", np.arange(6.0)), ("b", -np.arange(6.0)))]
    up, down = pruning_curves(orders, score, 2)
    assert up.steps == down.steps == (0, 2, 4, 6)
    assert up.figures == {"kept": (6, 4, 2, 0), "first": (1, 1, 1, 0)}
    assert down.figures["first"] == (1, 0, 0, 0)
    assert len(scored) == 6  # without and with all heads pruned is the same for both
    spans = span_curve(lambda radius: {"radius": -1.0 if radius is None else float(radius)})
    assert spans.steps == RADII
    assert spans.figures["radius"][:2] == (-1, 128)


def test_pruned_weights_are_zero_and_the_others_stay():
    attention = random_maps(0)
    kept = np.array([[True, False, True], [False, True, True]])
    pruned = prune_heads(attention, kept)
    assert (pruned[~kept] == 0).all()
    np.testing.assert_array_equal(pruned[kept], attention[kept])
    near = prune_spans(attention, 3)
    far = np.abs(np.arange(T)[:, None] - np.arange(T)) > 3
    assert (near[..., far] == 0).all()
    np.testing.assert_array_equal(near[..., ~far], attention[..., ~far])
    np.testing.assert_array_equal(prune_spans(attention, None), attention)
    parts = [prune_spans(attention[:, :, first : first + 16], 3, first) for first in (0, 16, 32)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), near)
    assert span_mask(3, 3, 0).tolist() == np.eye(3, dtype=bool).tolist()
    with pytest.raises(ValueError, match="radius of a span is -1"):
        span_mask(3, 3, -1)


def block_rows(sizes, seed=0):
    """Vectors that are alike inside blocks of these sizes and differ between them."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.normal(size=(1, 8)) + 0.01 * generator.normal(size=(size, 8)) for size in sizes])


def test_boundaries_of_blocks_lie_between_them():
    sizes = [9, 6, 12, 7]
    found = find_blocks(block_rows(sizes), 0.5, 0.9).boundaries
    np.testing.assert_allclose(found, np.cumsum(sizes)[:-1] - 0.5)
    assert len(find_blocks(block_rows([12]), 0.5, 0.9).boundaries) == 0


def test_kernel_filter_and_score_follow_their_definition():
    vectors = np.random.default_rng(0).normal(size=(15, 4)).cumsum(axis=0)
    alpha, beta = 2.0, 0.8
    blocks = find_blocks(vectors, alpha, beta)
    kernel = np.exp(-np.linalg.norm(vectors[:, None] - vectors, axis=-1) / alpha)
    np.testing.assert_allclose(blocks.kernel, kernel, rtol=1e-9)
    threshold = beta * kernel.mean(1)
    for i in range(15):
        for j in range(15):
            between = range(min(i, j), max(i, j) + 1)
            assert blocks.filtered[i, j] == all(kernel[i, k] > threshold[i] for k in between)
    for t in range(15):
        reach = [k for k in range(-15, 16) if 0 <= t - k < 15 and 0 <= t + k < 15]
        assert blocks.score[t] == sum(blocks.filtered[t - k, t + k] for k in reach)


def test_settings_of_blocks_are_those_of_the_best_score():
    sizes = ([9, 6, 12, 7], [5, 11, 8])
    truth = [np.cumsum(some)[:-1] - 0.5 for some in sizes]

    def share_right(found):
        if not any(map(len, found)):
            return float("nan")
        right = sum(len(np.intersect1d(one, other)) for one, other in zip(found, truth))
        return right / max(sum(map(len, found)), sum(map(len, truth)))

    utterances = [block_rows(some, seed) for seed, some in enumerate(sizes)]
    chosen = choose_block_settings(utterances, share_right, alphas=(1e6, 0.5), betas=(0.5, 0.9))
    assert (chosen.alpha, chosen.score) == (0.5, 1)
    with pytest.raises(ValueError, match="needs utterances"):
        choose_block_settings([], share_right)
    with pytest.raises(ValueError, match="must be above 0"):
        find_blocks(utterances[0], 0, 1)
    with pytest.raises(ValueError, match="not finite"):
        find_blocks(np.full((3, 2), np.nan), 1, 1)
