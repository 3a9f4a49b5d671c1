"""Paired differences with their intervals, which two curves beside each other do not show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.content import Experiment, PairedDifference
from analysis.figures.style import (
    DASHES,
    SMALL,
    TEXT,
    Style,
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
UNKNOWN_CURVE = Style("0.3", "o", True)  # of an upstream without a curve
MINUS = "\N{MINUS SIGN}"
Series = Mapping[tuple[str, str], tuple[PairedDifference, ...]]


@dataclass(frozen=True)
class Line:
    """Differences that are drawn alike, over layers."""

    words: str
    style: Style
    differences: tuple[PairedDifference, ...]


def difference_figures(experiment: Experiment, styles: Mapping[str, Style]) -> Iterator[tuple[str, Figure]]:
    """Figures of paired differences, by the end of a file's name: two upstreams layer by layer, one layer of an
    upstream (in the style of its curve) minus its others, and all other pairs in rows."""
    between, within, rest = _divided(experiment.differences)
    axis = f"difference of {experiment.axis}"
    if between:
        lines = [
            Line(f"{named(one)} {MINUS} {named(other)}", style, several)
            for ((one, other), several), style in zip(between.items(), curve_styles(list(map(str, between))).values())
        ]
        yield "differences", _lines_figure(lines, f"{experiment.name}: paired differences by layer", axis)
    if within:
        lines = [
            Line(f"{named(curve)} {label} {MINUS} other layers", styles.get(curve, UNKNOWN_CURVE), several)
            for (curve, label), several in within.items()
        ]
        yield "differences_of_layers", _lines_figure(lines, f"{experiment.name}: one layer minus each other", axis)
    if rest:
        yield "differences_of_pairs", _rows_figure(rest, f"{experiment.name}: paired differences", axis)


def _divided(differences: Sequence[PairedDifference]) -> tuple[Series, Series, tuple[PairedDifference, ...]]:
    """Differences of the same layer of two upstreams, where there are several; those within an upstream; the rest."""
    between: dict[tuple[str, str], tuple[PairedDifference, ...]] = {}
    within: dict[tuple[str, str], tuple[PairedDifference, ...]] = {}
    for one in differences:
        if one.one[0] == one.other[0]:
            within[one.one] = (*within.get(one.one, ()), one)
        elif one.one[1] == one.other[1]:
            pair = one.one[0], one.other[0]
            between[pair] = (*between.get(pair, ()), one)
    between = {pair: several for pair, several in between.items() if len(several) > 1}
    shown = {id(one) for series in (*between.values(), *within.values()) for one in series}
    return between, within, tuple(one for one in differences if id(one) not in shown)


def _lines_figure(lines: Sequence[Line], title: str, axis: str) -> Figure:
    """Difference against the other's layer, with intervals; filled where clear of 0."""
    places = layer_places(one.other[1] for line in lines for one in line.differences)
    width = float(np.clip(2.2 + 0.24 * len(places), 5.5, 9.0))
    figure = printed_figure(width, 3.2)
    ax = figure.subplots()
    entries: list[tuple[Artist, str]] = []
    for i, line in enumerate(lines):
        colour, marker = line.style.colour, line.style.marker
        shift = 0.6 * (i - (len(lines) - 1) / 2) / max(len(lines), 2)
        for one in line.differences:
            place = places[one.other[1]] + shift
            ax.vlines(place, one.low, one.high, color=colour, linewidth=1.2)
            face = colour if one.clear else "white"
            ax.plot(place, one.value, marker=marker, markersize=4.5, color=colour, markerfacecolor=face)
        clear = f"{sum(one.clear for one in line.differences)} of {len(line.differences)} layers clear of 0"
        shown = Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.2)
        entries.append((shown, f"{line.words}: {clear}"))
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
