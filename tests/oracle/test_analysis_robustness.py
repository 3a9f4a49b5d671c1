"""Layer-wise noise-to-signal ratios: the numbers of the original program."""

import numpy as np
import pytest

from analysis.robustness import NoiseToSignal, mean_noise_to_signal, noise_to_signal
from tests.helpers.analysis_fixtures import analysis_files, below


@pytest.fixture(params=analysis_files(), scope="module")
def expected(request) -> dict[str, np.ndarray]:
    return below(request.param, "lnsr/")


@pytest.fixture(scope="module")
def ratios(expected) -> list[NoiseToSignal]:
    pairs = [(expected[f"clean{i}"], expected[f"adversarial{i}"]) for i in range(expected["spectral"].shape[1])]
    return [noise_to_signal(list(clean), list(noisy)) for clean, noisy in pairs]


@pytest.mark.parametrize("norm", ["spectral", "frobenius"])
def test_ratios_of_each_layer_and_utterance(norm, ratios, expected):
    ours = np.stack([getattr(one, norm) for one in ratios], axis=1)
    np.testing.assert_allclose(ours, expected[norm], rtol=0, atol=1e-9)


def test_means_over_utterances(ratios, expected):
    mean = mean_noise_to_signal(ratios)
    np.testing.assert_allclose(mean.spectral, expected["spectral_mean"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(mean.frobenius, expected["frobenius"].mean(axis=1), rtol=0, atol=1e-9)
