"""The folder of `--export hf` in Transformers' hands: release 5 in `make test`, release 4.57 in `make test-hf`."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.export.write import write_export
from mockingjay.upstream import load_upstream
from tests.helpers.export_models import (
    MODELS,
    as_here,
    check_alone,
    expected,
    largest_difference,
    waveforms,
    write_checkpoint,
)

pytestmark = pytest.mark.slow

ALONE = """
import importlib.util, sys, torch
from transformers import AutoFeatureExtractor, AutoModel
assert not any(importlib.util.find_spec(name) for name in ("mockingjay", "utility"))
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
waves = [wave.numpy() for wave in torch.load(sys.argv[2])]
inputs = extractor(waves, sampling_rate=16000, return_tensors="pt")
with torch.no_grad():
    torch.save(model(**inputs).last_hidden_state, sys.argv[3])
"""


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    """Transformers, offline, its copies of our code in a place of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        try:
            yield importlib.import_module("transformers")
        except ImportError:
            pytest.skip("transformers absent: `make test` installs release 5, `make test-hf` 4.57 in .venv-hf")


@pytest.fixture(scope="module", params=MODELS)
def ckpt(request, tmp_path_factory):
    return write_checkpoint(request.param, tmp_path_factory.mktemp("ckpt") / f"{request.param}.ckpt")


@pytest.fixture(scope="module")
def folder(ckpt):
    write_export(load_pretrained(ckpt), "hf", ckpt.with_suffix(""))
    return ckpt.with_suffix("")


def load(transformers, folder):
    classes = transformers.AutoFeatureExtractor, transformers.AutoModel
    return [found.from_pretrained(folder, trust_remote_code=True) for found in classes]


@torch.no_grad()
def test_hidden_states_are_ours_in_a_batch_and_alone(transformers, ckpt, folder):
    extractor, model = load(transformers, folder)
    wanted, lengths = expected(ckpt)
    inputs = extractor([wave.numpy() for wave in waveforms()], sampling_rate=16000, return_tensors="pt")
    assert inputs["attention_mask"].sum(1).tolist() == lengths.tolist()
    found = model(**inputs, output_hidden_states=True)
    assert not model.training
    assert len(found.hidden_states) == model.config.num_hidden_layers + 1
    assert found.last_hidden_state.shape[-1] == model.config.hidden_size
    assert largest_difference(found.hidden_states, wanted) < 1e-6
    assert torch.equal(found.last_hidden_state, found.hidden_states[-1])
    assert model(**inputs).hidden_states is None
    alone = [extractor(wave, sampling_rate=16000, return_tensors="pt")["input_features"] for wave in waveforms()]
    check_alone(ckpt, [model(features, output_hidden_states=True).hidden_states for features in alone])  # no mask


@torch.no_grad()
def test_attentions_are_ours(transformers, ckpt, folder):
    extractor, model = load(transformers, folder)
    inputs = extractor([wave.numpy() for wave in waveforms()], sampling_rate=16000, return_tensors="pt")
    if ckpt.stem == "apc":
        with pytest.raises(ValueError, match="no attention"):
            model(**inputs, output_attentions=True)
        return
    found = model(**inputs, output_attentions=True).attentions
    wanted = load_upstream(str(ckpt)).attention_maps(inputs["input_features"], inputs["attention_mask"].sum(1))
    assert largest_difference(found, list(wanted)) < 1e-6


@torch.no_grad()
def test_saved_again_and_loaded_again(transformers, ckpt, folder, tmp_path):
    extractor, model = load(transformers, folder)
    extractor.save_pretrained(tmp_path / "again")
    model.save_pretrained(tmp_path / "again")
    extractor_again, model_again = load(transformers, tmp_path / "again")
    inputs = [e(waveforms()[0].numpy(), sampling_rate=16000, return_tensors="pt") for e in (extractor, extractor_again)]
    assert torch.equal(*(each["input_features"] for each in inputs))
    states = [m(**inputs[0]).last_hidden_state for m in (model, model_again)]
    assert torch.equal(*states)
    assert model_again.config.pretraining == model.config.pretraining


def test_it_trains(transformers, folder):
    extractor, model = load(transformers, folder)
    model.train()
    inputs = extractor([wave.numpy() for wave in waveforms()], sampling_rate=16000, return_tensors="pt")
    model(**inputs).last_hidden_state.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.abs().sum() for p in model.parameters())


def test_bfloat16_weights_and_fresh_ones(transformers, folder):
    extractor, model = load(transformers, folder)
    half = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.bfloat16)
    fresh = transformers.AutoModel.from_config(model.config, trust_remote_code=True)
    inputs = extractor(waveforms()[0].numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        close, other = half(**inputs).last_hidden_state, fresh(**inputs).last_hidden_state
        wanted = model(**inputs).last_hidden_state
    assert (close - wanted).abs().mean() < 0.05 * wanted.abs().mean() + 0.02
    assert other.shape == wanted.shape
    assert torch.isfinite(other).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_what_comes_out_has_the_dtype_of_the_model(transformers, folder, dtype):
    """It was float32, and a bf16 layer behind failed."""
    extractor, _ = load(transformers, folder)
    half = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=dtype)
    inputs = extractor(waveforms()[0].numpy(), sampling_rate=16000, return_tensors="pt")
    has_attention = half.config.settings().encoder == "transformer"
    with torch.no_grad():
        output = half(**inputs, output_hidden_states=True, output_attentions=has_attention)
        behind = torch.nn.Linear(half.config.hidden_size, 3, dtype=dtype)(output.last_hidden_state)
    tensors = [output.last_hidden_state, *output.hidden_states, *(output.attentions or ()), behind]
    assert {tensor.dtype for tensor in tensors} == {dtype}


def test_gradient_checkpointing(transformers, folder):
    """The same gradients, and blocks are computed twice; a GRU has none to recompute and says so."""
    extractor, model = load(transformers, folder)
    inputs = extractor(waveforms()[0].numpy(), sampling_rate=16000, return_tensors="pt")
    if model.config.settings().encoder == "gru":
        with pytest.raises(ValueError, match=r"support (gradient|activation) checkpointing"):
            model.gradient_checkpointing_enable()
        return
    calls: list[int] = []
    model.upstream.encoder.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    gradients, counts = [], []
    for switch in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        switch()
        model.train()
        model.zero_grad()
        calls.clear()
        torch.manual_seed(0)
        model(**inputs).last_hidden_state.square().mean().backward()
        counts.append(len(calls))
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert model.gradient_checkpointing
    assert counts[1] == 2 * counts[0]
    assert largest_difference(*gradients) < 1e-6
    model.eval()
    calls.clear()
    model(**inputs).last_hidden_state.sum().backward()
    assert len(calls) == counts[0]  # nothing is recomputed outside of training, as everywhere in Transformers


def test_wrong_input_is_refused(transformers, folder):
    extractor, model = load(transformers, folder)
    wave = waveforms()[0].numpy()
    with pytest.raises(ValueError, match="sampling_rate is 8000"):
        extractor(wave, sampling_rate=8000)
    with pytest.raises(ValueError, match="1-D floating point"):
        extractor([np.stack([wave, wave])], sampling_rate=16000)
    with pytest.raises(ValueError, match="1-D floating point"):
        extractor((wave * 30000).astype(np.int16), sampling_rate=16000)
    inputs = extractor([wave, wave[:5000]], sampling_rate=16000, return_tensors="pt")
    with pytest.raises(ValueError, match="padding is on the right"):
        model(inputs["input_features"], inputs["attention_mask"].flip(1))
    with pytest.raises(ValueError, match=r"expected \[B, T\]"):
        model(inputs["input_features"], inputs["attention_mask"][:1])


def test_padding_options_of_transformers(transformers, folder):
    extractor, _ = load(transformers, folder)
    inputs = extractor(
        [wave.numpy() for wave in waveforms()], sampling_rate=16000, pad_to_multiple_of=64, return_tensors="np"
    )
    assert inputs["input_features"].shape[1] % 64 == 0
    assert inputs["input_features"].dtype == np.float32
    assert len(extractor(waveforms()[2].tolist(), sampling_rate=16000)["input_features"]) == 1


def test_folder_works_without_this_project(transformers, ckpt, folder, tmp_path):
    torch.save(waveforms(), tmp_path / "waves.pt")
    command = [sys.executable, "-I", "-c", as_here(ALONE), folder, tmp_path / "waves.pt", tmp_path / "states.pt"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert largest_difference([torch.load(tmp_path / "states.pt")], [expected(ckpt)[0][-1]]) < 1e-6
    about = json.loads((folder / "config.json").read_text())
    assert (about["model_type"], about["steps"]) == ("mockingjay", 7)
