"""Upstreams of waveforms in an analysis: convolutions beside the filterbank, recordings of any length, controls."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import run_analysis
from analysis.collect import Subject, batches_of, collect, states_of
from analysis.collectors import paired
from commands import analysis_subjects
from tests.helpers.heard_corpus import Heard
from tests.helpers.huggingface_models import write_model
from tests.helpers.waveform_upstreams import Strided
from utility.store.recordings import Recordings

QUICK = ("cca.groups=12", "mi.seeds=1", "--bootstrap", "20")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "hubert", "hubert")


def run(heard: Heard, names: str, name: str, *more: str, data: str = "") -> dict:
    words = ["--run", names, "--name", name, "--cpu", "--no-msg", "--expdir", f"{heard.root}/result"]
    words += [f"data.store=[{data or heard.store}]", f"data.alignment={heard.root}/phones", *QUICK, *more]
    assert run_analysis.main(words) == 0
    return json.loads((heard.root / "result" / "result_analysis" / name / "result.json").read_text())


def labels(result: dict, name: str, upstream: str) -> list[str]:
    return [row["label"] for row in result["experiments"][name]["upstreams"][upstream]]


@pytest.mark.slow
def test_convolutions_and_blocks_of_a_model_of_transformers_are_analysed(heard, model):
    found = run(heard, "cca_mel,cca_phone,cka", "hf", "--upstream", f"hub=hf:{model}", "--controls")
    blocks = ["T0", "T1", "T2", "T3"]
    assert labels(found, "cca_mel", "hub") == [*(f"C{n}" for n in range(1, 8)), "P", *blocks]
    assert labels(found, "cca_phone", "hub") == blocks
    assert found["curves"].keys() == {"hub", "baseline", "random"}
    assert found["experiments"]["cka"]["maps"]["hub"]["rows"] == blocks
    chosen = run(heard, "cca_phone", "hf_layer", "--upstream", f"hub=hf:{model}", "--layer", "C3,T2")
    assert labels(chosen, "cca_phone", "hub") == ["C3", "T2"]


@pytest.mark.slow
def test_convolutions_and_blocks_stand_beside_the_filterbank_as_the_original_has_them(heard, model):
    """Averaged to 10 ms, and every second band frame beside the slower ones: about as many frames of either kind."""
    options = ("cca.scheme=original", "cca.filterbank=original", "--upstream", f"hub=hf:{model}")
    rows = run(heard, "cca_mel", "as_original", *options)["experiments"]["cca_mel"]["upstreams"]["hub"]
    samples = {row["label"]: row["samples"] for row in rows}
    assert all(samples[f"C{n}"] == pytest.approx(2 * samples["T3"], rel=0.03) for n in range(1, 7))
    assert samples["C7"] == samples["P"] == samples["T0"] == samples["T3"]
    assert all(0 < row["score"] < 1 for row in rows)


@pytest.mark.slow
def test_a_folder_of_recordings_needs_no_store(heard, model):
    stored = run(heard, "cca_phone", "stored", "--upstream", f"hub=hf:{model}")
    data = heard.recordings
    recorded = run(heard, "cca_phone,cca_mel", "recorded", "--upstream", f"hub=hf:{model}", "--controls", data=data)
    scores = [result["experiments"]["cca_phone"]["upstreams"]["hub"] for result in (stored, recorded)]
    assert [row["score"] for row in scores[0]] == pytest.approx([row["score"] for row in scores[1]], abs=1e-6)
    assert recorded["experiments"]["cca_mel"]["upstreams"]["baseline"][0]["score"] == pytest.approx(1, abs=1e-6)


@pytest.fixture
def strided(monkeypatch) -> None:
    """`hf:strided` opens a small upstream whose first convolution has Kaldi's framing."""
    load = analysis_subjects.load_upstream
    monkeypatch.setattr(
        analysis_subjects,
        "load_upstream",
        lambda spec, *rest: Strided().eval() if spec.source == "strided" else load(spec, *rest),
    )


@pytest.mark.slow
def test_frames_are_paired_with_the_filterbank_by_their_centres(heard, strided):
    """C1 has Kaldi's framing, C2 and the blocks half as many frames."""
    kaldi = run(heard, "cca_mel", "kaldi", "--upstream", "s=hf:strided")
    assert labels(kaldi, "cca_mel", "s") == ["C1", "C2", "T0", "T1", "T2"]
    rows = kaldi["experiments"]["cca_mel"]["upstreams"]["s"]
    assert rows[0]["samples"] == pytest.approx(2 * rows[1]["samples"], rel=0.03)
    original = run(heard, "cca_mel", "original", "--upstream", "s=hf:strided", "cca.filterbank=original")
    other = original["experiments"]["cca_mel"]["upstreams"]["s"]
    assert all(abs(one["score"] - two["score"]) > 1e-4 for one, two in zip(rows, other))


def test_long_recordings_go_in_pieces_to_the_same_states(heard):
    upstream, corpus = Strided().eval(), Recordings([heard.recordings], None, 16000)
    whole = Subject("whole", upstream, corpus)
    durations = np.asarray(corpus.num_samples) / 16000
    batches = batches_of(range(len(corpus.ids)), durations, 3.0)
    together = dict(states_of(whole, batches, ("T1",)))
    upstream.longest, upstream.overlap = 9000, 640
    pieces = Subject("pieces", upstream, corpus)
    assert pieces.inputs.long.any()
    for index, states in states_of(pieces, batches, ("T1",)):
        assert np.allclose(states["T1"], together[index]["T1"], atol=1e-5)
    with pytest.raises(ValueError, match=r"s go through pieces in pieces, from which states C1 are not put together"):
        list(states_of(pieces, batches, ("C1",)))


def test_a_pass_that_is_not_finished_leaves_gradients_on(heard):
    """A generator that waits inside inference mode takes all of the program with it."""
    subject = Subject("s", Strided().eval(), Recordings([heard.recordings], None, 16000))
    running = states_of(subject, [np.arange(4)], ("T0",))
    next(running)
    assert not torch.is_inference_mode_enabled()
    assert torch.ones(1, requires_grad=True).mul(2).requires_grad


def test_every_utterance_comes_once_whatever_the_batches(heard):
    subject = Subject("s", Strided().eval(), Recordings([heard.recordings], None, 16000))
    durations = np.asarray(subject.corpus.num_samples) / 16000

    class Counting:
        labels, utterances = ("T0",), range(3, 12)

        def __init__(self):
            self.seen = []

        def add(self, index, states):
            self.seen.append((index, len(states["T0"])))

    for seconds in (0.1, 5.0, 100.0):
        counting = Counting()
        collect(subject, batches_of(range(20), durations, seconds), [counting], quiet=True)
        assert sorted(counting.seen) == [(n, int(subject.frames("T0")[n])) for n in range(3, 12)]


def test_frames_are_averaged_at_the_centres_of_the_slower_view():
    fast, slow = 0.0125 + 0.01 * np.arange(8), 0.0125 + 0.02 * np.arange(4)
    made = paired({"T0": np.arange(4.0)[:, None]}, slow, fast[:, None], fast)
    assert np.allclose(made["mel"][1:-1, 0], slow[1:-1])
    back = paired({"T0": fast[:, None]}, fast, np.arange(4.0)[:, None], slow)
    assert np.allclose(back["T0"][1:-1, 0], slow[1:-1])
    same = paired({"T0": fast[:, None]}, fast, fast[:6, None], fast[:6])
    assert np.array_equal(same["T0"], same["mel"])
