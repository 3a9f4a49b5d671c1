"""Which layers weighted-sum probes take, beside the sizes of the layers and what a probe of each layer reaches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.figures.content import field, table, with_unit
from analysis.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    SMALL,
    TEXT,
    dress,
    named,
    printed_figure,
    put_legend,
    value_axis,
)
from analysis.layer_weights import CAVEAT, LayerScores, LayerWeights
from utility.text import short

HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")


def weights_of(where: str, content: Any) -> LayerWeights:
    """The weights of one task's probes in a result; ValueError names what is wrong."""

    def row(part: Any, key: str, columns: int | None = None) -> np.ndarray:
        return table(where, {key: [field(where, part, key, list)]}, key, 1, columns)[0]

    mean = row(content, "mean")
    scores = field(where, content, "scores", dict, None)
    better = None if scores is None else field(where, scores, "better", str)
    if better not in (None, "higher", "lower"):
        raise ValueError(f"{where}: better is {short(better)}: expected higher or lower")
    return LayerWeights(
        task=field(where, content, "task", str),
        upstream=field(where, content, "upstream", str),
        seeds=tuple(field(where, content, "seeds", list)),
        mean=mean,
        deviation=row(content, "deviation", len(mean)),
        times_norm=None if content.get("times_norm") is None else row(content, "times_norm", len(mean)),
        scores=None
        if scores is None
        else LayerScores(
            field(where, scores, "metric", str),
            field(where, scores, "unit", str, ""),
            str(better),
            row(scores, "mean", len(mean)),
            row(scores, "deviation", len(mean)),
        ),
    )


def weights_figure(weights: Sequence[LayerWeights], title: str) -> Figure:
    """Bars for each layer, grouped by task and upstream: weights, weights times norms, scores of single layers.

    Whiskers are the deviation over seeds. The last two panels are there where there is something to show. Weights times
    norms are divided by their sum."""
    layers = max(len(one.mean) for one in weights)
    metrics = list(dict.fromkeys(_metric(one.scores) for one in weights if one.scores is not None))
    normed = any(one.times_norm is not None for one in weights)
    count = 1 + normed + len(metrics)
    width = float(np.clip(1.8 + 0.11 * layers * (len(weights) + 1), 5.5, 9.5))
    figure = printed_figure(width, 0.5 + 1.9 * count)
    axes = list(figure.subplots(count, sharex=True, squeeze=False)[:, 0])
    uniform = axes[0].axhline(1 / layers, color="0.25", linewidth=1, linestyle=DASHES[0])
    _bars(axes[0], [(one.mean, one.deviation) for one in weights])
    _panel(axes[0], "weight of each layer", "share of the weights")
    nothing = np.full(layers, np.nan)
    if normed:
        products = [nothing if one.times_norm is None else one.times_norm / one.times_norm.sum() for one in weights]
        _bars(axes[1], [(product, nothing) for product in products])
        _panel(axes[1], "weight times mean norm of the layer", "share of the products")
    for ax, (metric, unit) in zip(axes[1 + normed :], metrics):
        parts = [one.scores if one.scores and _metric(one.scores) == (metric, unit) else None for one in weights]
        _points(ax, [(nothing, nothing) if part is None else (part.mean, part.deviation) for part in parts])
        _panel(ax, "probe of each layer alone, dev part", with_unit(metric, unit))
    axes[-1].set_xticks(range(layers), [f"T{layer}" for layer in range(layers)], fontsize=SMALL)
    axes[-1].set_xlabel("layer", fontsize=TEXT)
    figure.suptitle(title, fontsize=TEXT + 1, parse_math=False)
    marked = [(_patch(i), _words(one)) for i, one in enumerate(weights)]
    entries: list[tuple[Artist, str]] = [*marked]
    put_legend(figure, [*entries, (uniform, "equal weights"), (Patch(alpha=0), CAVEAT)])
    return figure


def _bars(ax: Axes, groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Grouped bars with whiskers; NaN has none."""
    width = 0.8 / len(groups)
    for i, (mean, deviation) in enumerate(groups):
        places = _places(i, len(groups), len(mean))
        colour, hatch = COLOURS[i % len(COLOURS)], HATCHES[i % len(HATCHES)]
        ax.bar(places, mean, width, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4)
        ax.vlines(places, mean - deviation, mean + deviation, color="black", linewidth=0.9)


def _points(ax: Axes, groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Points with whiskers at the places of the bars: this axis need not begin at 0."""
    for i, (mean, deviation) in enumerate(groups):
        places, colour = _places(i, len(groups), len(mean)), COLOURS[i % len(COLOURS)]
        ax.plot(places, mean, linestyle="none", marker=MARKERS[i % len(MARKERS)], color=colour, markersize=5)
        ax.vlines(places, mean - deviation, mean + deviation, color=colour, linewidth=1.2)


def _places(i: int, groups: int, layers: int) -> np.ndarray:
    return np.arange(layers) + (i - (groups - 1) / 2) * 0.8 / groups


def _metric(scores: LayerScores) -> tuple[str, str]:
    return scores.metric, scores.unit


def _panel(ax: Axes, title: str, words: str) -> None:
    dress(ax, title)
    value_axis(ax, words, 1.5)


def _patch(i: int) -> Patch:
    return Patch(facecolor=COLOURS[i % len(COLOURS)], hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0.4)


def _words(one: LayerWeights) -> str:
    seeds = f"mean ± deviation of {len(one.seeds)} seeds" if len(one.seeds) > 1 else "1 seed"
    return f"{named(one.task)}, {named(one.upstream)}: {seeds}"
