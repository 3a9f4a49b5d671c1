"""Texts: their formats, the steps of their normalisation, n-grams in ARPA's form, vocabularies."""

import csv
import itertools
import math
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.parts.corpora import librispeech
from preprocess.parts.text_formats import find_texts, read_texts
from preprocess.parts.timit import timit
from preprocess.preprocess_text import main
from utility.labels.lexicon import Lexicon
from utility.labels.normalisation import Normalisation
from utility.labels.texts import TextInfo, Texts, write_texts

DEFAULT = Normalisation()
LINES = ["a b a c", "a b b", "c", "b a b a c a", "a a"]


def made(root: Path, *words: object, code: int = 0) -> Texts:
    """The texts that the command makes under `root`."""
    assert main(["--output_path", str(root), "--name", "t", *map(str, words)]) == code
    return Texts(root / "t")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("  hello\t\u00a0 world \n", "HELLO WORLD"),
        ("Straße", "STRASSE"),
        ("Zażółć gęślą jaźń — „Łódź”", "ZAŻÓŁĆ GĘŚLĄ JAŹŃ ŁÓDŹ"),
        ("Z\u0307o\u0301ty", "ŻÓTY"),  # letter and mark apart become one letter
        ("don’t 'stop' rock 'n' roll, dogs'", "DON'T STOP ROCK N ROLL DOGS"),
        ("well-known; it''s 42%", "WELL KNOWN IT S 42"),
        ("हिन्दी ❤\ufe0f ok", "हिन्दी OK"),  # vowel signs are of their letters, the mark of a picture is not
        ("ΐ", "Ϊ́"),
        ("...", ""),
    ],
)
def test_steps_of_normalisation(given_text, expected):
    assert DEFAULT(given_text) == expected


def test_other_steps_than_the_usual_ones():
    assert Normalisation(case="keep")("Mc Coy") == "Mc Coy"
    assert Normalisation(case="lower")("ŁÓDŹ") == "łódź"
    assert Normalisation(keep_characters="ABC'")("abd 'cab’") == "AB 'CAB'"
    assert Normalisation(keep_characters="AB")("a’b") == "A B"
    with pytest.raises(ValueError, match="'a' is none of case upper"):
        Normalisation(keep_characters="a")
    assert Normalisation(digits="refuse")("三 people") == "三 PEOPLE"
    for text in ("room 3", "x²", "½ hour"):
        with pytest.raises(ValueError, match="holds the number sign"):
            Normalisation(digits="refuse")(text)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing(text):
    once = DEFAULT(text)
    assert DEFAULT(once) == once
    assert once == " ".join(once.split())


@pytest.fixture(scope="module")
def formats(tmp_path_factory) -> Path:
    """One corpus in every form of texts, with recordings where ids depend on them."""
    root = tmp_path_factory.mktemp("formats")
    written(root / "libri/dev/7/3/7-3.trans.txt", "7-3-0001 ONE\n7-3-0000 ZERO  AND MORE\n")
    for number in range(2):
        written(root / f"libri/dev/7/3/7-3-000{number}.flac", "")
    written(root / "kaldi/train/text", "b\tto be\na   or not\nc\n")
    written(root / "a.csv", 'utt_id,split,text\ny,train,"yes, ""so"""\nx,test,no\n')
    written(root / "tabs.tsv", 'path\tsaid\nd/one.wav\t"quoted\nd/two.wav\ttwo\n')
    written(root / "TIMIT/TRAIN/DR1/FVMH0/SA1.TXT", "0 54682 She had your dark suit.\n")
    written(root / "TIMIT/TRAIN/DR1/FVMH0/SA1.WAV", "")
    written(root / "TIMIT/DOC/PROMPTS.TXT", "no text of an utterance")
    written(root / "hyp.trn", ";; a comment\nhello (again) world (spk-1)\n\n(spk-2)\n")
    return root


def test_every_form_of_texts(formats, tmp_path):
    libri = made(tmp_path / "l", "--data_path", formats / "libri")
    assert dict(libri.items()) == {"7-3-0000": "ZERO AND MORE", "7-3-0001": "ONE"}
    assert libri.ids == [u.id for u in librispeech(formats / "libri").utterances]
    assert libri.info.format == "librispeech"
    kaldi = made(tmp_path / "k", "--data_path", formats / "kaldi", code=1)
    assert dict(kaldi.items()) == {"a": "OR NOT", "b": "TO BE"}
    table = made(tmp_path / "c", "--data_path", formats / "a.csv", "--case", "lower")
    assert list(table.items()) == [("x", "no"), ("y", "yes so")]
    tabs = made(tmp_path / "p", "--data_path", formats / "tabs.tsv", "--text_column", "said")
    assert dict(tabs.items()) == {"one": "QUOTED", "two": "TWO"}
    spoken = made(tmp_path / "s", "--data_path", formats / "TIMIT")
    assert dict(spoken.items()) == {"FVMH0_SA1": "SHE HAD YOUR DARK SUIT"}
    assert spoken.ids == [u.id for u in timit(formats / "TIMIT").utterances]
    trn = made(tmp_path / "n", "--data_path", formats / "hyp.trn", code=1)
    assert dict(trn.items()) == {"spk-1": "HELLO AGAIN WORLD"}
    assert trn.info.left_out == 1, "of spk-2; comments are none"


def test_folder_says_what_was_done_and_what_was_left_out(tmp_path, capsys):
    rows = written(tmp_path / "text", "b room 12\na zażółć ąę\nc ...\nd\n")
    rows.write_bytes(rows.read_bytes() + b"e \xff\xfe\n")
    texts = made(tmp_path, "--data_path", rows, "--digits", "refuse", code=1)
    assert (texts.root / "text.tsv").read_bytes() == "a\tZAŻÓŁĆ ĄĘ\n".encode()
    about = yaml.safe_load((texts.root / "text.yaml").read_text())
    steps = {"unicode": "NFC", "blanks": "single", "case": "upper", "keep_characters": None, "digits": "refuse"}
    assert about["normalisation"] == steps
    assert (about["format"], about["utterances"], about["words"], about["characters"]) == ("kaldi", 1, 2, 9)
    with (texts.root / "errors.csv").open(newline="") as file:
        errors = list(csv.DictReader(file))
    assert [(row["line"], row["id"]) for row in errors] == [("1", "b"), ("3", "c"), ("4", "d"), ("5", "")]
    reasons = ["number sign '1'", "no text is left of", "no text", "not UTF-8"]
    assert all(reason in row["reason"] for reason, row in zip(reasons, errors))
    assert about["left_out"] == 4
    assert f"4 not used, see {texts.root / 'errors.csv'}; the first: {rows}: line 1" in capsys.readouterr().err


def fails(*_) -> None:
    raise OSError("the disk is full")


def test_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    rows = written(tmp_path / "text", "a one\n")
    made(tmp_path, "--data_path", rows, "--target", "char")
    before = {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()}
    assert set(before) == {"text.tsv", "text.yaml", "vocabulary.txt", "encoded.tsv"}
    rows.write_text("a two\n")
    with monkeypatch.context() as context:
        context.setattr("preprocess.parts.texts.write_arpa", fails)
        with pytest.raises(OSError, match="full"):
            made(tmp_path, "--data_path", rows, "--arpa", tmp_path / "x.arpa")
    assert {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t", "text"]
    assert made(tmp_path, "--data_path", rows)["a"] == "TWO"
    assert {path.name for path in (tmp_path / "t").iterdir()} == {"text.tsv", "text.yaml"}


def test_two_texts_of_one_utterance(tmp_path):
    for name, text in (("x/text", "a one\nb two\n"), ("y/text", "b two\n")):
        written(tmp_path / "k" / name, text)
    with pytest.raises(ValueError, match=r"y/text: line 1: utterance 'b' is in .*x/text: line 2 already"):
        made(tmp_path, "--data_path", tmp_path / "k")
    assert not (tmp_path / "t").exists()


def test_texts_that_are_damaged_are_not_read(tmp_path):
    write_texts(tmp_path / "t", [("b", "B B"), ("a", "A")], TextInfo(format="kaldi"))
    texts = Texts(tmp_path / "t")
    assert list(texts.items()) == [("a", "A"), ("b", "B B")]
    assert texts.info.words == 3
    assert "a" in texts
    with pytest.raises(ValueError, match="no text of utterance 'c'"):
        texts["c"]
    for text, reason in (
        ("a\tA\na\tB\n", "line 2: utterance 'a' is there twice"),
        ("a A\n", "line 1"),
        ("", "no text"),
    ):
        (tmp_path / "t/text.tsv").write_text(text)
        with pytest.raises(ValueError, match=reason):
            Texts(tmp_path / "t")
    for pairs in ([("a", "A"), ("a", "B")], [("a b\t", "A")], [("a", "A  B")], [("a", "")], []):
        with pytest.raises(ValueError, match=r"utterance|text"):
            write_texts(tmp_path / "u", pairs, TextInfo(format="kaldi"))
    assert not (tmp_path / "u").exists()


class Arpa:
    """What a reader of the file takes: log10 probabilities and back-off weights by n-gram."""

    def __init__(self, file: Path):
        self.chance: dict[tuple[str, ...], float] = {}
        self.weight: dict[tuple[str, ...], float] = {}
        head, *sections = file.read_text(encoding="utf-8").split("\n\n")
        assert head.startswith("\\data\\\n")
        assert sections.pop() == "\\end\\\n"
        for order, (count, section) in enumerate(zip(head.split("\n")[1:], sections), 1):
            title, *rows = section.split("\n")
            assert title == f"\\{order}-grams:"
            assert count == f"ngram {order}={len(rows)}"
            for row in rows:
                chance, words, *weight = row.split("\t")
                assert len(words.split(" ")) == order
                self.chance[tuple(words.split(" "))] = float(chance)
                self.weight[tuple(words.split(" "))] = float(weight[0]) if weight else 0.0

    def score(self, context: tuple[str, ...], word: str) -> float:
        """The probability of a word, backing off as decoders do."""
        if (*context, word) in self.chance:
            return 10 ** self.chance[*context, word]
        return 10 ** self.weight.get(context, 0.0) * self.score(context[1:], word)


@pytest.fixture(scope="module")
def arpa(tmp_path_factory) -> Arpa:
    root = tmp_path_factory.mktemp("arpa")
    rows = written(root / "text", "".join(f"u{i} {line}\n" for i, line in enumerate(LINES)))
    made(root, "--data_path", rows, "--case", "keep", "--arpa", root / "lm/x.arpa", "--order", 3)
    return Arpa(root / "lm/x.arpa")


def test_probabilities_of_every_context_sum_to_one(arpa):
    words = [gram[0] for gram in arpa.chance if len(gram) == 1 and gram != ("<s>",)]
    assert set(words) == {"a", "b", "c", "</s>", "<unk>"}
    contexts = [(), *arpa.weight, ("c", "c"), ("b", "<s>")]
    for context in contexts:
        if len(context) < 3 and (not context or context[-1] != "</s>"):
            assert math.isclose(sum(arpa.score(context, word) for word in words), 1, abs_tol=2e-6), context


def test_ngrams_are_witten_and_bells(arpa):
    grams: Counter[tuple[str, ...]] = Counter()
    for line in LINES:
        padded = ["<s>", *line.split(), "</s>"]
        for order in (1, 2, 3):
            grams.update(tuple(padded[i : i + order]) for i in range(len(padded) - order + 1))
    del grams[("<s>",)]

    def expected(context: tuple[str, ...], word: str) -> float:
        shorter = expected(context[1:], word) if context else 1 / 5  # a, b, c, </s>, <unk>
        after = [count for gram, count in grams.items() if gram[:-1] == context]
        if not after:
            return shorter
        return (grams[*context, word] + len(after) * shorter) / (sum(after) + len(after))

    assert {gram for gram in arpa.chance if gram != ("<s>",)} == {*grams, ("<unk>",)}
    assert arpa.chance[("<s>",)] == -99
    for context in itertools.chain([()], itertools.product("abc", repeat=2), [("<s>",), ("<s>", "a")]):
        for word in ("a", "b", "c", "</s>", "<unk>"):
            assert math.isclose(arpa.score(context, word), expected(context, word), abs_tol=1e-6)


def test_ngrams_and_vocabularies_are_of_the_splits_that_are_asked_for(formats, tmp_path):
    table = formats / "a.csv"
    words = ("--data_path", table, "--fit_splits", "train", "--target", "word", "--arpa", tmp_path / "x.arpa")
    texts = made(tmp_path, *words)
    assert texts.ids == ["x", "y"]
    assert texts.info.fitted == ["train"]
    assert {gram[0] for gram in Arpa(tmp_path / "x.arpa").chance} == {"<s>", "</s>", "<unk>", "YES", "SO"}
    assert (texts.root / "vocabulary.txt").read_text() == "<sos>\n<eos>\n<unk>\nSO\nYES\n"
    assert (texts.root / "encoded.tsv").read_text() == "x\t0 2 1\ny\t0 4 3 1\n"


@pytest.mark.parametrize(
    ("data_path", "splits"), [("libri", ["dev"]), ("libri/dev", ["dev"]), ("kaldi", ["train"]), ("TIMIT", ["train"])]
)
def test_splits_are_those_of_the_recordings(formats, data_path, splits):
    form, files = find_texts(formats / data_path, "auto")
    assert sorted({line.split for line in read_texts(form, files)}) == splits


def test_units_that_texts_become(tmp_path):
    rows = written(tmp_path / "text", "a to be\nb be\n")
    lexicon = written(tmp_path / "lexicon", ";;; CMU\n# more\nbe  B IY1\nBE(2) B IY0\nTO T UW1 # often\nto T AH0\n")
    texts = made(tmp_path, "--data_path", rows, "--target", "char")
    assert (texts.root / "vocabulary.txt").read_text().split() == ["<sos>", "<eos>", "B", "E", "O", "T", "|"]
    assert (texts.root / "encoded.tsv").read_text() == "a\t0 5 4 6 2 3 1\nb\t0 2 3 1\n"
    texts = made(tmp_path, "--data_path", rows, "--target", "phoneme", "--lexicon", lexicon)
    assert (texts.root / "vocabulary.txt").read_text().split() == ["<sos>", "<eos>", "B", "IY1", "T", "UW1"]
    assert (texts.root / "encoded.tsv").read_text() == "a\t0 4 5 2 3 1\nb\t0 2 3 1\n"
    assert texts.info.target == "phoneme"
    texts = made(tmp_path, "--data_path", rows, "--target", "word", "--n_tokens", 4)
    assert (texts.root / "encoded.tsv").read_text() == "a\t0 2 3 1\nb\t0 3 1\n"


def test_words_without_pronunciation(tmp_path):
    rows = written(tmp_path / "text", "a to be\nb not to\nc not\n")
    words = (
        "--data_path",
        rows,
        "--target",
        "phoneme",
        "--lexicon",
        written(tmp_path / "lexicon", "TO T UW\nBE B IY\n"),
    )
    with pytest.raises(ValueError, match=r"no pronunciation of 1 words: NOT \(2\)"):
        made(tmp_path, *words)
    texts = made(tmp_path, *words, "--unknown_words", "leave_out", code=1)
    assert texts.ids == ["a", "b", "c"]
    assert (texts.root / "encoded.tsv").read_text().startswith("a\t0 ")
    assert (texts.root / "errors.csv").read_text().count("'NOT'") == 2
    assert Lexicon.read(tmp_path / "lexicon").pronounce("be") == ["B", "IY"]


def test_subwords_are_the_same_twice(tmp_path):
    pytest.importorskip("sentencepiece", reason="sentencepiece absent: pip install -r requirements-subword.txt")
    rows = written(tmp_path / "text", "".join(f"u{i} the thin thing then\n" for i in range(9)))
    words = ("--data_path", rows, "--target", "subword", "--n_tokens", 20)
    files = ("vocabulary.txt", "encoded.tsv", "subword.model")
    one, other = ([(made(tmp_path, *words).root / name).read_bytes() for name in files] for _ in range(2))
    assert one == other
    assert one[0].decode().split("\n")[:4] == ["<sos>", "<eos>", "<unk>", "TH"]
    assert all(line.split("\t")[1].startswith("0 ") and line.endswith(" 1") for line in one[1].decode().splitlines())


@pytest.mark.slow
def test_many_texts_take_little_time_and_memory(tmp_path):
    rows = tmp_path / "text"
    with rows.open("w") as file:
        for i in range(8000):
            words = " ".join(f"w{chr(97 + (i * k * k) % 26)}{chr(97 + (i + k) % 26)}" for k in range(1, 13))
            file.write(f"speaker{i % 50}-{i:06d} {words}\n")
    start = time.process_time()
    tracemalloc.start()
    made(tmp_path, "--data_path", rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6, "bytes for 8,000 texts"
    assert time.process_time() - start < 6


def test_polish_texts_of_real_speech(corpora, tmp_path):
    texts = made(tmp_path, "--data_path", corpora / "nemo_pl/utterances.tsv")
    assert len(texts) == 300
    letters = set("".join(text for _, text in texts.items()))
    assert letters >= set("ĄĆĘŁŃÓŚŹŻ")
    assert all(letter.isalpha() or letter == " " for letter in letters), "quotation marks are gone"
