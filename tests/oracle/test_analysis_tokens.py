"""Segments, words, sentences, word discrimination and boundaries give the numbers of the original programs, or, where
these are wrong, those of the definitions."""

from pathlib import Path

import numpy as np
import pytest

from analysis.boundaries import DISTANCES, Setting, distance_curves, find_boundaries, smoothed
from analysis.boundary_scores import (
    References,
    Segmentation,
    boundaries_of,
    choose_setting,
    r_value,
    score_boundaries,
)
from analysis.centring import DimensionStatistics
from analysis.discrimination import pooled_distances, score_pairs, token_pairs, warped_distances
from analysis.filterbank import original_filterbank
from analysis.frame_rates import CONV_POOLING, conv_lengths, pool_frames
from analysis.segments import FrameRanges, original_frames, pool_segments, token_frames
from analysis.sentences import SentencePairs, score_sentences
from analysis.word_vectors import read_attributes
from analysis.words import SetScore, SimilaritySet, averages, score_set, static_vectors
from tests.helpers.analysis_fixtures import analysis_files, below

SINGLE = {"rtol": 1e-5, "atol": 1e-5}  # of what the original computes in float32
DOUBLE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(params=analysis_files())
def truth(request) -> dict[str, np.ndarray]:
    return below(request.param, "")


def numbered(truth: dict[str, np.ndarray], prefix: str) -> list[str]:
    """`segm/case0/`, `segm/case1/` ... as far as the fixture goes."""
    return sorted({f"{name.split('/')[0]}/{name.split('/')[1]}/" for name in truth if name.startswith(prefix)})


def grids(truth: dict[str, np.ndarray]) -> list[str]:
    names = sorted({f"{name.split('/')[0]}/" for name in truth if name.startswith("seg_")})
    assert names
    return names


def ranges_equal(ranges: FrameRanges, first: np.ndarray, stop: np.ndarray) -> None:
    np.testing.assert_array_equal(ranges.first, first)
    np.testing.assert_array_equal(ranges.stop, stop)


def test_the_originals_frames_of_tokens(truth):
    for grid in grids(truth):
        start, end = truth[f"{grid}start"], truth[f"{grid}end"]
        frames, stride = int(truth[f"{grid}num_frames"]), float(truth[f"{grid}stride"])
        for unit, third in (("word", False), ("phone", True)):
            literal = original_frames(start, end, frames, stride, third, exact=False)
            ranges_equal(literal, truth[f"{grid}{unit}_first"], truth[f"{grid}{unit}_stop"])
        times = np.arange(frames) * stride
        ranges_equal(
            token_frames(start, end, times, "middle_third", "original_float"),
            truth[f"{grid}phone_first"],
            truth[f"{grid}phone_stop"],
        )


def test_times_on_the_grid_do_not_move_by_a_frame_in_whole_microseconds(truth):
    """A1: time / stride in floating point moves tokens by a frame."""
    for grid in grids(truth):
        start, end = truth[f"{grid}start"], truth[f"{grid}end"]
        times = np.arange(int(truth[f"{grid}num_frames"])) * float(truth[f"{grid}stride"])
        exact = token_frames(start, end, times, rule="original")
        ranges_equal(exact, truth[f"{grid}exact_first"], truth[f"{grid}exact_stop"])


def test_means_of_segments(truth):
    frames = truth["pool/frames"]
    for unit in ("word", "phone"):
        ranges = FrameRanges(truth[f"seg_20ms/{unit}_first"], truth[f"seg_20ms/{unit}_stop"])
        np.testing.assert_allclose(pool_segments(frames, ranges), truth[f"pool/{unit}"], **SINGLE)
    whole = FrameRanges(np.array([0]), np.array([len(frames)]))
    np.testing.assert_allclose(pool_segments(frames, whole), truth["pool/utterance"], **SINGLE)


def test_convolutional_layers_at_the_filterbanks_rate(truth):
    """A28: the original compares the mean of differences, without their absolute value, so it sees none below 0."""
    layers = [k for k in range(1, 8) if f"local/layer{k}" in truth]
    assert layers
    lengths = conv_lengths(int(truth["local/num_samples"]))
    np.testing.assert_array_equal(lengths, truth["local/lengths"])
    for layer in layers:
        pooled = pool_frames(truth[f"local/layer{layer}"].T, *CONV_POOLING[layer])
        np.testing.assert_allclose(pooled, truth[f"local/layer{layer}_pooled"], **SINGLE)
    for layer, (kernel, stride) in CONV_POOLING.items():
        assert (kernel, stride) == (truth["local/kernel"][layer - 1], truth["local/stride"][layer - 1])
        frames = np.zeros((lengths[layer - 1], 1), dtype=np.float32)
        assert len(pool_frames(frames, kernel, stride)) == truth["local/pooled_lengths"][layer - 1]
    bank = truth["local/fbank"].T
    np.testing.assert_allclose(bank[: truth["local/pooled_lengths"][0]], truth["local/fbank_truncated"], **SINGLE)
    second = pool_frames(bank, 1, 2)[: lengths[6]]
    np.testing.assert_allclose(second, truth["local/fbank_downsampled"], **SINGLE)


def test_the_originals_filterbank(truth):
    bank = original_filterbank(truth["fbank/wave"] / 32768)
    assert bank.dtype == np.float32
    np.testing.assert_allclose(bank, truth["fbank/logmel"], **SINGLE)


def test_attribute_vectors(truth, tmp_path: Path):
    file = tmp_path / "attributes.txt"
    file.write_text("\n".join(truth["attributes/lines"].tolist()), encoding="utf-8")
    attributes = read_attributes(file, order="first_seen")
    assert list(attributes.columns) == truth["attributes/columns"].tolist()
    assert list(attributes.words) == truth["attributes/words"].tolist()
    np.testing.assert_allclose(attributes.matrix, truth["attributes/matrix"], **DOUBLE)
    by_name = read_attributes(file)
    assert list(by_name.columns) == sorted(attributes.columns)
    order = [attributes.columns.index(name) for name in by_name.columns]
    np.testing.assert_array_equal(by_name.matrix, attributes.matrix[:, order])


def test_word_similarity(truth):
    words = truth["wordsim/embeddings"].shape[0]
    vectors, counts = static_vectors(truth["wordsim/instances"], truth["wordsim/instance_word"], words)
    assert counts.sum() == len(truth["wordsim/instances"])
    np.testing.assert_allclose(vectors, truth["wordsim/embeddings"], **SINGLE)
    names = [f"w{k}" for k in range(words)]
    scores: list[SetScore] = []
    for task in numbered(truth, "wordsim/task"):
        pairs = tuple((f"W{a}", f"w{b}") for a, b in truth[f"{task}pairs"].tolist())
        scores.append(score_set(SimilaritySet(task, pairs, truth[f"{task}human"]), names, truth["wordsim/embeddings"]))
    np.testing.assert_allclose([score.rho for score in scores], truth["wordsim/rho"], **DOUBLE)
    means = averages(scores)
    np.testing.assert_allclose(means.micro, truth["wordsim/micro_average"], **DOUBLE)
    np.testing.assert_allclose(means.macro, truth["wordsim/macro_average"], **DOUBLE)


def test_spoken_sentences(truth):
    pairs, human = truth["sts/pairs"], truth["sts/human"]
    rows = pairs.reshape(-1, 2)
    owner = np.repeat(np.arange(len(pairs)), pairs.shape[1])
    ids = [f"u{k}" for k in range(len(truth["sts/embeddings"]))]
    table = SentencePairs(
        tuple(map(str, range(len(pairs)))), human, owner, *(tuple(ids[k] for k in rows[:, side]) for side in (0, 1))
    )
    score = score_sentences(table, ids, truth["sts/embeddings"])
    np.testing.assert_allclose(score.mean, truth["sts/rho_mean"], **DOUBLE)
    np.testing.assert_allclose(score.every_row, truth["sts/rho_all"], **DOUBLE)


@pytest.mark.slow
def test_word_discrimination(truth):
    lengths, frames = truth["awd/lengths"], truth["awd/frames"].astype(np.float64)
    pairs = token_pairs(truth["awd/word"], truth["awd/speaker"])
    np.testing.assert_array_equal(pairs.same_word, truth["awd/same_word"])
    np.testing.assert_array_equal(pairs.same_speaker, truth["awd/same_speaker"])
    stops = np.cumsum(lengths)
    means = np.stack([part.mean(0) for part in np.split(frames, stops[:-1])])
    distances = {
        "pooled": pooled_distances(means, pairs),
        "dtw": warped_distances(frames, lengths, pairs, normalised=False),
        "dtw_normalised": warped_distances(frames, lengths, pairs),
    }
    for name, ours in distances.items():
        stored = name.replace("dtw", "dtw_distance") if "dtw" in name else "pooled_distance"
        np.testing.assert_allclose(ours, truth[f"awd/{stored}"], **DOUBLE)
        score, other = score_pairs(ours, pairs), score_pairs(ours, pairs, "other_speaker")
        np.testing.assert_allclose(score.average_precision, truth[f"awd/{name}_ap"], **DOUBLE)
        np.testing.assert_allclose(score.break_even, truth[f"awd/{name}_prb"], **DOUBLE)
        np.testing.assert_allclose(other.average_precision, truth[f"awd/{name}_ap_other_speaker"], **DOUBLE)


def split(values: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum(counts)[:-1])


def segmentation(truth: dict[str, np.ndarray]) -> tuple[Segmentation, References]:
    """The fixture's one layer: its curves, and the boundaries that it is scored against."""
    utterances = split(truth["segm/frames"], truth["segm/num_frames"])
    statistics = DimensionStatistics()
    for frames in utterances:
        statistics.add(frames[:, None])
    curves = [distance_curves(frames[:, None], statistics)[:, 0] for frames in utterances]
    times = [np.arange(len(frames)) * 0.02 + 0.0125 for frames in utterances]
    ids = tuple(f"u{k}" for k in range(len(utterances)))
    boundaries = boundaries_of(split(truth["segm/boundaries"], truth["segm/num_boundaries"]))
    durations = truth["segm/num_frames"] * 0.02
    references = References(ids, boundaries, tuple(np.zeros((0, 2)) for _ in ids), durations)
    return Segmentation(ids, tuple([curve[k] for curve in curves] for k in (0, 1)), times), references


def settings_of(truth: dict[str, np.ndarray], case: str) -> Setting:
    distance = "cosine" if str(truth[f"{case}distance"]) == "cosine" else "euclidean"
    return Setting(distance, int(truth[f"{case}window"]), float(truth[f"{case}prominence"]))


def test_boundaries_at_distance_peaks(truth):
    layer, references = segmentation(truth)
    for case in numbered(truth, "segm/case"):
        setting = settings_of(truth, case)
        own = layer.curves[DISTANCES.index(setting.distance)]
        line = np.concatenate([smoothed(curve, setting.window) for curve in own])
        np.testing.assert_allclose(line, truth[f"{case}smoothed"], **SINGLE)
        predicted = find_boundaries(own, layer.times, setting.window, "original").above(setting.prominence)
        np.testing.assert_array_equal(np.rint(predicted.seconds / 0.02), truth[f"{case}peaks"])
        np.testing.assert_array_equal([len(some) for some in predicted.of_each], truth[f"{case}num_peaks"])
        original = score_boundaries(predicted, references, "original")
        expected = truth[f"{case}original_precision_recall_f1"]
        np.testing.assert_allclose([original.precision, original.recall, original.f1], expected, **DOUBLE)
        counts = score_boundaries(predicted, references)
        assert counts.hits.sum() == truth[f"{case}hits"]
        expected = truth[f"{case}one_to_one_precision_recall_f1"]
        np.testing.assert_allclose([counts.precision, counts.recall, counts.f1], expected, **DOUBLE)
        np.testing.assert_allclose(counts.over_segmentation, truth[f"{case}over_segmentation"], **DOUBLE)
        np.testing.assert_allclose(counts.r_value, truth[f"{case}r_value"], **DOUBLE)
        written = find_boundaries(own, layer.times, setting.window, "literature").above(setting.prominence)
        literature = score_boundaries(written, references, "literature")
        expected = truth[f"{case}kamper_precision_recall_f1"]
        np.testing.assert_allclose([literature.precision, literature.recall, literature.f1], expected, **DOUBLE)
        np.testing.assert_allclose(literature.r_value, truth[f"{case}kamper_r_value"], **DOUBLE)


def test_the_originals_choice_of_a_setting(truth):
    setting, counts = choose_setting(*segmentation(truth), "f1", "original", "original")
    assert setting == settings_of(truth, "segm/best_")
    np.testing.assert_allclose(counts.f1, truth["segm/best_f1"], **DOUBLE)


def test_scores_of_crowded_boundaries(truth):
    shift = float(truth["scoring/frame_shift"])
    predicted = boundaries_of(split(truth["scoring/peaks"] * shift, truth["scoring/num_peaks"]))
    boundaries = boundaries_of(split(truth["scoring/boundaries"], truth["scoring/num_boundaries"]))
    count = len(truth["scoring/num_peaks"])
    ids, tokens = tuple(map(str, range(count))), tuple(np.zeros((0, 2)) for _ in range(count))
    references = References(ids, boundaries, tokens, np.full(count, 1e3))
    tolerance = float(truth["scoring/tolerance"])
    original = score_boundaries(predicted, references, "original", tolerance)
    expected = truth["scoring/original_precision_recall_f1"]
    np.testing.assert_allclose([original.precision, original.recall, original.f1], expected, **DOUBLE)
    counts = score_boundaries(predicted, references, tolerance=tolerance)
    assert counts.hits.sum() == truth["scoring/hits"]
    expected = truth["scoring/one_to_one_precision_recall_f1"]
    np.testing.assert_allclose([counts.precision, counts.recall, counts.f1], expected, **DOUBLE)
    np.testing.assert_allclose(counts.over_segmentation, truth["scoring/over_segmentation"], **DOUBLE)
    np.testing.assert_allclose(counts.r_value, truth["scoring/r_value"], **DOUBLE)
    np.testing.assert_allclose(r_value(counts.recall, counts.over_segmentation), truth["scoring/r_value"], **DOUBLE)
