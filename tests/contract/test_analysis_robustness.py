"""Attacks stay in their ball and off the padding, controls have their size, ratios follow their definition."""

import numpy as np
import pytest
import torch

from analysis.robustness import (
    NoiseToSignal,
    decibels,
    fgsm,
    gaussian_control,
    mean_noise_to_signal,
    noise_to_signal,
    pgd,
)

LENGTHS = torch.tensor([9, 4, 7])
WIDTH = 5


def batch(dtype=torch.float64):
    features = torch.randn(3, 9, WIDTH, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return torch.where(real(features)[..., None], features, 0)


def real(features, lengths=LENGTHS):
    return torch.arange(features.shape[1]) < lengths[:, None]


def loss(features, lengths):
    """A curved loss, the mean over real frames; it looks at padding only through a term that must not matter."""
    weight = torch.linspace(-1, 1, WIDTH, dtype=features.dtype)
    frames = torch.tanh(features @ weight) + 0.3 * (features**2).sum(-1)
    return frames[real(features, lengths)].mean() + 0 * features.sum()


def generators(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


ATTACKS = {
    "fgsm": lambda loss, x, lengths, size, seeds: fgsm(loss, x, lengths, size),
    "pgd": lambda loss, x, lengths, size, seeds: pgd(loss, x, lengths, size, generators(*seeds)),
    "max": lambda loss, x, lengths, size, seeds: gaussian_control(
        x, fgsm(loss, x, lengths, size), lengths, size, generators(*seeds), "max"
    ),
    "euclidean": lambda loss, x, lengths, size, seeds: gaussian_control(
        x, fgsm(loss, x, lengths, size), lengths, size, generators(*seeds), "euclidean"
    ),
}


def test_fgsm_of_a_linear_loss_is_the_sign_of_its_weights():
    weight = torch.tensor([1.0, -2.0, 0.0, 3.0, -0.1])
    features = batch(torch.float32)
    attacked = fgsm(lambda x, lengths: (x @ weight).sum(), features, LENGTHS, 0.25)
    expected = torch.where(real(features)[..., None], 0.25 * weight.sign(), 0)
    torch.testing.assert_close(attacked - features, expected)


@pytest.mark.parametrize("size", [0.1, torch.linspace(0.05, 0.4, WIDTH, dtype=torch.float64)], ids=["one", "each"])
def test_attacks_stay_in_their_ball_and_raise_the_loss(size):
    features = batch()
    before = loss(features, LENGTHS)
    single = fgsm(loss, features, LENGTHS, size)
    several = pgd(loss, features, LENGTHS, size, generators(0, 1, 2))
    for attacked in (single, several):
        change = (attacked - features)[real(features)]
        assert (change.abs() <= size * (1 + 1e-9)).all()
        assert loss(attacked, LENGTHS) > before
    assert loss(several, LENGTHS) - before > 0.9 * (loss(single, LENGTHS) - before)
    random = gaussian_control(features, single, LENGTHS, size, generators(0, 1, 2), "euclidean")
    assert loss(random, LENGTHS) - before < 0.5 * (loss(single, LENGTHS) - before)


def test_descent_reaches_the_corner_that_one_step_of_it_does_not():
    """|x| grows both ways from 0.3: one sign of the gradient is right, but a start at 0 has none."""
    features = torch.zeros(1, 2, 1, dtype=torch.float64)
    lengths = torch.tensor([2])
    square = lambda x, _: (x**2).sum()  # noqa: E731
    assert (fgsm(square, features, lengths, 1.0) == 0).all()
    attacked = pgd(square, features, lengths, 1.0, generators(0))
    torch.testing.assert_close(attacked.abs(), torch.ones(1, 2, 1, dtype=torch.float64))
    few = pgd(square, features, lengths, 1.0, generators(0), steps=1, step_size=0.01)
    assert (few.abs() < 1).all()
    assert (few != 0).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_utterance_is_attacked_alike_alone_and_in_a_batch_and_padding_never(attack):
    features = batch()
    together = ATTACKS[attack](loss, features, LENGTHS, 0.2, (5, 6, 7))
    assert (together[~real(features)] == 0).all()
    for row, length in enumerate(LENGTHS.tolist()):
        alone = ATTACKS[attack](loss, features[row : row + 1, :length], LENGTHS[row : row + 1], 0.2, (5 + row,))
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-9, atol=1e-9)


def test_the_random_start_follows_its_generator():
    seeds = ((1, 2, 3), (1, 2, 3), (4, 5, 6))
    first, again, other = (pgd(loss, batch(), LENGTHS, 0.2, generators(*some), 1, 0.1) for some in seeds)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [0.3, torch.linspace(0.1, 1, WIDTH, dtype=torch.float64)], ids=["one", "each"])
def test_controls_have_the_size_of_the_attack(size):
    features = batch()
    attacked = pgd(loss, features, LENGTHS, size, generators(0, 1, 2))
    change = attacked - features
    for norm, measure in (
        ("max", lambda x: (x / size).abs().amax((1, 2))),
        ("euclidean", lambda x: x.square().sum((1, 2))),
    ):
        noise = gaussian_control(features, attacked, LENGTHS, size, generators(3, 4, 5), norm) - features
        torch.testing.assert_close(measure(noise), measure(change))
        assert len(noise[real(features)].unique()) > 0.9 * LENGTHS.sum() * WIDTH  # no two signs, as an attack has
    nothing = gaussian_control(features, features, LENGTHS, size, generators(3, 4, 5), "max")
    assert torch.equal(nothing, features)


def test_a_control_has_the_attack_s_shares_of_the_dimensions():
    size, features = torch.linspace(0.1, 1, WIDTH), torch.zeros(1, 4000, WIDTH)
    attacked, lengths = features + size, torch.tensor([4000])
    noise = gaussian_control(features, attacked, lengths, size, generators(0), "euclidean")
    torch.testing.assert_close(noise[0].std(dim=0), size, rtol=0.05, atol=0)


def test_an_attack_leaves_gradients_and_settings_as_they_are():
    layer = torch.nn.Linear(WIDTH, 2, dtype=torch.float64)
    features = batch().requires_grad_()
    with torch.no_grad():
        attacked = fgsm(lambda x, lengths: layer(x).square().sum(), features, LENGTHS, 0.1)
    assert not attacked.requires_grad
    assert layer.weight.grad is None
    assert features.grad is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda x: fgsm(loss, x, LENGTHS, 0.0), "above 0"),
        (lambda x: fgsm(loss, x, LENGTHS, float("nan")), "above 0"),
        (lambda x: fgsm(loss, x, LENGTHS, torch.ones(4)), r"ε of shape \(4,\) for features of width 5"),
        (lambda x: fgsm(lambda x, _: torch.zeros(()), x, LENGTHS, 0.1), "one number that has a gradient"),
        (lambda x: fgsm(lambda x, _: x.sum(-1), x, LENGTHS, 0.1), "one number that has a gradient"),
        (lambda x: fgsm(lambda x, _: torch.ones((), requires_grad=True), x, LENGTHS, 0.1), "does not depend"),
        (lambda x: fgsm(lambda x, _: (x / 0).sum(), x, LENGTHS, 0.1), "not finite"),
        (lambda x: pgd(loss, x, LENGTHS, 0.1, generators(0)), "1 generators for 3 utterances"),
        (lambda x: pgd(loss, x, LENGTHS, 0.1, generators(0, 1, 2), steps=0), "at least one"),
    ],
)
def test_attacks_that_cannot_be_made_are_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        wrong(batch())


def test_ratios_of_known_noise():
    """Noise that is the states themselves, times a factor, has that ratio in both norms, whatever the shape."""
    generator = np.random.default_rng(0)
    clean = [generator.normal(size=(30, width)) for width in (4, 64)]
    ratios = noise_to_signal(clean, [1.25 * layer for layer in clean])
    np.testing.assert_allclose(ratios.spectral, 0.25, rtol=1e-9)
    np.testing.assert_allclose(ratios.frobenius, 0.25, rtol=1e-9)
    other = [layer + generator.normal(size=layer.shape) for layer in clean]
    expected = [np.linalg.norm(x - y, 2) / np.linalg.norm(x, 2) for x, y in zip(clean, other)]
    np.testing.assert_allclose(noise_to_signal(clean, other).spectral, expected, rtol=1e-9)
    assert (noise_to_signal(clean, clean).frobenius == 0).all()


def test_pairs_are_cut_to_the_shorter_and_silence_has_no_ratio():
    clean = np.random.default_rng(0).normal(size=(10, 3))
    longer = np.concatenate([clean, np.ones((2, 3))])
    assert noise_to_signal([clean], [longer]).spectral == [0]
    assert noise_to_signal([longer], [clean]).frobenius == [0]
    silent = noise_to_signal([np.zeros((5, 3)), clean], [np.ones((5, 3)), 2 * clean])
    assert np.isnan(silent.spectral[0])
    loud = NoiseToSignal(np.array([0.5, 3.0]), np.array([0.25, 2.0]))
    mean = mean_noise_to_signal(iter([silent, loud]))
    np.testing.assert_allclose(mean.spectral, [0.5, 2], rtol=1e-9)
    np.testing.assert_allclose(mean.frobenius, [0.25, 1.5], rtol=1e-9)
    assert np.isnan(mean_noise_to_signal([silent]).spectral[0])


@pytest.mark.parametrize(
    ("clean", "noisy", "reason"),
    [
        ([], [], "0 layers of clean"),
        ([np.ones((2, 3))], [], "1 layers of clean states, 0"),
        ([np.ones((2, 3))], [np.ones((2, 4))], "the same width"),
        ([np.ones((0, 3))], [np.ones((2, 3))], "expected frames"),
        ([np.ones(3)], [np.ones(3)], "expected frames"),
        ([np.ones((2, 3))], [np.full((2, 3), np.nan)], "not finite"),
    ],
)
def test_states_without_a_ratio_are_refused(clean, noisy, reason):
    with pytest.raises(ValueError, match=reason):
        noise_to_signal(clean, noisy)
    with pytest.raises(ValueError, match="nothing to take the mean of"):
        mean_noise_to_signal([])


def test_decibels_in_natural_logarithms_of_a_power():
    assert decibels(10) == pytest.approx(np.log(10))
    assert decibels(-20) == pytest.approx(np.log(0.01))
