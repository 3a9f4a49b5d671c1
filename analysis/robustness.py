"""How much of a small change of the features arrives at each layer: adversarial and random noise, and its ratio to the
clean states (Wu et al. 2020, "Defense for Black-box Attacks on Anti-spoofing Models by Self-Supervised Learning",
arXiv 2006.03214).

An attack is made against `Loss`: any scalar of features [B, T, D] and lengths [B] that has a gradient, such as a
probe's cross-entropy or the masked L1. Only real frames change; padding stays as it is. The size ε of a change is in
the features' own units: a number, or one for each dimension [D], such as a share of the dimension's deviation, or
these for each utterance of the batch [B, 1, D]."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
STEPS = 10  # of projected gradient descent
STEP_SIZE = 0.25  # of ε


@dataclass(frozen=True)
class NoiseToSignal:
    """‖h(x) - h(x̃)‖ / ‖h(x)‖ of each layer, [L] float64, h a matrix frames x width: of one utterance, or the mean.

    NaN where the clean states are zero throughout, as the features of digital silence are."""

    spectral: np.ndarray  # by the greatest singular value, as the original has it
    frobenius: np.ndarray  # by the root of the sum of squares


def noise_to_signal(clean: Sequence[np.ndarray], noisy: Sequence[np.ndarray]) -> NoiseToSignal:
    """The ratios of one utterance's layers [T, D] each, widths free; give the features themselves as the first.

    Clean and noisy states of different lengths are cut to the shorter. ValueError for other layers in one than in the
    other, and for states that are not finite."""
    if len(clean) != len(noisy) or not clean:
        raise ValueError(f"{len(clean)} layers of clean states, {len(noisy)} of noisy ones: expected as many, and some")
    ratios = np.array([_ratios(*pair) for pair in zip(clean, noisy)])
    return NoiseToSignal(*ratios.T)


def mean_noise_to_signal(utterances: Iterable[NoiseToSignal]) -> NoiseToSignal:
    """The mean over utterances of each layer, without the NaN; holds the ratios only. ValueError for no utterance."""
    pairs = [np.stack([one.spectral, one.frobenius]) for one in utterances]
    if not pairs:
        raise ValueError("no utterance was given: there is nothing to take the mean of")
    ratios = np.stack(pairs)  # [N, 2, L]
    defined = ~np.isnan(ratios)
    sums, counts = np.where(defined, ratios, 0).sum(axis=0), defined.sum(axis=0)
    return NoiseToSignal(*np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def fgsm(loss: Loss, features: Tensor, lengths: Tensor, epsilon: float | Tensor) -> Tensor:
    """x + ε·sign(∇ loss), [B, T, D]: the fast gradient sign method (Goodfellow et al. 2015).

    Raises ValueError for an ε that is not above 0, and for a loss without a finite gradient."""
    size = _checked(epsilon, features)
    return features.detach() + size * _gradient(loss, features, lengths).sign()


def pgd(
    loss: Loss,
    features: Tensor,
    lengths: Tensor,
    epsilon: float | Tensor,
    generators: Sequence[np.random.Generator],
    steps: int = STEPS,
    step_size: float = STEP_SIZE,
) -> Tensor:
    """Projected gradient descent, [B, T, D] (Madry et al. 2018): `steps` signs of the gradient of `step_size`·ε,
    each put back into the ball of ±ε, from a random start in it.

    `generators` are those of the utterances [B], so that an utterance starts alike alone and in any batch."""
    size = _checked(epsilon, features)
    if steps < 1 or step_size <= 0:
        raise ValueError(f"an attack of {steps} steps of {step_size} ε: expected at least one, above 0")
    clean = features.detach()
    start = _drawn(features, lengths, generators, lambda generator, shape: generator.uniform(-1, 1, shape))
    noisy = clean + size * start
    for _ in range(steps):
        moved = noisy + step_size * size * _gradient(loss, noisy, lengths).sign()
        noisy = clean + torch.minimum(torch.maximum(moved - clean, -size), size)
    return noisy


def gaussian_control(
    features: Tensor,
    attacked: Tensor,
    lengths: Tensor,
    epsilon: float | Tensor,
    generators: Sequence[np.random.Generator],
    norm: Literal["max", "euclidean"],
) -> Tensor:
    """The control of an attack: features [B, T, D] with Gaussian noise as large as it, utterance by utterance.

    The noise has the attack's shares of the dimensions, ε. `max`: the greatest change is the attack's, in units of ε;
    `euclidean`: the root of the sum of squares is."""
    size = _checked(epsilon, features)
    noise = size * _drawn(features, lengths, generators, lambda generator, shape: generator.standard_normal(shape))
    change = (attacked - features).detach()
    if norm == "max":
        wanted, drawn = ((one / size).abs().amax(dim=(1, 2)) for one in (change, noise))
    else:
        wanted, drawn = (torch.linalg.vector_norm(one, dim=(1, 2)) for one in (change, noise))
    scale = torch.where(drawn > 0, wanted / drawn.clamp_min(torch.finfo(drawn.dtype).tiny), 0)
    return features.detach() + scale[:, None, None] * noise


def decibels(level: float) -> float:
    """A change of so many dB in the units of features that are natural logarithms of a power."""
    return level * math.log(10) / 10


def _ratios(clean: np.ndarray, noisy: np.ndarray) -> tuple[float, float]:
    """Of one layer: by the spectral norm, and by that of Frobenius."""
    frames = min(len(clean), len(noisy))
    if clean.ndim != 2 or noisy.ndim != 2 or clean.shape[1] != noisy.shape[1] or not frames:
        raise ValueError(f"states of shapes {clean.shape} and {noisy.shape}: expected frames and the same width")
    signal, noise = clean[:frames].astype(np.float64), (clean[:frames].astype(np.float64) - noisy[:frames])
    if not np.isfinite(noise).all():
        raise ValueError("states are not finite")
    if not signal.any():
        return math.nan, math.nan
    return _spectral(noise) / _spectral(signal), float(np.linalg.norm(noise) / np.linalg.norm(signal))


def _spectral(matrix: np.ndarray) -> float:
    """The greatest singular value, from the smaller Gram matrix: ten times faster than all singular values."""
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    greatest = scipy.linalg.eigvalsh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])[0]
    return math.sqrt(max(greatest, 0.0))


def _gradient(loss: Loss, features: Tensor, lengths: Tensor) -> Tensor:
    """∇ of the loss by the features, 0 on padding; the parameters' own gradients are not touched."""
    point = features.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = loss(point, lengths)
        if value.numel() != 1 or not value.requires_grad:
            raise ValueError("the loss of an attack must be one number that has a gradient by the features")
        (gradient,) = torch.autograd.grad(value, point, allow_unused=True)
    if gradient is None:
        raise ValueError("the loss of an attack does not depend on the features")
    gradient = torch.where(_real(features, lengths), gradient, 0)
    if not torch.isfinite(gradient).all():
        raise ValueError("the loss of an attack has a gradient that is not finite")
    return gradient


def _real(features: Tensor, lengths: Tensor) -> Tensor:
    """True on real frames, [B, T, 1]."""
    return (torch.arange(features.shape[1], device=features.device) < lengths[:, None].to(features.device))[..., None]


def _drawn(
    features: Tensor,
    lengths: Tensor,
    generators: Sequence[np.random.Generator],
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray],
) -> Tensor:
    """Draws [B, T, D] of each utterance's generator, 0 on padding."""
    if len(generators) != len(features):
        raise ValueError(f"{len(generators)} generators for {len(features)} utterances: expected one for each")
    drawn = torch.zeros_like(features)
    for row, length, generator in zip(drawn, lengths.tolist(), generators):
        row[:length] = torch.from_numpy(draw(generator, (length, features.shape[2]))).to(row)
    return drawn


def _checked(epsilon: float | Tensor, features: Tensor) -> Tensor:
    """ε on the features' device; ValueError where it is not above 0, or has another width."""
    size = torch.as_tensor(epsilon, dtype=features.dtype, device=features.device)
    of_each = (len(features), 1, features.shape[-1])
    if size.ndim and size.shape not in (features.shape[-1:], of_each):
        raise ValueError(f"ε of shape {tuple(size.shape)} for features of width {features.shape[-1]}")
    if not (size > 0).all() or not torch.isfinite(size).all():
        raise ValueError("ε must be above 0 in every dimension")
    return size
