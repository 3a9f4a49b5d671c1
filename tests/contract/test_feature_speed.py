"""What makes features fast: kernels equal operations on whole batches, the benchmark compares like with like."""

import math
import os
import signal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import features as benchmark
from preprocess.parts.extraction import processes
from utility.audio import spectrum
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor, _Kernel


@pytest.fixture
def ragged() -> tuple[torch.Tensor, list[int]]:
    """Two parts to be filled behind a random one, some utterances shorter than a delta's window."""
    lengths = [1, 2, 3, 8, 9, 10, 17, 300, 5]
    features = torch.zeros(len(lengths), max(lengths), 3 * 13)
    generator = torch.Generator().manual_seed(0)
    for utterance, length in zip(features, lengths):
        utterance[:length, :13] = 5 + torch.randn(length, 13, generator=generator)
    features[7, :, 3] = 2.5 * (torch.arange(300) > -1)
    return features, lengths


def test_normalisation_of_kernel_and_accelerator_agree(ragged):
    features, lengths = ragged
    spectrum.add_deltas(features, lengths, 2)
    others = features.clone()
    spectrum.normalise(features, lengths, 3)
    spectrum.normalise_at_once(others, lengths, 3)
    torch.testing.assert_close(features, others, atol=1e-6, rtol=0)
    assert not features[7, :, 3].any()
    assert features[7, :, 4].any()


@pytest.mark.parametrize("kind", ["mel", "fbank", "mfcc", "kaldi_fbank"])
def test_bands_of_kernel_and_operations_agree(kind):
    config = FeatureConfig(kind=kind, deltas=0)
    bank = _Kernel(config, torch.device("cpu")).mel
    powers = torch.randn(70, config.fft_size // 2 + 1, generator=torch.Generator().manual_seed(0)).square()
    bands = bank(powers)
    bank._matrix = torch.from_numpy(bank.filters.T).double()  # what another device has
    torch.testing.assert_close(bank(powers), bands)
    assert bands.all()


def test_bands_are_added_in_the_order_of_earlier_versions():
    """MKL's product on an AMD CPU, which made the stores that people have; 192 bins, or half of less than 384."""
    rng = np.random.default_rng(0)
    for bins, block in ((101, 101), (201, 100), (257, 128), (1025, 192)):
        powers, weights = rng.random((5, bins), np.float32), rng.random((3, bins), np.float32)
        bands = spectrum.FilterBank(weights, torch.device("cpu"))(torch.from_numpy(powers)).numpy()
        for f, band in np.ndindex(5, 3):
            total = np.float32(0)
            for first in range(0, bins, block):
                part = Fraction(0)
                for k in range(first, min(first + block, bins)):  # each product and sum rounded once
                    exact = Fraction(float(powers[f, k])) * Fraction(float(weights[band, k])) + part
                    part = Fraction(float(_nearest(exact)))
                total += np.float32(part)
            assert bands[f, band] == total


def _nearest(value: Fraction) -> np.float32:
    """The float32 nearest to a positive value, of two as near the even one."""
    exponent = 23 - math.floor(math.log2(value)) if value else 0
    scaled = value * Fraction(2) ** exponent
    if scaled >= 2**24:
        scaled, exponent = scaled / 2, exponent - 1
    return np.float32(float(round(scaled)) * 2.0**-exponent)


def test_cosines_of_kernel_and_operations_agree():
    generator = torch.Generator().manual_seed(0)
    x, matrix = torch.randn(70, 128, generator=generator), torch.randn(128, 13, generator=generator).double()
    rows = torch.zeros(70, 39)
    spectrum.transform(x, matrix, rows[:, :13])
    torch.testing.assert_close(rows[:, :13], (x.double() @ matrix).float(), rtol=1e-6, atol=1e-6)
    assert not rows[:, 13:].any()


def test_powers_are_those_of_the_windowed_frames():
    signal = torch.randn(200 * 31 + 800, generator=torch.Generator().manual_seed(0))
    offsets, window = torch.linspace(0, 1, 32, dtype=torch.float64), torch.hann_window(800, dtype=torch.float64)
    power = spectrum.workspace(32, 800, 2048, torch.device("cpu")).power(signal, 200, offsets, window)
    frames = (signal.unfold(0, 800, 200) - offsets[:, None]) * window
    torch.testing.assert_close(power, torch.fft.rfft(frames, 2048).abs().square().float(), rtol=1e-6, atol=1e-6)


def test_a_wider_window_of_the_same_transform_leaves_nothing_behind():
    waveform = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    narrow, wide = (FeatureExtractor(FeatureConfig(sample_rate=rate)) for rate in (16000, 20000))
    assert narrow.config.fft_size == wide.config.fft_size
    assert narrow.config.window < wide.config.window
    before = narrow.of([waveform])[0]
    wide.of([waveform])
    assert torch.equal(narrow.of([waveform])[0], before)


@pytest.mark.parametrize("kind", ["mel", "mfcc", "linear", "kaldi_fbank"])
@pytest.mark.parametrize("threads", [2, 3, 9])
def test_threads_do_not_change_features(kind, threads):
    generator = torch.Generator().manual_seed(0)
    waveforms = [torch.randn(size, generator=generator) for size in (9000, 400, 30000, 16000, 12345)]
    extractor = FeatureExtractor(FeatureConfig(kind=kind, deltas=0 if kind == "linear" else 2))
    expected, lengths = extractor.of(waveforms)
    found, found_lengths = extractor.of(waveforms, threads)
    assert torch.equal(found, expected)
    assert torch.equal(found_lengths, lengths)


@pytest.mark.slow
@pytest.mark.parametrize("stage", benchmark.STAGES, ids=lambda stage: stage.name)
def test_the_rivals_of_the_benchmark_compute_the_same(stage):
    waveform = benchmark._waveform(32000, 0)
    waveform += np.random.default_rng(0).normal(0, 1e-3, len(waveform)).astype(np.float32)  # silence is up to rounding
    ours, _ = FeatureExtractor(stage.config)(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    theirs = stage.baseline(waveform)
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(theirs, ours[0], atol=5e-3, rtol=0)


def _perhaps_die(number: int, fatal: int) -> int:
    if number == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_processes_run_every_call(n_jobs):
    with processes(n_jobs) as run:
        for _ in range(2):
            assert sorted(run((partial(_perhaps_die, n, -1) for n in range(30)), 30)) == list(range(30))


def test_a_worker_that_dies_is_one_line():
    with (
        pytest.raises(OSError, match="a worker process died, perhaps for want of memory") as caught,
        processes(2) as run,
    ):
        list(run((partial(_perhaps_die, n, 4) for n in range(30)), 30))
    assert "\n" not in str(caught.value)
