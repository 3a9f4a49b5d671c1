"""Checkpoints that S3PRL's own pre-training writes since 0.3 give the numbers that it gave, or are named for what they
are: whatever the folder of fixtures holds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.model.frame_model import GruModel
from mockingjay.upstream import load_upstream
from tests.helpers.legacy_fixture import APC, NEW, close, plain_content, read_arrays
from tests.helpers.shared import FIXTURES
from utility.batches import real_frames
from utility.training.checkpoint import read_file

FOLDER = FIXTURES / "s3prl_later"
FILES = sorted(FOLDER.glob("*.ckpt"))
VECTOR_QUANTISED = [
    path for path in FILES if any(name.startswith("vq_layers") for name in read_file(path).get("model", ()))
]
OPENED = [path for path in FILES if path not in VECTOR_QUANTISED]
RECURRENT = [path for path in OPENED if "Transformer" not in read_file(path)]
TRANSFORMERS = [path for path in OPENED if path not in RECURRENT]

pytestmark = [
    pytest.mark.needs_shared,
    pytest.mark.skipif(not FILES, reason="no files of later S3PRL: set MOCKINGJAY_SHARED"),
]


def arrays_of(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path.with_suffix(".io.npz")) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


@pytest.mark.parametrize("path", TRANSFORMERS, ids=lambda path: path.stem)
@torch.no_grad()
def test_every_hidden_state_and_the_prediction(path):
    """With pre-LN the embedding is hidden state 0 after a norm of its own."""
    arrays, saved = arrays_of(path), load_pretrained(path)
    inputs, lengths = arrays["inputs"], arrays["lengths"]
    real = real_frames(lengths, inputs.shape[1])
    output = saved.model(inputs, lengths)
    expected = [arrays[f"hidden_{layer}"] for layer in range(saved.model.num_layers + 1)]
    for found, wanted in zip(output.hidden_states, expected, strict=True):
        close(found[real], wanted[real])
    close(output.prediction[real], arrays["head_pred"][real])
    for found, wanted in zip(load_upstream(saved)(inputs, lengths), expected, strict=True):
        close(found[real], wanted[real])
        assert not found[~real].any()


@pytest.mark.parametrize("path", RECURRENT, ids=lambda path: path.stem)
@torch.no_grad()
def test_apc_states_what_it_is(path):
    arrays, saved, content = arrays_of(path), load_pretrained(path), plain_content(path)
    inputs, lengths = arrays["inputs"], arrays["lengths"]
    real = real_frames(lengths, inputs.shape[1])
    assert isinstance(saved.model, GruModel)
    output = saved.model(inputs, lengths)
    close(output.hidden_states[-1][real], arrays["internal_last"][real])
    close(output.prediction[real], arrays["predicted"][real])
    paras, task = content["config"]["model"]["paras"], content["config"]["task"]
    assert saved.config.gru.residual == paras["residual"]
    assert saved.config.gru.dropout == paras["dropout"]
    assert saved.config.apc.time_shift == task["n_future"]
    assert (saved.step, saved.frame_shift, saved.sources) == (content["Step"], 0.01, {})
    with pytest.raises(ValueError, match="the file says residual=true, not residual=false"):
        load_pretrained(path, {"residual": not paras["residual"]})


@pytest.mark.parametrize("path", VECTOR_QUANTISED, ids=lambda path: path.stem)
def test_vq_apc_is_named(path):
    with pytest.raises(ValueError, match="a VQ-APC checkpoint of S3PRL: there is no such model here"):
        load_pretrained(path)


def test_npc_is_named(tmp_path):
    content = read_file(RECURRENT[0])
    content["model"] = {"blocks.0.conv.weight": torch.ones(1), "masked_convs.0.weight": torch.ones(1)}
    torch.save(content, tmp_path / "npc.ckpt")
    with pytest.raises(ValueError, match="an NPC checkpoint of S3PRL: there is no such model here"):
        load_pretrained(tmp_path / "npc.ckpt")


def test_a_kaldi_block_states_its_frame_shift():
    kaldi = [path for path in TRANSFORMERS if "kaldi" in read_file(path)["Upstream_Config"]["audio"]]
    assert kaldi
    for path in kaldi:
        saved = load_pretrained(path)
        assert saved.frame_shift == 0.01
        assert "frame_shift" not in saved.assumed


# The same content as other people's scripts save it


def saved_again(path: Path, into: Path, change) -> Path:
    """A copy of a checkpoint, each dict of tensors in it changed."""
    content = read_file(path)
    content.pop("Optimizer", None)
    if "Transformer" not in content and "model" not in content:
        content = change(content)
    for key in ("Transformer", "SpecHead", "model"):
        if key in content:
            content[key] = change(content[key])
    torch.save(content, into / path.name)
    return into / path.name


def of_data_parallel(tensors):
    return {f"module.{name}": value for name, value in tensors.items()}


SOURCES = [*OPENED, *(FIXTURES / f"{name}.ckpt" for name in NEW[:1]), *(FIXTURES / f"{name}.pt" for name in APC[:1])]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_prefix_of_data_parallel_changes_nothing(path, tmp_path):
    assume = {"residual": bool(read_arrays(path.stem)["residual"])} if path.suffix == ".pt" else None
    one, other = load_pretrained(path, assume), load_pretrained(saved_again(path, tmp_path, of_data_parallel), assume)
    assert one.config == other.config
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_weights_of_other_precision_are_taken_as_float32(path, kind, tmp_path):
    assume = {"residual": bool(read_arrays(path.stem)["residual"])} if path.suffix == ".pt" else None
    copy = saved_again(path, tmp_path, lambda tensors: {name: value.to(kind) for name, value in tensors.items()})
    one, other = load_pretrained(path, assume), load_pretrained(copy, assume)
    for name, value in one.model.state_dict().items():
        assert torch.equal(value.to(kind).float(), other.model.state_dict()[name])
    if path.suffix == ".ckpt" and path in TRANSFORMERS:
        assert other.training.cannot_resume == f"its weights are {kind}, not torch.float32"


def test_numbers_beyond_float32_are_refused(tmp_path):
    copy = saved_again(OPENED[0], tmp_path, lambda tensors: {n: v.double() * 1e300 for n, v in tensors.items()})
    with pytest.raises(ValueError, match="holds numbers beyond float32"):
        load_pretrained(copy)
