"""The built-in corpus: same bytes for the same seed, phones that sit where the sound changes, speakers that differ."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from praatio import textgrid

from preprocess.demo.corpus import SETTINGS
from preprocess.demo.sentences import RICH, sentences
from preprocess.demo.voices import make_speakers
from preprocess.demo_corpus import main
from tests.helpers.files import contents
from utility.command import run
from utility.labels.formats import read_textgrid
from utility.labels.phone_sets import ARPABET_39

pytestmark = pytest.mark.slow

MINUTES, SPEAKERS = 4, 6
SCRIPT = Path(__file__).parents[2] / "preprocess" / "demo_corpus.py"
VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
HISSES = {"S", "SH", "CH"}
STOPS = {"P", "T", "K"}
NASALS = {"M", "N", "NG"}
SPLITS = ("train", "dev", "test")


def make(root, *argv):
    return main(["--output_path", str(root), *map(str, argv)])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "corpus"
    assert make(root, "--minutes", MINUTES, "--speakers", SPEAKERS, "--n_jobs", 2) == 0
    return root


@pytest.fixture(scope="module")
def utterances(corpus):
    """(key, split, waveform, phones, words) of every utterance."""
    found = []
    for file in sorted((corpus / "LibriSpeech").rglob("*.flac")):
        grid = corpus / "alignments" / file.relative_to(corpus / "LibriSpeech").with_suffix(".TextGrid")
        ((_, phones),) = read_textgrid(grid, "phones")
        ((_, words),) = read_textgrid(grid, "words")
        waveform, rate = soundfile.read(file, dtype="float32")
        assert rate == 16000
        found.append((file.stem, file.relative_to(corpus).parts[1], waveform, phones, words))
    return found


def test_same_seed_same_bytes_whatever_the_number_of_processes(corpus, tmp_path, capsys):
    make(tmp_path / "again", "--minutes", MINUTES, "--speakers", SPEAKERS, "--n_jobs", 1)
    assert contents(tmp_path / "again") == contents(corpus)
    make(tmp_path / "other", "--minutes", 0.5, "--speakers", 3, "--seed", 1)
    make(tmp_path / "third", "--minutes", 0.5, "--speakers", 3, "--seed", 2)
    first, second = contents(tmp_path / "other"), contents(tmp_path / "third")
    assert not set(first.values()) & set(second.values())


def test_it_is_laid_out_as_librispeech(corpus, utterances):
    assert sorted(path.name for path in corpus.iterdir()) == ["LibriSpeech", "alignments", SETTINGS]
    assert (corpus / "LibriSpeech" / "SPEAKERS.TXT").read_text().count("\n") == SPEAKERS + 1
    readers = {split: {key.split("-")[0] for key, part, *_ in utterances if part == split} for split in SPLITS}
    assert [len(readers[split]) for split in SPLITS] == [4, 1, 1]
    assert not readers["train"] & readers["dev"] | readers["dev"] & readers["test"] | readers["train"] & readers["test"]
    seconds = sum(len(waveform) for _, _, waveform, *_ in utterances) / 16000
    assert 60 * MINUTES <= seconds <= 60 * MINUTES + 6 * SPEAKERS


def test_transcripts_are_the_words_of_the_alignments(corpus, utterances):
    texts = {}
    for file in (corpus / "LibriSpeech").rglob("*.trans.txt"):
        texts |= dict(line.split(" ", 1) for line in file.read_text().splitlines())
    assert texts.keys() == {key for key, *_ in utterances}
    for key, _, _, _, words in utterances:
        assert " ".join(word for _, _, word in words if word).upper() == texts[key]


def test_no_sentence_is_in_two_splits(corpus):
    spoken = {}
    for split in SPLITS:
        files = (corpus / "LibriSpeech" / split).rglob("*.trans.txt")
        spoken[split] = {line.split(" ", 1)[1] for file in files for line in file.read_text().splitlines()}
    assert all(spoken.values())
    assert not spoken["train"] & (spoken["dev"] | spoken["test"])
    drawn = [set(itertools.islice(sentences(split, np.random.default_rng(3)), 400)) for split in SPLITS]
    assert [len(some) for some in drawn] == [400] * 3
    assert not drawn[0] & drawn[1] | drawn[0] & drawn[2] | drawn[1] & drawn[2]
    assert len(set(RICH)) == len(RICH)


def test_phones_cover_each_utterance_without_a_gap(utterances):
    for _, _, waveform, phones, words in utterances:
        assert phones[0][0] == 0
        assert phones[-1][1] == pytest.approx(len(waveform) / 16000, abs=1e-6)
        assert all(end == start for (_, end, _), (start, _, _) in itertools.pairwise(phones))
        assert all(end - start > 0.004 for start, end, _ in phones)
        edges = {time for start, end, _ in phones for time in (start, end)}
        assert {time for start, end, word in words if word for time in (start, end)} <= edges
    labels = [label for *_, phones, _ in utterances for _, _, label in phones]
    assert set(labels) == ARPABET_39 | {"sil"}
    lengths = [end - start for *_, phones, _ in utterances for start, end, label in phones if label != "sil"]
    assert 0.06 < np.median(lengths) < 0.11
    assert max(lengths) < 0.6


def level(waveform, window=80):
    """Root mean square every 5 ms."""
    frames = waveform[: len(waveform) // window * window].reshape(-1, window)
    return np.sqrt(np.mean(np.square(frames), axis=1))


def test_speech_starts_and_ends_where_the_alignment_says(utterances):
    starts, ends = [], []
    for _, _, waveform, phones, _ in utterances:
        assert phones[0][2] == phones[-1][2] == "sil"
        energy = level(waveform)
        loud = np.flatnonzero(energy > 3 * np.median(energy[-20:]))
        starts.append((loud[0] * 0.005 - phones[0][1], phones[1][2]))
        ends.append(((loud[-1] + 1) * 0.005 - phones[-1][0], phones[-2][2]))
    assert min(late for late, _ in starts) > -0.01
    assert max(late for late, _ in ends) < 0.01
    for times in (starts, ends):
        clear = np.abs([time for time, label in times if label in VOWELS | NASALS])  # noise may hide the others
        assert len(clear) > 10
        assert clear.max() < 0.02
        assert np.median(clear) < 0.005


def test_hiss_closure_and_voice_are_inside_their_phones(utterances):
    """The 10 ms on either side of a boundary between a hiss, a closure and a vowel sound as their own labels say."""
    right = {"hiss": [], "closure": []}
    for _, _, waveform, phones, _ in utterances:
        high = level(np.diff(waveform, prepend=0))  # emphasises high frequencies
        whole = level(waveform)
        for (start, middle, left), (_, end, follow) in itertools.pairwise(phones):
            at = round(middle * 200)
            if middle - start < 0.03 or end - middle < 0.03:
                continue
            brightness = [
                high[side].mean() / whole[side].mean() for side in (slice(at - 4, at - 1), slice(at + 1, at + 4))
            ]
            if left in HISSES and follow in VOWELS:
                right["hiss"].append(brightness[0] > brightness[1])
            if left in VOWELS and follow in STOPS:
                right["closure"].append(whole[at + 1 : at + 4].mean() < 0.5 * whole[at - 4 : at - 1].mean())
    assert min(map(len, right.values())) > 30
    assert np.mean(right["hiss"]) > 0.95
    assert np.mean(right["closure"]) > 0.9


def fundamental(waveform):
    """Frequency in Hz of the highest autocorrelation peak between 60 and 400 Hz."""
    spectrum = np.fft.rfft(waveform * np.hanning(len(waveform)), 4096)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    return 16000 / (40 + np.argmax(correlation[40:267]))


def test_speakers_have_their_own_pitch(utterances):
    cast = {str(speaker.reader): speaker for speaker in make_speakers(SPEAKERS, 1337)}
    measured = {reader: [] for reader in cast}
    for key, _, waveform, phones, _ in utterances:
        for start, end, label in phones:
            if label in VOWELS and end - start > 0.1:
                centre = round(8000 * (start + end))
                measured[key.split("-")[0]].append(fundamental(waveform[centre - 640 : centre + 640]))
    medians = {reader: np.median(values) for reader, values in measured.items()}
    for reader, speaker in cast.items():
        assert 0.8 * speaker.pitch[0] < medians[reader] < 1.2 * speaker.pitch[1]
    assert np.corrcoef([speaker.pitch[0] for speaker in cast.values()], list(medians.values()))[0, 1] > 0.95
    assert len({speaker.formants for speaker in make_speakers(40, 5)}) == 40


def test_a_finished_corpus_is_kept_and_another_refused(corpus, capsys):
    before = contents(corpus)
    assert make(corpus, "--minutes", MINUTES, "--speakers", SPEAKERS) == 0
    assert "already made" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds a corpus with seed 1337, not 3; remove it or choose another"):
        make(corpus, "--minutes", MINUTES, "--speakers", SPEAKERS, "--seed", 3)
    assert contents(corpus) == before


def kill_midway(root: Path, *argv: str) -> str:
    """What is printed by a run whose first process is killed when the first recordings are written."""
    words = [sys.executable, SCRIPT, "--output_path", str(root), "--minutes", "20", "--speakers", "9", *argv]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        while not list(root.parent.glob(f".{root.name}.*/corpus/LibriSpeech/*/*/*/*.flac")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        assert process.stderr is not None
        return process.stderr.read()  # up to the end of the last worker, which has it open too


def test_a_killed_run_is_silent_and_leaves_nothing_once_it_is_repeated(tmp_path, capsys):
    assert kill_midway(tmp_path / "a", "--n_jobs", "2") == ""
    assert not (tmp_path / "a").exists()
    make(tmp_path / "a", "--minutes", 0.5, "--speakers", 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_finished_corpus_keeps_no_scratch_beside_it(tmp_path, capsys):
    words = ("--minutes", 0.5, "--speakers", 3)
    make(tmp_path / "a", *words)
    left, others = tmp_path / ".a.unfinished.x1", tmp_path / ".b.unfinished.x1"
    left.mkdir()
    others.mkdir()
    make(tmp_path / "a", *words, "--dry_run")
    assert left.exists()
    make(tmp_path / "a", *words)
    assert not left.exists()
    assert others.exists()


def test_textgrids_have_librispeech_tiers(corpus):
    grid = textgrid.openTextgrid(str(next((corpus / "alignments").rglob("*.TextGrid"))), includeEmptyIntervals=True)
    assert grid.tierNames == ("words", "phones")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--speakers", "2"], "--speakers must lie between 3"),
        (["--minutes", "0"], "--minutes must lie between 0 and 100000"),
        (["--minutes", "nan"], "--minutes must lie between"),
        (["--seed", "-1"], "--seed: expected a whole number"),
        (["--n_jobs", "0"], "--n_jobs must be at least 1"),
        (["--minutes", "many"], "invalid float value: 'many'"),
        (["--output_path", "."], "exists and is no finished demo corpus"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(tmp_path, argv, reason):
    result = subprocess.run([sys.executable, SCRIPT, *argv], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_synthesiser_is_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(sys, "argv", ["demo_corpus.py", "--output_path", str(tmp_path / "corpus")])
    with pytest.raises(SystemExit) as left:
        run(main)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.count("\n") == 1
    assert "pip install -r requirements-demo.txt" in said
    assert not list(tmp_path.iterdir())
