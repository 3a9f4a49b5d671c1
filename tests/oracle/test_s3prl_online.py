"""S3PRL's online features against a NumPy reading of their definition, and the states of its TERA from audio."""

import numpy as np
import pytest
import torch

from utility.audio.features import FeatureConfig, FeatureExtractor
from utility.config import build


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
def stored(fixtures_dir) -> dict[str, np.ndarray]:
    """What S3PRL's program gives for one wave."""
    return dict(np.load(fixtures_dir / "s3prl_later/tera_online.waveform.npz"))


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
def test_a_float64_reading_of_the_definition_agrees(stored, kind, deltas, cmvn, options):
    values = {"kind": kind, "deltas": deltas, "cmvn": "utterance" if cmvn else "none", "s3prl": options}
    config = build(FeatureConfig, values)
    expected = reading(stored["wave"], kind, deltas, cmvn, **options)
    exact = features_of(stored["wave"], config, torch.float64)
    assert exact.shape == expected.shape == (config.num_frames(len(stored["wave"])), config.dim)
    np.testing.assert_allclose(exact, expected, rtol=1e-9, atol=1e-9)
    assert np.array_equal(features_of(stored["wave"], config), exact.astype(np.float32))


def test_level_and_company_do_not_change_what_an_utterance_gives(stored):
    config = FeatureConfig(kind="s3prl_mel", deltas=1)
    alone = features_of(stored["wave"], config)
    np.testing.assert_allclose(features_of(stored["wave"] / 8, config), alone, rtol=0, atol=1e-6)
    others = [torch.from_numpy(stored["wave"][:size]) for size in (4321, 16000, 400)]
    batch, lengths = FeatureExtractor(config).of(others)
    assert np.array_equal(batch[1].numpy(), alone)
    for wave, features, length in zip(others, batch, lengths.tolist()):
        assert np.array_equal(features[:length].numpy(), features_of(wave.numpy(), config))
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


def test_fingerprints_of_other_kinds_stay_what_they_were():
    assert repr(FeatureConfig()) == "FeatureConfig(kind='mel', deltas=1, cmvn='utterance', sample_rate=16000)"
    assert "n_mels=40" in repr(build(FeatureConfig, {"kind": "s3prl_mel", "s3prl": {"n_mels": 40}}))
