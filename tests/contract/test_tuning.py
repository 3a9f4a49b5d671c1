"""Fine-tuning of any upstream: what moves, what stays, and what is left at the end."""

from pathlib import Path

import pytest
import torch

import run_downstream
from downstream.experiment import Experiment
from downstream.probe import Probe
from downstream.report import describe_result
from downstream.sweep import run_single
from mockingjay.checkpoint import load_pretrained
from mockingjay.export.write import write_export
from mockingjay.upstream import load_upstream
from tests.helpers.any_specs import SPECS, make_spec
from tests.helpers.checkpoints import GRU, TRANSFORMER, write_checkpoint
from tests.helpers.heard_corpus import FEATURES, Heard
from tests.helpers.waveform_upstreams import Strided

TUNED = {"trainer": {"steps": 3, "eval_every": 1, "save_every": 1}, "probe": {"upstream_lr": 1e-2}}


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch) -> None:
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)


@pytest.fixture(scope="module")
def ckpt(heard) -> Path:
    return write_checkpoint(heard.root / "ckpt/tuned.ckpt", FEATURES, model=TRANSFORMER)


def trained(heard: Heard, called: str, train: str, folder: Path, **upstream) -> tuple[Experiment, dict]:
    """A run of three steps, and the weights of the upstream before it."""
    told = {"fine_tune": True, **upstream}
    experiment = Experiment(heard.setting("phone_linear", called, train, upstream=told, **TUNED), folder)
    before = {name: value.clone() for name, value in experiment.upstream.state_dict().items()}
    experiment.train()
    return experiment, before


FROZEN = {
    "as the papers do": ({}, {"convolutions"}),
    "nothing": ({"freeze": []}, set()),
    "a block, and its name in full": ({"freeze": ["blocks.0", "model.convolutions.1"]}, {"blocks.0", "convolutions.1"}),
}


@pytest.mark.parametrize("case", FROZEN)
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_moves(case, heard, strided, tmp_path):
    upstream, frozen = FROZEN[case]
    experiment, before = trained(heard, "strided20", heard.store, tmp_path / "run", **upstream)
    for name, value in experiment.upstream.state_dict().items():
        stays = any(name.startswith(f"model.{prefix}") for prefix in frozen)
        assert torch.equal(value, before[name]) == stays, name
    experiment.probe.train()
    modules = dict(experiment.upstream.named_modules())
    assert modules["model.convolutions"].training == ("convolutions" not in frozen)
    assert modules["model.blocks.0"].training == ("blocks.0" not in frozen)
    assert modules["model.dropout"].training
    groups = [
        parameter for group in experiment.probe.groups(experiment.setting.config) for parameter in group["params"]
    ]
    assert len(groups) == 2 + sum(parameter.requires_grad for parameter in experiment.upstream.parameters())


@pytest.mark.parametrize("called", ["strided20", "pretrained"])
def test_tuning_from_recordings_is_tuning_from_a_store_of_them(called, heard, ckpt, strided, tmp_path):
    spec = f"pretrained:{ckpt}" if called == "pretrained" else called
    one, _ = trained(heard, spec, heard.store, tmp_path / "store")
    other, _ = trained(heard, spec, heard.table, tmp_path / "table")
    for (name, value), same in zip(one.probe.state_dict().items(), other.probe.state_dict().values(), strict=True):
        assert torch.equal(value, same), name
    assert (one.directory / "metrics.jsonl").stat().st_size > 0


def test_tuning_that_was_killed_goes_on_exactly(heard, strided, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    straight, _ = trained(heard, "strided40", heard.table, tmp_path / "straight")
    calls, step = [], Probe.step

    def dying(self, batch, generator):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return step(self, batch, generator)

    monkeypatch.setattr(Probe, "step", dying)
    with pytest.raises(Killed):
        trained(heard, "strided40", heard.table, tmp_path / "broken")
    again, _ = trained(heard, "strided40", heard.table, tmp_path / "broken")
    assert len(calls) == 4  # the third step was done again
    for (name, value), same in zip(straight.probe.state_dict().items(), again.probe.state_dict().values(), strict=True):
        assert torch.equal(value, same), name


@pytest.mark.slow
def test_the_tuned_upstream_of_the_best_step_is_written_and_opens_again(heard, strided, tmp_path):
    told = {"fine_tune": True}
    setting = heard.setting("phone_linear", "strided20", heard.store, upstream=told, **TUNED)
    result = run_single(setting, tmp_path / "run")
    written = tmp_path / "run/upstream/strided.pt"
    assert result["tuned_upstream"] == f"hf:{written}"
    assert f"--upstream hf:{written}" in describe_result(result, tmp_path / "run")
    best = torch.load(tmp_path / "run/best.ckpt", weights_only=True)["model"]
    again = Strided(20)
    again.model.load_state_dict(torch.load(written, weights_only=True))
    for name, value in again.state_dict().items():
        assert torch.equal(value, best[f"upstream.{name}"]), name
    plain = run_single(heard.setting("phone_linear", "strided20", heard.store), tmp_path / "frozen")
    assert plain["tuned_upstream"] is None
    assert plain["parameters"]["trained"] < result["parameters"]["trained"]
    assert result["parameters"]["trained"] == plain["parameters"]["trained"] + 2 * (12 * 12 + 12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pretrained", "pretrained_head", "random", "random of a YAML"])
def test_a_tuned_checkpoint_is_one_of_ours(kind, heard, ckpt, tmp_path, capsys):
    if kind == "random of a YAML":
        (tmp_path / "tiny.yaml").write_text("model: {layers: 2, hidden_size: 16, heads: 2, ffn_size: 16}\n")
        spec, opened_as = f"random:{tmp_path}/tiny.yaml", "pretrained"
    else:
        spec, opened_as = f"{kind}:{ckpt}", "pretrained_head" if kind == "pretrained_head" else "pretrained"
    settings = heard.setting("phone_linear", spec, heard.store, upstream={"fine_tune": True}, **TUNED)
    result = run_single(settings, tmp_path / "run")
    path = tmp_path / "run/upstream/best.ckpt"
    assert result["tuned_upstream"] == f"{opened_as}:{path}"
    experiment = Experiment(settings, tmp_path / "run")
    experiment.load_best()
    features = torch.randn(2, 30, FEATURES.dim, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([30, 17])
    again = load_upstream(result["tuned_upstream"], info=experiment.corpus.store.info)
    with torch.no_grad():
        for one, other in zip(experiment.upstream(features, lengths), again(features, lengths), strict=True):
            assert torch.equal(one, other)
    saved = load_pretrained(path)
    assert saved.training.cannot_resume == "it was tuned by a probe"
    assert saved.features == FEATURES
    if kind == "pretrained":
        original = load_pretrained(ckpt)
        assert saved.step == original.step
        for name, value in original.model.state_dict().items():
            assert torch.equal(value, saved.model.state_dict()[name]) == name.startswith("head."), name
        for target in ("hf", "s3prl", "safetensors"):
            write_export(saved, target, tmp_path / target)
        words = heard.words(heard.table, "--run", "phone_linear", "--upstream", result["tuned_upstream"], "--dry_run")
        assert run_downstream.main([*words, "--no-msg"]) == 0
        assert "phone_linear" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_each_kind_of_upstream_is_tuned_and_opens_again_by_what_the_report_says(name, heard, tmp_path):
    spec = make_spec(name, tmp_path / "spec")
    settings = heard.setting("speaker_utterance", spec, heard.table, upstream={"fine_tune": True}, **TUNED)
    before = load_upstream(spec)
    result = run_single(settings, tmp_path / "run")
    again = load_upstream(result["tuned_upstream"])
    experiment = Experiment(settings, tmp_path / "run")
    experiment.load_best()
    wave = 0.1 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = [upstream(wave, torch.tensor([9000]))[-1] for upstream in (before, experiment.upstream.eval(), again)]
    assert torch.equal(given[1], given[2])
    assert not torch.equal(given[0], given[1])
    frozen = [name for name, weight in experiment.upstream.named_parameters() if not weight.requires_grad]
    assert bool(frozen) == bool(experiment.upstream.frozen_by_default)
    probed = heard.setting("speaker_utterance", result["tuned_upstream"], heard.table)
    assert Experiment(probed, tmp_path / "probed").fingerprint != experiment.fingerprint


def test_a_tuned_upstream_is_written_whole_or_not_at_all(heard, strided, tmp_path, monkeypatch):
    def failing(self, folder):
        (folder / "half").write_text("x")
        raise OSError("the disk is full")

    monkeypatch.setattr(Strided, "write_tuned", failing)
    settings = heard.setting("phone_linear", "strided20", heard.store, upstream={"fine_tune": True}, **TUNED)
    with pytest.raises(OSError, match="disk is full"):
        run_single(settings, tmp_path / "run")
    assert not [path for path in (tmp_path / "run").iterdir() if "upstream" in path.name]
    monkeypatch.undo()


def test_recomputed_blocks_give_the_same_weights(heard, ckpt, tmp_path):
    plain, _ = trained(heard, f"pretrained:{ckpt}", heard.store, tmp_path / "plain")
    again, _ = trained(heard, f"pretrained:{ckpt}", heard.store, tmp_path / "again", gradient_checkpointing=True)
    assert again.upstream.encoder.recompute
    assert not plain.upstream.encoder.recompute
    for name, value in plain.probe.state_dict().items():
        assert torch.allclose(value, again.probe.state_dict()[name], atol=1e-6), name


def test_an_upstream_that_cannot_recompute_says_so(heard, strided, tmp_path, monkeypatch):
    monkeypatch.delattr(Strided, "gradient_checkpointing")
    gru = write_checkpoint(tmp_path / "gru.ckpt", FEATURES, **GRU)
    told = {"fine_tune": True, "gradient_checkpointing": True}
    for spec in (f"pretrained:{gru}", "strided20"):
        with pytest.raises(ValueError, match=r"again: leave upstream\.gradient_checkpointing out"):
            heard.experiment("phone_linear", spec, heard.store, upstream=told)


def test_batches_of_sound_hold_the_seconds_of_the_config(heard, strided):
    told = {"upstream": {"fine_tune": True}, "data": {"fine_tune_seconds": 4.0}}
    loader = heard.experiment("phone_linear", "strided20", heard.table, **told)._loader("train", training=True)
    sizes = [tuple(batch.samples.shape) for batch in loader.once()]
    assert all(rows * samples <= 4.0 * 16000 + 720 * rows for rows, samples in sizes)  # less than a frame of each
    assert max(rows for rows, _ in sizes) > 1
