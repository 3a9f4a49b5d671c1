"""run_analysis.py with finished probes: what cut heads cost them, and attacks that raise their loss."""

import json

import pytest

import run_analysis
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.downstream_corpus import PHONES, WIDTH, small_corpus

MODEL = {"layers": 2, "hidden_size": 16, "heads": 2, "ffn_size": 32, "initializer_range": 0.3}
QUICK = ["attention.utterances=4", "attention.step=2", "lnsr.utterances=4", "lnsr.sizes=[0.1]", "lnsr.steps=2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus, a checkpoint, and probes of it and of its random twin."""
    small = small_corpus(tmp_path_factory.mktemp("small"))
    write_checkpoint(small.root / "m.ckpt", None, WIDTH, model=MODEL)
    for task in ("phone_linear", "speaker_utterance"):
        small.run(task, f"base=pretrained:{small.root}/m.ckpt", "--name", "p", "--seed", "3")
    small.run("phone_linear", f"twin=random:{small.root}/m.ckpt", "--name", "p", "--weighted_sum")
    small.run(
        "phone_linear", f"base=pretrained:{small.root}/m.ckpt", "--name", "tuned", "--fine_tune", "trainer.steps=2"
    )
    return small


def probe(corpus, task="phone_linear", of="base", name="p"):
    return f"{corpus.root}/result/result_{of}_{task}/{name}"


def reported(corpus, *named) -> float:
    return json.loads(open(f"{probe(corpus, *named)}/result.json").read())["value"]


def words(corpus, names, *more):
    upstreams = [
        "--upstream",
        f"base=pretrained:{corpus.root}/m.ckpt",
        "--upstream",
        f"twin=random:{corpus.root}/m.ckpt",
    ]
    data = [f"data.store=[{corpus.root}/store/all]", *QUICK, *more]
    place = ["--cpu", "--no-msg", "--bootstrap", "20", "--expdir", f"{corpus.root}/result"]
    return ["--run", names, *upstreams, *place, *data]


def run(corpus, names, name, *more) -> dict:
    assert run_analysis.main([*words(corpus, names, *more), "--name", name]) == 0
    return json.loads((corpus.root / "result/result_analysis" / name / "result.json").read_text())["experiments"]


@pytest.mark.slow
def test_a_frozen_probe_scores_the_whole_model_as_its_own_run_did(corpus):
    probes = f"attention.probes=[{probe(corpus)},{probe(corpus, 'speaker_utterance')}]"
    found = run(corpus, "attention", "frozen", probes, "attention.retrain=false")["attention"]["pruning"]
    base = found["base"]
    names = ["reconstruction L1", "phone_linear accuracy, frozen", "speaker_utterance accuracy, frozen"]
    assert list(base["figures"]) == names
    assert [base["figures"][name] for name in names] == ["", "%", "%"]
    for task in ("phone_linear", "speaker_utterance"):
        name = f"{task} accuracy, frozen"
        for curve in (*base["heads"], *base["span"]):
            assert curve["figures"][name][0] == pytest.approx(reported(corpus, task), abs=1e-6)
    phones = [curve["figures"]["phone_linear accuracy, frozen"] for curve in base["heads"]]
    assert min(curve[-1] for curve in phones) < reported(corpus) - 3  # without heads the states are others
    assert [one["retrained"] for one in base["probes"]] == [False, False]
    assert list(found) == ["base"]  # a frozen probe is of one upstream alone
    folder = corpus.root / "result/result_analysis/frozen"
    assert (folder / "attention_pruning_heads_base.png").is_file()


@pytest.mark.slow
def test_a_probe_is_trained_again_at_each_step_also_for_a_random_twin(corpus, monkeypatch):
    probes = (f"attention.probes=[{probe(corpus)}]", "attention.retrain_steps=20", "attention.spans=false")
    found = run(corpus, "attention", "retrained", *probes)["attention"]["pruning"]
    frozen = run(corpus, "attention", "frozen again", probes[0], "attention.retrain=false", "attention.spans=false")
    frozen = frozen["attention"]["pruning"]["base"]
    assert list(found) == ["base", "twin"]
    name = "phone_linear accuracy, retrained"
    assert list(found["twin"]["figures"]) == [name]
    assert [one["of"] for one in found["base"]["probes"]] == ["this upstream"]
    assert [one["of"] for one in found["twin"]["probes"]] == ["another upstream: it is trained for this one"]
    assert found["twin"]["probes"][0]["steps"] == 20  # of 30 that it had
    for curve, old in zip(found["base"]["heads"], frozen["heads"]):
        cut = curve["figures"][name][-1]
        assert cut > old["figures"]["phone_linear accuracy, frozen"][-1] + 2  # it adapts to what is left
        assert cut > 100 / len(PHONES)
    # what was scored is kept: nothing is trained a second time
    from commands import analysis_probes

    monkeypatch.setattr(analysis_probes.OpenedProbe, "score", lambda *_: pytest.fail("trained again"))
    for file in (corpus.root / "result/result_analysis/retrained/cache/scores").rglob("*.json"):
        if not file.name.startswith("probe_"):
            file.unlink()
    words_of_it = [*words(corpus, "attention", *probes), "--resume", "--name", "retrained"]
    assert run_analysis.main(words_of_it) == 0


@pytest.mark.slow
def test_attacks_raise_the_loss_of_every_upstreams_own_probe(corpus):
    probes = f"lnsr.probe=[{probe(corpus)},{probe(corpus, of='twin')}]"
    found = run(corpus, "lnsr", "attacked", probes)["lnsr"]
    assert found["objective"] == "the probe phone_linear"
    assert "the probe phone_linear" in found["measure"]
    for name in ("base", "twin"):
        raised = found["loss_raised"][name]
        for attack in ("fgsm 0.1", "pgd 0.1"):
            assert raised[attack] > 2 * abs(raised[f"{attack}, noise L2"])
    alone = run(corpus, "lnsr", "one probe", f"lnsr.probe=[{probe(corpus)}]")["lnsr"]
    assert alone["objective"] == "the last layer"  # of all alike, or none can be compared


BAD = {
    "nowhere": (["attention.probes=[nowhere]"], "attention.probes: nowhere holds no finished probe"),
    "tuned": (["attention.probes=[{tuned}]"], r"tuned its upstream \(fine_tune\): name a probe of a frozen one"),
    "two of one task": (["attention.probes=[{base},{base}]"], "is a second probe of its upstream for phone_linear"),
    "foreign": (["lnsr.probe=[{other}]"], r"is a probe of another upstream \(\w+\) than base, twin"),
    "no probe": (["lnsr.objective=probe", "lnsr.probe=[{base}]"], "lnsr.probe names no probe of twin"),
    "no head": (["lnsr.objective=reconstruction"], "lnsr.objective=reconstruction: there is no trained head of twin"),
    "unused": (["lnsr.objective=drift", "lnsr.probe=[{base}]"], "lnsr.probe would change nothing"),
    "uncut": (["attention.pruning=false", "attention.probes=[{base}]"], "attention.probes would change nothing"),
    "several tasks": (["lnsr.probe=[{speaker},{twin}]"], "probes of phone_linear and speaker_utterance: give"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_probes_that_do_not_fit_are_refused_in_one_line(corpus, case):
    given, message = BAD[case]
    folders = {"base": probe(corpus), "tuned": probe(corpus, name="tuned"), "twin": probe(corpus, of="twin")}
    folders |= {"speaker": probe(corpus, "speaker_utterance"), "other": f"{corpus.root}/other"}
    if case == "foreign":
        other = corpus.root / "other"
        other.mkdir(exist_ok=True)
        content = json.loads((corpus.root / "result/result_base_phone_linear/p/result.json").read_text())
        content["fingerprints"]["upstream"]["fingerprint"] = "0123456789abcdef"
        (other / "result.json").write_text(json.dumps(content))
        (other / "best.ckpt").write_bytes(b"")
    given = [word.format(**folders) for word in given]
    with pytest.raises(ValueError, match=message) as refused:
        run_analysis.main(words(corpus, "attention,lnsr", *given))
    assert "\n" not in str(refused.value)
