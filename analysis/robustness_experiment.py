"""How much of a small change of the input arrives at each layer of one upstream: attacks, and random noise as large
(Wu et al. 2020, "Defense for Black-box Attacks on Anti-spoofing Models by Self-Supervised Learning", arXiv 2006.03214).

The input is attacked: features, in deviations of each dimension over the utterances, or waveforms, in the deviation of
all samples. Results are plain content for result.json, a curve for each attack or noise and size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from analysis.repeats import mean_of, of_samples
from analysis.robustness import (
    STEP_SIZE,
    STEPS,
    Loss,
    NoiseToSignal,
    fgsm,
    gaussian_control,
    mean_noise_to_signal,
    noise_to_signal,
    pgd,
)
from analysis.robustness_content import Ratios
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.upstreams.base import Upstream
from utility.intervals import bootstrap, group_sums
from utility.seeds import numpy_generator, text_seed
from utility.text import short

ATTACKS = ("fgsm", "pgd")
NORMS: dict[str, Literal["max", "euclidean"]] = {
    "noise max": "max",
    "noise L2": "euclidean",
}  # Gaussian noise with the attack's greatest change, or its energy
FLOOR = 1e-6  # of the greatest deviation: what a dimension that never changes counts with
UNIT_OF = {"features": "deviations of each feature", "waveform": "deviations of the samples"}
LossOf = Callable[[int], Loss]  # number of an utterance in the corpus -> what is to be raised, of inputs of it alone


@dataclass(frozen=True)
class LnsrOptions:
    """Which changes are made, and how sure the ratios shall be."""

    attacks: tuple[str, ...] = ATTACKS
    sizes: tuple[float, ...] = (0.01, 0.1, 1.0)  # ε in deviations
    steps: int = STEPS  # of projected gradient descent
    step_size: float = STEP_SIZE  # of ε
    controls: bool = True
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.attacks if name not in ATTACKS]:
            raise ValueError(f"unknown attack {short(unknown[0])}: expected {' or '.join(ATTACKS)}")
        if not self.attacks or not self.sizes or not all(0 < size < np.inf for size in self.sizes):
            raise ValueError("an analysis by attacks needs attacks, and sizes above 0 in deviations of the input")


def measure_lnsr(
    utterances: UtteranceInputs,
    groups: Sequence[str],
    loss_of: LossOf,
    options: LnsrOptions,
    samples: Sequence[Sequence[int]] | None = None,
) -> dict[str, Any]:
    """What result.json says of one upstream: `curves` {"pgd 0.1": [point of the input, of each layer], "pgd 0.1, noise
    max": ...}, those `shown` of them, how much the loss was `raised` by each, the `unit` of sizes, and `data`; `ratios`
    are what `lnsr_content` compares upstreams by.

    A point's score is the mean over utterances of the spectral ratio; its interval draws `groups`, one for each
    utterance; `detail` holds the ratio by Frobenius. `loss_of` is what attacks raise: any loss with a gradient, of this
    upstream or of another model of the same input; `drift` needs no labels. `samples` are places of utterances (None:
    one of all), of which a point is the mean. ValueError for a loss without gradient."""
    deviations, names = input_deviations(utterances), _names(utterances.upstream)
    measured: dict[str, list[NoiseToSignal]] = {}
    raised: dict[str, list[float]] = {}
    for number, inputs in utterances.each():
        (clean,), loss = _layers(utterances.upstream, inputs), loss_of(number)
        before = _value(loss, inputs)
        for changed, noisy in changed_inputs(utterances, number, inputs, loss, deviations, options):
            for name, layers, one in zip(changed, _layers(utterances.upstream, noisy), noisy.split(1), strict=True):
                measured.setdefault(name, []).append(noise_to_signal(clean, layers))
                raised.setdefault(name, []).append(_value(loss, one) - before)
    drawn = [list(places) for places in (samples or [range(len(utterances.numbers))])]
    shown = _shown(options)
    return {
        "curves": {name: _points(name, names, ratios, groups, drawn, options) for name, ratios in measured.items()},
        "shown": shown,
        "ratios": Ratios(
            change=shown[0],
            layers={name: [_number(one.spectral[k]) for one in measured[shown[0]]] for k, name in enumerate(names)},
            utterances=utterances.ids,
            groups=list(groups),
            samples=[[utterances.ids[place] for place in places] for places in drawn],
            seed=options.seed,
            resamples=options.resamples,
        ).__dict__,
        "raised": {name: float(np.mean(values)) for name, values in raised.items()},
        "unit": UNIT_OF[utterances.upstream.takes],
        "data": {
            "utterances": len(utterances.numbers),
            "groups": len(set(groups)),
            "left_out": utterances.left_out,
            "cut": utterances.cut,
        },
    }


def drift(upstream: Upstream, utterances: UtteranceInputs) -> LossOf:
    """A loss that needs no labels: the mean squared distance of the last layer from what it is for the clean input.

    At the clean input it has no gradient: descent with its random start raises it (`pgd`), one step alone does not."""

    def loss_of(number: int) -> Loss:
        with torch.no_grad():
            clean = _last(upstream, utterances.read(number))
        return lambda inputs, lengths: (_last(upstream, inputs) - clean).square().mean()

    return loss_of


def input_deviations(utterances: UtteranceInputs) -> Tensor:
    """The standard deviation of each feature [D] over all frames, or of all samples [1]; never 0."""
    count, sums, squares = 0, np.zeros(1), np.zeros(1)
    for _, inputs in utterances.each():
        rows = _framed(inputs)[0].double().cpu().numpy()  # [T, D] or [N, 1]
        count, sums, squares = count + len(rows), sums + rows.sum(0), squares + (rows**2).sum(0)
    deviations = np.sqrt(np.maximum(squares / count - (sums / count) ** 2, 0))
    if not deviations.any():
        raise ValueError("the input of all utterances is constant: a change has no size beside it")
    return torch.from_numpy(np.maximum(deviations, FLOOR * deviations.max()))


def changed_inputs(
    utterances: UtteranceInputs, number: int, inputs: Tensor, loss: Loss, deviations: Tensor, options: LnsrOptions
) -> Iterator[tuple[list[str], Tensor]]:
    """Names and changed inputs [S, ...] of an utterance [1, ...]: an attack in its S sizes, and noise as large as each.

    All sizes are made at once: `loss` reads a batch of inputs of this utterance."""
    framed, waves = _framed(inputs), inputs.ndim == 2
    framed = framed.expand(len(options.sizes), -1, -1)
    lengths = torch.full((len(framed),), framed.shape[1], device=inputs.device)
    epsilon = (torch.tensor(options.sizes)[:, None, None] * deviations).to(framed)
    seed = text_seed(utterances.inputs.corpus.ids[number])

    def of_framed(x: Tensor, lengths: Tensor) -> Tensor:
        return loss(x[..., 0] if waves else x, lengths)

    def generators(names: Sequence[str]) -> list[np.random.Generator]:
        return [numpy_generator(options.seed, seed, text_seed(name)) for name in names]

    for attack in options.attacks:
        names = [f"{attack} {size:g}" for size in options.sizes]
        if attack == "fgsm":
            noisy = fgsm(of_framed, framed, lengths, epsilon)
        else:
            noisy = pgd(of_framed, framed, lengths, epsilon, generators(names), options.steps, options.step_size)
        made = [(names, noisy)]
        for control, norm in NORMS.items() if options.controls else ():
            keys = [f"{name}, {control}" for name in names]
            made.append((keys, gaussian_control(framed, noisy, lengths, epsilon, generators(keys), norm)))
        for keys, changed in made:
            yield keys, changed[..., 0] if waves else changed


def _names(upstream: Upstream) -> tuple[str, ...]:
    """Labels of the input, F or W, and of the layers; features as an upstream are the input."""
    own = "F" if upstream.takes == "features" else "W"
    return upstream.layers if upstream.layers == (own,) else (own, *upstream.layers)


def _shown(options: LnsrOptions) -> list[str]:
    """The last attack in its middle size, and noise of its energy: what a figure has room for."""
    name = f"{options.attacks[-1]} {sorted(options.sizes)[len(options.sizes) // 2]:g}"
    return [name, f"{name}, noise L2"] if options.controls else [name]


def _framed(inputs: Tensor) -> Tensor:
    """Features as they are, samples [1, N] as frames of one number [1, N, 1]."""
    return inputs[..., None] if inputs.ndim == 2 else inputs


@torch.no_grad()
def _layers(upstream: Upstream, inputs: Tensor) -> list[list[np.ndarray]]:
    """The input and the states of each of some inputs of one length, [T, D] each."""
    states = upstream(inputs, _lengths(inputs))
    parts = states if len(_names(upstream)) == len(states) else (_framed(inputs), *states)
    arrays = [part.float().cpu().numpy() for part in parts]
    return [[part[row] for part in arrays] for row in range(len(inputs))]


def _last(upstream: Upstream, inputs: Tensor) -> Tensor:
    return upstream(inputs, _lengths(inputs), [upstream.layers[-1]])[0].float()


@torch.no_grad()
def _value(loss: Loss, inputs: Tensor) -> float:
    return float(loss(inputs, _lengths(inputs)))


def _lengths(inputs: Tensor) -> Tensor:
    return torch.full((len(inputs),), inputs.shape[1], device=inputs.device)


def _points(
    change: str,
    names: Sequence[str],
    ratios: Sequence[NoiseToSignal],
    groups: Sequence[str],
    samples: Sequence[Sequence[int]],
    options: LnsrOptions,
) -> list[dict[str, Any]]:
    """A point for the input, and for each layer; of several samples the mean of scores and of bounds."""
    drawn = []
    for number, places in enumerate(samples):
        generator = numpy_generator(options.seed, text_seed(f"lnsr {change} {number}" if number else f"lnsr {change}"))
        own = [ratios[place] for place in places]
        drawn.append(_sample_points(names, own, [groups[place] for place in places], generator, options.resamples))
    points = []
    for several in zip(*drawn):
        means = {end: mean_of([one[end] for one in several]) for end in ("score", "low", "high")}
        detail = {"frobenius": mean_of([one["detail"]["frobenius"] for one in several])}
        points.append({**several[0], **means, "detail": detail} | of_samples([one["score"] for one in several]))
    return points


def _sample_points(
    names: Sequence[str],
    ratios: Sequence[NoiseToSignal],
    groups: Sequence[str],
    generator: np.random.Generator,
    resamples: int,
) -> list[dict[str, Any]]:
    mean, points = mean_noise_to_signal(ratios), []
    for place, name in enumerate(names):
        own = np.array([one.spectral[place] for one in ratios])
        defined = ~np.isnan(own)
        sums, _ = group_sums(np.stack([np.where(defined, own, 0), defined], axis=1), groups)
        sums = sums[sums[:, 1] > 0]
        interval = None
        if len(sums) > 1 and resamples:
            interval = bootstrap(lambda s: s[:, 0] / s[:, 1], sums, generator, resamples)
        points.append(
            {
                "label": name,
                "score": _number(mean.spectral[place]),
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "samples": int(defined.sum()),
                "detail": {"frobenius": _number(mean.frobenius[place])},
            }
        )
    return points


def _number(value: float) -> float | None:
    """As JSON has it: null for NaN."""
    return None if np.isnan(value) else float(value)
