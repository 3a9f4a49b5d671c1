"""Decoders: the beam against every path there is, words of a list against what their scores must add up to."""

import gzip
import itertools
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.config import DecodeConfig
from downstream.decoding.beam import search
from downstream.decoding.decoder import decode_batch, make_decoder
from downstream.decoding.lexicon import read_words
from downstream.labels.units import Units
from utility.arpa import write_arpa
from utility.error_rate import ErrorCounts, as_words, count_all

LETTERS = Units("char", ("<blank>", "A", "B", "C", "|"))
SENTENCES = ("AB BA", "AB ABBA", "CAB AB BA", "BA CAB", "ABBA BA", "AB BA CAB", "CAB AB")


def outputs(steps: int, units: int, seed: int, spread: float = 2.0) -> np.ndarray:
    """Random logarithms of probabilities [T, V]."""
    scores = np.random.default_rng(seed).normal(scale=spread, size=(steps, units))
    return np.log(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


def collapsed(path) -> tuple[int, ...]:
    """What a path of outputs spells."""
    return tuple(code for code, _ in itertools.groupby(path) if code)


def every_labelling(emissions: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """All sequences of units with the sum over all their paths, the likeliest first."""
    chances = np.exp(emissions.astype(np.float64))
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(emissions.shape[1]), repeat=len(emissions)):
        units = collapsed(path)
        sums[units] = sums.get(units, 0.0) + math.prod(chances[t, code] for t, code in enumerate(path))
    return sorted(((units, math.log(p)) for units, p in sums.items() if p), key=lambda pair: -pair[1])


@pytest.mark.parametrize(("steps", "units"), [(1, 2), (2, 2), (3, 4), (5, 3), (6, 4)])
def test_beam_is_exact_where_it_holds_all_beginnings(steps, units):
    for seed in range(3):
        emissions = outputs(steps, units, seed)
        if seed == 2:
            emissions[0, 1] = -np.inf  # one unit cannot be the first
        expected = every_labelling(emissions)
        found = search(emissions, beam=10**6, threshold=np.inf, nbest=10**6)
        assert [tuple(codes) for codes, _ in found] == [codes for codes, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-9)
        assert search(emissions, 10**6, 50.0, 3) == found[:3]  # what is so far below the best changes nothing


def test_narrow_beam_keeps_the_first_of_equals_and_never_claims_too_much():
    level = np.log(np.full((3, 3), 1 / 3))
    assert search(level, beam=1, threshold=50.0, nbest=5) == [([], pytest.approx(3 * math.log(1 / 3)))]
    for seed in range(5):
        emissions = outputs(6, 4, seed)
        exact = dict(every_labelling(emissions))
        for codes, score in search(emissions, beam=3, threshold=50.0, nbest=3):
            assert score <= exact[tuple(codes)] + 1e-9
    nothing = np.full((2, 3), -np.inf)
    assert search(nothing, beam=5, threshold=50.0, nbest=5) == [([], -np.inf)]
    assert search(outputs(6, 4, 0), beam=50, threshold=1e-3, nbest=50)[1:] == []  # all others are dropped


def test_beam_sums_paths_where_greedy_sees_one():
    emissions = np.log(np.array([[0.6, 0.4], [0.6, 0.4]], np.float32))
    units = Units("char", ("<blank>", "A"))
    assert make_decoder(DecodeConfig(), units)(emissions) == [("", pytest.approx(2 * math.log(0.6), abs=1e-6))]
    beam = make_decoder(DecodeConfig(method="beam", nbest=3), units)(emissions)
    assert [text for text, _ in beam] == ["A", "", "AA"][: len(beam)] == ["A", ""]  # AA needs a blank within
    assert [score for _, score in beam] == pytest.approx([math.log(0.64), math.log(0.36)], abs=1e-6)


def path_of(text: str, units: Units = LETTERS, sure: float = 0.97) -> np.ndarray:
    """Outputs that spell a text, each letter followed by a blank."""
    codes = [code for letter in text for code in (units.names.index(letter.replace(" ", "|")), 0)]
    emissions = np.full((len(codes), len(units.names)), (1 - sure) / (len(units.names) - 1), np.float32)
    emissions[np.arange(len(codes)), codes] = sure
    return np.log(emissions)


@pytest.mark.parametrize("method", ["greedy", "beam", "lexicon"])
def test_double_letters_survive_where_a_blank_stands_between_them(method):
    if method == "lexicon":
        pytest.importorskip("flashlight.lib.text")
    decoder = make_decoder(DecodeConfig(method=method), LETTERS, ["ABBA", "ABA"])
    assert decoder(path_of("ABBA"))[0][0] == "ABBA"
    held = np.repeat(path_of("ABA"), 3, axis=0)  # a unit that is held is one
    assert decoder(held)[0][0] == "ABA"


def test_equal_outputs_are_the_first_unit():
    emissions = np.log(np.array([[0.2, 0.4, 0.4], [0.4, 0.4, 0.2]], np.float32))
    assert make_decoder(DecodeConfig(), Units("phone", ("<blank>", "x", "y")))(emissions)[0][0] == "x"


def test_texts_that_differ_only_in_blanks_at_their_ends_are_one():
    found = make_decoder(DecodeConfig(method="beam", nbest=20), LETTERS)(outputs(4, 5, 3))
    texts = [text for text, _ in found]
    assert len(texts) == len(set(texts)) == 20
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@pytest.mark.parametrize("method", ["greedy", "beam", "lexicon"])
def test_batch_with_garbage_beyond_its_ends_equals_single_utterances(method):
    if method == "lexicon":
        pytest.importorskip("flashlight.lib.text")
    nbest = {} if method == "greedy" else {"nbest": 4}
    decoder = make_decoder(DecodeConfig(method=method, **nbest), LETTERS, SENTENCES[0].split())
    singles = [outputs(steps, 5, seed) for seed, steps in enumerate([9, 4, 1, 0])]
    batch = torch.full((4, 12, 5), torch.nan)
    batch[:, ::2] = 1e9
    for row, single in zip(batch, singles):
        row[: len(single)] = torch.from_numpy(single)
    found = list(decode_batch(decoder, batch, torch.tensor([len(single) for single in singles])))
    assert found == [decoder(single) for single in singles]
    assert found[3][0][0] == ""


# Words of a list


@pytest.fixture(scope="module")
def flashlight():
    return pytest.importorskip("flashlight.lib.text")


@pytest.fixture(scope="module")
def arpa(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("lm") / "lm.arpa"
    with file.open("w") as stream:
        write_arpa(stream, SENTENCES, 3)
    return str(file)


WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})


def test_last_word_is_found_though_nothing_stands_behind_it(flashlight):
    decoder = make_decoder(DecodeConfig(method="lexicon"), LETTERS, WORDS)
    for sentence in SENTENCES:
        assert decoder(path_of(sentence))[0][0] == sentence
    assert decoder(path_of("AB BA|"))[0][0] == "AB BA"  # nor does it matter where something does
    assert decoder(path_of("AC"))[0][0] in WORDS  # only words of the list come out
    single = Units("char", ("<blank>", "A", "B", "C"))  # texts of one word each have no sign between words
    assert make_decoder(DecodeConfig(method="lexicon"), single, WORDS)(path_of("CAB", single))[0][0] == "CAB"


def log10_of(sentence: str, file: str) -> float:
    """The trigram score of a sentence with its end, by the file itself."""
    table: dict[tuple[str, ...], tuple[float, float]] = {}
    for line in Path(file).read_text().splitlines():
        chance, *rest = line.split("\t")
        if rest:
            table[tuple(rest[0].split())] = (float(chance), float(rest[1]) if len(rest) > 1 else 0.0)

    def score(context: tuple[str, ...], word: str) -> float:
        if (*context, word) in table:
            return table[(*context, word)][0]
        return (table[context][1] if context in table else 0.0) + score(context[1:], word)

    words = ["<s>", *sentence.split(), "</s>"]
    return sum(score(tuple(words[max(i - 2, 0) : i]), words[i]) for i in range(1, len(words)))


def test_weight_of_the_language_model_counts_its_log10_scores_as_they_are(flashlight, arpa):
    emissions = path_of("AB BA CAB", sure=1 - 1e-6)
    config = {"method": "lexicon", "lm": arpa, "lm_weight": 2.5, "word_score": -0.75}
    (text, score), *_ = make_decoder(DecodeConfig(**config), LETTERS, WORDS)(emissions)
    assert text == "AB BA CAB"
    steps = float(emissions.max(axis=1).sum())
    assert score == pytest.approx(steps + 2.5 * log10_of(text, arpa) - 3 * 0.75, abs=1e-3)


def test_packed_language_model_is_the_same(flashlight, arpa, tmp_path, capfd):
    with open(arpa, "rb") as plain, gzip.open(tmp_path / "lm.arpa.gz", "wb") as packed:
        packed.write(plain.read())
    found = [
        make_decoder(DecodeConfig(method="lexicon", lm=file, nbest=5), LETTERS, WORDS)(outputs(20, 5, 1))
        for file in (arpa, str(tmp_path / "lm.arpa.gz"))
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 5
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"  # without KenLM's bar of progress


def rate(config: DecodeConfig, said: list[str], heard: list[np.ndarray]) -> float:
    decoder = make_decoder(config, LETTERS, WORDS)
    pairs = ((as_words(text), as_words(decoder(emissions)[0][0])) for text, emissions in zip(said, heard))
    return ErrorCounts.of(count_all(pairs)).rate


def test_words_help_and_so_does_what_usually_follows_them(flashlight, arpa):
    generator = np.random.default_rng(0)
    said = [SENTENCES[i] for i in generator.integers(len(SENTENCES), size=60)]
    heard = []
    for text in said:
        clear = np.exp(path_of(text, sure=0.6)) * np.exp(generator.normal(scale=1.2, size=(2 * len(text), 5)))
        heard.append(np.log(clear / clear.sum(axis=1, keepdims=True)).astype(np.float32))
    greedy, beam, words, model = (
        rate(DecodeConfig(**config), said, heard)
        for config in (
            {},
            {"method": "beam"},
            {"method": "lexicon"},
            {"method": "lexicon", "lm": arpa, "lm_weight": 2.0},
        )
    )
    assert greedy > 1.5 * words > 1.5 * 1.1 * model, (greedy, beam, words, model)
    assert beam <= greedy


def test_what_a_lexicon_cannot_find_is_counted(flashlight):
    decoder = make_decoder(DecodeConfig(method="lexicon"), LETTERS, ["AB", "BAD", "A|B"])
    assert (decoder.words, decoder.unspelled) == (("AB",), 2)
    assert decoder.outside("AB BAD AB C") == 2
    assert decoder.outside("") == 0


def test_words_of_a_list(tmp_path):
    (tmp_path / "words.txt").write_text("# ours\nAB\n\nBA \n")
    assert read_words(str(tmp_path / "words.txt")) == ["AB", "BA"]
    (tmp_path / "words.txt").write_text("AB\nBA CAB\n")
    with pytest.raises(ValueError, match=r"words\.txt: line 2: expected one word, got 'BA CAB'"):
        read_words(str(tmp_path / "words.txt"))
    (tmp_path / "words.txt").write_text("\n")
    with pytest.raises(ValueError, match="no word in it"):
        read_words(str(tmp_path / "words.txt"))


@pytest.mark.parametrize(
    ("config", "units", "line"),
    [
        ({}, Units("phone", ("<blank>", "aa")), "spells words by characters, but the outputs are phones"),
        ({}, Units("char", ("<blank>", "x")), r"the training texts: none of 4 words can be spelled .* 'AB' for one"),
        ({"lm": "nowhere.arpa"}, LETTERS, r"decode\.lm=nowhere\.arpa: no such file"),
        ({"lm": "no.arpa"}, LETTERS, r'no\.arpa: no language model .*: first non-empty line was "hello"'),
    ],
)
def test_lexicon_that_cannot_work_is_refused(flashlight, config, units, line, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.arpa").write_text("hello\n")
    with pytest.raises(ValueError, match=line):
        make_decoder(DecodeConfig(method="lexicon", **config), units, WORDS)
    assert capfd.readouterr().err == ""


def test_missing_package_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements-decode\.txt"):
        make_decoder(DecodeConfig(method="lexicon"), LETTERS, WORDS)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"beam": 5}, r"decode\.beam=5 would change nothing: decode\.method is greedy"),
        ({"nbest": 5}, r"decode\.nbest=5 would change nothing: decode\.method is greedy"),
        ({"method": "beam", "lm": "x"}, r"decode\.lm=x would change nothing: decode\.method is beam"),
        (
            {"method": "beam", "word_score": 1.0},
            r"decode\.word_score=1\.0 would change nothing: decode\.method is beam",
        ),
        (
            {"method": "lexicon", "lm_weight": 2.0},
            r"decode\.lm_weight=2\.0 would change nothing: decode\.lm is not set",
        ),
    ],
)
def test_keys_that_a_method_has_no_use_for_are_refused(config, line):
    with pytest.raises(ValueError, match=line):
        make_decoder(DecodeConfig(**config), LETTERS, WORDS)
