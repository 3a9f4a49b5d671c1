"""Folders of Transformers: what is refused, fine-tuning and writing back, our own exports, long recordings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from mockingjay.checkpoint import load_pretrained
from mockingjay.export.write import write_export
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.selection import LayerSelection
from tests.helpers import huggingface_models as models
from tests.helpers.export_models import MODELS, expected, waveforms, write_checkpoint
from utility.store.reading import Store
from utility.store.recordings import Recordings

transformers = pytest.importorskip("transformers", reason="`make test` installs release 5, `make test-hf` 4.57")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _offline():
    with models.offline():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("models") / "hubert", "hubert", normalise=True)


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "m"))


def change(path: Path, **values) -> None:
    about = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in about.items() if value is not None}))


def weights(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def of_text(folder: Path) -> None:
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    transformers.BertModel(config).save_pretrained(folder)


def of_speech_and_text(folder: Path) -> None:
    config = transformers.SpeechT5Config(
        hidden_size=24, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8, decoder_ffn_dim=8
    )
    transformers.SpeechT5Model(config).save_pretrained(folder)


CASES = {
    "no folder": (shutil.rmtree, FileNotFoundError, "no such folder; nothing is downloaded"),
    "no config": (lambda f: (f / "config.json").unlink(), FileNotFoundError, "no config.json in it"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), ValueError, "config.json: not valid JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), ValueError, "a list, expected keys"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), FileNotFoundError, "no weights in it"),
    "no preprocessor": (
        lambda f: (f / "preprocessor_config.json").unlink(),
        FileNotFoundError,
        "no preprocessor_config.json in it, which says sample rate",
    ),
    "rate is text": (
        lambda f: change(f / "preprocessor_config.json", sampling_rate="16k"),
        ValueError,
        "sampling_rate is '16k', expected Hz",
    ),
    "normalise is text": (
        lambda f: change(f / "preprocessor_config.json", do_normalize="yes"),
        ValueError,
        "do_normalize is 'yes', expected true or false",
    ),
    "features of another extractor": (
        lambda f: change(f / "preprocessor_config.json", feature_extractor_type="ASTFeatureExtractor"),
        ValueError,
        "its feature extractor is 'ASTFeatureExtractor', expected Wav2Vec2FeatureExtractor",
    ),
    "model for text": (of_text, ValueError, "a bert model takes no waveforms"),
    "spectra, not waveforms": (
        lambda f: transformers.WhisperConfig(d_model=8, encoder_layers=1).save_pretrained(f),
        ValueError,
        "a whisper model takes no waveforms",
    ),
    "another class of sound": (of_speech_and_text, ValueError, "SpeechT5Model has no feature_extractor.conv_layers"),
    "no model type": (lambda f: change(f / "config.json", model_type=None), ValueError, "its model_type is None"),
    "unknown model type": (lambda f: change(f / "config.json", model_type="x"), ValueError, "knows no model 'x'"),
    "code of its own": (
        lambda f: change(f / "config.json", model_type="x", auto_map={"AutoModel": "code.Model"}),
        ValueError,
        "needs code of its own .trust_remote_code., which is not run",
    ),
    "damaged weights": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json"),
        ValueError,
        "cannot be loaded",
    ),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-100]),
        ValueError,
        "cannot be loaded",
    ),
    "a weight is missing": (
        lambda f: weights(f, lambda tensors: tensors.pop("encoder.layers.1.layer_norm.weight")),
        ValueError,
        "1 of its weights are missing, 'encoder.layers.1.layer_norm.weight' for one",
    ),
    "more blocks than its config": (
        lambda f: change(f / "config.json", num_hidden_layers=2),
        ValueError,
        "16 of its weights have no place in its config, 'encoder.layers.2",
    ),
    "another width than its config": (
        lambda f: change(f / "config.json", intermediate_size=40),
        ValueError,
        "cannot be loaded|differ in shape",
    ),
    "weights that are no numbers": (
        lambda f: weights(f, lambda tensors: tensors["encoder.layer_norm.bias"].fill_(float("nan"))),
        ValueError,
        "its weights 'encoder.layer_norm.bias' are not finite",
    ),
    "states that are no numbers": (
        lambda f: weights(f, lambda tensors: tensors["feature_projection.projection.weight"].fill_(3e38)),
        ValueError,
        "state P of noise is not finite",
    ),
    "pickled code": (
        lambda f: ((f / "model.safetensors").unlink(), torch.save({"x": Path}, f / "pytorch_model.bin")),
        ValueError,
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case, folder, capfd):
    damage, kind, words = CASES[case]
    damage(folder)
    with pytest.raises(kind, match=words) as error:
        load_upstream(f"hf:{folder}")
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_states_that_do_not_follow_its_kernels(folder):
    """Sew gives states at half the rate of its convolutions."""
    config = transformers.SEWConfig(
        **{**models.SMALL, "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "squeeze_factor": 2}
    )
    transformers.SEWModel(config).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"state \w+ of \d+ samples is .* by its kernels, strides and widths"):
        load_upstream(f"hf:{folder}")


def test_transformers_is_not_installed(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs Transformers .*: install it: pip install -r requirements-hf.txt"):
        load_upstream(f"hf:{folder}")


def test_a_layer_that_is_not_there(folder):
    upstream = load_upstream(f"hf:{folder}")
    for layer in ("C8", "T4", "4", "final"):
        with pytest.raises(ValueError, match=rf"layer {layer} does not exist: the upstream has hidden states 0 to 3"):
            LayerSelection.parse(layer).labels(upstream)
    with pytest.raises(ValueError, match="differ in width or frame rate"):
        LayerSelection.parse("C1,T1").labels(upstream)


def batch(upstream):
    waves = models.waveforms(8000, 5003)
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(wave) for wave in waves])


@pytest.mark.parametrize("name", ["hubert", "wav2vec2_stable", "data2vec", "wavlm"])
def test_training_keeps_every_layer_and_neither_masks_nor_drops_blocks(name, tmp_path):
    """layerdrop is 0.5 here and SpecAugment on, as in many folders; dropout is as the config says."""
    quiet = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0}
    upstream = load_upstream(f"hf:{models.write_model(tmp_path / 'm', name, mask_time_prob=0.9, **quiet)}")
    before = upstream(*batch(upstream))
    upstream.train()
    torch.manual_seed(0)
    for one, other in zip(before, upstream(*batch(upstream)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["hubert", "wavlm", "wav2vec2_stable"])
def test_gradients_reach_what_is_not_frozen(name, checkpointing, tmp_path):
    quiet = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0}
    folder, gradients = models.write_model(tmp_path / "m", name, **quiet), []
    kept: list[bool] = []  # whether there is a way back through what is frozen
    for on in (False, checkpointing):
        upstream, calls = load_upstream(f"hf:{folder}"), []
        for key, weight in upstream.model.named_parameters():
            weight.requires_grad = not key.startswith(upstream.frozen_by_default)
        upstream.gradient_checkpointing(on)
        upstream.train()
        upstream.model.feature_extractor.conv_layers[2].register_forward_hook(
            lambda module, inputs, output: kept.append(output.requires_grad)
        )
        upstream.model.encoder.layers[1].feed_forward.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        labels = [label for label in (*upstream.layers, "final") if label in (*upstream.layers, *upstream.inner)]
        sum(state.square().mean() for state in upstream(*batch(upstream), labels)).backward()
        assert len(calls) == 1 + on
        gradients.append({key: weight.grad for key, weight in upstream.model.named_parameters()})
    assert not any(kept)
    missing = {key for key, value in gradients[0].items() if value is None}
    assert all(key.startswith("feature_extractor.") or key == "masked_spec_embed" for key in missing)
    assert any(key.startswith("feature_extractor.") for key in missing)
    for key in gradients[0].keys() - missing:
        torch.testing.assert_close(*(given[key] for given in gradients), atol=1e-6, rtol=1e-4)


def test_gradients_of_all_of_it(folder):
    """Of the group norm, too, whose statistics are each utterance's own: it is not computed again on the way back."""
    upstream, calls = load_upstream(f"hf:{folder}"), []
    upstream.gradient_checkpointing(True)
    upstream.train()
    upstream.model.feature_extractor.conv_layers[0].layer_norm.register_forward_pre_hook(lambda *_: calls.append(1))
    upstream(*batch(upstream))[-1].square().mean().backward()
    assert len(calls) == 1
    assert all(weight.grad is not None for key, weight in upstream.model.named_parameters() if "masked" not in key)


@pytest.mark.parametrize("name", models.MODELS)
def test_what_is_tuned_is_written_as_transformers_writes_it(name, tmp_path):
    folder = models.write_model(tmp_path / "m", name, normalise=True)
    upstream = load_upstream(f"hf:{folder}")
    with torch.no_grad():
        for weight in upstream.parameters():
            weight += 0.01
        wanted = upstream(*batch(upstream), (*upstream.inner, *upstream.layers))
    written = upstream.write_tuned(tmp_path / "tuned" / "upstream")
    assert sorted(path.name for path in written.parent.iterdir()) == ["upstream"]
    again = load_upstream(f"hf:{written}")
    with torch.no_grad():
        for one, other in zip(again(*batch(again), (*again.inner, *again.layers)), wanted, strict=True):
            assert torch.equal(one, other)
    about = json.loads((written / "config.json").read_text())
    assert about["layerdrop"] == 0.5
    assert upstream.model.config.layerdrop == 0.0
    assert again.fingerprint != load_upstream(f"hf:{folder}").fingerprint
    assert upstream.write_tuned(tmp_path / "tuned" / "upstream") == written  # over what is there


@pytest.fixture(scope="module", params=MODELS)
def ours(request, tmp_path_factory) -> Path:
    return write_checkpoint(request.param, tmp_path_factory.mktemp("ckpt") / f"{request.param}.ckpt")


def test_our_own_export_is_what_the_checkpoint_is_and_its_code_does_not_run(ours, tmp_path, monkeypatch):
    write_export(load_pretrained(ours), "hf", tmp_path / "export")
    (tmp_path / "export" / "modeling_mockingjay.py").write_text("raise SystemExit('this code ran')")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)  # nor is Transformers needed
    upstream, checkpoint = load_upstream(f"hf:{tmp_path / 'export'}"), load_upstream(f"pretrained:{ours}")
    with torch.no_grad():
        for one, other in zip(upstream.from_waveforms(waveforms())[0], expected(ours)[0], strict=True):
            assert torch.equal(one, other)
    assert upstream.fingerprint == checkpoint.fingerprint
    assert upstream.step == 7
    fresh = [load_upstream(f"random:hf:{tmp_path / 'export'}", seed=seed) for seed in (1, 1, 2)]
    assert fresh[0].fingerprint == fresh[1].fingerprint
    assert len({one.fingerprint for one in (*fresh, upstream)}) == 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors in it"),
        (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), "damaged, or not safetensors"),
        (lambda f: change(f / "config.json", pretraining=None), "its 'config' is None"),
        (lambda f: change(f / "config.json", input_dim=79), "."),
        (lambda f: weights(f, lambda t: t.pop(min(t))), "."),
    ],
)
def test_a_damaged_export_of_ours(damage, words, tmp_path):
    write_export(load_pretrained(write_checkpoint("stacked", tmp_path / "a.ckpt")), "hf", tmp_path / "export")
    damage(tmp_path / "export")
    with pytest.raises((ValueError, OSError), match=words) as error:
        load_upstream(f"hf:{tmp_path / 'export'}")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "export") in str(error.value)


@pytest.mark.parametrize("normalise", [False, True])
def test_a_long_recording_in_pieces(tmp_path, normalise):
    """Convolutions with norms over channels give in pieces what they give of the whole; blocks see all of a piece.

    The recording grows louder, so that a piece normalised by itself would be another."""
    upstream = load_upstream(f"hf:{models.write_model(tmp_path / 'm', 'wav2vec2_stable', normalise=normalise)}")
    assert (upstream.longest, upstream.overlap) == (60 * 16000, 5 * 16000)
    wave = 0.1 + np.random.default_rng(0).standard_normal(16000 * 9) * np.linspace(0.01, 0.2, 16000 * 9)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", wave, 16000, subtype="FLOAT")
    corpus = Recordings([tmp_path / "audio"], None, sample_rate=16000)
    rounding = 1e-5 if normalise else 1e-6  # the mean of float32 samples is known to a few bits less
    for layer, bound in (("C1", rounding if normalise else 0.0), ("C7", rounding), ("P", rounding), ("T3", 0.1)):
        stores = []
        for longest in (16000 * 60, 16000 * 4):
            upstream.longest, upstream.overlap = longest, 16000
            how = ExtractionOptions(layers=LayerSelection.parse(layer), quiet=True)
            represent(upstream, corpus, tmp_path / f"{layer}{longest}", "all", how)
            stores.append(torch.from_numpy(Store([tmp_path / f"{layer}{longest}" / "all"])[0]))
        whole, pieces = stores
        assert whole.shape == pieces.shape
        assert (whole - pieces).abs().max() / whole.abs().max() <= bound, layer
    states, _ = upstream.from_waveforms([wave.astype(np.float32)])
    assert (states[3][0] - pieces).abs().max() / pieces.abs().max() <= 1e-5
    alone = upstream.from_waveforms([wave[:8000].astype(np.float32)])[0]
    upstream.longest = None
    assert torch.equal(upstream.from_waveforms([wave[:8000].astype(np.float32)])[0][0], alone[0])
