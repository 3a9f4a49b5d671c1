"""Scores that are of no layers, in rows: each with its interval and the chance beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.content import Experiment, Point, field, number
from analysis.figures.style import SMALL, TEXT, Style, dress, named, printed_figure, put_legend, rounded

CHANCE, CEILING = "0.45", (0, (10, 3))
OTHER = 0.45  # how strong rows are drawn that do not count for themselves


def rows_figure(experiment: Experiment, styles: Mapping[str, Style]) -> Figure:
    """A row for each point of every curve, from the top down; of several points of a curve the last counts, and is
    filled. Behind the name of a row stand its score, how many codes are in use, and their perplexity."""
    rows = [(curve, place, point) for curve, points in experiment.curves.items() for place, point in enumerate(points)]
    figure = printed_figure(8.0, 1.4 + 0.28 * len(rows))
    ax = figure.subplots()
    labels = []
    for height, (curve, place, point) in enumerate(rows):
        counts = place == len(experiment.curves[curve]) - 1
        style, strength = styles[curve], 1.0 if counts else OTHER
        ax.hlines(height, point.low, point.high, color=style.colour, linewidth=1.6, alpha=strength)
        face = style.colour if counts else "white"
        ax.plot(point.score, height, style.marker, color=style.colour, markersize=5.5, markerfacecolor=face)
        detail = _detail(experiment, curve, place)
        ax.plot(number(curve, detail, "floor"), height, "|", color=CHANCE, markersize=9, markeredgewidth=1.4)
        labels.append(_words(curve, point, detail))
    ax.axvline(1.0, color="0.25", linewidth=1, linestyle=CEILING)
    dress(ax, f"{experiment.name}: what codes tell of phones", experiment.data)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_yticks(range(len(rows)), labels, fontsize=SMALL, parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    lowest = min((point.low for *_, point in rows if point.sure), default=0.0)
    ax.set_xlim(min(-0.02, lowest), 1.02)
    ax.set_xlabel(experiment.axis, fontsize=TEXT, parse_math=False)
    put_legend(figure, _entries(any(point.sure for *_, point in rows)))
    return figure


def _entries(sure: bool) -> list[tuple[Artist, str]]:
    interval = " and its 95 % interval" if sure else ""
    line = "-" if sure else "none"
    return [
        (Line2D([], [], color="0.3", marker="o", linestyle=line, markersize=5), f"score{interval}"),
        (Line2D([], [], color=CHANCE, marker="|", linestyle="none", markersize=9), "chance: phones in random order"),
        (Line2D([], [], color="0.25", linestyle=CEILING, linewidth=1), "ceiling: codes that are the phones"),
    ]


def _detail(experiment: Experiment, curve: str, place: int) -> Mapping[str, Any]:
    where = f"{experiment.name}: {curve}"
    points = field(where, field(where, experiment.raw, "upstreams", Mapping), curve, list)
    return field(where, points[place], "detail", Mapping, {})


def _words(curve: str, point: Point, detail: Mapping[str, Any]) -> str:
    text = f"{named(curve)}, {point.label}: {rounded(point.score)}"
    used, size, perplexity = (number(curve, detail, key) for key in ("codes_in_use", "codes", "code_perplexity"))
    if not np.isfinite([used, size, perplexity]).all():
        return text
    return f"{text}\n{used:.0f} of {size:.0f} codes in use, perplexity {perplexity:.0f}"
