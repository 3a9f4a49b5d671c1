"""Addresses that READMEs of the originals and our own have named: each is imported by its old name and called.

What the calls give is compared with the originals in tests/oracle."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import runner_mockingjay
from tests.conftest import PROJECT
from tests.helpers.checkpoints import GRU, TRANSFORMER, write_checkpoint
from tests.helpers.speech import write_store

SCRIPTS = [
    "check_corpus",
    "demo_corpus",
    "export_kaldi",
    "generate_len_for_bucket",
    "make_trials",
    "preprocess_alignment",
    "preprocess_any",
    "preprocess_apc",
    "preprocess_kaldi",
    "preprocess_libri",
    "preprocess_mosei",
    "preprocess_text",
    "preprocess_timit",
]


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("old") / "mockingjay.ckpt", model=TRANSFORMER)


@pytest.fixture(scope="module")
def spec() -> torch.Tensor:
    return torch.randn(2, 30, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("address", ["runner_mockingjay", "mockingjay.original_api"])
def test_get_mockingjay_model(address, ckpt, spec):
    module = pytest.importorskip(address)
    states = module.get_mockingjay_model(from_path=ckpt).forward(spec=spec, all_layers=True, tile=True)
    assert states.shape == (2, 2, 30, 24)


def test_get_apc_model(tmp_path, spec):
    from mockingjay.original_api import get_apc_model

    prediction, states = get_apc_model(write_checkpoint(tmp_path / "apc.ckpt", **GRU)).forward(spec, [30, 21])
    assert prediction.shape == spec.shape
    assert states.shape == (3, 2, 30, 24)


def test_transformer_of_s3prl(ckpt, spec):
    from mockingjay.nn_transformer import SPEC_TRANSFORMER, TRANSFORMER

    options = {"ckpt_file": str(ckpt), "load_pretrain": "True", "no_grad": "True", "dropout": "default"}
    assert TRANSFORMER(options, inp_dim=80)(spec).shape == (2, 30, 24)
    assert SPEC_TRANSFORMER(options)(spec).shape == (2, 30, 3 * 80)  # three stacked frames


def test_load_upstream(ckpt, spec):
    from mockingjay.upstream import load_upstream

    states = load_upstream("transformer", ckpt)(spec, torch.tensor([30, 21]))
    assert [tuple(state.shape) for state in states] == [(2, 30, 24)] * 3


def test_example_classifier_and_its_optimisers():
    from downstream.model import example_classifier
    from downstream.solver import get_mockingjay_optimizer, get_optimizer

    torch.manual_seed(0)
    classifier = example_classifier(input_dim=24, hidden_dim=8, class_num=5)
    features, labels = torch.randn(3, 11, 24), torch.tensor([0, 4, 2])
    for make, given in ((get_optimizer, classifier), (get_mockingjay_optimizer, list(classifier.named_parameters()))):
        optimizer = make(params=given, lr=1e-2, warmup_proportion=0.5, training_steps=4)
        before, losses = classifier.out.weight.detach().clone(), []
        for _ in range(3):
            loss = classifier(features, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]
        assert not torch.equal(classifier.out.weight, before)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_have_their_names(script, monkeypatch, capsys):
    path = PROJECT / "preprocess" / f"{script}.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(path), run_name="__main__")
    assert left.value.code in (0, None)
    assert f"usage: {script}.py" in capsys.readouterr().out


def test_no_script_is_left_out():
    named = {p.stem for p in (PROJECT / "preprocess").glob("*.py") if 'if __name__ == "__main__"' in p.read_text()}
    assert named == set(SCRIPTS)


@pytest.mark.parametrize("entry", ["upstream", "mockingjay_local", "tera_local", "audio_albert_local", "apc_local"])
def test_entries_of_torch_hub(entry, ckpt):
    loaded = torch.hub.load(str(PROJECT), entry, source="local", ckpt=str(ckpt))
    assert isinstance(loaded, nn.Module)
    waves = [torch.randn(4000), torch.randn(3000)]
    states = loaded.from_waveforms(waves)[0] if entry == "upstream" else loaded(waves)["hidden_states"]
    assert [tuple(state.shape) for state in states] == [(2, 21, 24)] * 3


@pytest.mark.slow
def test_a_run_has_its_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_store(tmp_path / "data" / "train", {"a-1": 60, "a-2": 50})
    write_store(tmp_path / "data" / "dev", {"b-1": 60}, seed=1)
    small = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
    values = {"model": small, "data": {"train": ["data/train"], "dev": ["data/dev"]}}
    values["trainer"] = {"steps": 2, "precision": "fp32", "log_every": 1}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    runner_mockingjay.main(["--train", "--config", "tiny.yaml", "--name", "run", "--cpu", "--no-msg"])
    result, log = tmp_path / "result" / "result_mockingjay" / "run", tmp_path / "log" / "log_mockingjay" / "run"
    assert {"best.ckpt", "mockingjay-2.ckpt"} <= {path.name for path in result.iterdir()}
    assert list(log.glob("events.*"))
    assert (log / "metrics.jsonl").is_file()
    capsys.readouterr()
    words = ["--cpu", "--input", "data/dev", "--output", "out", "--ckpt", "run/best.ckpt"]
    assert runner_mockingjay.main(["--test", *words]) == 0  # its path below result/result_mockingjay
    assert "masked L1" in capsys.readouterr().out
