"""Looking at a model: what the titles of its figures say."""

import numpy as np
import pytest
import soundfile

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from preprocess import preprocess_any
from utility.audio.features import FeatureConfig
from utility.config import as_dict, build
from utility.files import replacing
from utility.training.checkpoint import save_checkpoint

MEL = FeatureConfig(kind="mel", deltas=0)
MODEL = {"layers": 2, "hidden_size": 24, "heads": 2, "ffn_size": 48, "max_input_length": 60}


def checkpoint(path, features=MEL, target=MEL):
    """A random model of those features."""
    config = build(PretrainConfig, {"model": MODEL})
    about = {
        "config": as_dict(config),
        "seed": 5,
        "input_dim": MEL.dim,
        "target_dim": target.dim,
        "frame_shift": 0.0125,
    }
    about |= {"features": features and as_dict(features), "target": as_dict(target), "state": {"step": 1}}
    model = new_model(config, MEL.dim, target.dim, 5)
    save_checkpoint(path, "pretrain", {"model": model.state_dict(), **about})
    return str(path)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A checkpoint, three recordings, and their store."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for index, seconds in enumerate((0.6, 1.5, 2.0)):
        (tmp_path / "audio").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"audio/u{index}.wav", 0.1 * rng.standard_normal(int(16000 * seconds)), 16000)
    words = ["--data_path=audio", "--name=store", "--feature_type=mel", "--n_jobs=1"]
    assert preprocess_any.main(words) == 0
    checkpoint(tmp_path / "model.ckpt")
    return tmp_path


@pytest.fixture
def titles(monkeypatch):
    """The title of each figure that is saved, by the name of its file."""
    found = {}

    def save(figure, path):
        texts = [figure.get_suptitle(), *(ax.get_title("left") for ax in figure.axes)]
        found[path.name] = next(text for text in texts if text)
        with replacing(path) as temporary:
            temporary.touch()

    monkeypatch.setattr("mockingjay.inspection.save_figure", save)
    return found


def run(*words: str) -> None:
    assert not runner_mockingjay.main([*words, "--cpu", "--ckpt", "model.ckpt"])


def test_hidden_states_say_which_weights_their_sum_has(world, titles):
    run("--plot", "--num=1", "--input=data/store/all")
    assert titles == {
        "u0_first.png": "u0: hidden state 0, the embedding",
        "u0_last.png": "u0: hidden state 2, the last",
        "u0_weighted.png": "u0: sum of hidden states 0 to 2, equal weights",
    }
    (world / "result.json").write_text('{"layer_weights": [0.125, 0.25, 0.625]}')
    run("--plot", "--num=1", "--input=data/store/all", "--layer=ws:result.json")
    expected = "u0: sum of hidden states 0 to 2\nweights of result.json:\n0.12  0.25  0.62"
    assert titles["u0_weighted.png"] == expected


def test_attention_says_where_it_is_that_of_a_piece(world, titles):
    run("--plot", "--output_attention", "--input=data/store/all")
    assert titles["u0_attention_layer1.png"] == "u0: attention of layer 1"
    assert titles["u1_attention_layer2.png"] == (
        "u1: attention of layer 2\nfirst piece alone: frames 1 to 41 of 121, 0.5 of 1.5 s (max_input_length 60)"
    )
    assert np.load(world / "model-dump/u1_attention.npy").shape == (2, 2, 41, 41)
