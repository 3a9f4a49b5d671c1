"""Paired differences with their intervals, which two curves beside each other do not show."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.content import Experiment, PairedDifference
from analysis.figures.style import (
    SMALL,
    TEXT,
    curve_styles,
    dress,
    layer_axis,
    layer_places,
    named,
    printed_figure,
    put_legend,
    rounded,
    value_axis,
)

FILLED = "filled: the 95 % interval excludes 0"


def by_layer(differences: Sequence[PairedDifference]) -> tuple[PairedDifference, ...]:
    """Those of the same layer of two upstreams."""
    return tuple(one for one in differences if one.first[1] == one.second[1])


def layer_differences_figure(experiment: Experiment) -> Figure:
    """Two upstreams' difference against layer, a colour for each pair, with intervals; filled where clear of 0."""
    shown = by_layer(experiment.differences)
    pairs = list(dict.fromkeys((one.first[0], one.second[0]) for one in shown))
    styles = curve_styles([f"{i}" for i in range(len(pairs))])
    places = layer_places(one.first[1] for one in shown)
    width = float(np.clip(2.2 + 0.24 * len(places), 5.5, 9.0))
    figure = printed_figure(width, 3.2)
    ax = figure.subplots()
    entries: list[tuple[Artist, str]] = []
    for i, pair in enumerate(pairs):
        mine, style = [one for one in shown if (one.first[0], one.second[0]) == pair], styles[f"{i}"]
        shift = 0.5 * (i - (len(pairs) - 1) / 2) / max(len(pairs), 2)
        for one in mine:
            place = places[one.first[1]] + shift
            ax.vlines(place, one.low, one.high, color=style.colour, linewidth=1.2)
            face = style.colour if one.clear else "white"
            ax.plot(place, one.value, marker=style.marker, markersize=4.5, color=style.colour, markerfacecolor=face)
        clear = sum(one.clear for one in mine)
        words = f"{named(pair[0])} \N{MINUS SIGN} {named(pair[1])}: {clear} of {len(mine)} layers clear of 0"
        entries.append((Line2D([], [], color=style.colour, marker=style.marker, markersize=5, linewidth=1.2), words))
    ax.axhline(0, color="0.25", linewidth=1, linestyle=(0, (5, 2)))
    layer_axis(ax, places, width - 1.0)
    value_axis(ax, f"difference of {experiment.axis}", 2.4)
    note = "lower is better" if experiment.lower_is_better else ""
    dress(ax, f"{experiment.name}: paired differences by layer", note)
    put_legend(figure, [*entries, (_filled(), FILLED)])
    return figure


def difference_rows_figure(experiment: Experiment) -> Figure:
    """Differences of other pairs of layers, a row each, with their intervals; filled where clear of 0."""
    shown = [one for one in experiment.differences if one not in by_layer(experiment.differences)]
    figure = printed_figure(6.8, 1.2 + 0.26 * len(shown))
    ax = figure.subplots()
    labels = []
    for row, one in enumerate(shown):
        ax.hlines(row, one.low, one.high, color="black", linewidth=1.2)
        ax.plot(one.value, row, "o", color="black", markersize=5, markerfacecolor="black" if one.clear else "white")
        first, second = (f"{named(upstream)} {label}" for upstream, label in (one.first, one.second))
        labels.append(f"{first} \N{MINUS SIGN} {second}  {rounded(one.value)}")
    ax.axvline(0, color="0.25", linewidth=1, linestyle=(0, (5, 2)))
    dress(ax, f"{experiment.name}: paired differences")
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_yticks(range(len(shown)), labels, fontsize=SMALL, parse_math=False)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlabel(f"difference of {experiment.axis}", fontsize=TEXT, parse_math=False)
    put_legend(figure, [(_filled(), FILLED)])
    return figure


def _filled() -> Line2D:
    return Line2D([], [], color="0.3", marker="o", markersize=5, linewidth=1.2)
