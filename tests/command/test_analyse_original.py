"""The original's scheme for frames, and two upstreams beside each other: what is scored, and what is not redone."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import run_analysis
from analysis import experiments_maps, gather, joint
from analysis.collect import Subject, states_of
from analysis.filterbank import original_filterbank
from analysis.folds import draw_pairs, original_folds
from analysis.frame_rates import CONV_POOLING, CONV_STRIDES, pool_frames
from analysis.frame_rows import paired_as_original
from analysis.original_cca import original_cross_validation, original_epsilons
from analysis.sampling import sample_generator
from commands import analysis_subjects
from tests.helpers.analysis_corpus import Analysed, analysed_corpus
from tests.helpers.downstream_corpus import WIDTH, write_store
from tests.helpers.heard_corpus import Heard
from tests.helpers.waveform_upstreams import Strided
from utility.audio.waveform import read_audio
from utility.flags import DEFAULT_SEED
from utility.store.recordings import Recordings

ORIGINAL = ("cca.scheme=original", "cca.filterbank=original")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Analysed:
    return analysed_corpus(tmp_path_factory.mktemp("analysed"))


@pytest.fixture
def strided(monkeypatch) -> None:
    """`hf:strided` opens a small upstream of waveforms with frames of 10 and 20 ms, `hf:slow` one of 40 ms."""
    load = analysis_subjects.load_upstream
    made = {"strided": partial(Strided, 20, 0), "slow": partial(Strided, 40, 1)}
    monkeypatch.setattr(
        analysis_subjects,
        "load_upstream",
        lambda spec, *rest: made[spec.source]().eval() if spec.source in made else load(spec, *rest),
    )


def hear(heard: Heard, names: str, name: str, *more: str) -> dict:
    words = ["--run", names, "--name", name, "--cpu", "--no-msg", "--expdir", f"{heard.root}/result_original"]
    assert run_analysis.main([*words, f"data.store=[{heard.recordings}]", *more]) == 0
    folder = heard.root / "result_original" / "result_analysis" / name
    return json.loads((folder / "result.json").read_text())["experiments"]


def direct(name: str, first: np.ndarray, second: np.ndarray) -> float:
    """The original's score of arrays, with what a run of the usual seed draws."""
    generator = sample_generator(DEFAULT_SEED, f"original {name}")
    folds, pairs = original_folds(len(first), generator), draw_pairs(generator)
    return original_cross_validation(first, second, folds, pairs, [original_epsilons(generator) for _ in pairs]).score


def states(heard: Heard, upstream: Strided) -> tuple[Recordings, list[dict[str, np.ndarray]]]:
    recordings = Recordings([heard.recordings], None, 16000)
    batches = [np.array([n]) for n in range(len(recordings.ids))]
    return recordings, [
        given for _, given in states_of(Subject("s", upstream, recordings), batches, ("C1", "T0", "T2"))
    ]


@pytest.mark.slow
def test_frames_are_scored_as_the_original_scores_the_same_arrays(heard, strided):
    found = hear(heard, "cca_mel,cca_intra", "direct", "--upstream", "s=hf:strided", *ORIGINAL)
    recordings, given = states(heard, Strided().eval())
    banks = [original_filterbank(read_audio(path, 16000)) for path in recordings.audio_paths]
    for label in ("C1", "T2"):
        views = []
        for some, bank in zip(given, banks):
            frames = pool_frames(some["C1"], 2, 1) if label == "C1" else some[label]
            bands = bank if label == "C1" else bank[::2]
            count = min(len(frames), len(bands))
            views.append((bands[:count], frames[:count]))
        bands, frames = map(np.concatenate, zip(*views))
        (row,) = [row for row in found["cca_mel"]["upstreams"]["s"] if row["label"] == label]
        assert row["samples"] == len(frames)
        assert row["score"] == pytest.approx(direct("cca_mel", bands, frames), abs=1e-4), label
    base, last = (np.concatenate([some[label] for some in given]) for label in ("T0", "T2"))
    rows = found["cca_intra"]["upstreams"]["s"]
    assert [row["label"] for row in rows] == ["T0", "T1", "T2"]
    assert rows[0]["score"] == 1
    assert rows[2]["score"] == pytest.approx(direct("cca_intra", base, last), abs=1e-4)
    assert rows[2]["samples"] == len(base)


@pytest.mark.slow
def test_pairs_of_upstreams_are_scored_as_the_original_scores_them(heard, strided):
    both = ("--upstream", "a=hf:strided", "--upstream", "b=hf:strided")
    rows = hear(heard, "cca_inter", "inter", *both, *ORIGINAL)["cca_inter"]["upstreams"]["a and b"]
    last = np.concatenate([some["T2"] for some in states(heard, Strided().eval())[1]])
    assert rows[2]["score"] == pytest.approx(direct("cca_inter", last, last), abs=1e-4)
    slow = hear(heard, "cca_inter", "slow", "--upstream", "a=hf:strided", "--upstream", "b=hf:slow", *ORIGINAL)
    samples = slow["cca_inter"]["upstreams"]["a and b"][2]["samples"]
    assert samples == pytest.approx(len(last) / 2, rel=0.05)


@pytest.mark.parametrize("layer", range(1, 8))
def test_convolutions_are_averaged_to_the_rate_of_the_filterbank(layer):
    """What is left over is cut at the end, so the filterbank's frame t stands 12.5 ms from the layer's (fault A3)."""
    shift = float(np.prod(CONV_STRIDES[:layer])) / 16000
    frames, bands = np.arange(round(2 / shift), dtype=np.float32)[:, None], np.arange(201.0)[:, None]
    made = paired_as_original(f"C{layer}", frames, shift, bands)
    expected = pool_frames(frames, *CONV_POOLING[layer]) if layer < 7 else frames
    assert np.array_equal(made[f"C{layer}"], expected)
    assert np.array_equal(made["mel"], (bands[: len(expected)] if layer < 7 else bands[::2][: len(expected)]))


def test_frames_of_other_rates_have_no_original_pairing():
    with pytest.raises(ValueError, match=r"frames of T1 every 15 ms .* cca.filterbank=kaldi"):
        paired_as_original("T1", np.zeros((9, 2)), 0.015, np.zeros((9, 2)))


@pytest.mark.slow
def test_frames_that_say_their_utterance_leak_through_the_originals_folds(corpus):
    """Frames are their utterance and noise, and nothing of the speaker is in them. The original puts frames of each
    utterance on both sides (fault A12)."""
    rng = np.random.default_rng(3)
    utterances = {}
    for number in range(24):
        identity = rng.normal(size=WIDTH)
        frames = identity + 0.2 * rng.normal(size=(60, WIDTH))
        utterances[f"s{rng.integers(2)}-{number}"] = frames.astype(np.float32)
    write_store(corpus.root / "identities", "all", utterances)
    data = (f"data.store=[{corpus.root}/identities/all]", "data.words=null", "data.alignment=null")
    scores = {}
    for scheme in ("original", "standard"):
        found = corpus.run("cca_speaker", f"leak_{scheme}", f"cca.scheme={scheme}", *data)
        scores[scheme] = found["experiments"]["cca_speaker"]["upstreams"]["baseline"][0]["score"]
    assert scores["original"] > abs(scores["standard"]) + 0.2


@pytest.mark.slow
def test_frames_do_not_depend_on_the_batches_and_every_takes_some(corpus):
    words = ("--upstream", corpus.tiny, "cca.scheme=original")
    first = corpus.run("cca_intra", "together", *words)["experiments"]["cca_intra"]["upstreams"]["tiny"]
    alone = corpus.run("cca_intra", "alone", *words, "data.batch_seconds=0.1")
    some = corpus.run("cca_intra", "some", *words, "sampling.every=3", "--layer", "T2")
    assert [row["score"] for row in alone["experiments"]["cca_intra"]["upstreams"]["tiny"]] == pytest.approx(
        [row["score"] for row in first], abs=1e-4
    )
    (row,) = some["experiments"]["cca_intra"]["upstreams"]["tiny"]
    assert row["label"] == "T2"
    assert row["samples"] == pytest.approx(first[2]["samples"] / 3, rel=0.03)
    assert row["score"] != first[2]["score"]


def without_times(folder: Path) -> dict:
    content = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in content.items() if key not in ("seconds", "peak_memory_mib")}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["standard", "original"])
def test_a_killed_run_of_two_upstreams_redoes_neither_passes_nor_finished_pairs(corpus, scheme, monkeypatch):
    words = ("--upstream", corpus.tiny.replace("tiny=", "twin="), "--samples", "2", f"cca.scheme={scheme}")
    run = partial(corpus.run, "cca_inter", upstream=corpus.tiny)
    run(f"inter_{scheme}", *words)
    scored = "original_score_of" if scheme == "original" else "cross_validated_cca"
    score, steps, passes = getattr(experiments_maps, scored), [], []

    def dying(*given):
        steps.append(0)
        if len(steps) == 5:  # the second pair of the second sample
            raise KeyboardInterrupt
        return score(*given)

    def counted(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: passes.append(name) or real(*given))

    monkeypatch.setattr(experiments_maps, scored, dying)
    with pytest.raises(KeyboardInterrupt):
        run(f"killed_{scheme}", *words)
    monkeypatch.setattr(experiments_maps, scored, lambda *given: steps.append(1) or score(*given))
    counted(gather, "collect")
    counted(joint.Joint, "_collected")
    run(f"killed_{scheme}", *words, "--resume")
    assert steps.count(1) == 2  # six pairs less the four that were done
    assert passes == ([] if scheme == "standard" else ["_collected"])  # its map is made of moments, after the scores
    run(f"killed_{scheme}", *words, "--resume")
    assert len(passes) <= 1
    folders = (corpus.folder(f"{name}_{scheme}") for name in ("inter", "killed"))
    first, second = map(without_times, folders)
    assert first == second


def test_chosen_layers_of_two_upstreams_are_looked_at_alone(corpus):
    other = corpus.tiny.replace("tiny=", "twin=")
    found = corpus.run("cca_inter", "chosen", "--upstream", other, "--layer", "T2", upstream=corpus.tiny)
    (row,) = found["experiments"]["cca_inter"]["upstreams"]["tiny and twin"]
    assert row["label"] == "T2"
    assert row["score"] == pytest.approx(1, abs=1e-5)
    assert np.shape(found["experiments"]["cca_inter"]["maps"]["tiny and twin"]["values"]) == (1, 1)


def test_layers_at_different_times_are_refused(heard, strided):
    both = ("--upstream", "a=hf:strided", "--upstream", "b=hf:strided")
    with pytest.raises(ValueError, match=r"cca_inter: a: layers C1, T2 come at different times"):
        hear(heard, "cca_inter", "clocks", *both, "--layer", "C1,T2")


@pytest.mark.slow
def test_a_setting_of_one_corpus_is_applied_to_another(corpus):
    """Nothing is chosen, all utterances are scored, and the original's files hold what was found, each line once."""
    first = corpus.run("segmentation", "chosen_setting", "--original_files")["experiments"]["segmentation"]
    chosen = first["upstreams"]["baseline"][0]["detail"]["setting"]
    fixed = [f"segmentation.{key}={value}" for key, value in chosen.items()]
    second = corpus.run("segmentation", "fixed_setting", "--original_files", *fixed)["experiments"]["segmentation"]
    assert first["data"][0]["dev_utterances"] > 0
    assert second["data"][0]["dev_utterances"] == 0
    assert second["data"][0]["scored_utterances"] == 48
    row = second["upstreams"]["baseline"][0]
    assert row["detail"]["setting"] == chosen
    assert "dev_f1" not in row["detail"]
    files = [
        {
            path.name: path.read_text().splitlines()
            for path in (corpus.folder(name) / "original/baseline/segmentation_all_sample1/F").iterdir()
        }
        for name in ("chosen_setting", "fixed_setting")
    ]
    assert len(files[0]) == 48
    assert files[0] == files[1]
    ends = [[line.split() for line in lines] for lines in files[1].values()]
    assert all(line[2] == "xxx" for lines in ends for line in lines)
    assert all(lines[0][0] == "0" for lines in ends)
    assert all(one[1] == two[0] for lines in ends for one, two in pairwise(lines))
    assert len({(name, line) for name, lines in files[1].items() for line in lines}) == sum(map(len, ends))


@pytest.mark.slow
def test_a_part_of_a_setting_is_given_and_the_rest_chosen(corpus):
    found = corpus.run("segmentation", "half_setting", "segmentation.window=3")["experiments"]["segmentation"]
    assert found["upstreams"]["baseline"][0]["detail"]["setting"]["window"] == 3
    assert found["data"][0]["dev_utterances"] > 0
