"""Looking at a model: audio or its store alike, and what the titles of its figures say."""

import json
import re

import numpy as np
import pytest
import soundfile

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from preprocess import generate_len_for_bucket, preprocess_any
from tests.helpers.speech import write_store
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build
from utility.files import replacing
from utility.labels.alignment import write_alignment
from utility.store.reading import Store
from utility.training.checkpoint import save_checkpoint
from utility.worst import WORST, read_worst

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
def figures(monkeypatch):
    """Each figure that is saved, by the name of its file."""
    found = {}

    def save(figure, path):
        found[path.name] = figure
        with replacing(path) as temporary:
            temporary.touch()

    monkeypatch.setattr("mockingjay.drawing.save_figure", save)
    return found


def titles(figures) -> dict[str, str]:
    return {name: figure.get_suptitle() for name, figure in figures.items()}


def run(*words: str) -> None:
    device = [] if "--alterations" in words else ["--cpu"]
    assert not runner_mockingjay.main([*words, *device, "--ckpt", "model.ckpt"])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--input=audio", "data.test=[audio]", "table"])
def test_audio_is_tested_and_drawn_as_its_store_is(world, way, capsys, without_ffmpeg):
    """`--help` says that they take audio."""
    (world / "audio/film.mp4").touch()
    if way == "table":
        assert generate_len_for_bucket.main(["--data_path=audio", "--n_jobs=1"]) == 0
        way = "--input=data/len_for_bucket/all.csv"
    capsys.readouterr()
    run("--test", "--output=heard", way)
    said = capsys.readouterr().out
    assert ("audio: 1 .mp4 not read: install ffmpeg, or convert them" in said) == ("len_for" not in way)
    run("--test", "--output=stored", "--input=data/store/all")
    loss, expected = (json.loads((world / name / "test.json").read_text())["loss"] for name in ("heard", "stored"))
    assert loss == pytest.approx(expected, rel=1e-6)
    assert loss > 0.1
    heard = Store(next(path.with_suffix("") for path in (world / "heard").glob("*.csv")))
    stored = Store("stored/all")
    assert heard.ids == stored.ids
    for index in range(3):
        np.testing.assert_allclose(heard[index], stored[index], atol=1e-5)
    for kind in ([], ["--with_head"], ["--output_attention"], ["--alterations"]):
        run("--plot", *kind, "--output=heard", "--num=1", way)
        run("--plot", *kind, "--output=stored", "--num=1", "--input=data/store/all")
    pictures = sorted(path.name for path in (world / "stored").glob("u0_*"))
    assert len(pictures) == 3 + 5 + 3 + 1
    assert sorted(path.name for path in (world / "heard").glob("u0_*")) == pictures


def test_audio_with_a_target_of_other_features(world):
    linear = FeatureConfig(kind="linear", deltas=0, cmvn="none")
    assert (
        preprocess_any.main(["--data_path=audio", "--name=linear", "--feature_type=linear", "--apply_cmvn=False"]) == 0
    )
    checkpoint(world / "model.ckpt", target=linear)
    run("--test", "--output=heard", "--input=audio")
    run("--test", "--output=stored", "--input=data/store/all", "data.target=[data/linear/all]")
    loss, expected = (json.loads((world / name / "test.json").read_text())["loss"] for name in ("heard", "stored"))
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--plot", "--input=audio"],
            "audio: nothing says which features the model takes, or they are not computed here",
        ),
        (["--test", "--input=nowhere"], "nowhere: no feature store here"),
        (["--test", "--input=data/store"], "data/store: no such split; data/store has all"),
        (["--extract", "--input=data/store"], "data/store: no such split; data/store has all"),
    ],
)
def test_input_that_cannot_be_used(world, words, line):
    checkpoint(world / "model.ckpt", features=None)
    with pytest.raises(ValueError, match=line):
        run(*words)


@pytest.mark.slow
def test_hidden_states_say_which_weights_their_sum_has(world, figures):
    run("--plot", "--num=1", "--input=data/store/all")
    assert titles(figures) == {
        "u0_first.png": "u0: hidden state 0, the embedding",
        "u0_last.png": "u0: hidden state 2, the last",
        "u0_weighted.png": "u0: sum of hidden states 0 to 2, equal weights",
    }
    (world / "result.json").write_text('{"layer_weights": [0.125, 0.25, 0.625]}')
    run("--plot", "--num=1", "--input=data/store/all", "--layer=ws:result.json")
    expected = "u0: sum of hidden states 0 to 2\nweights of result.json:\n0.12  0.25  0.62"
    assert titles(figures)["u0_weighted.png"] == expected


@pytest.mark.slow
def test_the_worst_are_those_of_the_greatest_loss_greatest_first(world, figures):
    losses = {}
    for name, frames in (("a/0", 60), ("a/1", 50), ("a/2", 40), ("a/3", 2)):  # of the last none is masked
        path = write_store(world / f"data/states/{name[2]}", {name: frames}, MEL, seed=frames)
        if name != "a/3":
            run("--test", f"--output=tested{name[2]}", f"--input={path}")
            losses[name] = json.loads((world / f"tested{name[2]}/test.json").read_text())["loss"]
    best_first = ["a/3", *sorted(losses, key=losses.get)]
    parts = ",".join(f"data/states/{name[2]}" for name in best_first)
    run("--plot", "--with_head", "--worst", "--num=2", "--output=out", f"data.test=[{parts}]", "--no-msg")
    worst = best_first[:1:-1]
    assert len(set(losses.values())) == 3
    assert [figure.get_suptitle().split(": ")[0] for figure in figures.values()] == [
        f"{name}, masked L1 {losses[name]:.4f}" for name in worst
    ]
    assert list(read_worst(world / "out" / WORST).items()) == [
        (name, pytest.approx(losses[name], rel=1e-5)) for name in worst
    ]
    assert {path.name for path in (world / "out").glob("*_reconstruction.png")} == set(figures)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        run("--plot", "--with_head", "--worst", "--output=none", "--input=data/states/3")
    assert not (world / "none").exists()


def test_attention_says_where_it_is_that_of_a_piece(world, figures):
    run("--plot", "--output_attention", "--input=data/store/all")
    assert titles(figures)["u0_attention_layer1.png"] == "u0: attention of layer 1"
    assert titles(figures)["u1_attention_layer2.png"] == (
        "u1: attention of layer 2\nfirst piece alone: frames 1 to 41 of 121, 0.5 of 1.5 s (max_input_length 60)"
    )
    assert np.load(world / "model-dump/u1_attention.npy").shape == (2, 2, 41, 41)


PHONES = {"u0": [(0.0, 0.25, "a"), (0.25, 0.6, "b")], "u1": [(0.1, 0.3, "b"), (0.4, 1.5, "a")]}
KINDS = {
    "": {"first", "last", "weighted"},
    "--with_head": {"reconstruction"},
    "--output_attention": {"attention_layer1", "attention_layer2"},
    "--alterations": {"alterations"},
    "--test --load": {"first", "last", "weighted"},
}


def boundaries(ax) -> list[float]:
    return [line[0, 0] for line in ax.collections[0].get_segments()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_has_the_phones_of_its_utterance(world, figures, kind):
    """They were refused for all but codes."""
    write_alignment(world / "phones", PHONES.items())
    run("--plot", *kind.split(), "--num=2", "--input=data/store/all", "--alignment=phones", "--output=out")
    assert figures.keys() == {f"{name}_{what}.png" for name in PHONES for what in KINDS[kind]}
    for file, figure in figures.items():
        name, panels = file[:2], [ax for ax in figure.axes if ax.images]
        expected = {"u0": [0, 0.25, 0.6], "u1": [0.1, 0.3, 0.4, 1.5]}[name]
        if name == "u1" and "attention" in file:  # of the first piece, 41 frames
            expected = [0.1, 0.3, 0.4, 40.5 * 0.0125]
        assert len(panels) > 1
        assert all(boundaries(ax) == pytest.approx(expected) for ax in panels)
        assert [text.get_text() for text in panels[0].texts] == [label for _, _, label in PHONES[name]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_utterance_without_phones_is_named_before_anything_is_written(world, kind):
    """Of three utterances the alignment has two: no picture of these may be left behind, and no states."""
    write_alignment(world / "phones", PHONES.items())
    words = ["--plot", *kind.split(), "--input=data/store/all", "--alignment=phones", "--output=out"]
    for more in ([], ["--dry_run"]):
        with pytest.raises(ValueError, match="phones: no alignment of utterance 'u2'"):
            run(*words, *more)
    assert not (world / "out").exists()


def test_phones_have_no_place_where_nobody_knows_when_frames_are(world):
    """They were drawn as if a frame lasted a second."""
    write_alignment(world / "phones", PHONES.items())
    info = world / "data/store/features.yaml"
    info.write_text(re.sub("(?m)^frame_shift: .*$", "frame_shift: .nan", info.read_text()))
    with pytest.raises(ValueError, match="store/all: nothing says when its frames are"):
        run("--plot", "--num=1", "--input=data/store/all", "--alignment=phones")
