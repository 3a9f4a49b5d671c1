"""The attention of one upstream over a corpus: metrics of heads, what they look at, and what pruning them costs.

Results are plain content for result.json, in the form that analysis/figures/content.py reads: `points`, `heads`,
`maps`, `pruning`. Yang et al. 2020, "Understanding Self-Attention of Self-Supervised Audio Transformers", arXiv
2006.03265."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from analysis.attention.findings import findings
from analysis.attention.head_metrics import CATEGORIES, HeadMetrics, length_band, mean_metrics, utterance_metrics
from analysis.attention.intervals import MeasuredHeads, mean_heads, measured_heads
from analysis.attention.offsets import Offsets
from analysis.attention.pruning import (
    RANDOM_ORDERS,
    PruningCurve,
    check_step,
    pruning_curves,
    pruning_orders,
    span_curve,
)
from analysis.attention.relation_maps import PhoneRelations, RelationMaps
from analysis.frame_phones import FramePhones
from analysis.repeats import of_samples
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.upstreams.attentive import attentive, heads_masked, spans_masked
from mockingjay.upstreams.base import Upstream
from utility.seeds import numpy_generator, text_seed

MEASURE = "globalness / ln T, mean over heads"
METRIC_OF = dict(zip(CATEGORIES, ("globalness", "verticality", "diagonality")))
UNITS = {"globalness": "nat", "verticality": "nat", "max_weight": "weight"}
PICTURE = 100  # frames of the attention map that is shown of a head
DIGITS = 4  # of the numbers in maps, which are looked at
Score = Callable[
    [Upstream], Mapping[str, float]
]  # figures by name, as of a loss and of probes, of the upstream as it is


@dataclass(frozen=True)
class AttentionOptions:
    """How the attention of an upstream is looked at."""

    resamples: int = 1000  # of the bootstrap; 0: no intervals
    seed: int = 0
    length_ratio: float = 1.5  # between the longest and the shortest utterance of the band of like lengths
    step: int | None = None  # heads pruned at once; None: a sixth of all
    random_orders: int = RANDOM_ORDERS
    spans: bool = True  # whether spans are cut, too


def analyse_attention(
    utterances: UtteranceInputs,
    groups: Sequence[str],
    options: AttentionOptions,
    phones: FramePhones | None = None,
    score: Score | None = None,
    units: Mapping[str, str] | None = None,
    samples: Sequence[Sequence[int]] | None = None,
) -> dict[str, Any]:
    """What result.json says of the attention of one upstream: `points` (a score for each layer), `heads`, `maps`,
    `pruning` (where there is a `score`), and `data`.

    `groups` are what the bootstrap draws, one for each utterance. `score` measures the upstream while it is pruned, its
    figures have `units`. `samples` are places of utterances (None: one of all): metrics are the means of theirs; phones
    and pruning are of all utterances at once. ValueError for an upstream without attention, and a step of more heads
    than it has."""
    model = attentive(utterances.upstream)
    if score is not None:
        check_step(options.step, *model.attention_size)
    offsets = Offsets()
    metrics = list(each_utterance(utterances, offsets))
    drawn = [
        measured_heads(
            [metrics[i] for i in places],
            [groups[i] for i in places],
            _generator(options, f"bootstrap {k}" if k else "bootstrap"),
            options.resamples,
        )
        for k, places in enumerate([range(len(metrics))] if samples is None else samples)
    ]
    heads = mean_heads(drawn)
    lengths = [
        int(model.attention_frames(torch.tensor(max(stop - start for start, stop in utterances.parts(number)))))
        for number in utterances.numbers
    ]
    band = length_band(lengths, options.length_ratio)
    alike = [i for i, inside in enumerate(band) if inside]
    in_band = measured_heads([metrics[i] for i in alike], [groups[i] for i in alike], _generator(options, "band"), 0)
    content: dict[str, Any] = {
        "points": _points(heads, drawn),
        "heads": _heads(heads) | {"band": _band(lengths, alike, in_band), "offset": offsets.greatest().tolist()},
        "orders": {
            order.name: [[f"T{layer + 1}", head] for layer, head in order.heads]
            for order in pruning_orders(heads.mean, _random_orders(options))
        },
        "maps": _pictures(utterances, heads),
        "data": {
            "utterances": len(metrics),
            "groups": len(set(groups)),
            "left_out": dict(utterances.left_out),
            "cut": utterances.cut,
        },
    }
    if phones is not None:
        relations, left_out = phone_relations(utterances, phones)
        content["maps"] |= _relations(relations, phones.names, heads)
        content["data"] |= {"phones": len(phones.names), "unaligned": left_out}
    if score is not None:
        content["pruning"] = pruning(utterances.upstream, heads.mean, score, options) | {"figures": dict(units or {})}
    return content | {"findings": findings(content)}


@torch.no_grad()
def each_utterance(utterances: UtteranceInputs, offsets: Offsets | None = None) -> Iterator[HeadMetrics]:
    """The metrics of each utterance; maps are read in blocks of queries, which `offsets` counts too.

    Of one that is encoded in segments they are the mean of its segments."""
    for number, inputs in utterances.each():
        maps = utterances.maps(number, inputs)
        counted = (blocks if offsets is None else offsets.passing(blocks) for _, blocks in maps)
        yield mean_metrics(map(utterance_metrics, counted))


@torch.no_grad()
def phone_relations(utterances: UtteranceInputs, phones: FramePhones) -> tuple[PhoneRelations, list[str]]:
    """The phoneme relation maps, and the ids of utterances without an alignment, which are left out.

    Segments that are encoded each alone count as utterances. ValueError where none has an alignment."""
    model, running, left_out = attentive(utterances.upstream), RelationMaps(len(phones.names)), []
    for number, inputs in utterances.each():
        name = utterances.inputs.corpus.ids[number]
        if name not in phones.alignment:
            left_out.append(name)
            continue
        whole = utterances.frame_times(int(utterances.inputs.frames[number]))  # as long as the alignment
        labels = phones.labels(name, whole)[: utterances.frames(number)]
        for (start, stop), blocks in utterances.maps(number, inputs):
            own = int(model.attention_frames(torch.tensor(stop - start)))
            running.add(blocks, labels[start : start + own * model.rate] if model.takes == "features" else labels)
    if not running.num_utterances:
        raise ValueError(f"{phones.alignment.root}: it has no phone of the {len(utterances.numbers)} utterances")
    return running.result(), left_out


def pruning(upstream: Upstream, metrics: HeadMetrics, score: Score, options: AttentionOptions) -> dict[str, Any]:
    """Curves of `score` against heads pruned, in the orders of the paper and in random ones, and against spans."""

    def of_heads(kept: np.ndarray) -> Mapping[str, float]:
        with heads_masked(upstream, torch.from_numpy(kept)):
            return score(upstream)

    def of_span(radius: int | None) -> Mapping[str, float]:
        with spans_masked(upstream, radius):
            return score(upstream)

    curves = pruning_curves(pruning_orders(metrics, _random_orders(options)), of_heads, options.step)
    content: dict[str, Any] = {"heads": [_curve(curve) for curve in curves]}
    return content | ({"span": [_curve(span_curve(of_span))]} if options.spans else {})


def _random_orders(options: AttentionOptions) -> list[np.random.Generator]:
    return [_generator(options, f"random order {i}") for i in range(options.random_orders)]


def attention_content(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The experiment in result.json from what `analyse_attention` gave for each curve."""
    return {
        "measure": MEASURE,
        "unit": "",
        "higher_is": "better",
        "upstreams": {name: one["points"] for name, one in curves.items()},
        "chance": None,
        "ceiling": None,
        "heads": {name: one["heads"] for name, one in curves.items()},
        "maps": {f"{name}: {key}": shown for name, one in curves.items() for key, shown in one["maps"].items()},
        "orders": {name: one["orders"] for name, one in curves.items()},
        "pruning": {name: one["pruning"] for name, one in curves.items() if "pruning" in one},
        "findings": {name: one["findings"] for name, one in curves.items()},
        "data": [{"upstream": name, **one["data"]} for name, one in curves.items()],
    }


def _points(heads: MeasuredHeads, drawn: Sequence[MeasuredHeads]) -> list[dict[str, Any]]:
    """A point for each block: the mean over its heads, and the other metrics in `detail`; the scores of samples."""
    points = []
    names = ("relative_globalness", "relative_verticality", "diagonality", "max_weight")
    for layer, values in enumerate(zip(*(getattr(heads.mean, name).mean(axis=1) for name in names)), 1):
        detail = dict(zip(names, map(float, values)))
        interval = None if heads.layers is None else heads.layers[layer - 1]
        scores = [float(one.mean.relative_globalness[layer - 1].mean()) for one in drawn]
        points.append(
            {
                "layer": layer,
                "label": f"T{layer}",
                "score": detail.pop(names[0]),
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "samples": heads.utterances,
                "detail": detail,
            }
            | of_samples(scores)
        )
    return points


def _heads(heads: MeasuredHeads) -> dict[str, Any]:
    """Tables [L][H] of all metrics, their ends, ranks and categories."""
    layers = len(heads.mean.globalness)
    content: dict[str, Any] = {"layers": [f"T{layer}" for layer in range(1, layers + 1)], "units": UNITS}
    content |= {name: _plain(values) for name, values in asdict(heads.mean).items()}
    content |= {"category": heads.ranks.category.tolist()}
    content["ranks"] = {name: getattr(heads.ranks, name).tolist() for name in METRIC_OF.values()}
    for end, values in (("low", heads.low), ("high", heads.high)):
        content[end] = None if values is None else {name: _plain(one) for name, one in asdict(values).items()}
    content["certainty"] = None if heads.certainty is None else _plain(heads.certainty)
    return content


def _band(lengths: Sequence[int], alike: Sequence[int], heads: MeasuredHeads) -> dict[str, Any]:
    """The metrics on utterances of like length, to compare models by."""
    inside = [lengths[i] for i in alike]
    return {"shortest": min(inside), "longest": max(inside), "utterances": len(inside)} | {
        name: _plain(getattr(heads.mean, name)) for name in METRIC_OF.values()
    }


def _chosen(heads: MeasuredHeads) -> dict[str, tuple[int, int]]:
    """The extreme head of each metric, and the middle one of each category, by what they are called."""
    chosen = {}
    for category, metric in METRIC_OF.items():
        ranks = getattr(heads.ranks, metric)
        chosen[f"most {category}"] = divmod(int(ranks.argmin()), ranks.shape[1])
        own = list(zip(*np.nonzero(heads.ranks.category == category)))
        if len(own) > 2:
            layer, head = sorted(own, key=lambda place: ranks[place])[len(own) // 2]
            chosen[f"average {category}"] = int(layer), int(head)
    return chosen


@torch.no_grad()
def _pictures(utterances: UtteranceInputs, heads: MeasuredHeads) -> dict[str, Any]:
    """The start of the attention map of some heads for the shortest utterance."""
    number = min(utterances.numbers, key=lambda n: int(utterances.inputs.sizes[n]))
    _, blocks = next(utterances.maps(number, utterances.read(number)))
    maps = np.concatenate([block[..., :PICTURE] for block in blocks], axis=2)[:, :, :PICTURE]
    frames = [str(frame) for frame in range(maps.shape[3])]
    about: dict[str, Any] = {"rows": frames, "columns": frames, "row_axis": "query frame", "column_axis": "key frame"}
    about |= {"measure": f"attention in {utterances.inputs.corpus.ids[number]}", "unit": "weight", "centre": None}
    return {
        f"T{layer + 1} head {head}, {name}": {"values": _rounded(maps[layer, head])} | about
        for name, (layer, head) in _chosen(heads).items()
    }


def _relations(relations: PhoneRelations, names: Sequence[str], heads: MeasuredHeads) -> dict[str, Any]:
    """Relation maps of some heads, and the concentration on each phone of all heads."""
    about: dict[str, Any] = {"rows": list(names), "columns": list(names), "row_axis": "phone of the query", "unit": ""}
    about |= {"column_axis": "phone of the key", "measure": "attention beyond uniform", "centre": 0.0}
    maps = {
        f"T{layer + 1} head {head}, {name}, phones": {"values": _rounded(relations.relation[layer, head])} | about
        for name, (layer, head) in _chosen(heads).items()
    }
    layers, per_layer, _ = relations.concentration.shape
    rows = [f"T{layer + 1} head {head}" for layer in range(layers) for head in range(per_layer)]
    about |= {"rows": rows, "row_axis": "head", "measure": "concentration on a phone"}
    return maps | {
        "concentration, phones": {"values": _rounded(relations.concentration.reshape(len(rows), -1))} | about
    }


def _curve(curve: PruningCurve) -> dict[str, Any]:
    return {"name": curve.name, "steps": list(curve.steps), "figures": {k: list(v) for k, v in curve.figures.items()}}


def _plain(values: np.ndarray) -> list[list[float | None]]:
    """A table as JSON has it: null for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _rounded(values: np.ndarray) -> list[list[float | None]]:
    """A table for a picture: numbers of a few digits, null for NaN."""
    return [[None if one is None else float(f"{one:.{DIGITS}g}") for one in row] for row in _plain(values)]


def _generator(options: AttentionOptions, name: str) -> np.random.Generator:
    return numpy_generator(options.seed, text_seed(f"attention {name}"))
