"""Upstreams and representations: one interface, honest baselines, the same bytes however extraction was interrupted."""

import importlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.checkpoint import load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.representation import ExtractionOptions, represent, represent_as_archive
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import Field, Upstream
from mockingjay.upstreams.selection import LayerSelection
from tests.conftest import PROJECT
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.files import contents
from tests.helpers.speech import MEL, UNEVEN, wav, write_store
from utility.audio.feature_config import FeatureConfig
from utility.audio.waveform import read_audio
from utility.config import build
from utility.store.reading import Store
from utility.store.recordings import Recordings
from utility.store.writing import StoreWriter
from utility.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("ckpt") / "mockingjay-1.ckpt", model=TRANSFORMER)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store([write_store(tmp_path_factory.mktemp("store") / "test", UNEVEN)])


def test_transformer_random_and_baseline_share_one_interface(ckpt, store):
    found = {name: load_upstream(name, None if name == "baseline" else ckpt, store.info, seed=1) for name in
             ("transformer", "random", "baseline")}  # fmt: skip
    features = torch.from_numpy(np.stack([store[3][:20], store[4][:20]]))
    lengths = torch.tensor([20, 20])
    for name, upstream in found.items():
        states = upstream(features, lengths)
        assert len(states) == upstream.num_layers + 1
        assert all(state.shape == (2, 20, upstream.hidden_size) for state in states)
        assert upstream.feature_config == MEL
        assert not upstream.training
        assert (len(states), states[0].shape[-1]) == ((1, 80) if name == "baseline" else (3, 24))
    assert torch.equal(found["baseline"](features, lengths)[0], features)
    assert len({upstream.fingerprint for upstream in found.values()}) == 3
    assert load_upstream("random", ckpt, store.info, seed=1).fingerprint == found["random"].fingerprint
    assert load_upstream(str(ckpt)).fingerprint == found["transformer"].fingerprint


def test_random_has_the_architecture_of_a_yaml_too(store, tmp_path):
    upstream = load_upstream("random", PROJECT / "config/mockingjay_demo.yaml", store.info)
    assert (upstream.num_layers, upstream.hidden_size) == (3, 256)


def test_waveforms_in_hidden_states_out(ckpt):
    upstream = load_upstream("transformer", ckpt)
    generator = torch.Generator().manual_seed(0)
    waves = [torch.randn(n, generator=generator) * 0.1 for n in (16000, 9000, 400)]
    with torch.no_grad():
        states, lengths = upstream.from_waveforms(waves)
        assert lengths.tolist() == [81, 46, 3]
        for row, wave in enumerate(waves):
            alone, _ = upstream.from_waveforms([wave])
            torch.testing.assert_close(alone[-1][0], states[-1][row, : lengths[row]], atol=1e-5, rtol=1e-5)


def test_an_upstream_states_what_it_takes_and_gives(ckpt, store):
    upstream, head = load_upstream("pretrained", ckpt), load_upstream("pretrained_head", ckpt)
    assert (upstream.takes, upstream.batched, upstream.layers) == ("features", True, ("T0", "T1", "T2"))
    assert head.layers == ("T0", "T1", "T2", "H")
    assert (upstream.frame_shift, upstream.frame_offset, upstream.sample_rate) == (0.0125, 0.0, 16000)
    assert load_upstream("baseline", info=store.info).layers == ("F",)
    kaldi = replace(store.info, features=FeatureConfig(kind="kaldi_fbank", deltas=0), frame_shift=0.01)
    assert load_upstream("baseline", info=kaldi).frame_offset == 0.0125
    nothing = load_upstream("baseline", info=replace(store.info, features=None, frame_shift=float("nan")))
    assert (nothing.frame_shift, nothing.frame_offset, nothing.sample_rate) == (None, None, None)


def test_old_word_opens_the_same(ckpt):
    assert load_upstream("transformer", ckpt).fingerprint == load_upstream("pretrained", ckpt).fingerprint
    assert load_upstream("transformer_head", ckpt).fingerprint == load_upstream("pretrained_head", ckpt).fingerprint


def test_waveforms_as_arrays_of_any_float_type(ckpt):
    upstream, wave = load_upstream("pretrained", ckpt), np.random.default_rng(0).uniform(-0.1, 0.1, 4000)
    wave = wave.astype(np.float32)
    with torch.no_grad():
        wanted, lengths = upstream.from_waveforms([torch.from_numpy(wave)])
        for given in ([wave], (wave,), [wave.astype(np.float64)], [torch.from_numpy(wave).double()]):
            states, _ = upstream.from_waveforms(given, sample_rate=16000)
            assert all(torch.equal(state, other) for state, other in zip(states, wanted, strict=True))
    assert lengths.tolist() == [21]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros(4000, np.float32), "got one ndarray of shape [4000]: pass a list of 1-D arrays"),
        (torch.zeros(2, 4000), "got one Tensor of shape [2, 4000]: pass a list of 1-D arrays"),
        ("speech.wav", "got 'speech.wav': pass a list of 1-D arrays"),
        (Path("speech.wav"), "speech.wav"),
        (None, "got None: pass a list of 1-D arrays"),
        ([], "at least one waveform"),
        (["speech.wav"], "waveform 0 is a str: pass a list of 1-D arrays"),
        ([torch.zeros(4000), torch.zeros(1, 4000)], "waveform 1 is float32 of shape [1, 4000]: pass a list"),
        ([np.zeros(4000, np.int16)], "waveform 0 is int16 of shape [4000]: pass a list"),
        ([np.zeros(4000), np.zeros(0)], "waveform 1 has no samples"),
    ],
)
def test_what_is_no_list_of_waveforms_is_refused_in_one_line(given, said, ckpt):
    with pytest.raises(ValueError) as refused:
        load_upstream("pretrained", ckpt).from_waveforms(given)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_waveforms_of_another_rate_are_refused(ckpt):
    with pytest.raises(ValueError, match="sample_rate is 8000, this upstream takes 16000 Hz: resample first"):
        load_upstream("pretrained", ckpt).from_waveforms([np.zeros(4000)], sample_rate=8000)


class Levels(Upstream):
    """Takes waveforms: a vector for each 400 samples, whose mean over what it is given would see any padding."""

    takes, batched, layers, hidden_size = "waveform", False, ("C1", "T0"), 3
    feature_config, frame_shift, sample_rate, fingerprint = None, 0.025, 16000, "levels"

    def field(self, label=None):
        return Field(400, 400, 16000)

    def encode(self, inputs, lengths, labels):
        assert inputs.shape == (1, int(lengths))
        frames = inputs[:, : int(lengths) // 400 * 400].unflatten(1, (-1, 400))
        first = frames[:, :, :3] - inputs.mean()
        return [{"C1": first, "T0": 2 * first}[label] for label in labels]


def test_an_upstream_of_waveforms_needs_nothing_else_changed(tmp_path):
    names = {"a/long": 9050, "a/short": 900, "b/other": 4000}
    for seed, (name, count) in enumerate(names.items()):
        wav(tmp_path / "audio" / f"{name}.wav", count, seed)
    wav(tmp_path / "audio/b/none.wav", 300)
    upstream, corpus = Levels().eval(), Recordings([tmp_path / "audio"], MEL)
    how = ExtractionOptions(LayerSelection("all"), quiet=True)
    assert represent(upstream, corpus, tmp_path / "out", "all", how)
    stored = Store([tmp_path / "out/all"])
    assert dict(zip(stored.ids, stored.lengths.tolist())) == {"long": 22, "short": 2, "other": 10}
    assert (stored.info.frame_shift, stored.info.features) == (0.025, None)
    waves = [read_audio(path) for path in stored.audio_paths]
    states, lengths = upstream.from_waveforms(waves, 16000)
    assert lengths.tolist() == stored.lengths.tolist()
    for row, length in enumerate(lengths):
        alone, _ = upstream.from_waveforms([waves[row]])
        for layer in (0, 1):
            assert torch.equal(states[layer][row, :length], alone[layer][0])
            assert not states[layer][row, length:].any()
            np.testing.assert_array_equal(stored[row][:, layer], alone[layer][0].numpy())
    assert "b/none" in (tmp_path / "out/errors.csv").read_text()


def test_features_that_do_not_fit_are_refused_with_both_values(ckpt, tmp_path):
    other = FeatureConfig(kind="fbank", deltas=0)
    store = Store([write_store(tmp_path / "test", {"a-1": 9}, other)])
    with pytest.raises(ValueError, match="kind 'fbank' against 'mel'"):
        load_upstream("transformer", ckpt, store.info)


OWN = """
import torch
class Mean(torch.nn.Module):  # looks at everything it is given: padding would change it
    out_dim = 4
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(80, 4)
    def forward(self, x):
        return self.layer(x - x.mean(1, keepdim=True))
class Short(Mean):
    def forward(self, x):
        return super().forward(x)[:, ::2]
class NoSize(torch.nn.Module):
    pass
"""


def test_own_upstream_gives_the_same_alone_and_in_a_batch(store, tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    upstream = load_upstream("own_models:Mean", None, store.info, seed=2)
    rows = [torch.from_numpy(store[i]) for i in (3, 5)]
    lengths = torch.tensor([len(row) for row in rows])
    (together,) = upstream(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)
    for row, one in enumerate(rows):
        alone = upstream(one[None], lengths[row : row + 1])[0]
        torch.testing.assert_close(alone[0], together[row, : len(one)])
    with pytest.raises(ValueError, match="T must stay T"):
        load_upstream("own_models:Short", None, store.info)(rows[0][None], lengths[:1])
    with pytest.raises(ValueError, match="out_dim"):
        load_upstream("own_models:NoSize", None, store.info)
    with pytest.raises(ValueError, match="could not be made"):
        load_upstream("own_models:Absent", None, store.info)


@pytest.mark.parametrize("layers", ["last", "all", 1, (0.2, 0.3, 0.5)])
def test_stored_representations_are_what_the_upstream_gives(ckpt, store, tmp_path, layers):
    upstream = load_upstream("transformer", ckpt)
    assert represent(
        upstream, store, tmp_path, "test", ExtractionOptions(LayerSelection(layers), quiet=True, batch_frames=500)
    )
    stored = Store([tmp_path / "test"])
    assert stored.ids == store.ids
    assert stored.lengths.tolist() == store.lengths.tolist()
    assert stored.info.made_by["upstream"] == upstream.fingerprint
    for index in (0, 7, 29):
        features = torch.from_numpy(store[index])[None]
        with torch.no_grad():
            states = upstream(features, torch.tensor([features.shape[1]]))
        expected = LayerSelection(layers).pick(states, upstream)[0]
        torch.testing.assert_close(torch.from_numpy(stored[index]), expected, atol=1e-5, rtol=1e-5)
        assert list(stored[index].shape[1:]) == ([3, 24] if layers == "all" else [24])


def test_shards_and_interruptions_leave_the_same_bytes(ckpt, store, tmp_path):
    upstream, how = load_upstream("transformer", ckpt), {"quiet": True, "batch_frames": 300}
    assert represent(upstream, store, tmp_path / "one", "test", ExtractionOptions(**how))
    assert not represent(upstream, store, tmp_path / "two", "test", ExtractionOptions(shard=(1, 2), **how))
    assert represent(upstream, store, tmp_path / "two", "test", ExtractionOptions(shard=(0, 2), **how))
    calls = []

    class Killed(type(upstream)):
        def forward(self, features, lengths, labels):
            calls.append(len(lengths))
            if len(calls) > 4:
                raise KeyboardInterrupt
            return super().forward(features, lengths, labels)

    dying = load_upstream("transformer", ckpt)
    dying.__class__ = Killed
    with pytest.raises(KeyboardInterrupt):
        represent(dying, store, tmp_path / "three", "test", ExtractionOptions(**how))
    written = (tmp_path / "three" / "test.progress").read_bytes()[: len(store)]
    assert 0 < written.count(1) < len(store)
    assert represent(upstream, store, tmp_path / "three", "test", ExtractionOptions(**how))
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")


def trained_on(ckpt, path, seed):
    """Another checkpoint of the same model, as after more training."""
    content = load_checkpoint(ckpt, "pretrain") | {"state": {"step": 10 * seed}}
    model = new_model(build(PretrainConfig, content["config"]), 80, 80, seed)
    save_checkpoint(
        path, "pretrain", {key: content[key] for key in content if key != "kind"} | {"model": model.state_dict()}
    )
    return path


@pytest.mark.slow
def test_more_training_is_told_in_words_and_overwritten_when_asked(ckpt, store, tmp_path, capsys, monkeypatch):
    """Two hashes were what a user got who ran --extract again."""
    monkeypatch.chdir(tmp_path)
    best, source = trained_on(ckpt, Path("best.ckpt"), 2), str(store.paths[0])
    words = ["--extract", "--cpu", "--no-msg", "--ckpt", "best.ckpt", "--input", source]
    runner_mockingjay.main(words)
    first = contents(tmp_path / "best-dump")
    info = Store("best-dump/test").info
    assert (info.made_by["checkpoint"], info.made_by["step"]) == ("best.ckpt", 20)
    again = Store("best-dump/test").fingerprint()
    runner_mockingjay.main([*words, "--overwrite"])  # the same once more
    assert contents(tmp_path / "best-dump") == first
    best.rename("moved.ckpt")  # what it is called does not matter
    for folder in ("best-dump", "elsewhere"):
        runner_mockingjay.main([*words, "--ckpt", "moved.ckpt", "--output", folder])
        assert Store(f"{folder}/test").fingerprint() == again
    assert Store("elsewhere/test").info.made_by["checkpoint"] == "moved.ckpt"

    trained_on(ckpt, best, 3)
    with pytest.raises(ValueError) as refused:
        runner_mockingjay.main(words)
    assert str(refused.value) == (
        "best-dump/test was made by best.ckpt at step 20, this is best.ckpt at step 30: "
        "choose another --output, or add --overwrite to replace it"
    )
    with pytest.raises(ValueError, match="layers is 'last' there, 'all' here; choose another --output"):
        runner_mockingjay.main([*words, "--ckpt", "moved.ckpt", "--output", "best-dump", "--layer", "all"])
    other = write_store(tmp_path / "data" / "test", {"a-1": 9})
    with pytest.raises(ValueError, match="its input was another; choose"):
        runner_mockingjay.main([*words, "--ckpt", "moved.ckpt", "--output", "best-dump", "--input", str(other)])
    assert contents(tmp_path / "best-dump") == first

    runner_mockingjay.main([*words, "--overwrite"])
    runner_mockingjay.main([*words, "--output", "fresh"])
    assert contents(tmp_path / "best-dump") == contents(tmp_path / "fresh")
    assert Store("fresh/test").info.made_by["step"] == 30


def test_overwriting_spares_what_it_did_not_make(ckpt, store, tmp_path):
    upstream, how = load_upstream("transformer", ckpt), ExtractionOptions(quiet=True, overwrite=True)
    features = write_store(tmp_path / "features" / "test", {"a-1": 9})
    with pytest.raises(
        ValueError, match=r"features/features.yaml: not made by --extract or --test, so not to overwrite"
    ):
        represent(upstream, store, features.parent, "test", how)
    assert len(Store(features)) == 1
    for split in ("one", "two"):
        assert represent(upstream, store, tmp_path / "states", split, how)
    before = contents(tmp_path / "states")
    assert represent(upstream, store, tmp_path / "states", "two", how)
    with pytest.raises(ValueError, match="also holds one, made by a checkpoint that it does not name: choose another"):
        represent(upstream, store, tmp_path / "states", "two", replace(how, layers=LayerSelection("all")))
    assert contents(tmp_path / "states") == before
    words = ["--cpu", "--no-msg", "--overwrite", "--ckpt", str(ckpt)]
    with pytest.raises(ValueError, match="which is the input"):
        runner_mockingjay.main(["--extract", *words, "--input", str(features), "--output", str(features.parent)])
    for mode in (["--plot"], ["--train"], ["--export", "hf"], ["--info", str(ckpt)]):
        with pytest.raises(ValueError, match="would not use --overwrite"):
            runner_mockingjay.main([*mode, "--overwrite"])
    with pytest.raises(ValueError, match="what other shards write"):
        runner_mockingjay.main(["--extract", *words, "--shard", "1/2"])


def test_overwriting_continues_what_it_began(ckpt, store, tmp_path):
    upstream, how = load_upstream("transformer", ckpt), ExtractionOptions(quiet=True, batch_frames=300, overwrite=True)
    assert not represent(upstream, store, tmp_path, "test", replace(how, overwrite=False, shard=(0, 2)))
    done = (tmp_path / "test.progress").read_bytes()[: len(store)].count(1)
    assert 0 < done < len(store)
    written = []
    with pytest.MonkeyPatch.context() as patch:
        write = StoreWriter.write
        patch.setattr(StoreWriter, "write", lambda self, i, array: (written.append(i), write(self, i, array)))
        assert represent(upstream, store, tmp_path, "test", how)
    assert len(written) == len(store) - done


def test_audio_folder_lists_what_cannot_be_used(ckpt, tmp_path):
    audio = tmp_path / "audio" / "a"
    audio.mkdir(parents=True)
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    soundfile.write(audio / "good.wav", wave, 16000)
    soundfile.write(audio / "other.flac", wave[:4000], 8000)
    (audio / "broken.wav").write_bytes(b"RIFF nonsense")
    (audio / "empty.flac").touch()
    corpus = Recordings([tmp_path / "audio"], MEL)
    assert corpus.ids == ["broken", "empty", "good", "other"]
    assert represent(load_upstream("transformer", ckpt), corpus, tmp_path / "out", "all", ExtractionOptions(quiet=True))
    stored = Store([tmp_path / "out" / "all"])
    assert stored.ids == ["good", "other"]
    assert stored.lengths.tolist() == [41, 41]
    errors = (tmp_path / "out" / "errors.csv").read_text()
    assert "broken.wav" in errors
    assert "empty.flac" in errors
    written = represent_as_archive(
        load_upstream("transformer", ckpt), corpus, tmp_path / "ark", "all", ExtractionOptions()
    )
    assert sorted(path.name for path in (tmp_path / "ark").iterdir()) == [
        "all.ark",
        "all.scp",
        "errors.csv",
        "features.yaml",
    ]
    assert (tmp_path / "ark/errors.csv").read_text() == errors
    assert written.keys == stored.ids
    for index, name in enumerate(written.keys):
        assert np.array_equal(written[name], stored[index])


@pytest.mark.parametrize(("layers", "said"), [(3, "0 to 2"), ((0.5, 0.5), "2 layer weights for 3")])
def test_layers_that_do_not_exist_are_refused(ckpt, layers, said):
    with pytest.raises(ValueError, match=said):
        LayerSelection(layers).row_shape(load_upstream("transformer", ckpt))


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 2])
def test_extraction_of_real_speech_killed_midway_ends_with_the_same_bytes(ckpt, corpora, tmp_path, warm, shards):
    audio = corpora / "libri_mini" / "LibriSpeech" / "test-other"
    command = ["runner_mockingjay.py", "--extract", "--ckpt", str(ckpt), "--input", str(audio)]
    command += ["--no-msg", "--cpu", "--layer", "all"]

    def start(name, *words):
        return warm.start([*command, "--output", str(tmp_path / name), *words], PROJECT)

    assert start("whole").wait().code == 0
    process = start("killed")
    progress = tmp_path / "killed" / "test-other.progress"
    while not process.ended() and not (progress.exists() and any(progress.read_bytes()[:36])):
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "test-other.csv").exists()
    for part in range(1, shards + 1):
        assert start("killed", "--shard", f"{part}/{shards}").wait().code == 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")


def test_a_checkpoint_brings_its_model_config_and_features(ckpt):
    found = load_pretrained(ckpt)
    assert (found.features, found.config.model.layers, found.seed) == (MEL, 2, 5)


def test_a_module_of_ones_own_puts_no_file_in_the_place_of_a_library(tmp_path, monkeypatch):
    """The working directory stood first in sys.path for the rest of the process."""
    (tmp_path / "mine_alone.py").write_text("from tests.helpers.downstream_corpus import Doubling as C\n")
    (tmp_path / "colorsys.py").write_text("raise SystemExit('a file was run')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    load_upstream("mine_alone:C")
    assert sys.path[-1] == str(tmp_path)
    assert Path(importlib.import_module("colorsys").__file__).parent != tmp_path
