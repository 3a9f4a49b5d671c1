"""`--extract` and `--info` of any upstream: one grammar; stores, tables, folders and single recordings."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import hubconf
import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.describe import describe_upstream
from mockingjay.upstream import load_upstream
from preprocess.generate_len_for_bucket import main as write_lengths
from preprocess.preprocess_any import main as preprocess_any
from tests.helpers.bounded import RATE, Bounded
from tests.helpers.files import contents
from tests.helpers.huggingface_models import write_model
from tests.helpers.speech import wav
from utility.audio.feature_config import FeatureConfig
from utility.audio.waveform import read_audio
from utility.config import as_dict, build
from utility.kaldi import archives
from utility.store.reading import Store
from utility.training.checkpoint import save_checkpoint

FBANK = FeatureConfig(kind="fbank", deltas=0)
OWN = "tests.helpers.bounded:Waves"
BASELINE = ["--upstream", "baseline", "--input"]
MODEL = {"layers": 2, "hidden_size": 8, "heads": 2, "ffn_size": 8}
LENGTHS = {"s0/a": 9000, "s0/b": 4000, "s1/c": 16000, "s1/d": 12345}
RUN = Path("result/result_mockingjay/mine")


def save_run(folder: Path, features: FeatureConfig | None, name: str = "best.ckpt", seed: int = 1) -> None:
    config = build(PretrainConfig, {"model": MODEL, "data": {"test": ["data/fbank/train"]}})
    content = {"model": new_model(config, 80, 80, seed).state_dict(), "config": as_dict(config), "seed": seed}
    content |= {"input_dim": 80, "target_dim": 80, "frame_shift": 0.01, "optimizer": {}, "state": {"step": seed}}
    content |= {"features": features and as_dict(features), "target": features and as_dict(features)}
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / name, "pretrain", content)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Recordings, a store and a table of them, configs, a run with two steps."""
    root = tmp_path_factory.mktemp("extract_any").resolve()
    for number, (name, samples) in enumerate(LENGTHS.items()):
        wav(root / f"audio/train/{name}.wav", samples, number)
    (root / "online.yaml").write_text(yaml.safe_dump({"online": {"input": as_dict(FBANK)}}))
    (root / "mel.yaml").write_text(yaml.safe_dump({"online": {"input": {"kind": "mel"}}}))
    (root / "noisy.yaml").write_text("online: {noise_proportion: 0.5}\n")
    (root / "small.yaml").write_text(yaml.safe_dump({"model": MODEL}))
    with contextlib.chdir(root):
        preprocess_any(
            ["--data_path", "audio", "--name", "fbank", "--feature_type", "fbank", "--delta=False", "--n_jobs", "1"]
        )
        write_lengths(["--data_path", "audio", "--name", "lengths"])
        save_run(RUN, FBANK)
        save_run(RUN, FBANK, "mockingjay-5.ckpt", 5)
        save_run(RUN.with_name("silent"), None)
    return root


@pytest.fixture
def here(world, monkeypatch, tmp_path) -> Path:
    monkeypatch.chdir(world)
    return tmp_path


def extract(output: Path, *words: str, code: int = 0) -> Store:
    """The store that `--extract` leaves."""
    assert runner_mockingjay.main(["--extract", "--cpu", "--no-msg", "--output", str(output), *words]) == code
    (table,) = [path for path in output.glob("*.csv") if path.name != "errors.csv"]
    return Store([table.with_suffix("")])


def refused(*words: str) -> str:
    with pytest.raises((ValueError, OSError)) as answer:
        runner_mockingjay.main(["--cpu", *words] if "--extract" in words else list(words))
    line = str(answer.value)
    assert "\n" not in line
    return line


def rows(store: Store) -> dict[str, np.ndarray]:
    return {name: store[index] for index, name in enumerate(store.ids)}


def same(one: Store, other: Store) -> None:
    first, second = rows(one), rows(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_spec_gives_the_bytes_of_its_checkpoint(here):
    words = ["--input", "data/fbank/train", "--layer", "all"]
    plain = extract(here / "ckpt", "--ckpt", str(RUN / "best.ckpt"), *words)
    specs = ("pretrained:mine", f"x=pretrained:{RUN}", "transformer:mine", f"pretrained:{RUN}/best.ckpt")
    for number, spec in enumerate(specs):
        stored = extract(here / str(number), "--upstream", spec, *words)
        assert contents(here / str(number)) == contents(here / "ckpt")
        assert stored.info.made_by["checkpoint"] == str(RUN / "best.ckpt")
    step = extract(here / "step", "--upstream", "pretrained:mine@5", *words)
    assert (step.info.made_by["step"], plain.info.made_by["step"]) == (5, 1)
    assert not np.array_equal(step[0], plain[0])
    same(extract(here / "old", "--upstream", "pretrained", "--ckpt", "mine", *words), plain)
    same(extract(here / "name", "--upstream", "pretrained", "--name", "mine", *words), plain)


def test_overrides_and_the_test_set_of_a_checkpoint_act_on_every_spec_of_it(here):
    whole = extract(here / "whole", "--upstream", "random:mine")
    cut = extract(here / "cut", "--upstream", "random:mine", "model.max_input_length=20")
    assert whole.ids == cut.ids == Store(["data/fbank/train"]).ids
    assert not np.array_equal(whole[0], cut[0])
    assert "would change nothing" in refused("--extract", "--upstream", "hf:x", "model.max_input_length=20")


def test_fresh_weights_come_from_the_seed(here):
    words = ["--input", "data/fbank/train"]
    one, again = (extract(here / name, "--upstream", "random:mine", "--seed", "3", *words) for name in "ab")
    other = extract(here / "c", "--upstream", "random:mine", *words)
    same(one, again)
    assert not np.array_equal(one[0], other[0])
    assert one.info.made_by["checkpoint"] == f"random:{RUN}/best.ckpt --seed 3"
    from_yaml = extract(here / "d", "--upstream", "random:small.yaml", "--seed", "3", *words)
    assert from_yaml.info.row_shape == [8]
    assert "would not use --seed 3" in refused("--extract", "--upstream", "pretrained:mine", "--seed", "3")
    assert "would not use --seed 3" in refused("--extract", "--upstream", "baseline", "--seed", "3", *words)


def test_the_features_themselves_from_a_store_and_from_recordings_by_online_config(here):
    stored = extract(here / "store", "--upstream", "baseline", "--input", "data/fbank/train")
    same(stored, Store(["data/fbank/train"]))
    for name, source in {"folder": "audio/train", "table": "data/lengths/train.csv"}.items():
        computed = extract(here / name, "--upstream", "baseline", "--input", source, "--online_config", "online.yaml")
        same(computed, stored)
        assert computed.info.features == FBANK
    words = ["--upstream", "baseline", "--online_config", "online.yaml"]
    one = extract(here / "one", *words, "--input", "audio/train/s0/a.wav")
    np.testing.assert_allclose(one[0], stored[stored.index["a"]], rtol=0, atol=1e-5)


def test_a_checkpoint_takes_recordings_and_one_that_states_nothing_is_told_their_features(here):
    plain = extract(here / "store", "--upstream", "pretrained:mine", "--input", "data/fbank/train")
    same(extract(here / "audio", "--upstream", "pretrained:mine", "--input", "audio/train"), plain)
    words = ["--upstream", "pretrained:silent", "--input", "audio/train"]
    same(extract(here / "told", *words, "--online_config", "online.yaml"), plain)
    assert "say by --online_config YAML which they are" in refused("--extract", *words)
    line = refused("--extract", "--ckpt", "mine", "--input", "audio/train", "--online_config", "mel.yaml")
    assert "kind 'mel' against 'fbank'" in line


def test_waveforms_of_a_store_a_folder_a_table_and_one_recording(here):
    words = ["--upstream", OWN]
    folder = extract(here / "folder", *words, "--input", "audio/train")
    same(extract(here / "table", *words, "--input", "data/lengths/train.csv"), folder)
    same(extract(here / "store", *words, "--input", "data/fbank/train"), folder)
    one = extract(here / "one", *words, "--input", "audio/train/s1/c.wav")
    np.testing.assert_array_equal(one[0], folder[folder.index["c"]])
    upstream = load_upstream(OWN, seed=1337)
    for name, states in rows(folder).items():
        (path,) = Path("audio").rglob(f"{name}.wav")
        with torch.inference_mode():
            alone = upstream.from_waveforms([read_audio(path, RATE)])[0][0][0]
        np.testing.assert_allclose(states, alone.numpy(), rtol=0, atol=1e-6)
    assert (folder.info.frame_shift, folder.info.frame_offset, folder.info.features) == (0.01, 45 / 2 / RATE, None)
    np.testing.assert_allclose(folder.frame_times(0)[:3], [0.0028125, 0.0128125, 0.0228125])


def test_parts_of_recordings_are_taken_by_their_times(here):
    shutil.copytree("data/fbank", here / "data/parts")
    table = Path("data/fbank/train.csv").read_text().splitlines()
    parts = [f"{table[0]},start,end", f"{table[1]},0.1,0.3", *(f"{line},," for line in table[2:])]
    (here / "data/parts/train.csv").write_text("\n".join(parts) + "\n")
    stored = extract(here / "out", "--upstream", OWN, "--input", f"{here}/data/parts/train")
    name = table[1].split(",")[0]
    (path,) = Path("audio").rglob(f"{name}.wav")
    with torch.inference_mode():
        wave = read_audio(path, RATE, span=(0.1, 0.3))
        alone = load_upstream(OWN, seed=1337).from_waveforms([wave])[0][0][0]
    np.testing.assert_allclose(stored[stored.index[name]], alone.numpy(), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_layers_by_label_number_list_average_and_weights(here):
    words = ["--upstream", "pretrained:mine", "--input", "data/fbank/train"]
    whole = extract(here / "all", *words, "--layer", "all")
    (here / "w.json").write_text(json.dumps({"layer_weights": [0.2, 0.3, 0.5]}))
    layers = {
        "0": whole[0][:, 0],
        "T1": whole[0][:, 1],
        "last": whole[0][:, 2],
        "T2,0": whole[0][:, [2, 0]],
        "average": whole[0].mean(axis=1),
        f"ws:{here}/w.json": np.einsum("tlh,l->th", whole[0], [0.2, 0.3, 0.5]),
    }
    for number, (layer, expected) in enumerate(layers.items()):
        stored = extract(here / str(number), *words, "--layer", layer)
        np.testing.assert_allclose(stored[0], expected, rtol=0, atol=1e-5, err_msg=layer)
    assert "not several layers (--layer T0,T1)" in refused("--extract", *words, "--format", "ark", "--layer", "T0,T1")


@pytest.mark.slow
def test_layers_of_other_frames_than_the_blocks(here):
    pytest.importorskip("transformers", reason="transformers absent: pip install -r requirements-hf.txt")
    folder = write_model(here / "hubert", "hubert")
    words = ["--upstream", f"hf:{folder}", "--input", "audio/train"]
    samples = np.array([*LENGTHS.values()])
    for label, field, stride, width in (("C1", 10, 5, 16), ("C6", 240, 160, 16), ("P", 400, 320, 32)):
        stored = extract(here / label, *words, "--layer", label)
        assert stored.info.row_shape == [width]
        assert (stored.info.frame_shift, stored.info.frame_offset) == (stride / 16000, field / 2 / 16000)
        assert stored.lengths.tolist() == ((samples - field) // stride + 1).tolist()
    words += ["--output", str(here / "x")]
    assert "layer C8 does not exist" in refused("--extract", *words, "--layer", "C8")
    assert "layers C7, T0 differ in width or frame rate" in refused("--extract", *words, "--layer", "C7,T0")
    assert not (here / "x").exists()


def test_an_archive_a_smaller_type_shards_and_another_run_over_it(here):
    words = ["--upstream", OWN, "--input", "audio/train"]
    plain = extract(here / "plain", *words)
    runner_mockingjay.main(["--extract", "--no-msg", "--format", "ark", "--output", str(here / "ark"), *words])
    archive = dict(archives.read_ark(here / "ark/train.ark"))
    assert archive.keys() == rows(plain).keys()
    for name, states in rows(plain).items():
        np.testing.assert_array_equal(archive[name], states)
    half = extract(here / "half", *words, "--dtype", "float16")
    assert half.info.dtype == "float16"
    np.testing.assert_allclose(half[0], plain[0], atol=1e-3)
    rough = extract(here / "rough", *words, "--precision", "bf16")
    assert 0 < np.abs(rough[0] - plain[0]).max() < 0.05
    for part in ("2/2", "1/2"):
        runner_mockingjay.main(["--extract", "--no-msg", "--shard", part, "--output", str(here / "shards"), *words])
    assert contents(here / "shards") == contents(here / "plain")
    line = refused("--extract", "--output", str(here / "plain"), *words, "--seed", "3")
    assert "made by tests.helpers.bounded:Waves --seed 1337 at step 0" in line
    again = extract(here / "plain", *words, "--seed", "3", "--overwrite")
    assert not np.array_equal(again[0], plain[0])


def test_where_representations_go_without_output(here, capsys):
    given = ["--extract", "--cpu", "--input", "data/fbank/train"]
    places = {
        "pretrained:mine": RUN / "best-dump",
        "transformer:mine@5": RUN / "mockingjay-5-dump",
        "probe=pretrained:mine": RUN / "best-probe-dump",
        "random:mine": RUN / "best-random-dump",
        "baseline": Path("data/baseline-dump"),
        "mel 80=baseline": None,
        "mel_80=baseline": Path("data/mel_80-dump"),
        "random:small.yaml": Path("data/random-dump"),
        OWN: Path("data/tests.helpers.bounded_Waves-dump"),
    }
    for spec, place in places.items():
        if place is None:
            assert "unknown upstream" in refused(*given, "--upstream", spec)
            continue
        assert runner_mockingjay.main([*given, "--upstream", spec]) == 0
        assert f"in {place}/train" in capsys.readouterr().out
        shutil.rmtree(place)


def test_a_dry_run_shows_the_upstream_and_its_data_and_writes_nothing(here, capsys):
    before = contents(Path())
    words = ["--extract", "--dry_run", "--upstream", OWN]
    assert runner_mockingjay.main([*words, "--input", "audio/train"]) == 0
    out = capsys.readouterr().out
    assert "upstream:      tests.helpers.bounded:Waves --seed 1337" in out
    assert "input audio/train: 4 utterances, 0.00 hours, 20673 samples at 8000 Hz" in out
    assert "dry run: nothing is written; the output would go to data/tests.helpers.bounded_Waves-dump" in out
    assert contents(Path()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upstream", "pretrained:mine", "--ckpt", "mine"], "names its checkpoint, got --ckpt mine"),
        (["--upstream", "baseline", "--ckpt", "mine"], "takes no checkpoint, got --ckpt mine"),
        (["--upstream", "random"], "--upstream random needs --ckpt"),
        (["--upstream", "hf:x", "--name", "mine"], "would not use --name mine"),
        (["--upstream", "hf:x", "--ckpdir", "runs"], "takes no checkpoint, got --ckpdir runs"),
        (["--upstream", "hf:x", "--assume", "shift=3"], "takes no checkpoint, got --assume shift=3"),
        (["--upstream", "baseline"], "brings no test set: add --input"),
        (["--upstream", "baseline", "--input", "audio/train"], "say by --online_config YAML"),
        (["--upstream", "random:small.yaml", "--input", "audio"], "say by --online_config YAML"),
        (["--upstream", "baseline", "--input", "nowhere"], "--input nowhere: neither a store/split nor"),
        ([*BASELINE, "data/fbank/train", "--online_config", "mel.yaml"], "leave --online_config out"),
        ([*BASELINE, "audio", "--online_config", "small.yaml"], "small.yaml has no section online"),
        ([*BASELINE, "audio", "--online_config", "noisy.yaml"], "online.noise_proportion: recordings are heard"),
        (
            ["--upstream", OWN, "--input", "audio", "--online_config", "mel.yaml"],
            "takes waveforms: leave --online",
        ),
        (["--upstream", "pretrained:mine", "--input", "data/fbank"], "data/fbank"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(here, words, said):
    before = contents(Path())
    assert said in refused("--extract", *words)
    assert contents(Path()) == before


def test_a_store_whose_recordings_are_gone(here):
    shutil.copytree("data/fbank", here / "data/fbank")
    file = here / "data/fbank/features.yaml"
    file.write_text(file.read_text().replace(f"audio_root: {Path('audio').resolve()}", "audio_root: /gone"))
    words = ["--upstream", OWN, "--input", str(here / "data/fbank/train")]
    line = refused("--extract", "--output", str(here / "out"), *words)
    assert "/gone/train/s0/a.wav: no such file" in line
    assert "audio_root: FOLDER" in line
    assert not (here / "out").exists()
    kept = here / "some/train/s1"
    kept.mkdir(parents=True)
    shutil.copy("audio/train/s1/c.wav", kept)
    file.write_text(file.read_text().replace("/gone", str(here / "some")))
    assert extract(here / "out", *words, code=1).ids == ["c"]
    assert "s0/a.wav: no such audio file" in (here / "out/errors.csv").read_text()


def test_info_of_a_checkpoint_shows_layers_frames_and_fingerprint(here, capsys):
    for text in ("mine", f"{RUN}/best.ckpt"):
        runner_mockingjay.main(["--info", text])
        out = capsys.readouterr().out
        for line in (
            f"file:          {RUN}/best.ckpt",
            "model:         Mockingjay, 2 layers of 8",
            "layers:        T0 ... T2: 8 wide, a frame every 10 ms, the first centred at 0 ms",
            "batches:       any number of utterances at once",
            f"fingerprint:   {load_upstream(RUN / 'best.ckpt').fingerprint}",
            "config:",
        ):
            assert f"\n{line}" in f"\n{out}"


def test_info_of_any_upstream(here, capsys):
    runner_mockingjay.main(["--info", OWN])
    assert capsys.readouterr().out.splitlines() == [
        f"upstream:      {OWN}",
        "family:        a module of your own for waveforms",
        "parameters:    148, fine-tuning trains all",
        "input:         mono waveforms of 8000 Hz as they are; what else is done to them the module does",
        "layers:        O: 4 wide, a frame every 10 ms (80 samples), the first centred at 2.8125 ms, sees 5.625 ms "
        "(45 samples)",
        "batches:       one utterance at a time: its forward takes no lengths",
        "long audio:    above 60 s in pieces of 60 s, of which 5 s at either end are dropped",
        f"fingerprint:   {load_upstream(OWN, seed=1337).fingerprint}",
    ]
    runner_mockingjay.main(["--info", "random:mine"])
    assert "input:         fbank, deltas 0, cmvn utterance, 16000 Hz" in capsys.readouterr().out
    frozen = Bounded()
    frozen.frozen_by_default = ("layers.0",)
    lines = describe_upstream(frozen, "bounded").splitlines()
    assert lines[2] == "parameters:    148, fine-tuning trains all but the 44 of layers.0, unless told"
    assert [line[15:18].strip(" :") for line in lines[4:7]] == ["C1", "C2", "T0"]
    runner_mockingjay.main(["--info", "baseline", "--input", "data/fbank/train"])
    out = capsys.readouterr().out
    assert "parameters:    none" in out
    assert "layers:        F: 80 wide, a frame every 10 ms" in out
    assert "add --input, a store/split" in refused("--info", "baseline")
    assert "add --input, a store/split" in refused("--info", "random:small.yaml")
    assert "writes nothing: leave --dry_run out" in refused("--info", "random:mine", "--dry_run")
    assert "takes no checkpoint" in refused("--info", "baseline", "--input", "data/fbank/train", "--assume", "shift=3")


def test_torch_hub_opens_specs_too(here):
    same_as = load_upstream(RUN / "best.ckpt").fingerprint
    for name in (RUN / "best.ckpt", str(RUN / "best.ckpt"), "pretrained:mine", "x=pretrained:mine"):
        assert hubconf.upstream(name).fingerprint == same_as
    fresh = {hubconf.upstream(f"random:{RUN}/best.ckpt", seed=seed).fingerprint for seed in (3, 4, 4)}
    assert len({*fresh, same_as}) == 3
    shutil.copy(RUN / "best.ckpt", here / "weights")
    assert hubconf.upstream(here / "weights").fingerprint == same_as
