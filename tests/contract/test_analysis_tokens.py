"""Tokens: which are drawn, which frames they have, and how views of other frame rates meet them."""

import json
from fractions import Fraction

import numpy as np
import pytest

from analysis.filterbank import filterbank, original_filterbank
from analysis.frame_rates import (
    CONV_POOLING,
    average_onto,
    conv_lengths,
    conv_times,
    pair_frames,
    pool_frames,
)
from analysis.sampling import (
    ALL_WORDS,
    DISCRIMINATION,
    PHONES,
    Sampling,
    draw,
    draw_utterances,
    read_sample,
    sample_generator,
    tokens_of,
    tokens_of_alignment,
    write_sample,
)
from analysis.segments import PARTS, PLACES, TWELFTHS, original_frames, pool_segments, token_frames
from utility.labels.alignment import Alignment, write_alignment
from utility.labels.formats import find_files, read_textgrid

SHIFT = 0.02
TIMES = 0.0125 + SHIFT * np.arange(50)  # of a wav2vec-like model: each frame sees 25 ms


def frames_of(start: float, end: float, part: str = "mean", **options) -> list[int]:
    ranges = token_frames(np.array([start]), np.array([end]), TIMES, part, **options)
    return list(range(ranges.first[0], ranges.stop[0]))


def test_a_time_on_the_grid_is_the_next_frame_not_the_one_before():
    """A1: 0.58 / 0.02 is 28.99... in floating point, and 0.14 / 0.02 more than 7."""
    start, end = np.array([0.58, 0.1]), np.array([0.7, 0.14])
    literal, exact = (original_frames(start, end, 50, SHIFT, exact=exact) for exact in (False, True))
    assert (literal.first.tolist(), literal.stop.tolist()) == ([28, 5], [35, 8])
    assert (exact.first.tolist(), exact.stop.tolist()) == ([29, 5], [35, 7])
    for rule, expected in (("original", exact), ("original_float", literal)):  # wherever the centres lie
        held = token_frames(start, end, 0.025 + SHIFT * np.arange(50), rule=rule)
        assert (held.first.tolist(), held.stop.tolist()) == (expected.first.tolist(), expected.stop.tolist())
    with pytest.raises(ValueError, match="no whole microseconds"):
        token_frames(start, end, np.arange(99) * 256 / 22050, rule="original")


def test_a_frame_belongs_to_the_segment_that_holds_its_centre():
    """A2: the original takes frame 6, which looks at 0.12 to 0.145 s, into a token that ends at 0.13 s."""
    assert frames_of(0.1, 0.13, rule="original") == [5, 6]
    assert frames_of(0.1, 0.13) == [5]
    assert frames_of(0.1125, 0.1325) == [5]  # the start belongs to it, the end does not
    assert frames_of(0.114, 0.118) == [5]  # none inside: the nearest to the midpoint
    assert frames_of(0.12, 0.128) == [6]
    assert frames_of(0.1225 - 0.001, 0.1225 + 0.001) == [5]  # of two as near the earlier


def slowly(start: float, end: float, part: str) -> list[int]:
    """The definition in fractions, frame by frame."""
    begin, stop = (Fraction(round(x * 1e6)) for x in (start, end))
    centres = [Fraction(round(x * 1e6)) for x in TIMES]
    if part in PLACES:
        point = begin + (stop - begin) * PLACES[part] / 12
        return [min(range(len(centres)), key=lambda t: (abs(centres[t] - point), t))]
    low, high = (begin + (stop - begin) * edge / 12 for edge in TWELFTHS[part])
    inside = [t for t, centre in enumerate(centres) if low <= centre < high]
    return inside or [min(range(len(centres)), key=lambda t: (abs(centres[t] - (low + high) / 2), t))]


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_a_token_are_those_of_the_definition(part):
    random = np.random.default_rng(0)
    start = np.round(random.uniform(0, 0.9, 300), random.integers(2, 4))
    end = start + np.round(random.choice([0.003, 0.03, 0.06, 0.0625, 0.09], 300), 4)
    ranges = token_frames(start, end, TIMES, part)
    for one, other, first, stop in zip(start, end, ranges.first, ranges.stop, strict=True):
        assert list(range(first, stop)) == slowly(one, other, part), (one, other)


def test_thirds_quarters_and_places():
    assert frames_of(0.2, 0.5) == list(range(10, 25))
    assert frames_of(0.2, 0.5, "middle_third") == list(range(15, 20))
    quarters = [list(range(10 + 4 * k, 14 + 4 * k)) for k in range(4)]
    assert [frames_of(0.2, 0.52, part) for part in ("q1", "q2", "q3", "q4")] == quarters
    assert [frames_of(0.2, 0.6, part)[0] for part in PLACES] == [9, 14, 19, 24, 29]


@pytest.mark.parametrize("rule", ["centre", "original"])
def test_a_token_beyond_the_audio_is_cut_up_to_a_tenth_of_a_second_and_else_refused_by_name(rule):
    """A4: the original asserts against one frame too many, and cuts that alone."""
    assert frames_of(0.9, 1.09, rule=rule, duration=1.0)[-1] == 49
    assert frames_of(1.02, 1.09, rule=rule, duration=1.0) == [49]
    with pytest.raises(ValueError, match=r"u7: a token from 0.9 to 1.2 s, but the audio ends at 1\.\d* s"):
        frames_of(0.9, 1.2, rule=rule, duration=1.0, utterance="u7")


def test_to_the_letter_a_token_beyond_the_audio_is_one_line_and_no_index_error():
    """A4: a token further out was an IndexError."""
    with pytest.raises(ValueError, match=r"u7: a token from 0.9 to 1.05 s, but the audio ends at 1.000 s"):
        frames_of(0.9, 1.05, rule="original_float", utterance="u7")


@pytest.mark.parametrize(
    ("start", "end", "part", "rule", "message"),
    [
        (0.3, 0.3, "mean", "centre", "must start at 0 or later and end after that"),
        (-0.1, 0.3, "mean", "original", "must start at 0 or later and end after that"),
        (0.1, 0.3, "q1", "original", "part q1 of a token needs the rule centre, not original"),
    ],
)
def test_tokens_that_have_no_frames_are_refused(start, end, part, rule, message):
    with pytest.raises(ValueError, match=message):
        frames_of(start, end, part, rule=rule)
    with pytest.raises(ValueError, match="u7: no frames"):
        token_frames(np.array([0.1]), np.array([0.2]), np.zeros(0), utterance="u7")


def test_means_of_every_layer_are_those_of_its_own_frames():
    """A22: the original kept the last layer's array for layers that a model does not have."""
    states = np.random.default_rng(1).normal(1e3, 1, (50, 3, 4)).astype(np.float32)
    ranges = token_frames(np.array([0.0, 0.3]), np.array([0.1, 0.9]), TIMES)
    pooled = pool_segments(states, ranges)
    assert pooled.shape == (2, 3, 4)
    assert pooled.dtype == np.float32
    for layer in range(3):
        np.testing.assert_array_equal(pooled[:, layer], pool_segments(states[:, layer], ranges))
    np.testing.assert_allclose(pooled[1], states[15:45].astype(np.float64).mean(0), rtol=1e-7)


def test_kaldis_frames_lie_on_those_of_every_convolutional_layer():
    """A3: librosa's frame t is centred on 10 t ms, the layers' on 12.5 + 10 t: the original pairs other times."""
    samples = 16000
    _, times = filterbank(np.random.default_rng(2).normal(0, 0.1, samples))
    np.testing.assert_allclose(times, 0.0125 + 0.01 * np.arange(len(times)))
    lengths = conv_lengths(samples)
    for layer, (kernel, stride) in CONV_POOLING.items():
        pooled = pool_frames(conv_times(layer, lengths[layer - 1]), kernel, stride)
        pairs = pair_frames(pooled, times)
        np.testing.assert_array_equal(pairs.first, pairs.second)
        np.testing.assert_allclose(pooled[pairs.first], times[pairs.second], atol=1e-9)
        assert len(pairs.first) == min(len(pooled), len(times)) >= len(times) - 1
    last = conv_times(7, lengths[6])
    np.testing.assert_allclose(last, 0.0125 + 0.02 * np.arange(49))
    pairs = pair_frames(last, times)
    np.testing.assert_array_equal(pairs.second, 2 * np.arange(49))
    swapped = pair_frames(times, last)
    np.testing.assert_array_equal(swapped.first, pairs.second)
    np.testing.assert_array_equal(swapped.second, pairs.first)


def test_frames_without_a_partner_within_half_a_shift_are_left_out():
    """A3: views of other clocks are paired by times, not by their numbers."""
    pairs = pair_frames(np.arange(10) * 0.01, 0.0125 + np.arange(4) * 0.02)  # the fast view ends at 0.09 s
    assert pairs.second.tolist() == [0, 1, 2, 3]
    assert pairs.first.tolist() == [1, 3, 5, 7]
    assert len(pair_frames(np.arange(3) * 0.01, 1 + np.arange(4) * 0.02).first) == 0
    assert len(pair_frames(np.zeros(0), TIMES).first) == 0


def test_means_around_a_target_lean_to_neither_side():
    times, targets = 0.0125 + 0.01 * np.arange(20), 0.0325 + 0.02 * np.arange(8)
    averaged, kept = average_onto(times[:, None], times, targets)
    np.testing.assert_array_equal(kept, np.arange(8))
    np.testing.assert_allclose(averaged[:, 0], targets)
    weights, _ = average_onto(np.eye(20), times, targets)
    np.testing.assert_allclose(weights[0, :5], [0, 0.25, 0.5, 0.25, 0])  # half of what lies on an edge
    with pytest.raises(ValueError, match="swap them"):
        average_onto(targets[:, None], targets, times)


def test_filterbanks_of_silence_and_of_a_click():
    silence = original_filterbank(np.zeros(1600))
    assert silence.shape == (11, 80)
    assert np.ptp(silence) == 0
    wave = np.zeros(3200)
    wave[1600] = 1
    assert original_filterbank(wave).sum(1).argmax() == 10  # frame t is centred on sample 160 t
    bank, times = filterbank(wave)
    assert abs(times[bank.sum(1).argmax()] - 0.1) <= 0.005
    with pytest.raises(ValueError, match="at least 400 samples"):
        filterbank(np.zeros(399))


def corpus(random: np.random.Generator, utterances: int = 12) -> list[tuple[str, list[tuple[float, float, str]]]]:
    """Utterances of 40 tokens of 0.1 s, words of one letter, common and rare."""
    names, shares = ["A", "B", "C", "D", "sil", "<unk>"], [0.4, 0.3, 0.2, 0.01, 0.05, 0.04]
    return [
        (f"u{k}", [(t / 10, (t + 1) / 10, str(random.choice(names, p=shares))) for t in range(40)])
        for k in range(utterances)
    ]


def test_the_same_seed_draws_the_same_tokens_and_another_sample_others():
    """A5: the original draws without a seed."""
    tokens = tokens_of(corpus(np.random.default_rng(3)))
    drawn = [
        draw(tokens, Sampling(20, 10), sample_generator(seed, name, sample), SHIFT).tokens.table.tolist()
        for seed, name, sample in ((1, "cca_phone", 0), (1, "cca_phone", 0), (1, "cca_phone", 1), (1, "cca_word", 0))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]
    assert drawn[0] == sorted(drawn[0])


def test_a_class_has_the_lesser_of_its_count_and_the_maximum_and_rare_ones_are_listed():
    """A6: the original draws the size of a class between two bounds."""
    tokens = tokens_of(corpus(np.random.default_rng(4)))
    of = dict(zip(tokens.classes, tokens.counts.tolist()))
    assert of["D"] < 10 < 100 < of["C"] < of["B"]
    sample = draw(tokens, Sampling(100, 10), sample_generator(0, "x"), SHIFT)
    assert sample.tokens.classes == ("A", "B", "C")
    assert sample.tokens.counts.tolist() == [min(of[name], 100) for name in "ABC"]
    left = {part.reason: part for part in sample.left_out}
    assert left["silence"].tokens == of["sil"]
    assert left["unknown word"].classes == ("<unk>",)
    assert (left["rare class"].tokens, left["rare class"].classes) == (of["D"], ("D",))
    assert sum(part.tokens for part in sample.left_out) + len(sample.tokens) == len(tokens)


def test_what_is_asked_of_tokens_is_kept_and_the_rest_counted():
    rows = [(0.0, 0.3, "house"), (0.3, 1.0, "house"), (1.0, 1.6, "o'er"), (1.6, 2.3, "mouse"), (2.3, 2.31, "mouse")]
    others = [("v", [(0.0, 0.5, "house"), (0.5, 1.2, "mouse")]), ("w", [(0.0, 0.9, "mouse"), (0.9, 1.6, "horse")])]
    tokens = tokens_of([("u", rows), *others])
    sample = draw(tokens, DISCRIMINATION, sample_generator(0, "awd"), SHIFT, np.array([2.4, 1.15, 1.6]))
    assert sample.tokens.classes == ("house", "mouse")
    assert sample.tokens.table["utterance"].tolist() == [0, 0, 1, 2]
    reasons = {part.reason: part.tokens for part in sample.left_out}
    assert reasons == {
        "fewer than 5 letters": 1,
        "shorter than 0.5 s": 2,
        "cut off by the end of the audio": 1,
        "rare class": 1,
    }
    with pytest.raises(ValueError, match=r"v: mouse from 0\.5 to 1\.2 s, but the audio ends at 1\.000 s"):
        draw(tokens, DISCRIMINATION, sample_generator(0, "awd"), SHIFT, np.array([2.4, 1.0, 1.6]))


def test_the_most_frequent_classes_and_those_asked_for():
    tokens = tokens_of(corpus(np.random.default_rng(5)))
    two = draw(tokens, Sampling(None, 1, most_frequent=2), sample_generator(0, "x"), SHIFT)
    assert two.tokens.classes == ("A", "B")
    asked = draw(tokens, Sampling(None, 1, classes=frozenset("BC")), sample_generator(0, "x"), SHIFT)
    assert asked.tokens.classes == ("B", "C")
    with pytest.raises(ValueError, match=r"1 class with .* tokens remain, at least 2 are needed; .*silence: "):
        draw(tokens, Sampling(None, 1, classes=frozenset("B")), sample_generator(0, "x"), SHIFT)


def test_words_in_two_spellings_are_one_class():
    tokens = tokens_of([("u", [(0.0, 0.5, "The"), (0.5, 1.0, "the"), (1.0, 1.5, "cat")])]).relabelled(str.lower)
    assert tokens.classes == ("cat", "the")
    assert tokens.labels.tolist() == [1, 1, 0]
    assert tokens.of_utterance(0).tolist() == [0, 1, 2]


def test_tokens_of_a_stored_alignment_are_those_of_its_segments(tmp_path):
    write_alignment(tmp_path / "a", corpus(np.random.default_rng(6)))
    alignment = Alignment(tmp_path / "a")
    stored = tokens_of_alignment(alignment, alignment.ids[::-1])
    direct = tokens_of(reversed(corpus(np.random.default_rng(6))))
    assert stored.classes == direct.classes
    np.testing.assert_array_equal(stored.table, direct.table)
    with pytest.raises(ValueError, match="no alignment of utterance 'other'"):
        tokens_of_alignment(alignment, ["other"])
    with pytest.raises(ValueError, match="utterance 'u1' comes twice"):
        tokens_of_alignment(alignment, ["u1", "u1"])


def test_a_stored_sample_given_back_is_the_same(tmp_path):
    tokens = tokens_of(corpus(np.random.default_rng(7)))
    drawn = draw(tokens, Sampling(20, 10), sample_generator(1, "x"), SHIFT).tokens
    file = tmp_path / "sample.json"
    write_sample(file, drawn, {f"u{k}": f"audio/u{k}.flac" for k in range(12)})
    held = json.loads(file.read_text())
    audio, *segments = held["u0"]
    assert audio == "audio/u0.flac"
    row = drawn.table[0]
    assert segments[0] == [row["start"], row["end"], drawn.classes[row["label"]]]  # the original's form
    back = read_sample(file, tokens.ids)
    assert back.classes == drawn.classes
    np.testing.assert_array_equal(back.table, drawn.table)
    with pytest.raises(ValueError, match=r"sample\.json: utterance 'u1' is not in the corpus"):
        read_sample(file, ["u0", *(f"u{k}" for k in range(2, 12))])


def test_utterances_are_drawn_once_each_in_their_order():
    ids = [f"u{k:02}" for k in range(50)]
    drawn = draw_utterances(ids, 20, sample_generator(0, "cca_mel"))
    assert len(set(drawn)) == 20
    assert drawn == sorted(drawn) == draw_utterances(ids, 20, sample_generator(0, "cca_mel"))
    assert draw_utterances(ids, 500, sample_generator(0, "cca_mel")) == ids
    with pytest.raises(ValueError, match="at least 1 utterance"):
        draw_utterances(ids, 0, sample_generator(0, "cca_mel"))


@pytest.mark.slow
def test_real_speech_has_the_tokens_that_its_alignment_counts(corpora):
    """Of PocketSphinx' words: tokens and types of word discrimination, types of word identity."""
    _, files = find_files(corpora / "libri_mini" / "alignments" / "pocketsphinx", "textgrid", "words")
    tokens = tokens_of(pair for file in files for pair in read_textgrid(file, "words")).relabelled(str.lower)
    drawn = draw(tokens, DISCRIMINATION, sample_generator(0, "awd"), SHIFT).tokens
    assert (len(drawn), len(drawn.classes)) == (340, 135)  # in floating point two of 0.5 s last 0.4999...: 338 and 134
    words = draw(tokens, Sampling(15, 5), sample_generator(0, "cca_word"), SHIFT).tokens
    assert len(words.classes) == 214
    assert words.counts.min() >= 5
    assert words.counts.max() == 15


def test_the_usual_samples():
    assert (PHONES.min_per_class, PHONES.max_per_class) == (20, 200)
    assert ALL_WORDS.max_per_class == 200
