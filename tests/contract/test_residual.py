"""States in bfloat16 between the blocks: half the bytes, the same training."""

import json

import pytest
import torch
import yaml

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.pretraining.run import pretraining
from tests.helpers.speech import write_store
from utility.batches import Batch
from utility.config import build, resolve

MODEL = {"layers": 3, "hidden_size": 48, "heads": 4, "ffn_size": 96}


@pytest.mark.parametrize("model", [{}, {"pre_layer_norm": True, "embedding_norm": True}, {"share_layers": True}])
def test_states_are_narrow_between_blocks_and_gradients_are_those_of_wide_ones(model):
    found = {}
    for residual in ("fp32", "bf16"):
        values = {"model": MODEL | model | {"dropout": 0.0, "attention_dropout": 0.0}}
        values |= {"speed": {"residual": residual}, "masking": {"consecutive_min": 2, "consecutive_max": 4}}
        config = build(PretrainConfig, values)
        objective = pretraining(new_model(config, 10, 10, seed=0), config, torch.device("cpu"))
        batch = Batch(
            torch.randn(3, 60, 10, generator=torch.Generator().manual_seed(1)), torch.tensor([60, 40, 31]), [*"abc"]
        )
        with objective.autocast():
            states = objective.model.encoder(batch.features, batch.lengths)
            loss = objective.step(batch, torch.Generator().manual_seed(2))["loss"]
        loss.backward()
        found[residual] = loss.detach(), [p.grad for p in objective.model.parameters() if p.grad is not None]
        assert {state.dtype for state in states} == {torch.bfloat16 if residual == "bf16" else torch.float32}
    wide, narrow = found["fp32"], found["bf16"]
    assert wide[0] > 0.1
    assert wide[0] != narrow[0]
    torch.testing.assert_close(narrow[0], wide[0], rtol=1e-2, atol=0)
    for one, other in zip(narrow[1], wide[1], strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm() / other.norm()) < 0.1


@pytest.mark.slow
def test_training_with_narrow_states_has_the_losses_of_training_with_wide_ones(tmp_path):
    store = write_store(tmp_path / "store/train", {f"s{i % 3}-{i}": 40 + 7 * i % 50 for i in range(24)})
    config = {
        "data": {"train": [str(store)]},
        "model": MODEL | {"initializer_range": 0.1},
        "loader": {"batch_frames": 400},
        "objective": "apc",
        "apc": {"time_shift": 1},
        "optimizer": {"lr": 2e-3},
        "trainer": {"steps": 200, "log_every": 1, "save_every": 200},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    losses = {}
    for residual in ("fp32", "bf16"):
        words = [
            "--config",
            f"{tmp_path}/config.yaml",
            "--name",
            residual,
            "--ckpdir",
            f"{tmp_path}",
            "--cpu",
            "--no-msg",
        ]
        assert (
            runner_mockingjay.main(["--train", *words, "--logdir", f"{tmp_path}/log", f"speed.residual={residual}"])
            == 0
        )
        lines = (tmp_path / "log" / residual / "metrics.jsonl").read_text().splitlines()
        losses[residual] = torch.tensor([loss for line in lines if (loss := json.loads(line).get("loss")) is not None])
    wide, narrow = losses["fp32"], losses["bf16"]
    assert len(wide) == len(narrow) == 200
    assert wide[-50:].mean() < 0.8 * wide[:5].mean(), "nothing was learnt"
    assert not torch.equal(wide, narrow)
    for begin in range(0, 200, 50):
        one, other = (values[begin : begin + 50].mean() for values in (narrow, wide))
        torch.testing.assert_close(one, other, rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["speed.residual=bf16", "trainer.precision=fp32"], "goes with trainer.precision bf16, not fp32"),
        (["speed.residual=bf16", "objective=apc", "encoder=gru"], "for Transformers"),
        (["speed.graphs=True"], "speed.graphs goes with speed.compile true"),
        (["speed.graphs=True", "speed.compile=True", "speed.packed=True"], "neither with speed.packed true"),
        (["speed.graphs=True", "speed.compile=True", "trainer.accumulation=2"], "nor with trainer.accumulation"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(words, line):
    with pytest.raises(ValueError, match=line):
        resolve(PretrainConfig, None, words)


def test_transformers_pack_where_the_device_can_unless_they_are_told_otherwise():
    words = {"": True, "speed.packed=False": False, "encoder=gru objective=apc": False}
    words["speed.graphs=True speed.compile=True"] = False
    for told, packs in words.items():
        assert resolve(PretrainConfig, None, told.split()).packs is packs, told
