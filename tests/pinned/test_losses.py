"""Losses of short trainings from their seed: what moves them changes every result that anybody has."""

import json

import pytest

import runner_mockingjay
from tests.helpers.speech import write_store

SMALL = [
    "model.layers=2", "model.hidden_size=24", "model.heads=2", "model.ffn_size=48", "model.initializer_range=0.1",
    "gru.layers=2", "gru.hidden_size=24", "optimizer.lr=1e-2", "optimizer.warmup=0.2", "loader.batch_frames=400",
    "loader.max_frames=90", "trainer.steps=6", "trainer.log_every=1", "trainer.eval_every=3", "trainer.precision=fp32",
]  # fmt: skip
STILL = ["model.dropout=0", "model.attention_dropout=0"]
TERA = ["masking.frequency=16", "masking.noise=0.5", "masking.consecutive_min=3"]
MODELS = {
    "mockingjay": [*STILL],
    "stacked": [*STILL, "model.downsample_rate=3", "model.pre_layer_norm=true", "trainer.accumulation=2"],
    "tera": [*STILL, *TERA],
    "aalbert": [*STILL, "model.share_layers=true", "optimizer.name=bertadam"],
    "apc": ["objective=apc", "encoder=gru"],
    "transformer-apc": [*STILL, "objective=apc", "model.max_input_length=64"],
}
# Losses of six updates, then the two of dev. Kernels of other processors differ in the last bits, which six updates at
# this rate spread to about 1e-6; a change of what is drawn or computed moves the second digit.
LOSSES = {
    "mockingjay": [0.8823594, 0.8373969, 0.8893440, 0.8605528, 0.8306625, 0.8314319, 0.8356383, 0.8167397],
    "stacked": [0.9032238, 0.9111434, 0.8611991, 0.8738276, 0.8537741, 0.8460152, 0.8562981, 0.8385331],
    "tera": [0.8548201, 0.8418193, 0.8527622, 0.8516800, 0.8293172, 0.8544673, 0.8342234, 0.8159454],
    "aalbert": [0.8968511, 0.8633326, 0.9070495, 0.8839016, 0.8436494, 0.8491440, 0.8511665, 0.8263959],
    "apc": [0.8636879, 0.8390606, 0.8408979, 0.8359349, 0.7875265, 0.8295189, 0.8215196, 0.8070633],
    "transformer-apc": [0.8876868, 0.8709016, 0.8430138, 0.8400232, 0.7915399, 0.8230027, 0.8214263, 0.8013439],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    lengths = {f"s{i % 4}-{i}": 40 + 17 * i for i in range(12)}
    return write_store(tmp_path_factory.mktemp("pinned") / "store" / "all", lengths)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_losses_of_a_short_training(name, store, tmp_path):
    words = [f"data.train=[{store}]", f"data.dev=[{store}]", *SMALL, *MODELS[name]]
    unused = "model." if "encoder=gru" in words else "gru."
    words = [word for word in words if not word.startswith(unused)]
    (tmp_path / "empty.yaml").write_text("")
    places = ["--ckpdir", str(tmp_path / "ckpt"), "--logdir", str(tmp_path / "log"), "--name", name]
    runner_mockingjay.main(["--train", "--cpu", "--no-msg", "--config", str(tmp_path / "empty.yaml"), *places, *words])
    records = [json.loads(line) for line in (tmp_path / "log" / name / "metrics.jsonl").read_text().splitlines()]
    losses = [record[key] for key in ("loss", "dev_loss") for record in records if key in record]
    assert losses == pytest.approx(LOSSES[name], rel=2e-5)
