"""Layer weights of probes that were trained: what run_downstream.py leaves is what run_analysis.py reads."""

import json

import numpy as np
import pytest

import run_analysis
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.downstream_corpus import WIDTH, Small, small_corpus

LAYERS = 3
MODEL = {"layers": 2, "hidden_size": 16, "heads": 2, "ffn_size": 32}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    """Probes with weights of two seeds of two tasks, and probes of each layer of one of them."""
    made = small_corpus(tmp_path_factory.mktemp("small"))
    tiny = f"tiny=pretrained:{write_checkpoint(made.root / 'tiny.ckpt', None, WIDTH, model=MODEL)}"
    for task in ("phone_linear", "speaker_utterance"):
        made.run(task, tiny, "--weighted_sum", "--seeds", "2", "--name", "weighted")
    made.run("phone_linear", tiny, "--sweep", "layer=0,1,2", "--name", "layers")
    return made


@pytest.mark.slow
def test_weights_of_a_real_sweep_stand_beside_norms_and_single_layers(small):
    folders = {f"result_tiny_{task}": task for task in ("phone_linear", "speaker_utterance")}
    weighted = ",".join(f"{small.root}/result/{folder}/weighted" for folder in folders)
    words = [f"data.store=[{small.root}/store/all]", f"probes.weighted=[{weighted}]"]
    words += [f"probes.single=[{small.root}/result/result_tiny_phone_linear/layers]", "sampling.every=2"]
    words += [
        "--upstream",
        f"tiny=pretrained:{small.root}/tiny.ckpt",
        "--cpu",
        "--no-msg",
        "--expdir",
        f"{small.root}/result",
    ]
    assert run_analysis.main(["--run", "layer_weights,shape", "--name", "w", *words]) == 0
    folder = small.root / "result/result_analysis/w"
    experiments = json.loads((folder / "result.json").read_text())["experiments"]
    phone, speaker = experiments["layer_weights"]["layer_weights"]
    assert [phone["task"], speaker["task"]] == list(folders.values())
    for one in (phone, speaker):
        assert len(one["mean"]) == LAYERS
        assert sum(one["mean"]) == pytest.approx(1, abs=1e-5)
        assert len(one["seeds"]) == 2
    norms = [row["detail"]["norm"] for row in experiments["shape"]["upstreams"]["tiny"]]
    assert phone["times_norm"] == pytest.approx(np.array(phone["mean"]) * norms)
    assert np.isfinite(phone["scores"]["mean"]).all()
    assert speaker["scores"] is None
    assert (folder / "layer_weights_weights.png").is_file()
