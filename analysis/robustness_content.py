"""Noise-to-signal ratios of several upstreams as result.json has them, and their differences: upstreams are compared
where their attacks raise the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from utility.intervals import Difference, group_sums, paired_difference
from utility.seeds import numpy_generator, text_seed

MEASURE = "noise-to-signal ratio of layers"
INPUTS = ("F", "W")


@dataclass(frozen=True)
class Ratios:
    """The ratio of each utterance [U] by layer, under one attack, and what upstreams are compared by."""

    change: str
    layers: Mapping[str, Sequence[float | None]]
    utterances: Sequence[str]
    groups: Sequence[str]  # of each utterance
    samples: Sequence[Sequence[str]]  # the utterances of each
    seed: int
    resamples: int


def lnsr_content(curves: Mapping[str, Mapping[str, Any]], objective: str = "") -> dict[str, Any]:
    """The experiment in result.json from what `measure_lnsr` gave for each upstream, whose attacks raised `objective`.

    `upstreams` has the curves of one attack and of noise as large, `changes` those of all, `differences` the ratio of a
    layer of one upstream minus that of another, by utterances that both have."""
    return {
        "measure": f"{MEASURE}, attacks on {objective}" if objective else MEASURE,
        "objective": objective,
        "unit": "",
        "higher_is": "worse",
        "upstreams": {f"{name}, {key}": one["curves"][key] for name, one in curves.items() for key in one["shown"]},
        "chance": None,
        "ceiling": None,
        "differences": [row for pair in combinations(curves, 2) for row in _differences(curves, *pair)],
        "changes": {name: one["curves"] for name, one in curves.items()},
        "sizes_in": {name: one["unit"] for name, one in curves.items()},
        "loss_raised": {name: one["raised"] for name, one in curves.items()},
        "data": [{"upstream": name, **one["data"]} for name, one in curves.items()],
    }


def _differences(curves: Mapping[str, Mapping[str, Any]], one: str, other: str) -> list[dict[str, Any]]:
    """Of two upstreams under the same attack in the same unit, layer by layer; a mean over samples."""
    if curves[one]["unit"] != curves[other]["unit"] or {"ratios"} - (curves[one].keys() & curves[other].keys()):
        return []
    first, second = (Ratios(**curves[name]["ratios"]) for name in (one, other))
    rows = []
    for label in (label for label in first.layers if label in second.layers and label not in INPUTS):
        found = [_difference(first, second, label, k) for k in range(len(first.samples))]
        known = [difference for difference in found if difference is not None]
        if known:
            ends = ("value", "low", "high")
            values = [(one.value, one.interval.low, one.interval.high) for one in known]
            rows.append(
                {"one": [f"{one}, {first.change}", label], "other": [f"{other}, {second.change}", label]}
                | dict(zip(ends, np.mean(values, axis=0).tolist()))
            )
    return rows


def _difference(first: Ratios, second: Ratios, label: str, sample: int) -> Difference | None:
    """By the utterances of a sample that have a ratio in both; None where these are of one group."""
    values = [dict(zip(one.utterances, one.layers[label])) for one in (first, second)]
    group = dict(zip(first.utterances, first.groups))
    ids = [name for name in first.samples[sample] if all(one.get(name) is not None for one in values)]
    if len({group[name] for name in ids}) < 2 or not first.resamples:
        return None
    names = [group[name] for name in ids]
    sums, others = (group_sums(np.array([[one[name], 1.0] for name in ids]), names)[0] for one in values)
    generator = numpy_generator(first.seed, text_seed(f"lnsr difference {sample}"))
    return paired_difference(lambda s: s[:, 0] / s[:, 1], sums, others, generator, first.resamples)
