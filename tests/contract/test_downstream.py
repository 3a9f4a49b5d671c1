"""Probing runs from the command line to the report, on a small corpus made here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import run_downstream
from downstream import experiment as experiments
from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from downstream.heads.layer_sum import LayerSum
from downstream.probe import Probe
from downstream.tasks.table import TASKS, find_task
from mockingjay import states as cache
from originals.probing import open_probe, score_again
from run_downstream import make_parser
from tests.helpers.downstream_corpus import EACH, SPEAKERS, TABLELESS, Small, write_store
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build, resolve
from utility.store.reading import Store
from utility.training.checkpoint import load_checkpoint, save_checkpoint


def result(small: Small, place: str) -> dict:
    return json.loads((small.root / "result" / place / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("task", TABLELESS)
def test_every_task_learns_from_the_baseline_without_a_checkpoint(small, task):
    small.run(task, "baseline", "--name", "plain")
    found = result(small, f"result_baseline_{task}/plain")
    chance = 100 / found["classes"]
    assert found["test_accuracy"] > chance + 15
    assert found["dev_accuracy"] > chance + 15
    assert found["division"]["rule"] == ("speaker" if task.startswith("phone") else "utterance")
    parts = [found["division"][part]["utterances"] for part in ("train", "dev", "test")]
    assert sum(parts) == SPEAKERS * EACH
    assert found["seed"] == 1337
    assert found["config"]["optimizer"]["lr"] == 0.02
    assert {"python", "torch", "numpy"} <= found["versions"].keys()
    assert found["layer"] == 0
    assert found["layer_weights"] is None
    folder = small.root / "result" / f"result_baseline_{task}" / "plain"
    for name in ("config.yaml", "confusion.png", "curves.png", "metrics.jsonl", "best.ckpt"):
        assert (folder / name).stat().st_size > 0
    assert not list(folder.glob("events.*"))
    assert list((small.root / "log" / folder.relative_to(small.root / "result")).glob("events.*"))


ARCHITECTURE = "model: {layers: 2, hidden_size: 16, heads: 2, ffn_size: 32}\n"


@pytest.fixture(scope="session")
def architecture(small) -> str:
    """A pre-training YAML of a tiny encoder, for `--upstream random`."""
    file = small.root / "tiny.yaml"
    file.write_text(ARCHITECTURE)
    return str(file)


@pytest.mark.slow
def test_weighted_sum_weights_are_trained_and_reported_without_fine_tuning(small, architecture):
    small.run("phone_linear", "random", "--ckpt", architecture, "--weighted_sum", "--name", "sum")
    found = result(small, "result_random_phone_linear/sum")
    weights = found["layer_weights"]
    assert len(weights) == 3
    assert sum(weights) == pytest.approx(1)
    assert max(abs(weight - 1 / 3) for weight in weights) > 0.01
    assert found["layer"] is None
    assert found["config"]["upstream"]["weighted_sum"]


def test_weighted_sum_of_stored_states_is_that_of_the_states_themselves(small, architecture):
    torch.manual_seed(0)
    probe = LayerSum(3)
    probe.scores.data = torch.randn(3)
    states = [torch.randn(2, 5, 4) for _ in range(3)]
    expected = sum(w * s for w, s in zip(probe.scores.softmax(0), states))
    assert torch.allclose(probe(states), expected, atol=1e-6)
    assert torch.allclose(probe(torch.stack(states, dim=2)), expected, atol=1e-6)


@pytest.mark.slow
def test_fine_tuning_moves_the_upstream_at_its_own_rate(small, architecture):
    tuned = {"upstream": {"fine_tune": True}, "probe": {"upstream_lr": 1e-3}}
    settings = small.setting("phone_linear", f"random:{architecture}", **tuned)
    experiment = Experiment(settings, small.root / "tuned")
    before = {name: value.clone() for name, value in experiment.probe.state_dict().items()}
    groups = experiment.probe.groups(settings.config)
    assert {group.get("lr") for group in groups} == {None, 1e-3}
    experiment.train()
    moved = {name for name, value in experiment.probe.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("upstream.encoder") for name in moved)
    assert "classifier.linears.0.weight" in moved
    assert not (small.root / "cache_tuned").exists()


def test_frozen_upstream_does_not_move(small, architecture):
    settings = small.setting("phone_linear", f"random:{architecture}")
    experiment = Experiment(settings, small.root / "frozen")
    assert not any(name.startswith("upstream") for name in experiment.probe.state_dict())


@pytest.mark.slow
def test_representations_are_computed_once_and_never_stale(small, architecture, monkeypatch):
    made = []
    original = cache.represent
    monkeypatch.setattr(cache, "represent", lambda *args: made.append(args[2]) or original(*args))
    data = {"cache": str(small.root / "cache_once")}
    settings = small.setting("phone_linear", f"random:{architecture}", data=data)
    for number, changed in enumerate((settings, settings, replace(settings, task=find_task("speaker_utterance")))):
        Experiment(changed, small.root / f"once_{number}").train()
    assert len(made) == 1
    Experiment(replace(settings, seed=2), small.root / "once_other").train()  # other random weights
    config = build(DownstreamConfig, as_dict(settings.config) | {"upstream": {"layer": 0}})
    Experiment(replace(settings, config=config), small.root / "once_layer").train()
    assert len(set(made)) == len(made) == 3


@pytest.mark.slow
def test_own_upstream_is_probed_and_tuned(small):
    small.run("phone_linear", "tests.helpers.downstream_corpus:Doubling", "--name", "own")
    found = result(small, "result_tests.helpers.downstream_corpus-Doubling_phone_linear/own")
    assert found["test_accuracy"] > 60
    small.run("phone_linear", "tests.helpers.downstream_corpus:Doubling", "--fine_tune", "--name", "tuned")
    tuned = result(small, "result_tests.helpers.downstream_corpus-Doubling_phone_linear/tuned")
    assert tuned["fine_tune"]
    assert tuned["parameters"]["trained"] == found["parameters"]["trained"] + 1


def test_own_upstream_draws_the_same_weights_for_the_same_seed(small):
    settings = small.setting("phone_linear", "tests.helpers.downstream_corpus:Drawing")
    made = [Experiment(replace(settings, seed=seed), small.root / "drawn").fingerprint for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@pytest.mark.slow
def test_stored_layers_are_probed_without_their_upstream(small):
    store = Store(f"{small.root}/store/all")
    layered = {key: np.stack([store[i], -store[i], store[i] * 0], axis=1) for i, key in enumerate(store.ids)}
    write_store(small.root / "layers", "all", layered)
    words = ["--name", "stored", f"data.train=[{small.root}/layers/all]"]
    small.run("phone_linear", "baseline", "--weighted_sum", *words)
    assert len(result(small, "result_baseline_phone_linear/stored")["layer_weights"]) == 3
    small.run("phone_linear", "baseline", "--layer", "2", "--name", "zeros", words[-1])
    small.run("phone_linear", "baseline", "--layer", "1", "--name", "negative", words[-1])
    zeros, negative = (result(small, f"result_baseline_phone_linear/{name}") for name in ("zeros", "negative"))
    assert zeros["test_accuracy"] < negative["test_accuracy"] - 10


def lines(folder: Path) -> list[dict]:
    """The logged figures, without those of the clock."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if not k.startswith(("frames_per_s", "data_wait"))} for record in records]


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [False, True])
def test_resumed_run_equals_an_undisturbed_one(small, architecture, tuned, monkeypatch):
    more = {"upstream": {"fine_tune": True}} if tuned else {"probe": {"dropout": 0.3}}
    settings = small.setting("phone_1hidden", f"random:{architecture}", **more)
    straight, broken = small.root / f"straight_{tuned}", small.root / f"broken_{tuned}"
    Experiment(settings, straight).train()

    class Killed(Exception):
        pass

    calls = []

    def dying(self, batch, generator):
        calls.append(1)
        if len(calls) in (15, 32):
            raise Killed
        return step(self, batch, generator)

    step = Probe.step
    monkeypatch.setattr(Probe, "step", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            Experiment(settings, broken).train()
    Experiment(settings, broken).train()
    assert lines(broken) == lines(straight)
    for name in ("probe-30.ckpt", "best.ckpt"):
        one, other = (torch.load(folder / name, weights_only=True) for folder in (straight, broken))
        assert one["state"] == other["state"]
        for key, value in one["model"].items():
            assert torch.equal(value, other["model"][key])


@pytest.mark.slow
def test_resume_refuses_another_setting(small):
    small.run("phone_linear", "baseline", "--name", "fixed")
    with pytest.raises(ValueError, match=r"already.*--resume"):
        small.run("phone_linear", "baseline", "--name", "fixed")
    with pytest.raises(ValueError, match=r"config\.optimizer\.lr was 0\.02, now 0\.01"):
        small.run("phone_linear", "baseline", "--name", "fixed", "--resume", "optimizer.lr=0.01")
    before = result(small, "result_baseline_phone_linear/fixed")
    folder = small.root / "result" / "result_baseline_phone_linear" / "fixed"
    words = small.words("--run", "phone_linear", "--upstream", "baseline", "--resume", str(folder))
    at = words.index("--expdir")  # the folder says it all
    assert run_downstream.main([*words[:at], *words[at + 2 :]]) == 0
    assert result(small, "result_baseline_phone_linear/fixed") == before


@pytest.mark.slow
def test_sweep_over_seeds_reads_test_once_per_seed_for_what_dev_chose(small, monkeypatch, capsys):
    opened = []
    original = experiments.Sealed.score
    monkeypatch.setattr(experiments.Sealed, "score", lambda self, *args: opened.append(1) or original(self, *args))
    small.run("phone_linear", "baseline", "--name", "many", "--sweep", "lr=1e-6,2e-2", "--seeds", "2")
    folder = small.root / "result" / "result_baseline_phone_linear" / "many"
    summary = json.loads((folder / "summary.json").read_text())
    assert len(opened) == 2
    assert [row["chosen"] for row in summary["seeds"]] == ["lr=2e-2", "lr=2e-2"]
    tests = [row["test_accuracy"] for row in summary["seeds"]]
    assert summary["test_mean"] == pytest.approx(np.mean(tests))
    assert summary["test_deviation"] == pytest.approx(np.std(tests, ddof=1))
    unread = json.loads((folder / "seed_1337" / "lr=1e-6" / "result.json").read_text())
    assert unread["test_accuracy"] is None
    assert "chosen on dev" in capsys.readouterr().out
    small.run("phone_linear", "baseline", "--name", "many", "--sweep", "lr=1e-6,2e-2", "--seeds", "2", "--resume")
    assert len(opened) == 2  # what is finished is read, not scored again


def test_test_part_plays_no_role_in_training_or_choice(small, monkeypatch):
    asked = []
    original = Experiment._loader
    monkeypatch.setattr(
        Experiment, "_loader", lambda self, part, **more: asked.append(part) or original(self, part, **more)
    )
    experiment = Experiment(small.setting("phone_linear"), small.root / "sealed")
    experiment.train()
    experiment.load_best()
    assert "test" not in asked
    experiment.test.score(experiment.probe, torch.device("cpu"))
    assert asked[-1] == "test"
    with pytest.raises(AssertionError, match="read once"):
        experiment.test.score(experiment.probe, torch.device("cpu"))


def test_ten_percent_of_the_labels_whatever_the_seed(small):
    settings = small.setting("phone_linear", data={"label_fraction": 0.1})
    chosen = [Experiment(replace(settings, seed=seed), small.root / "part").corpus.parts for seed in (1, 2)]
    full = Experiment(small.setting("phone_linear"), small.root / "part").corpus.parts
    assert len(chosen[0].train) == -(-len(full.train) // 10)
    assert (chosen[0].train == chosen[1].train).all()
    assert set(chosen[0].train) <= set(full.train)
    assert (chosen[0].dev == full.dev).all()
    assert (chosen[0].test == full.test).all()


def test_warning_where_cmvn_removes_what_is_pooled(small):
    experiment = Experiment(small.setting("speaker_utterance"), small.root / "warned")
    assert experiment.warning() is None
    store = experiment.corpus.store
    store.info = replace(store.info, features=FeatureConfig(cmvn="utterance"))
    assert "CMVN" in experiment.warning()
    store.info = replace(store.info, features=FeatureConfig(cmvn="none"))
    assert experiment.warning() is None


def test_help_names_every_task_and_flag():
    shown = make_parser().format_help()
    for about in TASKS.values():
        assert about in shown
    for flag in ("--run", "--upstream", "--ckpt", "--weighted_sum", "--fine_tune", "--resume", "--sweep", "--seeds"):
        assert flag in shown


def test_default_yaml_holds_the_defaults():
    assert resolve(DownstreamConfig, "config/downstream.yaml") == DownstreamConfig()


def test_a_run_of_an_earlier_version_goes_on(small, tmp_path):
    """Its config had fewer keys; what they say now by default is what was done then."""
    experiment = Experiment(small.setting("phone_linear"), tmp_path / "run")
    experiment.train()
    for file in (tmp_path / "run").glob("*.ckpt"):
        content = load_checkpoint(file, "probe")
        config = content["about"]["config"]
        del config["data"]["fine_tune_seconds"], config["upstream"]["freeze"]
        del config["upstream"]["gradient_checkpointing"]
        save_checkpoint(file, "probe", content)
    experiment.check_same()
    other = Experiment(small.setting("phone_linear", data={"fine_tune_seconds": 3.0}), tmp_path / "run")
    with pytest.raises(ValueError, match=r"config\.data\.fine_tune_seconds was 60\.0, now 3\.0"):
        other.check_same()


FOREIGN = {
    "about nothing": {"about": None},
    "about a list": {"about": [1]},
    "about a text": {"about": "phone_linear"},
    "about tensors": {"about": {"task": torch.zeros(2)}},
    "about of tensors inside": {"about": {"config": {"data": torch.zeros(2)}}},
    "about a number by numbers": {"about": {1: 2}},
    "state nothing": {"state": None},
    "state of texts": {"state": {"step": "x", "best_step": []}},
    "model nothing": {"model": None},
    "model of numbers": {"model": {"a": 1}},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_probe_of_foreign_content_is_refused_in_a_line(change, small, tmp_path):
    """It was a KeyError, TypeError or AttributeError."""
    folder = tmp_path / "run"
    experiment = Experiment(small.setting("phone_linear"), folder)
    experiment.train()
    experiment.check_same()
    assert experiment.state()["step"] == 30
    for file in folder.glob("*.ckpt"):
        content = load_checkpoint(file, "probe")
        save_checkpoint(file, "probe", {**content, **change})
        if "about" in change:
            with pytest.raises(ValueError, match=rf"{file}.*(damaged|is a probe for)"):
                open_probe(file, "phone_linear")
        elif "model" in change:
            with pytest.raises(ValueError, match=f"{file}: damaged: 'model' holds"):
                score_again(experiment, open_probe(file, "phone_linear"), file)
    look = {"about": experiment.check_same, "state": experiment.state, "model": experiment.load_best}[
        next(iter(change))
    ]
    with pytest.raises(ValueError, match=r"ckpt: |cannot be continued: ") as refused:
        look()
    assert len(str(refused.value)) < 500
