"""How well phone boundaries are found by blocks of like frames: of features, of states, and of attention maps (Yang et
al. 2020, arXiv 2006.03265). Settings are chosen on some utterances and scored on others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import pdist

from analysis.attention.block_boundaries import ALPHAS, BETAS, choose_block_settings, find_blocks
from analysis.attention.head_metrics import mean_metrics, utterance_metrics
from analysis.attention.maps import upsample
from analysis.boundaries import BoundaryTimes, boundaries_of, uniform_boundaries
from analysis.boundary_scores import TOLERANCE, BoundaryCounts, References, r_value, references_of, score_boundaries
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.upstreams.attentive import attentive
from utility.intervals import bootstrap, group_sums
from utility.labels.alignment import Alignment

MEASURE = "R-value of phone boundaries by blocks"
OF_DISTANCES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)  # α of features and states, in mean distances of their frames
PAIRS = 400  # frames of an utterance whose distances are averaged
Sources = Mapping[str, np.ndarray]  # rows [T, D] of one utterance, by what they are of


@dataclass(frozen=True)
class BlockOptions:
    """Which rows are looked at beside the states, and how sure the scores shall be.

    Without `heads` they are the most global, vertical and diagonal one of those that settings are chosen on."""

    heads: tuple[tuple[int, int], ...] | None = None  # (layer, head) from 0, for their maps; None: see below
    tolerance: float = TOLERANCE  # seconds
    resamples: int = 1000


def block_boundaries(
    tune: UtteranceInputs,
    test: UtteranceInputs,
    groups: Sequence[str],
    alignment: Alignment,
    options: BlockOptions,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """What result.json says of the boundaries of one upstream: `points`, one for each of its layers (and F, features),
    `heads`, the same of maps, `chance` (as many boundaries as there are, evenly spaced), and `data`.

    α and β are those of the best R-value on `tune`. `groups` [U] are those of `test`'s utterances, for intervals; below
    two of them there is none. ValueError where an utterance is in both, or none has an alignment."""
    shared = set(tune.ids) & set(test.ids)
    if shared:
        raise ValueError(f"utterance {min(shared)} is scored, but the settings are chosen on it")
    heads = _extreme_heads(tune) if options.heads is None else options.heads
    settings = _settings(tune, alignment, heads, options.tolerance)
    references, kept = _references(test, alignment)
    found: dict[str, list[np.ndarray]] = {name: [] for name in settings}
    for place in kept:
        times, sources = _rows_of(test, test.numbers[place], heads)
        for name, (alpha, beta) in settings.items():
            found[name].append(_seconds(find_blocks(sources[name], alpha, beta).boundaries, times))
    own_groups = [groups[place] for place in kept]
    points = []
    for name, seconds in found.items():
        counts = score_boundaries(boundaries_of(seconds), references, tolerance=options.tolerance)
        points.append(_point(name, counts, own_groups, settings[name], options, generator))
    rate = len(references.boundaries.seconds) / float(references.durations.sum())
    chance = score_boundaries(_uniform(references, rate), references, tolerance=options.tolerance)
    return {
        "points": [point for point in points if " head " not in point["label"]],
        "heads": [point for point in points if " head " in point["label"]],
        "chance": chance.r_value,
        "data": {
            "utterances": len(kept),
            "chosen on": len(tune.numbers),
            "boundaries": len(references.boundaries.seconds),
        },
    }


def block_content(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The experiment in result.json from what `block_boundaries` gave for each curve."""
    return {
        "measure": MEASURE,
        "unit": "",
        "higher_is": "better",
        "upstreams": {name: one["points"] for name, one in curves.items()},
        "chance": next(iter(curves.values()))["chance"] if curves else None,
        "ceiling": 1.0,
        "block_heads": {name: one["heads"] for name, one in curves.items()},
        "data": [{"upstream": name, **one["data"]} for name, one in curves.items()],
    }


def _settings(
    tune: UtteranceInputs, alignment: Alignment, heads: Sequence[tuple[int, int]], tolerance: float
) -> dict[str, tuple[float, float]]:
    """α and β of each source."""
    references, kept = _references(tune, alignment)
    gathered = [_rows_of(tune, tune.numbers[place], heads) for place in kept]
    times = [own for own, _ in gathered]

    def score(found: Sequence[np.ndarray]) -> float:
        predicted = boundaries_of([_seconds(frames, own) for frames, own in zip(found, times)])
        return score_boundaries(predicted, references, tolerance=tolerance).r_value

    chosen = {}
    for name in gathered[0][1]:
        rows = [sources[name] for _, sources in gathered]
        alphas = ALPHAS if " head " in name else [share * _mean_distance(rows) for share in OF_DISTANCES]
        best = choose_block_settings(rows, score, alphas, BETAS)
        chosen[name] = best.alpha, best.beta
    return chosen


def _mean_distance(utterances: Sequence[np.ndarray]) -> float:
    """The mean Euclidean distance of frames of one utterance; 1 where all are alike."""
    means = [float(pdist(rows[:: -(-len(rows) // PAIRS)].astype(np.float64)).mean()) for rows in utterances]
    return float(np.mean(means)) or 1.0


def _references(utterances: UtteranceInputs, alignment: Alignment) -> tuple[References, list[int]]:
    """The boundaries of the aligned utterances without unknown words, and the places of these."""
    places = [place for place, name in enumerate(utterances.ids) if name in alignment]
    if not places:
        raise ValueError(f"{alignment.root}: it is of none of the {len(utterances.ids)} utterances")
    durations = [float(utterances.frame_times(utterances.frames(utterances.numbers[p]))[-1]) for p in places]
    labelled = []
    for place, duration in zip(places, durations):
        name = utterances.ids[place]
        parts = [(float(a), float(b), alignment.labels[label]) for a, b, label in alignment.segments(name).tolist()]
        if name in utterances.cut:
            parts = [(start, end, label) for start, end, label in parts if end <= duration]
        labelled.append((name, parts))
    references, skipped = references_of(labelled, durations)
    return references, [place for place in places if utterances.ids[place] not in skipped]


@torch.no_grad()
def _rows_of(utterances: UtteranceInputs, number: int, heads: Sequence[tuple[int, int]]) -> tuple[np.ndarray, Sources]:
    """Times of the frames [T], and the rows [T, D] of features, states and maps of an utterance."""
    upstream, inputs = utterances.upstream, utterances.read(number)
    states = upstream(inputs, torch.tensor([inputs.shape[1]], device=inputs.device))
    rows = {label: state[0].float().cpu().numpy() for label, state in zip(upstream.layers, states)}
    if upstream.takes == "features":
        rows = {"F": inputs[0].cpu().numpy()} | rows
    frames = len(next(iter(rows.values())))
    if heads:
        own = _maps(utterances, number, inputs, heads, frames)
        rows |= {f"T{layer + 1} head {head}": maps for (layer, head), maps in zip(heads, own)}
    return utterances.frame_times(frames), rows


def _maps(
    utterances: UtteranceInputs, number: int, inputs: torch.Tensor, heads: Sequence[tuple[int, int]], frames: int
) -> np.ndarray:
    """The up-sampled maps [heads, frames, frames], 0 between parts that are encoded each alone.

    Frames that stacking drops are like the last one before them."""
    model, whole = attentive(utterances.upstream), np.zeros((len(heads), frames, frames), np.float32)
    layers, places = map(list, zip(*heads))
    for (start, stop), blocks in utterances.maps(number, inputs):
        rows = upsample(
            np.concatenate([block[layers, places] for block in blocks], axis=1), model.rate
        )  # [heads, n, n]
        first, last = (start, stop) if model.takes == "features" else (0, frames)
        like = np.minimum(np.arange(last - first), rows.shape[1] - 1)
        whole[:, first:last, first : first + rows.shape[2]] = rows[:, like]
    return whole


@torch.no_grad()
def _extreme_heads(utterances: UtteranceInputs) -> tuple[tuple[int, int], ...]:
    """The most global, the most vertical and the most diagonal head; none of an upstream without attention."""
    try:
        attentive(utterances.upstream)
    except ValueError:
        return ()
    each = (utterances.maps(number, inputs) for number, inputs in utterances.each())
    mean = mean_metrics(mean_metrics(utterance_metrics(blocks) for _, blocks in maps) for maps in each)
    tables = mean.globalness, mean.verticality, mean.diagonality
    return tuple(dict.fromkeys(divmod(int(values.argmax()), values.shape[1]) for values in tables))


def _seconds(frames: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Times of boundaries, which may lie halfway between two frames."""
    return np.interp(frames, np.arange(len(times)), times)


def _uniform(references: References, rate: float) -> BoundaryTimes:
    return uniform_boundaries(references.durations, rate)


def _point(
    name: str,
    counts: BoundaryCounts,
    groups: Sequence[str],
    setting: tuple[float, float],
    options: BlockOptions,
    generator: np.random.Generator,
) -> dict[str, Any]:
    sums, names = group_sums(np.stack([counts.hits, counts.predicted, counts.reference], axis=1), groups)
    interval = None
    if len(names) > 1 and options.resamples:
        interval = bootstrap(_r_values, sums, generator, options.resamples)
    return {
        "label": name,
        "score": counts.r_value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "samples": len(counts.hits),
        "detail": {
            "alpha": setting[0],
            "beta": setting[1],
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
        },
    }


def _r_values(sums: np.ndarray) -> np.ndarray:
    """R-values [R] of sums [R, 3]: hits, predicted, reference."""
    hits, predicted, reference = sums.T
    return np.array(
        [r_value(h / r if r else 0.0, (p / r if r else 0.0) - 1) for h, p, r in zip(hits, predicted, reference)]
    )
