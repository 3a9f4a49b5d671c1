"""Which layers a weighted-sum probe takes, over seeds and tasks, beside what a probe of each single layer reaches.

The weights are a softmax over hidden states 0..L, learnt with the probe (Yang et al. 2021, "SUPERB: Speech processing
Universal PERformance Benchmark", arXiv 2105.01051, section 3)."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from utility.text import short

CAVEAT = (
    "a weight also makes up for the size of its layer's states: look at weight x mean norm, or probe normalised states"
)
SUM = 1e-3  # how far a softmax may be from 1
NO_WEIGHTS = "it holds no layer weights: probe with --weighted_sum"


@dataclass(frozen=True)
class LayerScores:
    """Dev scores of probes of single layers, states 0..L, each [L+1] float64: mean and deviation over seeds.

    NaN for a layer without a probe, and as the deviation of one seed."""

    metric: str
    unit: str
    better: str  # higher or lower
    mean: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one task's probes on one upstream, states 0..L, each [L+1] float64: mean and deviation over seeds.

    The deviation divides by one less than the seeds, and is NaN for one. `times_norm` is the mean weight times the mean
    Euclidean norm of the layer's states, None where norms were not given; `scores` are those of a sweep over layers,
    None where there was none."""

    task: str
    upstream: str
    seeds: tuple[int, ...]
    mean: np.ndarray
    deviation: np.ndarray
    times_norm: np.ndarray | None
    scores: LayerScores | None


@dataclass(frozen=True)
class _Probe:
    """What is read of one result.json; `name` is the file's."""

    name: str
    task: str
    upstream: str
    fingerprint: str
    seed: int
    weights: tuple[float, ...] | None
    layer: int | None
    dev_value: float
    metric: tuple[str, str, str]

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.upstream


def layer_weights(
    weighted: Mapping[str, Mapping[str, Any]],
    single: Mapping[str, Mapping[str, Any]] | None = None,
    norms: Mapping[str, Sequence[float]] | None = None,
) -> tuple[LayerWeights, ...]:
    """The weights of each task and upstream, in the order in which they first come.

    `weighted` are contents of result.json by the file's name, of probes with --weighted_sum; `single` those of the
    single layers of a sweep over `layer`; `norms` the mean norm of each state 0..L by the upstream's name.

    Raises ValueError, with the file's name, for a result without weights, a seed that comes twice, upstreams of one
    name but other weights, another number of layers, and a layer that a weighted sum does not have."""
    groups: dict[tuple[str, str], list[_Probe]] = defaultdict(list)
    for name, content in weighted.items():
        probe = _read(name, content)
        if probe.weights is None:
            raise ValueError(f"{name}: {NO_WEIGHTS}")
        groups[probe.key].append(probe)
    swept: dict[tuple[str, str], list[_Probe]] = defaultdict(list)
    for name, content in (single or {}).items():
        probe = _read(name, content)
        if probe.layer is None:
            raise ValueError(f"{name}: it is of no single layer: give the results of a sweep over layer")
        swept[probe.key].append(probe)
    if strange := [probes[0] for key, probes in swept.items() if key not in groups]:
        one = strange[0]
        raise ValueError(f"{one.name}: a layer of {one.upstream} for {one.task}, which no weighted sum was given for")
    return tuple(
        replace(_weights(probes, (norms or {}).get(key[1])), scores=_scores(probes, swept[key]))
        for key, probes in groups.items()
    )


def _weights(probes: Sequence[_Probe], norms: Sequence[float] | None) -> LayerWeights:
    _check_same(probes)
    first = probes[0]
    seeds = [probe.seed for probe in probes]
    for probe in probes:
        if seeds.count(probe.seed) > 1:
            raise ValueError(f"{probe.name}: another run of {probe.task} has seed {probe.seed} too: give one of them")
    rows = np.array([probe.weights for probe in probes])  # [seeds, L+1]
    if norms is not None and len(norms) != rows.shape[1]:
        raise ValueError(f"{first.name}: {rows.shape[1]} layer weights, {len(norms)} norms of {first.upstream}")
    mean, deviation = _mean_and_deviation(rows)
    times_norm = None if norms is None else mean * np.asarray(norms, dtype=np.float64)
    return LayerWeights(first.task, first.upstream, tuple(seeds), mean, deviation, times_norm, None)


def _scores(weighted: Sequence[_Probe], single: Sequence[_Probe]) -> LayerScores | None:
    if not single:
        return None
    _check_same([weighted[0], *single])
    assert weighted[0].weights is not None
    layers = len(weighted[0].weights)
    mean, deviation = np.full(layers, np.nan), np.full(layers, np.nan)
    by_layer: dict[int, list[float]] = defaultdict(list)
    seen = set()
    for probe in single:
        assert probe.layer is not None
        if probe.layer >= layers:
            raise ValueError(f"{probe.name}: layer {probe.layer}, but the weighted sum has states 0 to {layers - 1}")
        if (probe.layer, probe.seed) in seen:
            raise ValueError(f"{probe.name}: another run of layer {probe.layer} has seed {probe.seed} too")
        seen.add((probe.layer, probe.seed))
        by_layer[probe.layer].append(probe.dev_value)
    for layer, values in by_layer.items():
        mean[layer], deviation[layer] = _mean_and_deviation(np.array(values))
    return LayerScores(*single[0].metric, mean, deviation)


def _mean_and_deviation(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the first axis; the deviation of one row is NaN."""
    mean = rows.mean(axis=0)
    return mean, rows.std(axis=0, ddof=1) if len(rows) > 1 else np.full_like(mean, np.nan)


def _check_same(probes: Sequence[_Probe]) -> None:
    """Raise ValueError where probes of one task and upstream cannot be put together."""
    first = probes[0]
    for probe in probes[1:]:
        if probe.fingerprint != first.fingerprint:
            raise ValueError(
                f"{probe.name}: {probe.upstream} has other weights than in {first.name}: give each upstream a name "
                "of its own, --upstream NAME=SPEC (random weights differ with the seed)"
            )
        if probe.metric != first.metric:
            raise ValueError(f"{probe.name}: scored by {probe.metric[0]}, {first.name} by {first.metric[0]}")
        if probe.weights and first.weights and len(probe.weights) != len(first.weights):
            raise ValueError(f"{probe.name}: {len(probe.weights)} layer weights, {first.name} has {len(first.weights)}")


def _read(name: str, content: Mapping[str, Any]) -> _Probe:
    """One result.json, checked; ValueError names the file and the field."""

    def field(key: str, kind: type | tuple[type, ...], where: Mapping[str, Any] = content) -> Any:
        value = where.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool)):
            raise ValueError(f"{name}: no result of a probe, its {key} is {short(value)}")
        return value

    metric = field("metric", Mapping)
    upstream = field("fingerprints", Mapping).get("upstream")
    weights = content.get("layer_weights")
    return _Probe(
        name=name,
        task=field("task", str),
        upstream=field("upstream", str),
        fingerprint=str(upstream.get("fingerprint") if isinstance(upstream, Mapping) else None),
        seed=field("seed", int),
        weights=None if weights is None else _softmax(name, weights),
        layer=_position(name, content.get("layer")),
        dev_value=float(field("dev_value", (int, float))),
        metric=(field("name", str, metric), field("unit", str, metric), field("better", str, metric)),
    )


def _softmax(name: str, weights: Any) -> tuple[float, ...]:
    if (
        not isinstance(weights, Sequence)
        or not all(type(weight) in (int, float) for weight in weights)
        or not abs(sum(weights) - 1) < SUM
        or min(weights) < 0
    ):
        raise ValueError(f"{name}: its layer_weights are {short(weights)}: expected shares that sum to 1")
    return tuple(map(float, weights))


def _position(name: str, layer: Any) -> int | None:
    """The number of a hidden state, as a number or a label such as T3; None for a weighted sum."""
    if layer is None or (type(layer) is int and layer >= 0):
        return layer
    if isinstance(layer, str) and (match := re.fullmatch(r"T?(\d+)", layer)):
        return int(match[1])
    raise ValueError(f"{name}: its layer is {short(layer)}: expected a hidden state, such as 3 or T3")
