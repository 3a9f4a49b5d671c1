"""`--assume`: what a checkpoint does not say is told, at every door, and never guessed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hubconf
import run_downstream
import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.checkpoint import load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.foreign.apc import BY_DEFAULT, BY_USER
from mockingjay.upstream import load_upstream
from originals.mockingjay_api import get_apc_model
from tests.helpers.checkpoints import GRU, TRANSFORMER, write_checkpoint
from tests.helpers.speech import MEL, write_store
from utility.config import build
from utility.labels.alignment import write_alignment
from utility.store.reading import Store

REFUSED = "does not say whether its layers are residual: add --assume residual=true or --assume residual=false"


def write_bare(path: Path) -> Path:
    """A state dict as the original APC saves it, of frames of `MEL`."""
    model = new_model(build(PretrainConfig, GRU), MEL.dim, MEL.dim, seed=3)
    renamed = {"encoder.prenet.": "prenet.layers.", "encoder.rnns.": "rnns.", "head.": "postnet.layer."}
    weights = {}
    for name, value in model.state_dict().items():
        ours, theirs = next(pair for pair in renamed.items() if name.startswith(pair[0]))
        weights[theirs + name.removeprefix(ours)] = value[..., None] if name == "head.weight" else value
    torch.save(weights, path)
    return path


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """A bare state dict in a working directory of its own, and a store of its width."""
    monkeypatch.chdir(tmp_path)
    path = write_bare(Path("apc.pt"))
    for number, part in enumerate(("train", "test")):
        write_store(Path("data/s") / part, {f"{part}{i}-{i}": 30 for i in range(4)}, MEL, seed=number)
    ids = [f"{part}{i}-{i}" for part in ("train", "test") for i in range(4)]
    write_alignment(Path("phones"), [(name, [(0.0, 0.1, "aa"), (0.1, 0.37, "b")]) for name in ids])
    return path


DOORS = {
    "info": "--info apc.pt",
    "extract": "--extract --ckpt apc.pt --input data/s/test --output out --cpu --no-msg",
    "test": "--test --ckpt apc.pt --input data/s/test --output out --cpu --no-msg",
    "plot": "--plot --ckpt apc.pt --input data/s/test --output out --num 1 --cpu --no-msg",
    "export": "--export safetensors --ckpt apc.pt --output out --no-msg",
    "load": "--train --load --ckpt apc.pt --cpu --no-msg --ckpdir . --logdir log",
    "classic": "--train_phone --run_apc --apc_path apc.pt --config p.yaml --cpu --no-msg",
}
LIKE_A_TRAINING = {"load"}  # which cannot go on from it, and says so


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_every_command_refuses_until_told(door, bare, capsys):
    Path("p.yaml").write_text(
        "data: {train: [data/s/train], test: [data/s/test], alignment: phones, cache: cache, dev_share: 0.3}\n"
        "trainer: {steps: 2, eval_every: 1}\n"
    )
    with pytest.raises(ValueError, match=REFUSED):
        runner_mockingjay.main(DOORS[door].split())
    assert not Path("out").exists()
    told = [*DOORS[door].split(), "--assume", "residual=false,shift=3"]
    if door in LIKE_A_TRAINING:
        with pytest.raises(ValueError, match="training cannot go on from it"):
            runner_mockingjay.main([*told, "data.train=[data/s/train]"])
    else:
        assert not runner_mockingjay.main(told)


def test_the_python_doors_refuse_until_told(bare):
    states = {}
    features, lengths = (
        torch.randn(1, 20, load_pretrained(bare, {"residual": True}).model.input_dim),
        torch.tensor([20]),
    )
    for name, opened in {
        "load_upstream": lambda **said: load_upstream(bare, **said),
        "hub": lambda **said: hubconf.upstream(bare, **said),
        "random": lambda **said: load_upstream("random", bare, **said),
        "open": lambda **said: load_upstream(load_pretrained(bare, **said)),
    }.items():
        with pytest.raises(ValueError, match=REFUSED):
            opened()
        for residual in (True, False):
            upstream = opened(assume={"residual": residual, "shift": 3})
            states[name, residual] = upstream(features, lengths)[-1]
        assert float((states[name, True] - states[name, False]).detach().abs().max()) > 0.01
    with pytest.raises(ValueError, match=r"of get_apc_model residual=True"):
        get_apc_model(bare)
    assert get_apc_model(bare, residual=False, shift=7).config.apc.time_shift == 7


def test_two_assumptions_share_no_fingerprint_and_no_result(bare):
    one, other = (load_upstream(bare, assume={"residual": residual}) for residual in (True, False))
    assert one.fingerprint != other.fingerprint
    for word in ("residual=true", "residual=false"):
        command = "--extract --ckpt apc.pt --input data/s/test --output out --cpu --no-msg --assume"
        if word == "residual=true":
            runner_mockingjay.main([*command.split(), word])
            frames = np.array(Store(["out/test"])[0])
            assert "--assume residual=true" in Path("out/features.yaml").read_text()
        else:
            with pytest.raises(ValueError, match=r"--assume residual"):
                runner_mockingjay.main([*command.split(), word])
    assert np.array_equal(frames, np.array(Store(["out/test"])[0]))


@pytest.mark.slow
def test_a_probe_s_result_names_what_was_assumed_and_how_to_repeat_it(bare):
    command = (
        "--run phone_linear --ckpt apc.pt --name a --cpu --no-msg data.train=[data/s/train] data.test=[data/s/test]"
    )
    command += " data.alignment=phones data.cache=cache data.dev_share=0.3 trainer.steps=2 trainer.eval_every=1"
    with pytest.raises(ValueError, match=REFUSED):
        run_downstream.main(command.split())
    assert run_downstream.main([*command.split(), "--assume", "residual=false"]) == 0
    result = json.loads(Path("result/result_pretrained_phone_linear/a/result.json").read_text())
    assert result["fingerprints"]["upstream"]["assumed"] == {"residual": False}
    assert "--assume residual=false" in result["command"]


@pytest.mark.slow
def test_info_says_from_where_it_knows(bare, capsys):
    runner_mockingjay.main(["--info", "apc.pt", "--assume", "residual=false"])
    out = capsys.readouterr().out
    assert f"residual:      no, {BY_USER}\n" in out
    assert f"frames ahead, {BY_DEFAULT}\n" in out
    runner_mockingjay.main(
        ["--export", "safetensors", "--ckpt", "apc.pt", "--output", "out", "--assume", "residual=true,shift=4"]
    )
    capsys.readouterr()
    runner_mockingjay.main(["--info", "out"])
    out = capsys.readouterr().out
    assert f"residual:      yes, {BY_USER}\n" in out
    assert f"predicts:      4 frames ahead, {BY_USER}\n" in out


def test_a_loss_wants_to_know_how_far_ahead_it_predicts(bare):
    command = [
        "--test",
        "--ckpt",
        "apc.pt",
        "--input",
        "data/s/test",
        "--output",
        "out",
        "--cpu",
        "--no-msg",
        "--assume",
        "residual=false",
    ]
    with pytest.raises(ValueError, match=r"does not say how many frames ahead it predicts: add --assume shift=N"):
        runner_mockingjay.main(command)
    assert not Path("out").exists()
    assert not runner_mockingjay.main([*command, "apc.time_shift=2"])


def test_what_a_file_states_is_not_assumed(tmp_path):
    apc = write_checkpoint(tmp_path / "apc.ckpt", **GRU)
    assert load_pretrained(apc, {"residual": True, "shift": 3}).config.gru.residual is True
    with pytest.raises(ValueError, match="the file says residual=true, not residual=false: leave --assume"):
        load_pretrained(apc, {"residual": False})
    masked = write_checkpoint(tmp_path / "masked.ckpt", model=TRANSFORMER)
    with pytest.raises(ValueError, match="it has no shift to assume: leave --assume shift out"):
        load_pretrained(masked, {"shift": 3})
    with pytest.raises(ValueError, match=r"open already: nothing of it can be assumed, got shift=3"):
        load_upstream(load_pretrained(apc), assume={"shift": 3})
    with pytest.raises(ValueError, match="nothing of it can be assumed"):
        load_upstream("baseline", assume={"shift": 3})


@pytest.mark.parametrize(
    ("assume", "said"),
    [
        ({"resid": True}, "'resid' is unknown: expected residual, shift"),
        ({"residual": "no"}, "residual='no': it says whether each GRU"),
        ({"residual": 1}, "residual=1: it says whether"),
        ({"shift": 0}, "shift=0: it says how many frames"),
        ({"shift": True}, "shift=True"),
    ],
)
def test_other_keys_and_values_are_refused(assume, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        load_pretrained(write_checkpoint(tmp_path / "a.ckpt", **GRU), assume)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("resid=true", "unknown"),
        ("residual", "key=value"),
        ("residual=2", "true or false"),
        ("shift=x", "whole number"),
    ],
)
def test_the_command_line_refuses_them_too(word, said, capsys):
    with pytest.raises(SystemExit) as ended:
        runner_mockingjay.read(["--info", "hubconf.py", "--assume", word])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert said in line
    assert "--assume" in line
    assert line.count("\n") == 1


def test_a_training_from_its_start_assumes_nothing():
    with pytest.raises(ValueError, match="--train would not use --assume"):
        runner_mockingjay.read(["--train", "--assume", "shift=3"])
    with pytest.raises(ValueError, match="--upstream baseline takes no checkpoint, got --assume shift=3"):
        run_downstream.read(["--run", "phone_linear", "--upstream", "baseline", "--assume", "shift=3"])
