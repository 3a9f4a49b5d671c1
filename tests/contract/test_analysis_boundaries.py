"""Word boundaries without training: times of peaks, fair counts, settings chosen elsewhere, baselines."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.signal
from scipy.optimize import linear_sum_assignment

from analysis.boundaries import (
    BoundaryTimes,
    boundaries_of,
    boundary_times,
    distance_curves,
    find_boundaries,
    interval_lines,
    random_boundaries,
    smoothed,
    uniform_boundaries,
)
from analysis.boundary_scores import (
    References,
    Segmentation,
    choose_setting,
    r_value,
    references_of,
    score_boundaries,
    score_setting,
    token_scores,
)
from analysis.centring import DimensionStatistics


def times_of(frames: int) -> np.ndarray:
    return 0.0125 + 0.02 * np.arange(frames)


def words_at(*edges: float, label: str = "word") -> list[tuple[float, float, str]]:
    return [(start, end, label) for start, end in pairwise(edges)]


def references(*seconds: list[float], duration: float = 2.0) -> References:
    ids = tuple(f"u{k}" for k in range(len(seconds)))
    own = [np.array(some) for some in seconds]
    tokens = tuple(np.stack([some[:-1], some[1:]], axis=1) for some in own)
    return References(ids, boundaries_of(own), tokens, np.full(len(ids), duration))


def predicted(*seconds: list[float]) -> BoundaryTimes:
    return boundaries_of([np.array(some, dtype=np.float64) for some in seconds])


@pytest.mark.parametrize("window", [1, 3, 5])
def test_a_boundary_lies_between_the_centres_of_the_frames_that_differ(window):
    """A19: peak plus half the window, times the stride, is 22.5 ms early and moves with the window."""
    states = np.zeros((40, 1, 2))
    states[21:, 0] = 1  # after frame 20, whose centre is 0.4125 s
    statistics = DimensionStatistics()
    statistics.add(states)
    curve = distance_curves(states, statistics)[0, 0]
    for rule, expected in (("centre", 0.4225), ("original", 0.4), ("literature", 0.41)):
        held = find_boundaries([curve], [times_of(40)], window, rule).above(0.01)
        np.testing.assert_allclose(held.seconds, [expected])


def test_the_time_of_a_peak_is_the_mean_of_the_centres_at_its_ends():
    """A19: the original adds half the window, rounded down, to the peak."""
    peaks = np.array([3, 7])
    np.testing.assert_allclose(boundary_times(peaks, 4, times_of(20)), times_of(20)[peaks] + 0.04)
    np.testing.assert_allclose(boundary_times(peaks, 4, times_of(20), "original"), (peaks + 2) * 0.02)


def best_matching(one: list[int], other: list[int], tolerance: int) -> int:
    near = np.abs(np.subtract.outer(one, other)) <= tolerance
    rows, columns = linear_sum_assignment(-near.astype(int))
    return int(near[rows, columns].sum())


def test_one_boundary_is_hit_once():
    """A20: in the original one reference serves many predictions, and its recall counts predictions."""
    truth = references([0.1, 0.5, 0.9, 1.3])
    crowded = predicted([0.09, 0.1, 0.11, 0.5, 1.0])
    original = score_boundaries(crowded, truth, "original")
    assert (original.precision, original.recall) == (4 / 5, 4 / 6)
    counts = score_boundaries(crowded, truth)
    assert (counts.hits.tolist(), counts.predicted.tolist(), counts.reference.tolist()) == ([2], [5], [4])
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx((2 / 5, 2 / 4, 4 / 9))
    assert counts.over_segmentation == pytest.approx(1 / 4)


def test_the_matching_is_the_greatest_there_is():
    """A20: as many pairs as a matching of a graph finds."""
    random = np.random.default_rng(0)
    ours = [np.unique(random.integers(1, 400, 60)) * 0.005 for _ in range(40)]
    theirs = [np.unique(random.integers(1, 400, 50)) * 0.005 for _ in range(40)]
    counts = score_boundaries(predicted(*ours), references(*theirs))
    for k, (one, other) in enumerate(zip(ours, theirs)):
        whole = (np.rint(some * 1e6).astype(int).tolist() for some in (one, other))
        assert counts.hits[k] == best_matching(*whole, 20000)


def test_twenty_milliseconds_apart_is_a_hit_in_whole_microseconds():
    for time in (0.14, 0.29, 0.57, 1.13):  # in floating point some of these differences exceed 0.02
        for ours, theirs in ((time + 0.02, time), (time, time + 0.02)):
            assert score_boundaries(predicted([ours]), references([theirs, 1.9])).hits.tolist() == [1]
        for ours, theirs in ((time + 0.020002, time), (time, time + 0.020002)):
            assert score_boundaries(predicted([ours]), references([theirs, 1.9])).hits.tolist() == [0]


def test_r_value():
    assert r_value(1, 0) == 1
    assert r_value(0.75, 0.47222222) == pytest.approx(0.477497, abs=1e-5)
    assert r_value(1, 3) < 0  # far too many boundaries
    none = score_boundaries(predicted([]), references([0.1, 0.5]))
    assert (none.precision, none.recall, none.f1, none.over_segmentation) == (0, 0, 0, -1)
    assert np.isfinite(none.r_value)


def test_the_literature_leaves_out_the_end_of_an_utterance_and_counts_in_its_frames():
    truth = references([0.3, 0.6, 2.0])
    counts = score_boundaries(predicted([0.3, 0.62, 2.0]), truth, "literature")
    assert (counts.hits.tolist(), counts.predicted.tolist(), counts.reference.tolist()) == ([2], [2], [2])
    assert score_boundaries(predicted([0.3, 0.64, 2.0]), truth, "literature").hits.tolist() == [1]
    assert score_boundaries(predicted([0.3, 0.6, 2.0]), truth).reference.tolist() == [3]


def test_tokens_need_both_ends():
    truth = references([0.2, 0.5, 0.9, 1.4])
    counts = token_scores(predicted([0.2, 0.51, 0.8, 0.9, 1.39]), truth)
    assert (counts.hits.tolist(), counts.predicted.tolist(), counts.reference.tolist()) == ([2], [6], [3])
    every = token_scores(predicted([0.2, 0.5, 0.9, 1.4], []), references([0.2, 0.5, 0.9, 1.4], [0.0, 2.0]))
    assert every.hits.tolist() == [3, 1]  # no boundary inside: one word from end to end


def test_a_setting_is_not_scored_on_what_it_was_chosen_on():
    """A21: the original chooses its setting on the data that it scores."""
    segmentation, truth = layer(6)
    dev, test = part(segmentation, truth, range(3)), part(segmentation, truth, range(3, 6))
    setting, chosen = choose_setting(*dev)
    assert chosen.r_value > 0.9
    assert score_setting(*test, setting, dev[0].ids).r_value > 0.8
    with pytest.raises(ValueError, match="utterance 'u3' is scored, but the setting was chosen on it"):
        score_setting(*test, setting, ["u0", "u3"])
    best = max(
        score_setting(*dev, type(setting)(distance, window, prominence), []).r_value
        for distance in ("euclidean", "cosine")
        for window in (1, 2, 4, 6, 8, 16)
        for prominence in (0.0, 0.01, 0.1, 0.3, 1.0, 2.0, 4.0)
    )
    assert chosen.r_value >= best


def layer(utterances: int) -> tuple[Segmentation, References]:
    """A layer whose states change at the ends of words, every 8 to 15 frames, in noise."""
    random = np.random.default_rng(1)
    states, spoken, statistics = [], [], DimensionStatistics()
    for k in range(utterances):
        lengths = random.integers(8, 16, 9)
        means = random.normal(0, 3, (9, 1, 6))
        states.append(np.repeat(means, lengths, 0) + random.normal(0, 0.2, (lengths.sum(), 1, 6)))
        statistics.add(states[-1])
        inner = np.cumsum(lengths)[:-1] * 0.02 + 0.0025
        spoken.append((f"u{k}", words_at(*inner)))
    truth, skipped = references_of(spoken, [len(own) * 0.02 for own in states])
    assert not skipped
    curves = [distance_curves(own, statistics)[:, 0] for own in states]
    times = [times_of(len(own)) for own in states]
    return Segmentation(truth.ids, tuple([curve[k] for curve in curves] for k in (0, 1)), times), truth


def part(segmentation: Segmentation, truth: References, chosen: range) -> tuple[Segmentation, References]:
    pick = slice(chosen.start, chosen.stop)
    boundaries = boundaries_of(truth.boundaries.of_each[pick])
    curves = tuple(own[pick] for own in segmentation.curves)
    held = References(truth.ids[pick], boundaries, truth.tokens[pick], truth.durations[pick])
    return Segmentation(segmentation.ids[pick], curves, segmentation.times[pick]), held


def test_r33_utterances_without_a_peak_keep_their_references():
    """The original drops them from the predictions, so that the lists slide against each other."""
    curves = [np.array([0.0, 1, 0, 0]), np.zeros(4), np.array([0.0, 0, 1, 0])]
    held = find_boundaries(curves, [times_of(5)] * 3, 1).above(0.5)
    assert held.utterance.tolist() == [0, 2]
    counts = score_boundaries(held, references([0.0425, 0.5], [0.0425], [0.0625]))
    assert counts.hits.tolist() == [1, 0, 1]
    assert counts.reference.tolist() == [2, 1, 1]


def test_r33_skipped_utterances_are_named_and_those_of_others_refused():
    spoken = [
        ("a", words_at(0.1, 0.5)),
        ("b", [*words_at(0.1, 0.5), (0.5, 0.7, "<unk>")]),
        ("c", [(0.0, 0.3, "spn")]),
        ("d", [(0.0, 0.3, "sil")]),
        ("e", [(0.0, 0.2, ""), *words_at(0.2, 0.4, 0.6), (0.6, 0.8, "sil"), (0.8, 0.9, "word")]),
    ]
    truth, skipped = references_of(spoken, [1.0] * 5)
    assert skipped == ("b", "c", "d")
    assert truth.ids == ("a", "e")
    assert [own.tolist() for own in truth.boundaries.of_each] == [[0.1, 0.5], [0.2, 0.4, 0.6, 0.8, 0.9]]
    with pytest.raises(ValueError, match="boundaries of 1 utterances, but references of 2"):
        score_boundaries(predicted([0.1]), truth)
    segmentation, own = layer(2)
    with pytest.raises(ValueError, match="not of the same utterances"):
        choose_setting(segmentation, part(*layer(3), range(1, 3))[1])
    with pytest.raises(ValueError, match="no utterance of 1 has words"):
        references_of(spoken[1:2], [1.0])
    with pytest.raises(ValueError, match="utterance 'a' comes twice"):
        references_of([spoken[0], spoken[0]], [1.0, 1.0])
    assert own.ids == segmentation.ids


def test_every_layer_has_a_curve_of_its_own_and_no_other_is_made_up():
    """A22: the original goes through layers 1 to 24 whatever the model has, and keeps the last one's array."""
    states = np.random.default_rng(0).normal(size=(30, 3, 5))
    statistics = DimensionStatistics()
    statistics.add(states)
    curves = distance_curves(states, statistics)
    assert curves.shape == (2, 3, 29)
    for k in range(3):
        own = DimensionStatistics()
        own.add(states[:, k : k + 1])
        np.testing.assert_allclose(distance_curves(states[:, k : k + 1], own)[:, 0], curves[:, k])
    scored = (states[:, 1] - states[:, 1].mean(0)) / states[:, 1].std(0)
    np.testing.assert_allclose(curves[0, 1], np.linalg.norm(np.diff(scored, axis=0), axis=1), rtol=1e-6)


def test_the_last_interval_is_written_once():
    """A23: the original writes the last interval of an utterance twice."""
    lines = interval_lines(np.array([3, 7]), 11)
    assert lines == ["0 7 xxx", "7 15 xxx", "15 21 xxx"]
    assert interval_lines(np.array([]), 11) == ["0 21 xxx"]
    assert interval_lines(np.array([3, 7]), 11, 0.04) == ["0 14 xxx", "14 30 xxx", "30 42 xxx"]
    assert interval_lines(np.array([3, 7]), 11, 0.01) == ["0 4 xxx", "4 8 xxx", "8 11 xxx"]


@pytest.mark.parametrize("window", [1, 2, 6])
def test_one_search_for_peaks_finds_those_of_every_utterance_at_every_prominence(window):
    random = np.random.default_rng(2)
    curves = [
        random.normal(size=size).cumsum() + height for size, height in ((30, 0), (1, 50), (80, -20), (4, 9), (55, 3))
    ]
    times = [times_of(len(curve) + 1) for curve in curves]
    held = find_boundaries(curves, times, window)
    for prominence in (0.0, 0.3, 1.0, 3.0):
        ours = held.above(prominence)
        for curve, centres, seconds in zip(curves, times, ours.of_each, strict=True):
            single, _ = scipy.signal.find_peaks(smoothed(curve, window), prominence=prominence)
            np.testing.assert_array_equal(seconds, boundary_times(single, window, centres))
    with pytest.raises(ValueError, match="a curve of 30 distances does not fit 30 frame times"):
        find_boundaries(curves[:1], [times_of(30)], window)


def test_means_of_neighbours_are_not_padded():
    np.testing.assert_allclose(smoothed(np.array([1.0, 2, 6, 3]), 3), [3, 11 / 3])
    assert len(smoothed(np.ones(3), 4)) == 0
    far = smoothed(np.append(np.full(20, 1e8), np.tile([1.0, 3.0], 100)).astype(np.float32), 2)
    np.testing.assert_allclose(far[30:], 2, rtol=1e-6)


def test_a_constant_layer_has_no_boundary_and_a_zero_frame_the_cosine_distance_1():
    statistics = DimensionStatistics()
    statistics.add(np.ones((20, 2, 3)))
    curves = distance_curves(np.ones((20, 2, 3)), statistics)
    assert (curves[0] == 0).all()
    assert (curves[1] == 1).all()
    held = find_boundaries(list(curves[:, 0]), [times_of(20)] * 2, 1).above(0.0)
    assert held.seconds.size == 0
    assert score_boundaries(held, references([0.1, 0.2], [0.3, 0.4])).r_value < 0.5


def test_baselines_have_the_rate_of_the_references():
    durations = np.array([2.0, 0.3, 5.0])
    even = uniform_boundaries(durations, 3)
    assert [len(own) for own in even.of_each] == [6, 1, 15]
    np.testing.assert_allclose(np.diff(even.of_each[2]), 1 / 3)
    drawn = random_boundaries(durations, 3, np.random.default_rng(0))
    assert [len(own) for own in drawn.of_each] == [6, 1, 15]
    for own, duration in zip(drawn.of_each, durations):
        assert (np.diff(own) >= 0).all()
        assert 0 <= own.min() <= own.max() < duration
    again = random_boundaries(durations, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.seconds, again.seconds)


def test_random_boundaries_score_below_those_of_the_states():
    segmentation, truth = layer(30)
    rate = len(truth.boundaries.seconds) / truth.durations.sum()
    drawn = score_boundaries(random_boundaries(truth.durations, rate, np.random.default_rng(0)), truth)
    _, counts = choose_setting(segmentation, truth)
    assert drawn.r_value < 0.5 < 0.9 < counts.r_value
    resampled = [drawn.take(np.random.default_rng(k).integers(0, 30, 30)).r_value for k in range(50)]
    assert min(resampled) < drawn.r_value < max(resampled)
