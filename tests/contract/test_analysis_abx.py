"""ABX errors of phones: which tokens are compared, what is known of them, and what fastabx itself says of files."""

from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import pytest
import torch

import run_analysis
from analysis.abx import HEADER, AbxError, AbxTask, Items, draw_contrasted
from analysis.experiments_abx import PhoneAbx
from analysis.sampling import tokens_of
from tests.helpers.analysis_corpus import analysed_corpus

PATTERN = {"a": 0, "b": 1, "x": 2, "z": 3}


def corpus_of(rng: np.random.Generator, speakers: int = 4, each: int = 3):
    """Utterances x a y, x b y, z a y ... with pauses: id -> [(start, end, phone)], and the speaker of each."""
    said, who = [], []
    for speaker in range(speakers):
        for number in range(each):
            segments, end = [(0.0, 0.3, "sil")], 0.3
            for phone in [p for before in "xz" for p in (before, "a", "y", "sil", before, "b", "y", "sil")]:
                start, end = end, round(end + 0.01 * int(rng.integers(4, 9)), 2)
                segments.append((start, end, phone))
            said.append((f"s{speaker}-{number}", segments))
            who.append(f"s{speaker}")
    return said, who


def drawn_of(said, who, rng, most=10, tokens=1000):
    every = tokens_of(said)
    durations = np.array([segments[-1][1] for _, segments in said])
    sample = draw_contrasted(every, who, most, tokens, rng, 0.01, durations)
    return sample.tokens, Items.of(sample.tokens, every, who)


def states_of(tokens, rng: np.random.Generator, apart: bool):
    """Frames of 10 ms: those of a and b lie apart, or are noise."""
    lengths = np.rint((tokens.table["end"] - tokens.table["start"]) * 100).astype(np.int64)
    frames = rng.normal(size=(int(lengths.sum()), 6))
    if apart:
        names = np.array(tokens.classes)[tokens.labels]
        marks = np.array([PATTERN[name] for name in names])
        frames = np.repeat(20.0 * np.eye(6)[marks], lengths, axis=0) + frames
    return frames.astype(np.float32), lengths


def test_phones_between_the_same_neighbours_are_drawn():
    said, who = corpus_of(np.random.default_rng(0))
    tokens, items = drawn_of(said, who, np.random.default_rng(0))
    found = set(zip(items.previous.tolist(), items.phone.tolist(), items.next.tolist()))
    assert found == {(p, q, "y") for p in "xz" for q in "ab"} | {("SIL", p, q) for p in "xz" for q in "ab"}  # no y
    assert len(tokens) == 4 * 3 * 8
    assert set(items.speaker) == {"s0", "s1", "s2", "s3"}


def test_no_more_tokens_are_drawn_than_a_cell_takes_and_than_are_asked_for():
    said, who = corpus_of(np.random.default_rng(0))
    _, items = drawn_of(said, who, np.random.default_rng(0), most=2)
    kinds = list(zip(*items.columns.values()))
    assert {kinds.count(kind) for kind in kinds} == {2}
    _, items = drawn_of(said, who, np.random.default_rng(0), tokens=30)
    assert len(set(items.previous)) == 1
    assert len(items.phone) == 24  # one pair of neighbours, all of its tokens
    with pytest.raises(ValueError, match=r"abx\.max_tokens=5 is less than one pair of neighbours has: 24"):
        drawn_of(said, who, np.random.default_rng(0), tokens=5)


def test_neighbours_do_not_reach_over_the_edge_of_an_utterance():
    said = [("u", [(0.0, 0.1, "a"), (0.1, 0.2, "h#")]), ("v", [(0.0, 0.1, "b")])]
    every = tokens_of(said)
    items = Items.of(every, every, ["one", ""])
    assert items.previous.tolist() == ["SIL", "a", "SIL"]
    assert items.next.tolist() == ["SIL", "SIL", "SIL"]
    assert items.speaker.tolist() == ["one", "one", "unknown"]


def test_no_two_phones_between_the_same_neighbours_are_an_error():
    said = [("u", [(0.0, 0.1, "a"), (0.1, 0.2, "b"), (0.2, 0.3, "c")])]
    with pytest.raises(ValueError, match="no two phones have the same neighbours"):
        drawn_of(said, ["s"], np.random.default_rng(0))


def test_errors_are_means_over_neighbours_then_speakers_then_pairs():
    """Cells of pair 0: two neighbours of one speaker (0, 1), one of another (0.2); pair 1: one cell (0.6)."""
    made = AbxError(np.array([0, 1, 0.2, 0.6]), np.array([0, 0, 1, 2]), np.array([0, 0, 1]), np.array([0, 1, 0, 0]))
    assert made.error == pytest.approx(100 * ((0.5 + 0.2) / 2 + 0.6) / 2)
    first_alone = 100 * ((0 + 0.2) / 2 + 0.6) / 2
    second_alone = 100.0  # pair 0 of one speaker is all that there is
    values = made.resampled(np.random.default_rng(0), 200)
    assert values.min() == pytest.approx(first_alone)
    assert values.max() == pytest.approx(second_alone)
    assert made.error in values.round(12)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("fastabx") is not None, reason="fastabx is installed")
def test_without_fastabx_there_is_one_line_and_all_goes_on(tmp_path, capsys):
    corpus = analysed_corpus(tmp_path)
    words = ["--run", "abx_phone", "--upstream", "baseline", "--name", "abx", *corpus.words()]
    with pytest.raises(ValueError) as error:
        run_analysis.main(words)
    assert str(error.value) == (
        "abx_phone: needs fastabx, which needs Python 3.12: python3.12 -m pip install -r requirements-abx.txt"
    )
    found = corpus.run("all", "all", "--layer", "0", "awd.dtw=false", "--bootstrap", "2")
    assert found["skipped"] == {"abx_phone": str(error.value).removeprefix("abx_phone: ")} | {
        name: reason for name, reason in found["skipped"].items() if name != "abx_phone"
    }
    assert "abx_phone: skipped, it needs fastabx" in capsys.readouterr().out


@pytest.mark.parametrize("speakers", ["within", "across"])
def test_phones_that_lie_apart_have_no_error_and_noise_has_half(speakers):
    pytest.importorskip("fastabx", reason="fastabx absent: python3.12 -m pip install -r requirements-abx.txt")
    rng = np.random.default_rng(0)
    said, who = corpus_of(rng, 8, 10)
    tokens, items = drawn_of(said, who, rng)
    task = AbxTask(items, speakers, 10, 5, 0)
    assert task.error(*states_of(tokens, rng, apart=True)).error == 0
    noise = task.error(*states_of(tokens, rng, apart=False))
    assert noise.error == pytest.approx(50, abs=3)
    assert noise.pairs == 4  # a and b either way round, x and z
    assert noise.contexts == 4


@pytest.mark.parametrize("speakers", ["within", "across"])
def test_the_error_is_that_of_fastabx_on_files(tmp_path, speakers):
    fastabx = pytest.importorskip("fastabx", reason="fastabx absent: python3.12 -m pip install -r requirements-abx.txt")
    rng = np.random.default_rng(0)
    said, who = corpus_of(rng, 4, 4)
    tokens, items = drawn_of(said, who, rng)
    frames, lengths = states_of(tokens, rng, apart=False)
    frames += np.repeat(rng.normal(size=(len(tokens), 1)), lengths, axis=0).astype(np.float32)
    files = {name: np.zeros((400, 6), np.float32) for name in tokens.ids}
    lines, start = [HEADER], 0
    for row, *labels, length in zip(tokens.table, items.phone, items.previous, items.next, items.speaker, lengths):
        first = round(row["start"] * 100)
        files[tokens.ids[row["utterance"]]][first : first + length] = frames[start : start + length]
        start += length
        lines.append(f"{tokens.ids[row['utterance']]} {row['start']:.4f} {row['end']:.4f} {' '.join(labels)}")
    (tmp_path / "phones.item").write_text("\n".join(lines) + "\n")
    for name, states in files.items():
        torch.save(torch.from_numpy(states), tmp_path / f"{name}.pt")
    told = fastabx.zerospeech_abx(
        tmp_path / "phones.item",
        tmp_path,
        max_size_group=10,
        max_x_across=5,
        speaker=speakers,
        frequency=100,
        device="cpu",
        progress=False,
    )
    ours = AbxTask(items, speakers, 10, 5, 0).error(frames, lengths)
    assert ours.error == pytest.approx(100 * told, abs=1e-5)


def test_a_run_reports_both_errors_and_writes_the_item_file(tmp_path):
    pytest.importorskip("fastabx", reason="fastabx absent: python3.12 -m pip install -r requirements-abx.txt")
    corpus = analysed_corpus(tmp_path)
    found = corpus.run("abx_phone", "abx", "--upstream", corpus.tiny)["experiments"]["abx_phone"]
    assert (found["unit"], found["higher_is"], found["chance"]) == ("%", "worse", 50)
    row = found["upstreams"]["baseline"][0]
    assert row["score"] < 25
    assert row["low"] <= row["score"] <= row["high"] < 50
    assert row["detail"]["score_is"] == "across speakers"
    assert row["score"] == row["detail"]["across_speakers"]["error"] != row["detail"]["within_speakers"]["error"]
    assert len(found["upstreams"]["tiny"]) == 3
    lines = (corpus.folder("abx") / "samples" / "abx_phone_sample0.item").read_text().splitlines()
    assert lines[0] == "#file onset offset #phone prev-phone next-phone speaker"
    assert len(lines) - 1 == row["samples"] == found["data"][0]["tokens"]
    assert {len(line.split(" ")) for line in lines} == {7}
    assert (corpus.folder("abx") / "abx_phone.png").is_file()
    given = corpus.run("abx_phone", "again", f"sampling.given={corpus.folder('abx')}/samples")
    assert given["experiments"]["abx_phone"]["upstreams"]["baseline"] == found["upstreams"]["baseline"]


def test_other_neighbours_of_the_same_tokens_are_another_want():
    """Or a score in the cache would be of the old ones."""
    said, who = corpus_of(np.random.default_rng(0))
    _, items = drawn_of(said, who, np.random.default_rng(0))
    other = Items(items.phone, items.next, items.previous, items.speaker)
    wants = []
    for some in (items, items, other):
        experiment = PhoneAbx(cast(Any, None), 0)
        experiment.__dict__["items"] = some
        wants.append(experiment.wants(["F"]))
    assert wants[0] == wants[1] != wants[2]
