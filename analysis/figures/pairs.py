"""One experiment against another, layer by layer: speaker against phone."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from analysis.figures.content import Experiment, Point
from analysis.figures.style import (
    DASHES,
    MANY_MARKERS,
    SMALL,
    TEXT,
    Style,
    dress,
    layer_kind,
    layer_places,
    named,
    printed_figure,
    put_legend,
    value_axis,
)

NUMBERED = 5  # layers of a curve, at most, whose labels stand beside their points
HALO = [withStroke(linewidth=2, foreground="white")]


def scatter_figure(x: Experiment, y: Experiment, styles: Mapping[str, Style]) -> Figure:
    """The score of `y` against that of `x`: a path through the layers of each upstream, some of them labelled.

    Thin lines are the intervals; chance is dashed."""
    figure = printed_figure(6.2, 4.8)
    ax = figure.subplots()
    size = 3.2 if sum(len(points) for points in y.curves.values()) > MANY_MARKERS else 4.5
    entries: list[tuple[Artist, str]] = []
    for name in [name for name in y.curves if name in x.curves]:
        across = {point.label: point for point in x.curves[name]}
        shared = [(across[point.label], point) for point in y.curves[name] if point.label in across]
        order = layer_places(point.label for _, point in shared)
        shared = sorted(shared, key=lambda pair: order[pair[1].label])
        if not shared:
            continue
        style = styles[name]
        for kind in dict.fromkeys(layer_kind(point.label)[0] for _, point in shared):
            path = [(a.score, b.score) for a, b in shared if layer_kind(b.label)[0] == kind]
            ax.plot(
                *np.array(path).T,
                color=style.colour,
                linestyle=style.line,
                linewidth=1.0,
                markersize=size,
                **style.marks,
            )
        for a, b in shared:
            if a.sure and b.sure:
                ax.vlines(a.score, b.low, b.high, color=style.colour, linewidth=0.6, alpha=0.4)
                ax.hlines(b.score, a.low, a.high, color=style.colour, linewidth=0.6, alpha=0.4)
        _labels(ax, shared, style)
        line = Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.2, markersize=5, **style.marks)
        entries.append((line, named(name)))
    for levels, draw in ((x.levels, ax.axvline), (y.levels, ax.axhline)):
        for chance in [value for name, value in levels.items() if name.startswith("chance")]:
            line = draw(chance, color="0.25", linewidth=1.0, linestyle=DASHES[0], zorder=1)
            entries = [*(entry for entry in entries if entry[1] != "chance"), (line, "chance")]
    dress(ax, f"{y.name} against {x.name}, layer by layer")
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_xlabel(f"{x.name}: {x.axis}", fontsize=TEXT, parse_math=False)
    value_axis(ax, f"{y.name}: {y.axis}", 3.6)
    put_legend(figure, entries)
    return figure


def _labels(ax: Axes, shared: Sequence[tuple[Point, Point]], style: Style) -> None:
    """Labels beside some points, of blocks where there are any: the first, the last, and some between."""
    blocks = [pair for pair in shared if layer_kind(pair[1].label)[0] == "T"] or shared
    chosen = np.unique(np.linspace(0, len(blocks) - 1, min(NUMBERED, len(blocks))).round().astype(int))
    for i in chosen:
        a, b = blocks[i]
        if np.isfinite(a.score) and np.isfinite(b.score):
            place = (a.score, b.score)
            text = ax.annotate(b.label, place, (4, 4), textcoords="offset points", fontsize=SMALL - 1, zorder=6)
            text.set(color=style.colour, parse_math=False, path_effects=HALO)
