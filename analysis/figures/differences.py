"""Paired differences with their intervals, which two curves beside each other do not show."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.content import Experiment, PairedDifference
from analysis.figures.style import (
    DASHES,
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
MINUS = "\N{MINUS SIGN}"
Series = Mapping[str, tuple[PairedDifference, ...]]


def difference_figures(experiment: Experiment) -> Iterator[tuple[str, Figure]]:
    """Figures of paired differences, by the end of a file's name: two upstreams layer by layer, the layers of one
    upstream below its best one, and all other pairs in rows."""
    between, within, rest = _divided(experiment.differences)
    axis = f"difference of {experiment.axis}"
    if between:
        yield "differences", _series_figure(between, f"{experiment.name}: paired differences by layer", axis)
    if within:
        yield "differences_of_layers", _series_figure(within, f"{experiment.name}: one layer minus each other", axis)
    if rest:
        yield "differences_of_pairs", _rows_figure(rest, f"{experiment.name}: paired differences", axis)


def _divided(differences: Sequence[PairedDifference]) -> tuple[Series, Series, tuple[PairedDifference, ...]]:
    """Differences of the same layer of two upstreams, where there are several; those within an upstream; the rest."""
    between: dict[str, tuple[PairedDifference, ...]] = {}
    within: dict[str, tuple[PairedDifference, ...]] = {}
    for one in differences:
        if one.one[0] == one.other[0]:
            key, group = f"{named(one.one[0])} {one.one[1]} {MINUS} other layers", within
        elif one.one[1] == one.other[1]:
            key, group = f"{named(one.one[0])} {MINUS} {named(one.other[0])}", between
        else:
            continue
        group[key] = (*group.get(key, ()), one)
    between = {key: several for key, several in between.items() if len(several) > 1}
    shown = {id(one) for series in (*between.values(), *within.values()) for one in series}
    return between, within, tuple(one for one in differences if id(one) not in shown)


def _series_figure(series: Series, title: str, axis: str) -> Figure:
    """Difference against the other's layer, a colour for each series, with intervals; filled where clear of 0."""
    styles = curve_styles([f"{i}" for i in range(len(series))])
    places = layer_places(one.other[1] for several in series.values() for one in several)
    width = float(np.clip(2.2 + 0.24 * len(places), 5.5, 9.0))
    figure = printed_figure(width, 3.2)
    ax = figure.subplots()
    entries: list[tuple[Artist, str]] = []
    for i, (words, several) in enumerate(series.items()):
        style = styles[f"{i}"]
        shift = 0.6 * (i - (len(series) - 1) / 2) / max(len(series), 2)
        for one in several:
            place = places[one.other[1]] + shift
            ax.vlines(place, one.low, one.high, color=style.colour, linewidth=1.2)
            face = style.colour if one.clear else "white"
            ax.plot(place, one.value, marker=style.marker, markersize=4.5, color=style.colour, markerfacecolor=face)
        clear = f"{sum(one.clear for one in several)} of {len(several)} layers clear of 0"
        line = Line2D([], [], color=style.colour, marker=style.marker, markersize=5, linewidth=1.2)
        entries.append((line, f"{words}: {clear}"))
    ax.axhline(0, color="0.25", linewidth=1, linestyle=DASHES[0])
    layer_axis(ax, places, width - 1.0)
    value_axis(ax, axis, 2.4)
    dress(ax, title)
    put_legend(figure, [*entries, (_filled(), FILLED)])
    return figure


def _rows_figure(differences: Sequence[PairedDifference], title: str, axis: str) -> Figure:
    """Differences in rows, with their intervals; filled where clear of 0."""
    figure = printed_figure(7.2, 1.2 + 0.26 * len(differences))
    ax = figure.subplots()
    labels = []
    for row, one in enumerate(differences):
        ax.hlines(row, one.low, one.high, color="black", linewidth=1.2)
        ax.plot(one.value, row, "o", color="black", markersize=5, markerfacecolor="black" if one.clear else "white")
        first, second = (f"{named(upstream)} {label}" for upstream, label in (one.one, one.other))
        labels.append(f"{first} {MINUS} {second}  {rounded(one.value)}")
    ax.axvline(0, color="0.25", linewidth=1, linestyle=DASHES[0])
    dress(ax, title)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_yticks(range(len(differences)), labels, fontsize=SMALL, parse_math=False)
    ax.set_ylim(len(differences) - 0.5, -0.5)
    ax.set_xlabel(axis, fontsize=TEXT, parse_math=False)
    put_legend(figure, [(_filled(), FILLED)])
    return figure


def _filled() -> Line2D:
    return Line2D([], [], color="0.3", marker="o", markersize=5, linewidth=1.2)
