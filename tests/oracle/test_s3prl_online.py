"""S3PRL's online features against a NumPy reading of their definition, and the states of its TERA from audio."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

import run_downstream
import runner_mockingjay
from mockingjay.checkpoint import load_pretrained
from mockingjay.describe import describe_checkpoint
from mockingjay.foreign.settings import Section, online_features
from mockingjay.upstream import load_upstream
from preprocess import preprocess_any
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_store
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.config import as_dict, build
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.training.checkpoint import load_checkpoint, save_checkpoint

UTTERANCES = {f"{speaker}-{i}": 60 for speaker in "ab" for i in range(4)}  # frames
AUDIO = {"target_level": -25, "win_ms": 25, "hop_ms": 10, "n_freq": 201, "n_mels": 80, "n_mfcc": 13}
AUDIO |= {
    name: {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True} for name in ("input", "target")
}


def power_spectra(wave: np.ndarray, window: int, hop: int, size: int) -> np.ndarray:
    """|STFT|^2 frame by frame, the window in the middle of the transform, the wave reflected at its ends."""
    padded = np.pad(wave, size // 2, mode="reflect")
    shape = np.zeros(size)
    start = (size - window) // 2
    shape[start : start + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, 1 + len(wave) // hop * hop, hop)
    return np.stack([np.abs(np.fft.rfft(shape * padded[t : t + size])) ** 2 for t in starts])


def htk_filters(rate: int, size: int, bands: int) -> np.ndarray:
    """[bins, bands], by the definition of each triangle."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    points = [700 * (10 ** (top * k / (bands + 1) / 2595) - 1) for k in range(bands + 2)]
    filters = np.zeros((size // 2 + 1, bands))
    for k in range(bands):
        low, centre, high = points[k : k + 3]
        for i in range(size // 2 + 1):
            hertz = i * rate / size
            filters[i, k] = max(0.0, min((hertz - low) / (centre - low), (high - hertz) / (high - centre)))
    return filters


def reading(wave: np.ndarray, kind: str, deltas: int, cmvn: bool, rate: int = 16000, **options) -> np.ndarray:
    """The definition in float64, written apart from ours."""
    of = {"target_level": -25, "win_ms": 25, "hop_ms": 10, "n_freq": 201, "n_mels": 80, "n_mfcc": 13, "log": True}
    of |= options
    wave = wave.astype(np.float64)
    wave = wave * (10 ** (of["target_level"] / 20) / (np.sqrt(np.mean(wave**2)) + 1e-10))
    size, window, hop = 2 * (of["n_freq"] - 1), round(of["win_ms"] * rate / 1000), round(of["hop_ms"] * rate / 1000)
    static = power_spectra(wave, window, hop, size)
    if kind == "s3prl_mel":
        static = static @ htk_filters(rate, size, of["n_mels"])
    if kind == "s3prl_mfcc":
        bands = np.log(static @ htk_filters(rate, size, 128) + 1e-6)
        k, n = np.arange(of["n_mfcc"]), np.arange(128)
        basis = np.sqrt(2 / 128) * np.cos(np.pi * np.outer(n + 0.5, k) / 128)
        basis[:, 0] /= np.sqrt(2)
        static = bands @ basis
    elif of["log"]:
        static = np.log(static + 1e-10)
    parts = [static]
    for _ in range(deltas):
        padded = np.pad(parts[-1], ((2, 2), (0, 0)), mode="edge")
        parts.append(sum(n * (padded[2 + n :][: len(static)] - padded[2 - n :][: len(static)]) for n in (1, 2)) / 10)
    features = np.concatenate(parts, 1)
    if not cmvn:
        return features
    return (features - features.mean(0)) / (features.std(0, ddof=1) + 1e-10)


def features_of(wave: np.ndarray, config: FeatureConfig, dtype: torch.dtype = torch.float32) -> np.ndarray:
    return FeatureExtractor(config, dtype).of([torch.from_numpy(wave)])[0][0].numpy()


@pytest.fixture(scope="module")
def later(fixtures_dir) -> Path:
    """Checkpoints of S3PRL 0.4, and what its program gives."""
    if not (fixtures_dir / "s3prl_later").is_dir():
        pytest.skip("no files of later S3PRL: set MOCKINGJAY_SHARED")
    return fixtures_dir / "s3prl_later"


@pytest.fixture(scope="module")
def stored(later) -> dict[str, np.ndarray]:
    """What S3PRL's program gives for one wave."""
    return dict(np.load(later / "tera_online.waveform.npz"))


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """A second of noise under a tone that rises, quiet at its end; float32 at 16 kHz."""
    time = np.arange(16000) / 16000
    noise = np.random.default_rng(0).normal(0, 0.05, len(time))
    return ((noise + 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time)) * (1.1 - time)).astype(np.float32)


def test_the_log_mel_is_the_stored_one(stored):
    ours = features_of(stored["wave"], FeatureConfig(kind="s3prl_mel", deltas=0))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, stored["features"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "deltas", "cmvn", "options"),
    [
        ("s3prl_mel", 0, True, {}),
        ("s3prl_mel", 2, True, {"n_mels": 40, "target_level": -30}),
        ("s3prl_mel", 1, False, {"win_ms": 20, "hop_ms": 12.5, "n_freq": 257}),
        ("s3prl_mel", 0, False, {"log": False}),
        ("s3prl_linear", 1, True, {}),
        ("s3prl_linear", 0, True, {"log": False, "win_ms": 20.0625}),  # an odd window
        ("s3prl_mfcc", 2, True, {}),
        ("s3prl_mfcc", 0, False, {"n_mfcc": 20}),
    ],
)
def test_a_float64_reading_of_the_definition_agrees(wave, kind, deltas, cmvn, options):
    values = {"kind": kind, "deltas": deltas, "cmvn": "utterance" if cmvn else "none", "s3prl": options}
    config = build(FeatureConfig, values)
    expected = reading(wave, kind, deltas, cmvn, **options)
    exact = features_of(wave, config, torch.float64)
    assert exact.shape == expected.shape == (config.num_frames(len(wave)), config.dim)
    np.testing.assert_allclose(exact, expected, rtol=1e-9, atol=1e-9)
    assert np.array_equal(features_of(wave, config), exact.astype(np.float32))


def test_level_and_company_do_not_change_what_an_utterance_gives(wave):
    config = FeatureConfig(kind="s3prl_mel", deltas=1)
    alone = features_of(wave, config)
    np.testing.assert_allclose(features_of(wave / 8, config), alone, rtol=0, atol=1e-6)
    others = [torch.from_numpy(wave[:size]) for size in (4321, 16000, 400)]
    batch, lengths = FeatureExtractor(config).of(others)
    assert np.array_equal(batch[1].numpy(), alone)
    for other, features, length in zip(others, batch, lengths.tolist()):
        assert np.array_equal(features[:length].numpy(), features_of(other.numpy(), config))
        assert not features[length:].any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "s3prl_mel", "s3prl": {"n_mfcc": 20}}, r"s3prl.n_mfcc would change nothing with kind s3prl_mel"),
        ({"kind": "s3prl_mfcc", "s3prl": {"log": False}}, r"s3prl.log would change nothing with kind s3prl_mfcc"),
        ({"kind": "fbank", "s3prl": {}}, r"options s3prl would change nothing with kind fbank"),
        ({"kind": "s3prl_mel", "sample_rate": 48000}, r"win_ms 25 is 1200 samples at 48000 Hz: expected 1 to 400"),
        ({"kind": "s3prl_mel", "s3prl": {"hop_ms": 0.01}}, r"hop_ms 0.01 is less than a sample at 16000 Hz"),
        ({"kind": "s3prl_mel", "s3prl": {"n_mel": 3}}, r"n_mel"),
    ],
)
def test_options_that_change_nothing_are_refused(values, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(FeatureConfig, values)
    assert "\n" not in str(caught.value)


def test_only_s3prls_kinds_are_computed_in_float64():
    with pytest.raises(ValueError, match=r"mel features are computed in float32, not torch\.float64"):
        FeatureExtractor(FeatureConfig(), torch.float64)


def test_files_and_fingerprints_of_other_kinds_stay_what_they_were():
    assert list(as_dict(FeatureConfig())) == ["kind", "deltas", "cmvn", "sample_rate"]
    assert "stated" not in as_dict(StoreInfo(row_shape=[80], frame_shift=0.01))
    assert repr(FeatureConfig()) == "FeatureConfig(kind='mel', deltas=1, cmvn='utterance', sample_rate=16000)"
    assert "n_mels=40" in repr(build(FeatureConfig, {"kind": "s3prl_mel", "s3prl": {"n_mels": 40}}))


@pytest.fixture(scope="module")
def tera(later) -> Path:
    """A checkpoint of S3PRL 0.4 made on its online log mel."""
    return later / "tera_online.ckpt"


def test_a_checkpoint_says_which_features_it_takes(tera):
    saved = load_pretrained(tera)
    assert saved.features == saved.target == FeatureConfig(kind="s3prl_mel", deltas=0)
    assert (saved.frame_shift, saved.stated, saved.assumed) == (0.01, {}, ())
    assert "s3prl_mel, deltas 0, cmvn utterance, 16000 Hz, level -25 dB" in describe_checkpoint(tera)


def test_its_states_from_audio_are_those_of_s3prl(tera, stored):
    upstream = load_upstream(tera)
    with torch.no_grad():
        states, lengths = upstream.from_waveforms([stored["wave"], stored["wave"][:9000]])
    assert lengths.tolist() == [101, 57]
    for layer in range(4):
        np.testing.assert_allclose(states[layer][0].numpy(), stored[f"hidden_{layer}"], rtol=0, atol=5e-5)


def recorded(wave: np.ndarray, folder: Path) -> Path:
    """A folder of one recording, of full precision."""
    folder.mkdir()
    soundfile.write(folder / "a.wav", wave, 16000, subtype="FLOAT")
    return folder


def extract(ckpt: Path, source: Path, output: Path) -> np.ndarray:
    words = ["--extract", "--cpu", "--no-msg", "--layer", "3", "--ckpt", ckpt, "--input", source, "--output", output]
    assert not runner_mockingjay.main([str(word) for word in words])
    split = next(path.stem for path in output.glob("*.csv") if path.stem != "errors")
    return Store([output / split])[0]


def test_audio_and_a_store_of_that_kind_give_the_same_states(tera, stored, tmp_path):
    wave_folder = recorded(stored["wave"], tmp_path / "audio")
    from_audio = extract(tera, wave_folder, tmp_path / "one")
    np.testing.assert_allclose(from_audio, stored["hidden_3"], rtol=0, atol=5e-5)
    make = ["--data_path", wave_folder, "--output_path", tmp_path, "--name", "mel", "--feature_type", "s3prl_mel"]
    preprocess_any.main([*map(str, make), "--n_jobs", "1"])
    assert Store([tmp_path / "mel/all"]).info.features == load_pretrained(tera).features
    assert np.array_equal(extract(tera, tmp_path / "mel/all", tmp_path / "two"), from_audio)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "there"),
    [
        ({"kind": "fbank", "deltas": 0}, "kind 'fbank' against 's3prl_mel'"),
        ({"kind": "fbank", "deltas": 0, "cmvn": "none"}, "cmvn 'none' against 'utterance'"),
        ({"kind": "kaldi_fbank", "deltas": 0}, "kind 'kaldi_fbank' against 's3prl_mel'"),
        ({"kind": "mel", "deltas": 0}, "kind 'mel' against 's3prl_mel'"),
        ({"kind": "s3prl_mel", "deltas": 0, "s3prl": {"hop_ms": 12.5}}, "s3prl.hop_ms 12.5 against 10.0"),
        ({"kind": "s3prl_mel", "deltas": 0, "s3prl": {"target_level": -30}}, "s3prl.target_level -30.0 against -25.0"),
        ({"kind": "s3prl_mel", "deltas": 0, "sample_rate": 8000}, "sample_rate 8000 against 16000"),
    ],
)
def test_stores_of_other_features_are_refused(tera, tmp_path, features, there):
    store = write_store(tmp_path / "data/all", UTTERANCES, build(FeatureConfig, features))
    refused_everywhere(tera, store, tmp_path, re.escape(there))


@pytest.mark.slow
def test_frames_of_unknown_origin_are_refused(tera, tmp_path):
    store = write_store(tmp_path / "data/all", UTTERANCES, FeatureConfig(kind="s3prl_mel", deltas=0))
    info = tmp_path / "data/features.yaml"
    values = yaml.safe_load(info.read_text())
    info.write_text(yaml.safe_dump(values | {"features": None}))
    refused_everywhere(
        tera, store, tmp_path, "features that it does not state; the checkpoint takes s3prl_mel, deltas 0"
    )


def refused_everywhere(ckpt: Path, store: Path, folder: Path, message: str) -> None:
    """By --extract, --test, --plot, --train --load and probes, in one line, before anything is written."""
    look = ["--cpu", "--no-msg", "--ckpt", str(ckpt), "--input", str(store), "--output", str(folder / "out")]
    train = [
        "--cpu",
        "--no-msg",
        "--ckpt",
        str(ckpt),
        "--ckpdir",
        str(folder / "runs"),
        "--logdir",
        str(folder / "log"),
    ]
    for mode in (["--extract"], ["--test"], ["--test", "--load", "--plot"], ["--plot"], ["--plot", "--with_head"]):
        with pytest.raises(ValueError, match=message) as caught:
            runner_mockingjay.main([*mode, *look])
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        runner_mockingjay.main(["--train", "--load", *train, "--name", "a", f"data.train=[{store}]"])
    probe = ["--run", "speaker_frame", "--upstream", "pretrained", "--cpu", "--no-msg", "--ckpt", str(ckpt)]
    places = ["--expdir", str(folder / "probes"), "--logdir", str(folder / "log")]
    with pytest.raises(ValueError, match=message):
        run_downstream.main([*probe, *places, f"data.train=[{store}]"])
    assert not any((folder / name).exists() for name in ("out", "runs", "log", "probes"))


@pytest.mark.slow
def test_a_definition_that_is_not_computed_here_is_kept_and_asked_for(later, wave, tmp_path):
    ckpt = later / "mockingjay_kaldi240.ckpt"
    saved = load_pretrained(ckpt)
    assert saved.features is None
    text = saved.stated["features"]
    assert text == saved.stated["target"]
    for part in ('"num_mel_bins": 80', '"win_length": 5', '"use_cmvn": true'):
        assert part in text
    assert f"240 per frame, not computed here: {text}" in describe_checkpoint(ckpt)
    features = FeatureConfig(kind="kaldi_fbank", deltas=2)
    store = write_store(tmp_path / "data/all", UTTERANCES, features)
    message = f"kaldi_fbank, deltas 2.*; the checkpoint takes features that are not computed here: {re.escape(text)}"
    refused_everywhere(ckpt, store, tmp_path, message)
    with pytest.raises(
        ValueError, match=f"takes features that are not computed here, {re.escape(text)}: extract from a"
    ):
        extract(ckpt, recorded(wave, tmp_path / "audio"), tmp_path / "out")
    info = tmp_path / "data/features.yaml"
    values = yaml.safe_load(info.read_text())
    info.write_text(yaml.safe_dump({**values, "features": None, "stated": text}))
    assert extract(ckpt, store, tmp_path / "states").shape == (60, 48)
    with pytest.raises(ValueError, match=r"the checkpoint takes s3prl_mel"):  # what is stated is not what it is not
        load_upstream(later / "tera_online.ckpt", info=Store([store]).info)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n_fft": 512}, '"n_fft": 512'),
        ({"input": {"feat_type": "phase", "channel": 0, "log": False, "delta": 0, "cmvn": True}}, '"phase"'),
        ({"input": {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True, "eps": 1}}, '"eps": 1'),
        ({"target_level": None}, '"target_level": null'),
    ],
)
def test_parts_that_are_not_known_are_kept_as_text(change, text):
    definition = online_features(Section("audio", AUDIO | change), "input", 80)
    assert isinstance(definition, str)
    assert text in definition


def test_a_definition_of_another_size_than_the_weights_is_refused():
    with pytest.raises(ValueError, match="its config says features of 40 values for the input, its weights have 80"):
        online_features(Section("audio", AUDIO | {"n_mels": 40}), "input", 80)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "s3prl"])
def test_an_export_takes_the_same_audio(kind, tera, stored, tmp_path):
    words = ["--export", kind, "--ckpt", tera, "--output", tmp_path / "out", "--no-msg"]
    runner_mockingjay.main([str(word) for word in words])
    upstream = load_upstream(tmp_path / "out")
    with torch.no_grad():
        states, _ = upstream.from_waveforms([stored["wave"]])
    np.testing.assert_allclose(states[-1][0].numpy(), stored["hidden_3"], rtol=0, atol=5e-5)


@pytest.mark.slow
def test_training_from_audio_of_that_kind_goes_on_with_that_kind_only(wave, tmp_path):
    wave_folder = recorded(wave, tmp_path / "audio")
    folders = ["--ckpdir", str(tmp_path / "runs"), "--logdir", str(tmp_path / "log")]
    words = ["--train", "--cpu", "--no-msg", "--name", "on", *folders]
    small = ["model.layers=1", "model.hidden_size=24", "model.heads=2", "model.ffn_size=24", "data.dev=[]"]
    (tmp_path / "online.yaml").write_text("online: {input: {kind: s3prl_mel, deltas: 0}}")
    online = ["--online_config", str(tmp_path / "online.yaml"), f"data.train=[{wave_folder}]"]
    runner_mockingjay.main([*words, *online, "trainer.steps=1", *small])
    ckpt = next((tmp_path / "runs/on").glob("mockingjay-*.ckpt"))
    assert load_pretrained(ckpt).features == FeatureConfig(kind="s3prl_mel", deltas=0)
    go_on = [*words, "--load", "--ckpt", str(ckpt), "trainer.steps=2"]
    runner_mockingjay.main(go_on)
    (tmp_path / "online.yaml").write_text("online: {input: {kind: fbank, deltas: 0, s3prl: null}}")
    with pytest.raises(ValueError, match=r"features of data\.train and the checkpoint differ: kind 'fbank' against"):
        runner_mockingjay.main([*go_on, *online, "trainer.steps=3"])


@pytest.mark.slow
@pytest.mark.parametrize("stated", [5, ["features"], {"features": 1}])
def test_foreign_definitions_in_a_file_of_ours_are_one_line(stated, tmp_path):
    content = load_checkpoint(write_checkpoint(tmp_path / "a.ckpt"), "pretrain")
    save_checkpoint(tmp_path / "b.ckpt", "pretrain", {**content, "stated": stated})
    with pytest.raises(ValueError, match=r"b\.ckpt: damaged: its 'stated' is .*, expected definitions by part$"):
        load_pretrained(tmp_path / "b.ckpt")
