"""Words and sentences: vectors from files and pronunciations, agreement with people, and telling words apart."""

import gzip

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from analysis import discrimination, warping
from analysis.centring import DimensionStatistics, centred
from analysis.discrimination import (
    average_precision,
    pooled_distances,
    resampled_precision,
    score_pairs,
    token_pairs,
    warped_distances,
)
from analysis.sentences import SentencePairs, read_sentence_pairs, score_sentences, score_text, word_overlap
from analysis.word_vectors import (
    PronunciationCounts,
    WordVectors,
    coverage,
    phones_of_words,
    read_attributes,
    read_vectors,
)
from analysis.words import (
    SetScore,
    SimilaritySet,
    averages,
    correlation_bounds,
    overlaps,
    read_similarity_set,
    score_set,
    spearman,
    static_vectors,
)
from tests.helpers.shared import SHARED
from utility.labels.alignment import SEGMENT


def written(tmp_path, text: str, name: str = "file.txt"):
    file = tmp_path / name
    file.write_bytes(text.encode() if name.endswith(".txt") else gzip.compress(text.encode()))
    return file


VECTORS = "the 1 2 3\nBank 4 5 6\nbank's 7 8 9\nat home 9 9 9\nbank 0 0 0\nunread one two three\n"


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
@pytest.mark.parametrize("header", ["", "6 3\n"])
def test_only_needed_vectors_are_read_and_the_first_of_a_word_wins(tmp_path, name, header):
    vectors = read_vectors(written(tmp_path, header + VECTORS, name), ["THE", "BANK", "BANK'S", "at", "banks"])
    assert vectors.words == ("the", "bank", "bank's")  # nothing is stripped, and `at home` is not `at`
    np.testing.assert_array_equal(vectors.matrix, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert vectors.repeated == ("bank",)
    assert vectors.rows(["Bank", "zebra", "the"]).tolist() == [1, -1, 0]
    held = coverage(vectors, ["BANK", "zebra", "the", "gnu"], np.array([3, 2, 5, 4]))
    assert (held.types, held.tokens, held.missing) == (2, 8, ("gnu", "zebra"))
    assert held.in_words() == "2 of 4 words (8 of 14 tokens) have a vector; dropped: gnu, zebra"
    with pytest.raises(ValueError, match="no vector for any of 1 words"):
        coverage(vectors, ["gnu"], np.array([1]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2\nbank 1\n", "file.txt:2: expected 2 numbers after the word, got 1"),
        ("the 1 2\nbank 1 x\n", "file.txt:2: expected a number, got 'x'"),
        ("the 1 2\nbank 1 nan\n", "file.txt:2: expected a number, got 'nan'"),
        ("the 1 2\nbank 1 1_0\n", "file.txt:2: expected a number, got '1_0'"),
        ("the\n", "file.txt:1: expected `word v1 v2 ...`, got 'the'"),
        ("cat 1 2\n", "file.txt: holds none of the 1 words that are needed"),
        ("", "file.txt: holds none of the 1 words that are needed"),
    ],
)
def test_vector_files_of_another_form_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError) as error:
        read_vectors(written(tmp_path, text), ["bank"])
    assert message in str(error.value)


def test_a_vector_file_that_is_cut_off_or_no_text_is_refused(tmp_path):
    whole = gzip.compress((VECTORS * 50).encode())
    (tmp_path / "cut.gz").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="cut off or damaged after line"):
        read_vectors(tmp_path / "cut.gz", ["the"])
    (tmp_path / "latin.txt").write_bytes(b"the 1 2\ncaf\xe9 1 2\n")
    with pytest.raises(ValueError, match=r"latin.txt:1: not UTF-8 text|latin.txt:2: not UTF-8 text"):
        read_vectors(tmp_path / "latin.txt", ["the"])


def test_attributes_have_the_columns_of_the_whole_file_in_order(tmp_path):
    text = 'Run\t{"verb.motion": 0.75, "noun.act": 0.25}\nrun\t{"verb.motion": 1}\ndog\t{"noun.animal": 1}\n'
    held = read_attributes(written(tmp_path, text), ["RUN"])
    assert held.words == ("run",)
    assert held.columns == ("noun.act", "noun.animal", "verb.motion")
    np.testing.assert_array_equal(held.matrix, [[0.25, 0, 0.75]])
    assert held.repeated == ("run",)
    for bad in ("run {}", "run\t[1]", 'run\t{"a": "b"}', 'run\t{"a": NaN}', "run\t" + "[" * 10**5):
        with pytest.raises(ValueError, match=r"file.txt:1: expected `word<TAB>"):
            read_attributes(written(tmp_path, bad))
    with pytest.raises(ValueError, match="holds none of the 1 words"):
        read_attributes(written(tmp_path, text), ["cat"])


def test_pronunciation_vectors_know_sounds_and_their_order_and_nothing_else():
    said = {"knight": "N AY T", "night": "N AY T", "tine": "T AY N", "cat": "K AE T", "cats": "K AE T S"}
    forward, backward = PronunciationCounts(), PronunciationCounts()
    for counts, words in ((forward, said), (backward, reversed(said))):
        for word in words:
            counts.add(word.upper(), said[word].split())
    forward.add("noise", [])
    vectors = forward.vectors()
    assert vectors.words == ("cat", "cats", "knight", "night", "tine")
    np.testing.assert_array_equal(vectors.matrix, backward.vectors().matrix)
    rows = dict(zip(vectors.words, vectors.matrix))
    np.testing.assert_allclose(rows["knight"], rows["night"], atol=1e-12)
    apart = {word: np.linalg.norm(rows["night"] - row) for word, row in rows.items()}
    assert apart["tine"] > 0.5  # the same phones in another order
    assert apart["cat"] > apart["tine"]
    assert np.linalg.norm(rows["cat"] - rows["cats"]) < apart["cat"]
    np.testing.assert_allclose(vectors.matrix.mean(0), 0, atol=1e-12)
    assert forward.vectors(2).matrix.shape == (5, 2)
    with pytest.raises(ValueError, match="at least 2 words with phones, got 0"):
        PronunciationCounts().vectors()


def test_a_words_vector_is_the_mean_of_its_tokens_counts():
    counts = PronunciationCounts()
    for phones in ("AA", "AA", "B"):
        counts.add("two", phones.split())
    counts.add("one", ["AA"])
    counts.add("three", ["B"])
    matrix = counts.vectors().matrix
    expected = np.log1p([[1, 0], [0, 1], [2 / 3, 1 / 3]])  # one, three, two: shares of AA and of B
    np.testing.assert_allclose(
        np.linalg.norm(matrix[:, None] - matrix, axis=2),
        np.sqrt(3) * np.linalg.norm(expected[:, None] - expected, axis=2),  # a phone, and both of its marks
    )


def test_phones_belong_to_the_word_that_holds_their_middle():
    words = np.array([(0.0, 0.5, 0), (0.7, 1.0, 1)], dtype=SEGMENT)
    phones = np.array([(0.0, 0.3, 0), (0.3, 0.52, 1), (0.52, 0.7, 2), (0.7, 1.0, 3)], dtype=SEGMENT)
    assert [held.tolist() for held in phones_of_words(words, phones)] == [[0, 1], [3]]


def test_capitals_in_a_set_match_words_in_lower_case(tmp_path):
    """A17: the original compares them with a list in lower case, so they never match."""
    text = "Jerusalem\tIsrael\t8.46\nOPEC country 5.63\n\n"
    each = read_similarity_set(written(tmp_path, text, "EN-RW-STANFORD.txt"))
    assert each.name == "RW"
    assert each.pairs == (("jerusalem", "israel"), ("opec", "country"))
    score = score_set(each, ["JERUSALEM", "israel", "Opec", "country"], np.eye(4))
    assert (score.pairs, score.all_pairs) == (2, 2)
    wrong = {"a b": "expected `word1 word2 score`", "a b c": "expected a score, got 'c'", "": "no pair"}
    for bad, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            read_similarity_set(written(tmp_path, bad))


def similarity_set(name: str, pairs: int, seed: int = 0) -> SimilaritySet:
    random = np.random.default_rng(seed)
    words = [tuple(f"w{k}" for k in random.choice(60, 2, replace=False)) for _ in range(pairs)]
    return SimilaritySet(name, tuple(words), random.uniform(0, 10, pairs))


def test_a_set_under_the_name_of_another_is_told():
    """A15: a known collection has YP-130's pairs in the file of VERB-143."""
    yp = similarity_set("YP-130", 130)
    wrong = SimilaritySet("VERB-143", tuple((b, a) for a, b in yp.pairs[:126]), yp.human[:126])
    told = overlaps([yp, wrong, similarity_set("MEN", 100, 1)])
    assert [(one, other) for one, other, _ in told] == [("VERB-143", "YP-130")]
    assert told[0][2] == 1


def test_the_sets_beside_the_project_are_what_they_are_called():
    """A15: a known collection has other scores in the file of SimLex-999, and YP-130 in that of VERB-143."""
    folder = SHARED / "words" / "word_similarity"
    if not folder.is_dir():
        pytest.skip("no word similarity sets: set MOCKINGJAY_SHARED to the folder that holds words/")
    sets = {each.name: each for each in map(read_similarity_set, sorted(folder.glob("EN-*.txt")))}
    told = {(one, other) for one, other, share in overlaps(list(sets.values())) if share == 1}
    parts = {("WS-353-SIM", "WS-353"), ("WS-353-REL", "WS-353")}
    assert told == parts | {("MC-30", "RG-65"), ("MC-30", "WS-353")}
    assert len(sets) == 13
    simlex = sets["SimLex-999"]
    assert simlex.human[simlex.pairs.index(("old", "new"))] == 1.58


def test_averages_leave_out_sets_that_are_parts_of_others_and_small_ones():
    """A16: MC-30 is a part of RG-65, and WS-353's halves are of WS-353: their pairs would count twice."""
    named = [("MEN", 0.5, 100), ("RG-65", 0.2, 50), ("MC-30", 0.9, 30), ("WS-353", 0.9, 300), ("WS-353-SIM", 0.8, 50)]
    scores = [SetScore(name, rho, -1, 1, pairs, pairs) for name, rho, pairs in [*named, ("YP-130", -1, 19)]]
    means = averages(scores)
    assert means.sets == ("MEN", "RG-65", "WS-353-SIM")
    assert means.macro == pytest.approx(0.5)
    assert means.micro == pytest.approx((0.5 * 100 + 0.2 * 50 + 0.8 * 50) / 200)
    assert averages([]).sets == ()


def test_every_token_of_a_word_weighs_the_same():
    pooled = np.array([[[1.0], [5.0]], [[2.0], [6.0]], [[6.0], [7.0]]], dtype=np.float32)  # [N, L, D]
    vectors, counts = static_vectors(pooled[:, 1], np.array([2, 2, 0]), 4)
    assert counts.tolist() == [1, 0, 2, 0]
    np.testing.assert_array_equal(vectors, [[7], [0], [5.5], [0]])
    each = SimilaritySet("x", (("a", "b"), ("a", "c"), ("c", "c")), np.arange(3.0))
    assert score_set(each, ["a", "b", "c", "d"], vectors, counts).pairs == 2  # b was not spoken
    assert score_set(each, ["a", "b", "c", "d"], vectors, counts, threshold=1).pairs == 1


def test_word_similarity_ignores_scale_and_rotation_and_shares_of_all_words_once_centred():
    random = np.random.default_rng(1)
    vectors, names = random.normal(size=(60, 8)), [f"w{k}" for k in range(60)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    each = similarity_set("x", 200)
    index = [[int(word[1:]) for word in pair] for pair in each.pairs]
    each = SimilaritySet("x", each.pairs, np.array([unit[a] @ unit[b] for a, b in index]))
    assert score_set(each, names, vectors).rho == pytest.approx(1)
    rotation = np.linalg.qr(random.normal(size=(8, 8)))[0]
    assert score_set(each, names, 7 * vectors @ rotation).rho == pytest.approx(1)
    statistics = DimensionStatistics()
    shift = random.normal(0, 30, 8)
    for block in np.split(random.normal(size=(4000, 8)) + shift, 7 * [500]):
        statistics.add(block)
    plain = score_set(each, names, vectors + shift).rho
    assert plain < 0.5
    assert score_set(each, names, vectors + shift, statistics=statistics, centring="mean").rho > 0.98
    with pytest.raises(ValueError, match="centring mean needs statistics of other utterances"):
        score_set(each, names, vectors, centring="mean")


def test_a_constant_layer_scores_nothing_and_says_so():
    names = [f"w{k}" for k in range(60)]
    score = score_set(similarity_set("x", 50), names, np.zeros((60, 4)))
    assert (score.rho, score.note) == (0, "all pairs have one similarity: no correlation")
    assert "fewer than 20" in score_set(similarity_set("x", 19), names, np.eye(60)).note
    pair = SimilaritySet("x", (("w1", "w1"),), np.array([10.0]))
    assert score_set(pair, names, np.eye(60)).pairs == 1  # a word with itself is kept
    assert spearman(np.array([1.0]), np.array([2.0])) == 0


def test_shuffled_scores_lie_at_chance_and_intervals_cover_it():
    covered = 0
    names = [f"w{k}" for k in range(60)]
    for seed in range(50):
        vectors = np.random.default_rng([seed, 1]).normal(size=(60, 30))
        score = score_set(similarity_set("x", 60, seed), names, vectors)
        covered += score.low <= 0 <= score.high
    assert covered >= 45
    assert correlation_bounds(0.5, 103) == pytest.approx((0.3393075, 0.6323382), abs=1e-6)
    assert correlation_bounds(0.5, 3) == (-1, 1)
    assert correlation_bounds(1.0, 30) == (1, 1)


def sentences(random: np.random.Generator, speaker_size: float):
    """40 pairs in two voices on either side: meanings as near as the score says, and what each speaker adds."""
    human = np.linspace(0, 1, 40)
    voices = random.normal(size=(4, 16)) * speaker_size
    ids, speakers, vectors, rows = [], [], [], []
    for pair, score in enumerate(human):
        first, other = random.normal(size=(2, 16))
        second = score * first + (1 - score) * other
        for side, meaning in enumerate((first, second)):
            for voice in (2 * (pair % 2), 2 * (pair % 2) + 1):
                ids.append(f"{pair}{'ab'[side]}{voice}")
                speakers.append(f"s{voice}")
                vectors.append(meaning + voices[voice])
        own = ids[-4:]
        rows += [(pair, a, b) for a in own[:2] for b in own[2:]]
    pair, first, second = zip(*rows)
    names = tuple(str(k) for k in range(40))
    return SentencePairs(names, human, np.array(pair), first, second), ids, np.array(vectors), speakers


def test_rows_of_one_speaker_are_told_apart():
    """A18: the original averages cosines of two recordings by one voice with the others."""
    table, ids, vectors, speakers = sentences(np.random.default_rng(0), 0)
    silent = score_sentences(table, ids, vectors, speakers)
    assert silent.mean == silent.different_speakers > 0.7
    table, ids, vectors, speakers = sentences(np.random.default_rng(0), 3)
    score = score_sentences(table, ids, vectors, speakers)
    assert score.mean != score.different_speakers
    assert score.different_pairs == score.pairs == 40
    unit = dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    rows = [
        [unit[a] @ unit[b] for k, a, b in zip(table.pair, table.first, table.second) if k == pair and a[-1] != b[-1]]
        for pair in range(40)
    ]
    assert score.different_speakers == pytest.approx(spearman(np.mean(rows, 1), table.human))
    assert score.low < score.mean < score.high
    assert score_sentences(table, ids, vectors).different_speakers is None
    statistics = DimensionStatistics()
    statistics.add(np.random.default_rng(1).normal(size=(50, 16)))
    assert score_sentences(table, ids, vectors, speakers, statistics, "standard").mean != score.mean
    with pytest.raises(ValueError, match=f"no utterance '{ids[0]}' in the store"):
        score_sentences(table, ids[1:], vectors[1:])


def test_sentence_pairs_are_read_from_a_table(tmp_path):
    text = "pair,utterance_a,utterance_b,score\n1,u1,u2,4.5\n1,u1,u3,4.5\n2,u4,u5,1\n"
    table = read_sentence_pairs(written(tmp_path, text))
    assert table.names == ("1", "2")
    assert table.human.tolist() == [4.5, 1]
    assert table.pair.tolist() == [0, 0, 1]
    assert (table.first, table.second) == (("u1", "u1", "u4"), ("u2", "u3", "u5"))
    for bad, message in (
        (text.replace("u3,4.5", "u3,4"), "file.txt:3: pair '1' has the scores 4.5 and 4"),
        (text.replace("u4", ""), "file.txt:4: expected pair,utterance_a,utterance_b,score"),
        (text.replace("u5,1", "u5,high"), "file.txt:4: expected a score, got 'high'"),
        (text.replace("pair,", "id,"), "expected the columns pair,utterance_a,utterance_b,score"),
        (text.splitlines()[0], "no pair of sentences"),
    ):
        with pytest.raises(ValueError, match=message):
            read_sentence_pairs(written(tmp_path, bad))


def test_word_overlap_is_the_text_baseline():
    assert word_overlap("A man, a plan.", "a plan: canal!") == 0.5
    assert word_overlap("", "...") == 0
    texts = [("a b", "a b"), ("a b", "a b c"), ("a b", "a c"), ("a", "b")]
    rho, low, high = score_text(np.array([3.0, 2, 1, 0]), texts)
    assert rho == 1
    assert low == high == 1


def tokens(seed: int = 0, spread: float = 0.6, words: int = 12, each: int = 6, dim: int = 8):
    """Tokens of words [N] by speakers [N] with pooled vectors [N, dim] around each word's centre."""
    random = np.random.default_rng(seed)
    word = np.repeat(np.arange(words), each)
    speaker = random.integers(0, 3, len(word))
    centres = random.normal(size=(words, dim))
    return word, speaker, centres[word] + spread * random.normal(size=(len(word), dim))


def test_average_precision_with_ties_and_weights_is_that_of_scikit_learn():
    assert average_precision(np.array([1.0, 2, 3, 4]), np.array([True, False, True, False])) == pytest.approx(5 / 6)
    assert average_precision(np.array([1.0, 1, 1, 1]), np.array([False, True, False, True])) == 0.5
    random = np.random.default_rng(0)
    for _ in range(20):
        distance, same = random.integers(0, 8, 40).astype(np.float32), random.random(40) < 0.3
        weight = random.uniform(0.5, 3, 40)
        same[0] = True
        for use in (None, weight):
            expected = average_precision_score(same, -distance, sample_weight=use)
            assert average_precision(distance, same, use) == pytest.approx(expected, abs=1e-12)


def test_pooled_distances_do_not_depend_on_blocks_or_on_which_pairs_are_asked(monkeypatch):
    word, speaker, vectors = tokens()
    vectors[3] = 0
    pairs = token_pairs(word, speaker)
    assert pairs.complete
    distances = pooled_distances(vectors, pairs)
    first, second = np.triu_indices(len(word), 1)
    np.testing.assert_array_equal(pairs.first, first)
    np.testing.assert_array_equal(pairs.second, second)
    assert (distances[(first == 3) | (second == 3)] == 1).all()
    one, other = vectors[first[-1]], vectors[second[-1]]
    assert distances[-1] == pytest.approx(1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    drawn = token_pairs(word, speaker, 900, np.random.default_rng(0))
    assert not drawn.complete
    place = {pair: k for k, pair in enumerate(zip(first.tolist(), second.tolist()))}
    chosen = [place[pair] for pair in zip(drawn.first.tolist(), drawn.second.tolist())]
    for block in (1 << 22, 200):
        monkeypatch.setattr(discrimination, "BLOCK", block)
        np.testing.assert_allclose(pooled_distances(vectors, pairs), distances, atol=1e-14)
        np.testing.assert_allclose(pooled_distances(vectors, drawn), distances[chosen], atol=1e-14)
    single = pooled_distances(vectors.astype(np.float32), pairs)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, distances, atol=1e-6)


def slow_warping(one: np.ndarray, other: np.ndarray) -> float:
    cost = 1 - (one @ other.T) / np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    total = np.full((len(one) + 1, len(other) + 1), np.inf)
    total[0, 0] = 0
    for a in range(len(one)):
        for b in range(len(other)):
            total[a + 1, b + 1] = cost[a, b] + min(total[a, b], total[a, b + 1], total[a + 1, b])
    return total[-1, -1]


@pytest.mark.parametrize("block", [1 << 22, 40])
def test_warped_distances_are_those_of_the_recursion(monkeypatch, block):
    monkeypatch.setattr(warping, "BLOCK", block)
    random = np.random.default_rng(1)
    lengths = random.integers(1, 9, 10)
    frames = random.normal(size=(lengths.sum(), 5))
    parts = np.split(frames, np.cumsum(lengths)[:-1])
    for pairs in (
        token_pairs(np.arange(10) // 2),
        token_pairs(np.arange(10) // 2, max_pairs=20, generator=np.random.default_rng(2)),
    ):
        plain = warped_distances(frames, lengths, pairs, normalised=False)
        expected = [slow_warping(parts[a], parts[b]) for a, b in zip(pairs.first, pairs.second)]
        np.testing.assert_allclose(plain, expected, atol=1e-12)
        both = lengths[pairs.first] + lengths[pairs.second]
        np.testing.assert_allclose(warped_distances(frames, lengths, pairs), plain / both)
    with pytest.raises(ValueError, match="10 lengths of"):
        warped_distances(frames[1:], lengths, pairs)


def test_a_word_said_slowly_is_the_same_word_to_warping():
    random = np.random.default_rng(3)
    said = random.normal(size=(2, 6, 5))
    parts = [said[0], np.repeat(said[0], 3, 0), said[1], np.repeat(said[1], 2, 0)]
    pairs = token_pairs(np.array([0, 0, 1, 1]))
    distance = warped_distances(np.concatenate(parts), np.array([len(part) for part in parts]), pairs)
    np.testing.assert_allclose(distance[pairs.same_word], 0, atol=1e-12)
    assert (distance[~pairs.same_word] > 0.1).all()


def test_words_shuffled_lie_at_chance():
    word, _, vectors = tokens(words=40)
    pairs = token_pairs(np.random.default_rng(0).permutation(word))
    score = score_pairs(pooled_distances(vectors, pairs), pairs)
    assert score.chance == pytest.approx(40 * 15 / (240 * 239 / 2))
    assert score.average_precision < 2.5 * score.chance
    pairs = token_pairs(word)
    assert score_pairs(pooled_distances(vectors, pairs), pairs).average_precision > 20 * score.chance


def test_vectors_of_speakers_find_words_of_one_speaker_only():
    word, speaker, vectors = tokens(each=9)
    vectors = vectors * 0.3 + np.random.default_rng(9).normal(size=(3, 8))[speaker] * 3
    pairs = token_pairs(word, speaker)
    distances = pooled_distances(vectors, pairs)
    scores = {name: score_pairs(distances, pairs, name) for name in ("all", "same_speaker", "other_speaker")}
    assert scores["same_speaker"].average_precision > 3 * scores["other_speaker"].average_precision
    same, other = (scores[name].positives for name in ("same_speaker", "other_speaker"))
    assert same + other == scores["all"].positives == 12 * 36
    assert scores["other_speaker"].pairs == scores["all"].pairs - same  # every pair of different words stays
    unknown = token_pairs(word)
    with pytest.raises(ValueError, match="positives other_speaker need speakers, which are unknown"):
        score_pairs(distances, unknown, "other_speaker")
    alone = token_pairs(word, np.zeros(len(word)))
    with pytest.raises(ValueError, match="no pair of the same word for positives other_speaker"):
        score_pairs(distances, alone, "other_speaker")


@pytest.mark.parametrize(
    ("words", "message"), [([1, 2, 3], "tokens of one word"), ([1, 1], "tokens of different words")]
)
def test_tokens_without_anything_to_discriminate_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        token_pairs(np.array(words))


def test_drawn_pairs_estimate_the_score_of_all_pairs():
    word, speaker, vectors = tokens(words=60, each=8, spread=0.9)
    pairs = token_pairs(word, speaker)
    whole = score_pairs(pooled_distances(vectors, pairs), pairs)
    scores = []
    for seed in range(10):
        drawn = token_pairs(word, speaker, 20000, np.random.default_rng(seed))
        assert abs(len(drawn) - 20000) < 600
        assert drawn.weight.sum() == pytest.approx(len(pairs))
        score = score_pairs(pooled_distances(vectors, drawn), drawn)
        assert score.chance == pytest.approx(whole.chance)
        scores.append(score.average_precision)
    assert np.mean(scores) == pytest.approx(whole.average_precision, abs=0.01)
    again = token_pairs(word, speaker, 20000, np.random.default_rng(9))
    np.testing.assert_array_equal(again.second, drawn.second)
    with pytest.raises(ValueError, match="more than max_pairs 20000: drawing them needs a generator"):
        token_pairs(word, speaker, 20000)


def test_resampled_words_give_an_interval_around_the_score():
    word, _, vectors = tokens(words=30, spread=0.8)
    pairs = token_pairs(word)
    distances = pooled_distances(vectors, pairs)
    resampled = resampled_precision(distances, pairs, word, np.random.default_rng(0), 100)
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert low < score_pairs(distances, pairs).average_precision < high
    assert high - low > 0.03
    one = np.zeros(len(pairs))
    tied = resampled_precision(one, pairs, word, np.random.default_rng(0), 20)  # each type weighs as often as drawn
    assert (tied < 0.05).all()


def test_what_all_tokens_share_changes_cosines_until_it_is_taken_off():
    word, _, vectors = tokens()
    shared = np.random.default_rng(5).normal(0, 10, 8)
    own, shifted = DimensionStatistics(), DimensionStatistics()
    own.add(tokens(seed=7)[2])  # other tokens
    shifted.add(tokens(seed=7)[2] + shared)
    pairs = token_pairs(word)
    distances = pooled_distances(centred(vectors, own, "mean"), pairs)
    assert pooled_distances(vectors + shared, pairs).max() < 0.5 < distances.max()
    np.testing.assert_allclose(
        pooled_distances(centred(vectors + shared, shifted, "mean"), pairs), distances, atol=1e-9
    )
    np.testing.assert_array_equal(centred(vectors, None, "none"), vectors)


def test_statistics_do_not_depend_on_blocks_nor_on_a_large_mean():
    random = np.random.default_rng(0)
    states = 1e4 + random.normal(size=(900, 3, 5))
    states[:, 0] = 0.7  # constant dimensions, but for rounding of float32
    states[:, 0] += 1e-9 * random.normal(size=(900, 5))
    statistics = DimensionStatistics()
    for block in np.split(states, [7, 12, 12, 400]):
        statistics.add(block)
    np.testing.assert_allclose(statistics.mean, states.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.deviation[1:], states.std(0)[1:], rtol=1e-10)
    scored = centred(states, statistics, "standard")
    assert (scored[:, 0] == 0).all()
    assert np.abs(scored).max() < 10
    with pytest.raises(ValueError, match=r"expected rows of shape \[3, 5\], got \[5\]"):
        statistics.add(states[:, 0])
    with pytest.raises(ValueError, match="statistics of nothing"):
        _ = DimensionStatistics().mean


def test_vectors_without_columns_have_none():
    assert WordVectors(("a",), np.ones((1, 2))).columns == ()
