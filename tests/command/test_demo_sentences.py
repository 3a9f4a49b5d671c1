"""The built-in corpus's words and sentence pairs: spoken evenly, scored by construction, a user's pairs too."""

import csv
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from preprocess.demo.corpus import PAIRS, SETTINGS
from preprocess.demo.sentence_pairs import RELATED, SAME, UNRELATED, built_in_pairs, distinct_sentences, read_pairs
from preprocess.demo.sentences import split_of
from preprocess.demo.speech import Synthesiser
from preprocess.demo.voices import make_speakers, write_voices
from preprocess.demo.word_sentences import WORDS, word_sentences
from preprocess.demo_corpus import main
from tests.helpers.files import contents
from tests.helpers.shared import SHARED
from utility.labels.formats import read_textgrid
from utility.seeds import text_seed

HEADER = "pair,sentence_a,sentence_b,score\n"
OWN = f"""{HEADER}first,A bird sings in the tree.,"In the tree, a bird sings!",4.5
second,Nobody's home,A bird sings in the tree.,0
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A corpus of a user's pairs."""
    root = tmp_path_factory.mktemp("own")
    (root / "mine.csv").write_text(OWN)
    assert main(["--sts_pairs", str(root / "mine.csv"), "--output_path", str(root / "corpus"), "--n_jobs", "2"]) == 0
    return root


def transcripts(root: Path) -> dict[str, str]:
    files = (root / "LibriSpeech").rglob("*.trans.txt")
    return dict(line.split(" ", 1) for file in files for line in file.read_text().splitlines())


@pytest.mark.slow
def test_the_grammar_speaks_what_it_always_spoke(tmp_path):
    """Other sentences would change every number of the demo."""
    main(["--output_path", str(tmp_path / "a"), "--minutes", "0.5", "--speakers", "3"])
    lines = [f"{name} {text}" for name, text in sorted(transcripts(tmp_path / "a").items())]
    assert text_seed("\n".join(lines)) == 3096911670
    assert "sentences" not in (tmp_path / "a" / SETTINGS).read_text()
    with pytest.raises(ValueError, match="holds a corpus with sentences grammar, not words"):
        main(["--output_path", str(tmp_path / "a"), "--minutes", "0.5", "--speakers", "3", "--sentences", "words"])


def test_words_are_spoken_evenly_and_a_sentence_is_of_one_split():
    speakers, count = 20, 15
    spoken: Counter[str] = Counter()
    for number, split in zip(range(speakers), itertools.cycle(("train", "dev", "test"))):
        texts = list(itertools.islice(word_sentences(number / speakers, split, np.random.default_rng(number)), count))
        assert len(set(texts)) == count
        assert {split_of(text) for text in texts} == {split}
        words = [word for text in texts for word in text.replace(",", "").split()]
        spoken.update(word for word in words if word in set(WORDS) - CARRIER_WORDS)
    assert len(set(WORDS)) == len(WORDS)
    assert spoken.keys() == set(WORDS) - CARRIER_WORDS
    assert max(spoken.values()) - min(spoken.values()) <= 1  # 900 places for 283 words


CARRIER_WORDS = {"say"}  # words that are also in the sentences around the others


def test_word_similarity_sets_have_at_least_a_hundred_pairs():
    folder = SHARED / "words" / "word_similarity"
    if not folder.is_dir():
        pytest.skip("no word-similarity sets: set MOCKINGJAY_SHARED to the folder whose words/ holds them")
    covered = {}
    for file in folder.glob("EN-*.txt"):
        rows = [line.lower().split() for line in file.read_text().splitlines()]
        covered[file.stem] = {frozenset(row[:2]) for row in rows if row and set(row[:2]) <= set(WORDS)}
    assert len(set().union(*covered.values())) >= 100
    assert sum(len(pairs) >= 20 for pairs in covered.values()) >= 8


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Synthesiser:
    cast, data = make_speakers(4, 1337), tmp_path_factory.mktemp("voices") / "data"
    write_voices(data, cast)
    return Synthesiser(data, cast[0].voice)


@pytest.mark.slow
def test_words_and_pairs_can_be_spoken_and_no_word_is_joined_to_its_neighbour(voice):
    for text in itertools.islice(word_sentences(0, "train", np.random.default_rng(0)), 100):
        phones = voice.say(f"{text}.", 160, 50, 50).phones
        assert {phone.word for phone in phones} - {None} == set(range(len(text.split()))), text
    for text in distinct_sentences(built_in_pairs()):
        assert len(voice.say(f"{text}.", 160, 50, 50).phones) > 10


def words_in_common(first: str, second: str) -> float:
    one, other = (set(text.replace(",", "").lower().split()) for text in (first, second))
    return len(one & other) / len(one | other)


def test_pairs_are_balanced_and_sharing_words_is_not_sharing_meaning():
    pairs = built_in_pairs()
    assert len(pairs) >= 60
    assert len({pair.name for pair in pairs}) == len({(pair.first, pair.second) for pair in pairs}) == len(pairs)
    overlap = {
        score: [words_in_common(pair.first, pair.second) for pair in pairs if pair.score == score]
        for score in (SAME, RELATED, UNRELATED)
    }
    assert len(set(map(len, overlap.values()))) == 1
    assert sum(map(len, overlap.values())) == len(pairs)
    assert np.mean(overlap[RELATED]) > np.mean(overlap[SAME]) + 0.2
    assert np.mean(overlap[UNRELATED]) < 0.1


@pytest.mark.slow
def test_a_users_pairs_are_spoken_by_four_voices_with_their_scores_beside_them(own):
    root = own / "corpus"
    texts = transcripts(root)
    assert Counter(texts.values()) == dict.fromkeys(
        ["A BIRD SINGS IN THE TREE", "IN THE TREE A BIRD SINGS", "NOBODY'S HOME"], 4
    )
    assert {path.parts[-4] for path in (root / "LibriSpeech").rglob("*.flac")} == {"test"}
    rows = list(csv.DictReader((root / PAIRS).open()))
    assert list(rows[0]) == ["pair", "utterance_a", "utterance_b", "score"]
    assert Counter((row["pair"], row["score"]) for row in rows) == {("first", "4.5"): 16, ("second", "0"): 16}
    for row in rows:
        sentences = [texts[row[name]] for name in ("utterance_a", "utterance_b")]
        first = ["A BIRD SINGS IN THE TREE", "IN THE TREE A BIRD SINGS"]
        assert sentences == (first if row["pair"] == "first" else ["NOBODY'S HOME", "A BIRD SINGS IN THE TREE"])
    combinations = {tuple(row[f"utterance_{side}"].split("-")[0] for side in "ab") for row in rows[:16]}
    assert len(combinations) == 16


@pytest.mark.slow
def test_words_that_are_spoken_as_one_share_an_interval(own):
    """The synthesiser reads `in the` as one word; such a sentence was refused."""
    root = own / "corpus"
    grid = next((root / "alignments").rglob("*-0000.TextGrid"))
    ((_, words),) = read_textgrid(grid, "words")
    assert [word for _, _, word in words if word] == ["a", "bird", "sings", "in the", "tree"]
    assert all(end > start for start, end, _ in words)


@pytest.mark.slow
def test_the_same_pairs_and_seed_give_the_same_bytes(own, tmp_path):
    """Also with another number of processes."""
    words = ["--sts_pairs", str(own / "mine.csv"), "--output_path"]
    main([*words, str(tmp_path / "again"), "--n_jobs", "1"])
    assert contents(tmp_path / "again") == contents(own / "corpus")
    (tmp_path / "other.csv").write_text(OWN.replace("4.5", "4.4"))
    with pytest.raises(ValueError, match=r"holds a corpus with pairs 2 of checksum \w{8}, not 2 of checksum"):
        main(["--sts_pairs", str(tmp_path / "other.csv"), "--output_path", str(own / "corpus")])


def test_a_dry_run_names_the_folder_of_each_kind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sick.csv").write_text(OWN)
    for words, folder in (
        (["--sentences", "words"], "data/demo_words"),
        (["--sentences", "sts"], "data/demo_sts"),
        (["--sts_pairs", "sick.csv"], "data/sts_sick"),
        (["--sts_pairs", "sick.csv", "--sentences", "sts", "--speakers", "5"], "speakers: 5"),
    ):
        assert main([*words, "--dry_run"]) == 0
        assert folder in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["sick.csv"]


def test_sick_and_spreadsheets_are_read(tmp_path):
    (tmp_path / "sick.txt").write_text(
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
        '7\t"A well-known man , it seems\tMen can’t sing\t3.25\tNEUTRAL\n'
    )
    (pair,) = read_pairs(tmp_path / "sick.txt")
    assert (pair.name, pair.first, pair.second, pair.score) == (
        "7",
        "a well known man, it seems",
        "men can't sing",
        3.25,
    )
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + OWN.replace("\n", "\r\n").encode())
    assert [pair.first for pair in read_pairs(tmp_path / "excel.csv")] == ["a bird sings in the tree", "nobody's home"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lacks pair, sentence_a, sentence_b, score"),
        ("pair,sentence_a,score\nx,a,1\n", "lacks sentence_b: expected pair,sentence_a,sentence_b,score"),
        (HEADER, "holds no pairs"),
        (f"{HEADER}x,one man,two men,\n", ":2: no score"),
        (f"{HEADER}x,one man\n", ":2: no sentence_b"),
        (f"{HEADER}x,one man,two men,high\n", ":2: score 'high': expected a number"),
        (f"{HEADER}x,one man,two men,nan\n", ":2: score 'nan'"),
        (f"{HEADER}x,one man,two men,1\nx,a,b,2\n", ":3: pair 'x' comes twice"),
        (f"{HEADER}x,one man,2 men,1\n", ":2: '2 men' holds '2': write it in words"),
        (f"{HEADER}x,one man,zwei Männer,1\n", "holds 'ä'"),
        (f"{HEADER}x,one man,'...',1\n", "is no sentence"),
        (f"{HEADER}x,one man,{'a ' * 100000},1\n", "not a readable table after line 1: field larger than field limit"),
    ],
)
def test_pairs_that_cannot_be_read_are_refused_by_line(tmp_path, text, reason):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=reason) as raised:
        read_pairs(tmp_path / "pairs.csv")
    assert "pairs.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--sentences", "sts", "--minutes", "5"], "--minutes: each speaker says every sentence"),
        (["--sts_pairs", "x.csv", "--sentences", "words"], "leave --sentences words out"),
        (["--sts_pairs", "x.csv", "--sentences", "grammar"], "leave --sentences grammar out"),
        (["--sentences", "sts", "--speakers", "2"], "--speakers must lie between 3"),
        (["--sts_pairs", "x.csv"], "x.csv"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(words, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=reason):
        main(words)
    assert list(tmp_path.iterdir()) == []
