"""Every experiment of run_analysis.py on a corpus whose answers are known by construction."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from analysis.experiment_names import EXPERIMENTS
from tests.helpers.analysis_corpus import Analysed, analysed_corpus
from tests.helpers.downstream_corpus import WIDTH, write_store
from utility.labels.alignment import write_alignment


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Analysed:
    return analysed_corpus(tmp_path_factory.mktemp("analysed"))


def probe(layer: int | None, weights: list[float] | None, seed: int) -> dict:
    """What a probe's result.json says, as far as it is read."""
    metric = {"name": "accuracy", "unit": "%", "better": "higher"}
    about = {
        "kind": "probe",
        "task": "phone_linear",
        "upstream": "tiny",
        "metric": metric,
        "dev_value": 50.0 + (layer or 0),
    }
    about |= {"fingerprints": {"upstream": {"fingerprint": "0"}}, "seed": seed}
    return about | {"layer_weights": weights, "layer": layer}


@pytest.fixture(scope="module")
def result(corpus) -> dict:
    for number, content in enumerate(
        [probe(None, [0.2, 0.3, 0.5], 1), probe(None, [0.4, 0.3, 0.3], 2), *(probe(n, None, 1) for n in range(3))]
    ):
        folder = corpus.root / "probes" / str(number)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(content))
    probes = f"probes.weighted=[{corpus.root}/probes]"
    return corpus.run("all", "everything", "--upstream", corpus.tiny, probes, f"probes.single=[{corpus.root}/probes]")


@pytest.mark.slow
def test_weights_of_probes_stand_beside_norms_and_single_layers(result):
    (found,) = result["experiments"]["layer_weights"]["layer_weights"]
    assert found["mean"] == pytest.approx([0.3, 0.3, 0.4])
    assert found["scores"]["mean"] == [50, 51, 52]
    norms = [row["detail"]["norm"] for row in curve(result, "shape", "tiny")]
    assert found["times_norm"] == pytest.approx(np.array(found["mean"]) * norms)


@pytest.mark.slow
def test_attention_is_of_upstreams_that_have_it_and_says_of_which_not(result):
    found = result["experiments"]["attention"]
    assert found["upstreams"].keys() == {"tiny"}
    assert "baseline" in found["not_of"]
    assert np.shape(found["heads"]["tiny"]["globalness"]) == (2, 2)
    labels = [row["label"] for row in curve(result, "attention_blocks", "tiny")]
    assert labels == ["F", "T0", "T1", "T2"]
    ratios = result["experiments"]["lnsr"]["changes"]["tiny"]
    assert [row["score"] for row in ratios["pgd 1"]] > [row["score"] for row in ratios["pgd 0.01"]]


@pytest.mark.slow
def test_upstreams_of_a_run_of_noise_and_attention_alone_have_figures_of_their_own(corpus):
    """Without other experiments both upstreams once had the first one's, from one file of the cache."""
    (corpus.root / "other.yaml").write_text((corpus.root / "tiny.yaml").read_text().replace("layers: 2", "layers: 3"))
    words = ["lnsr.utterances=4", "lnsr.sizes=[0.1]", "lnsr.steps=2", "attention.utterances=4", "--samples", "2"]
    other = f"other=random:{corpus.root}/other.yaml"
    found = corpus.run("lnsr,attention", "alone", "--upstream", other, *words, upstream=corpus.tiny)["experiments"]
    assert [len(curve({"experiments": found}, "attention", name)) for name in ("tiny", "other")] == [2, 3]
    assert found["lnsr"]["objective"] == "the last layer"
    assert "attacks on the last layer" in found["lnsr"]["measure"]
    assert {row["one"][0] for row in found["lnsr"]["differences"]} == {"tiny, pgd 0.1"}
    for name in ("attention", "lnsr"):
        for rows in found[name]["upstreams"].values():
            assert all(len(row["per_sample"]) == 2 for row in rows)
            assert all(row["score"] == pytest.approx(np.mean(row["per_sample"])) for row in rows)
    assert 4 < found["lnsr"]["data"][0]["utterances"] <= 8  # those that both samples share are looked at once
    phones = corpus.root / "relabelled"
    phones.mkdir()
    for file in (corpus.root / "phones").iterdir():
        (phones / file.name).write_bytes(file.read_bytes().replace(b"\ne\n", b"\nf\n"))
    words += [f"data.alignment={phones}", f"data.cache={corpus.folder('alone')}/cache"]
    again = corpus.run("attention", "relabelled", *words, upstream=corpus.tiny)["experiments"]["attention"]
    assert again["maps"].keys() == {key for key in found["attention"]["maps"] if key.startswith("tiny")}
    shown = "tiny: concentration, phones"
    assert again["maps"][shown]["columns"] != found["attention"]["maps"][shown]["columns"]


@pytest.mark.slow
def test_the_order_in_which_heads_are_pruned_is_a_file(corpus, result):
    text = (corpus.folder("everything") / "attention_order_tiny.csv").read_text()
    table = [line.split(",") for line in text.splitlines()]
    assert table[0] == ["order", "place", "layer", "head"]
    heads = result["experiments"]["attention"]["heads"]["tiny"]
    for name in ("globalness", "verticality", "diagonality", "weight"):
        listed = [(layer, int(head)) for order, _, layer, head in table[1:] if order == name]
        metric = heads["max_weight" if name == "weight" else name]
        values = [metric[int(layer[1:]) - 1][head] for layer, head in listed]
        assert values == sorted(values, reverse=True)
        assert len(set(listed)) == len(listed) == 4
    assert {order for order, *_ in table[1:]} >= {"random 0", "random 1", "random 2"}


@pytest.mark.slow
def test_the_findings_of_the_paper_are_stated_of_every_upstream(result):
    stated = result["experiments"]["attention"]["findings"]["tiny"]
    assert len(stated) == 6
    assert [one["holds"] for one in stated[:4]] == [None] * 4  # random weights have no head to measure pruning by
    assert isinstance(stated[4]["figures"]["diagonal heads"], int)


def curve(result: dict, name: str, upstream: str = "baseline") -> list[dict]:
    return result["experiments"][name]["upstreams"][upstream]


@pytest.mark.slow
def test_all_runs_every_experiment_whose_needs_are_met(corpus, result):
    """A13: of the original's experiments one is called with an argument that it lacks, one reads a name before it is
    set and the file of layer -1, and what a token is was checked for three names only."""
    assert result["experiments"].keys() | result["skipped"].keys() == EXPERIMENTS.keys()
    assert result["skipped"].keys() == (set() if find_spec("fastabx") else {"abx_phone"})
    for name in result["experiments"]:
        assert (corpus.folder("everything") / f"{name}.csv").is_file()


@pytest.mark.slow
def test_every_score_lies_in_its_interval_and_is_finite(result):
    for name, found in result["experiments"].items():
        for upstream, rows in found["upstreams"].items():
            for row in rows:
                assert np.isfinite(row["score"]), (name, upstream)
                if row["low"] is not None:
                    assert row["low"] - 0.05 <= row["score"] <= row["high"] + 0.05, (name, upstream, row["label"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cca_word", "cca_agwe", "cca_glove", "mi_word", "awd", "wordsim"])
def test_words_are_found_in_features_that_show_them(result, name):
    row, chance = curve(result, name)[0], result["experiments"][name]["chance"]
    assert row["score"] > chance + 0.15
    assert row["low"] > chance


@pytest.mark.slow
def test_features_are_like_themselves_and_layers_less(result):
    assert curve(result, "cca_mel")[0]["score"] == pytest.approx(1, abs=1e-6)
    assert next(row["score"] for row in curve(result, "cca_intra", "tiny")) == 1
    assert all(row["score"] < 1 for row in curve(result, "cca_intra", "tiny")[1:])
    assert curve(result, "cca_intra", "tiny")[0]["notes"] == ["the base layer beside itself"]


@pytest.mark.slow
def test_the_shape_of_features_has_as_many_dimensions_as_they_have(result):
    row = curve(result, "shape")[0]
    assert 1 < row["score"] <= WIDTH
    assert row["detail"]["norm"] > 0
    assert row["detail"]["anisotropy"] is not None


@pytest.mark.slow
def test_word_similarity_has_word_vectors_as_its_ceiling(result):
    found = result["experiments"]["wordsim"]
    assert found["ceiling"] == pytest.approx(1, abs=1e-3)  # the scores are the vectors' cosines
    assert found["upstreams"]["word vectors"][0]["score"] == found["ceiling"]
    assert found["upstreams"]["pronunciations"][0]["label"] == "control"
    assert curve(result, "wordsim")[0]["detail"]["sets"]["SET"]["pairs"] == 36


@pytest.mark.slow
def test_word_discrimination_says_what_speakers_do_and_warps_time(result):
    detail = curve(result, "awd")[0]["detail"]
    assert 0 < detail["other_speaker"] <= 1
    assert 0 < detail["same_speaker"] <= 1
    assert detail["dtw"] > result["experiments"]["awd"]["chance"]
    assert result["experiments"]["awd"]["chance"] == pytest.approx(detail["chance"])


@pytest.mark.slow
def test_segmentation_scores_other_utterances_than_it_chose_on(result):
    data = result["experiments"]["segmentation"]["data"][0]
    assert data["dev_utterances"] + data["scored_utterances"] == 48
    row = curve(result, "segmentation")[0]
    assert row["detail"]["setting"]["distance"] in ("euclidean", "cosine")
    assert "equal distances" in result["experiments"]["segmentation"]["upstreams"]


@pytest.mark.slow
def test_an_upstream_beside_itself_is_the_same(corpus):
    other = corpus.tiny.replace("tiny=", "twin=")
    found = corpus.run("cca_inter,cka", "twins", "--upstream", other, upstream=corpus.tiny)
    rows = curve(found, "cca_inter", "tiny and twin")
    assert [row["label"] for row in rows] == ["T0", "T1", "T2"]
    assert [row["score"] for row in rows] == pytest.approx([1, 1, 1], abs=1e-5)
    for name, key in (("cka", "tiny"), ("cca_inter", "tiny and twin")):
        values = np.array(found["experiments"][name]["maps"][key]["values"])
        assert np.diag(values) == pytest.approx(np.ones(3), abs=1e-6)
        assert np.allclose(values, values.T, atol=1e-9)
        assert values[0, 2] < 1 - 1e-6


@pytest.mark.slow
def test_every_experiment_has_its_figure_as_png_and_svg(corpus, result):
    others = {"attention", "layer_weights", "lnsr"}  # heads, weights and several curves have names of their own
    for name in result["experiments"].keys() - others:
        for ending in ("png", "svg"):
            assert (corpus.folder("everything") / f"{name}.{ending}").is_file(), name
    assert (corpus.folder("everything") / "cka_map.png").is_file()


@pytest.mark.slow
def test_an_utterance_that_is_its_own_identity_leaks_through_folds_of_samples(corpus):
    """Frames say which utterance they are of, and each utterance has one phone: nothing of phones is in them. Folds by
    sample, as the original's, put every utterance on both sides (the leak A12)."""
    rng = np.random.default_rng(3)
    utterances, phones = {}, []
    for number in range(60):
        key, identity = f"s{number % 5}-{number}", rng.normal(size=40)
        utterances[key] = (identity + 0.3 * rng.normal(size=(100, 40))).astype(np.float32)
        label = "ab"[int(rng.integers(2))]
        phones.append((key, [(start / 20, start / 20 + 0.05, label) for start in range(20)]))
    write_store(corpus.root / "identities", "all", utterances)
    write_alignment(corpus.root / "one_phone", phones)
    data = (f"data.store=[{corpus.root}/identities/all]", f"data.alignment={corpus.root}/one_phone", "data.words=null")
    data += ("sampling.phones_max=1000",)
    scores = {}
    for group in ("sample", "utterance"):
        found = corpus.run("cca_phone", f"leak_{group}", f"cca.group={group}", *data)
        scores[group] = curve(found, "cca_phone")[0]["score"]
    assert scores["sample"] > 0.6
    assert abs(scores["utterance"]) < 0.35


@pytest.mark.slow
def test_the_original_scheme_and_frames_are_named_options(corpus):
    options = ("cca.scheme=original", "sampling.frames=original")
    found = corpus.run("cca_phone", "original", *options)
    row = curve(found, "cca_phone")[0]
    assert row["detail"]["scheme"] == "original"
    assert len(row["per_trial"]) == 3
    assert row["score"] == pytest.approx(np.mean(row["per_trial"]))
    floats = corpus.run("cca_phone", "original_float", "cca.scheme=original", "sampling.frames=original_float")
    assert curve(floats, "cca_phone")[0]["score"] == pytest.approx(row["score"], abs=0.05)


@pytest.mark.slow
def test_parts_of_words_are_looked_at(corpus):
    """Behind every word is a pause, and the frame nearest to a word's end is of that."""
    scores = {}
    for part in ("first", "center", "last", "q2"):
        found = corpus.run("cca_word", f"part_{part}", f"sampling.part={part}")
        scores[part] = curve(found, "cca_word")[0]["score"]
    assert min(scores["first"], scores["center"], scores["q2"]) > 0.3
    assert scores["last"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cca_phone", "cca_word", "cca_mel"])
def test_labels_and_bands_give_the_weights_however_narrow_a_layer_is(corpus, result, name):
    """A narrow layer was weighed by itself, which scores higher, and stood above wider layers that hold as much."""
    rows = [row for upstream in ("baseline", "tiny") for row in curve(result, name, upstream)]
    for row in rows:
        assert row["score"] == row["detail"]["pwcca_by_view"], row["label"]
    assert any(row["detail"]["pwcca_by_view"] != row["detail"]["pwcca_by_layer"] for row in rows)


@pytest.mark.slow
def test_maps_have_the_measure_that_is_asked_for(corpus, result):
    """SVCCA and biased CKA keep the diagonal at 1 and the map symmetric; each has its own values, of the same sums."""
    found = {"cka_debiased": result["experiments"]["cka"]["maps"]["tiny"]}
    for measure in ("svcca", "cka"):
        made = corpus.run("cka", f"map_{measure}", "--upstream", corpus.tiny, f"cca.map={measure}")
        found[measure] = made["experiments"]["cka"]["maps"]["tiny"]
    assert [one["measure"] for one in found.values()] == ["debiased CKA", "SVCCA of the same frames", "CKA, biased"]
    values = {name: np.array(one["values"]) for name, one in found.items()}
    for one in values.values():
        assert np.diag(one) == pytest.approx(1)
        assert one == pytest.approx(one.T)
    assert not np.allclose(values["svcca"], values["cka"], rtol=0, atol=1e-6)
    assert (values["cka"] - values["cka_debiased"])[0, 1] > 0, "the biased form is greater"


@pytest.mark.slow
def test_the_result_is_plain_json(corpus, result):
    text = (corpus.folder("everything") / "result.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == result
