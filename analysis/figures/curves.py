"""Curves over layers and over training steps, with their intervals, controls and best layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.figures.content import Experiment, Point
from analysis.figures.style import (
    DASHES,
    INPUTS,
    MANY_MARKERS,
    TEXT,
    Style,
    dress,
    graded_styles,
    layer_axis,
    layer_colours,
    layer_kind,
    layer_places,
    named,
    printed_figure,
    put_legend,
    rounded,
    step_names,
    value_axis,
)

Entry = tuple[Artist, str]
CEILING = (0, (10, 3))  # long dashes; chance has short ones
FAR = 3.0
OVER_TRIALS = "± deviation over trials"


def layers_figure(experiment: Experiment, styles: Mapping[str, Style]) -> Figure:
    """Score against layer, a line for each upstream with its band; the best layer of each is ringed.

    An upstream of one layer, chance and ceiling are dashed lines across."""
    curves, controls = _divided(experiment)
    places = layer_places(point.label for points in curves.values() for point in points)
    width = float(np.clip(2.2 + 0.24 * len(places), 5.5, 9.0))
    figure = printed_figure(width, 3.9)
    ax = figure.subplots()
    count = sum(len(points) for points in curves.values())
    size = 3.0 if count > MANY_MARKERS else 4.5
    entries = [_layers_line(ax, n, points, places, styles[n], size, experiment) for n, points in curves.items()]
    entries += _across(ax, experiment, controls, styles)
    entries += _band_entry([*curves.values(), *controls.values()])
    layer_axis(ax, places, width - 1.0)
    value_axis(ax, experiment.axis, 2.6)
    dress(ax, f"{experiment.name}: {experiment.measure}", experiment.data)
    put_legend(figure, entries)
    return figure


def step_runs(experiment: Experiment) -> dict[str, dict[int, tuple[Point, ...]]]:
    """Curves that are called RUN@STEP, by run and step, of runs with two steps or more."""
    runs = step_names(experiment.curves)
    return {run: {step: experiment.curves[name] for step, name in steps.items()} for run, steps in runs.items()}


def steps_figure(experiment: Experiment, styles: Mapping[str, Style]) -> Figure:
    """Score against training step, a line for each layer, a panel for each run; controls are dashed lines across."""
    runs = step_runs(experiment)
    controls = _divided(experiment)[1]
    labels = list(layer_places(p.label for steps in runs.values() for points in steps.values() for p in points))
    graded = graded_styles(labels)
    figure = printed_figure(min(2.0 + 4.0 * len(runs), 10), 3.4)
    axes = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (run, steps) in zip(axes, runs.items()):
        for label in labels:
            _steps_line(ax, label, steps, graded[label])
        across = _across(ax, experiment, controls, styles)
        _step_axis(ax, sorted({step for steps in runs.values() for step in steps}))
        dress(ax, run if len(runs) > 1 else f"{experiment.name}: {run} over training", experiment.data)
    value_axis(axes[0], experiment.axis, 2.6)
    if len(runs) > 1:
        figure.suptitle(f"{experiment.name}: {experiment.measure}", fontsize=TEXT + 1, parse_math=False)
    layer_colours(figure, list(axes), labels, graded)
    put_legend(figure, across + _band_entry([points for steps in runs.values() for points in steps.values()]))
    return figure


def best_point(points: Sequence[Point], lower_is_better: bool) -> Point | None:
    """The layer with the best score, the first of equal ones; None where no score is known. An input is no layer."""
    layers = [point for point in points if point.label not in INPUTS] or points
    known = [point for point in layers if np.isfinite(point.score)]
    return min(known, key=lambda p: p.score if lower_is_better else -p.score) if known else None


def is_control(points: Sequence[Point], longest: int) -> bool:
    """Whether a curve has no layers: features, or one's own module, beside upstreams that have some."""
    return len(points) == 1 and longest > 1 and layer_kind(points[0].label)[0] not in ("C", "P", "T")


def _divided(experiment: Experiment) -> tuple[dict[str, tuple[Point, ...]], dict[str, tuple[Point, ...]]]:
    """Curves over layers, and those of one layer that stand as a line across."""
    longest = max((len(points) for points in experiment.curves.values()), default=0)
    across = {name for name, points in experiment.curves.items() if is_control(points, longest)}
    curves = {name: points for name, points in experiment.curves.items() if name not in across}
    return curves, {name: experiment.curves[name] for name in experiment.curves if name in across}


def _layers_line(
    ax: Axes,
    name: str,
    points: Sequence[Point],
    places: Mapping[str, float],
    style: Style,
    size: float,
    experiment: Experiment,
) -> Entry:
    """The line of one upstream, broken between kinds of layers."""
    ordered = sorted(points, key=lambda point: places[point.label])
    for kind in dict.fromkeys(layer_kind(point.label)[0] for point in ordered):
        part = [point for point in ordered if layer_kind(point.label)[0] == kind]
        x = [places[point.label] for point in part]
        ax.plot(
            x,
            [p.score for p in part],
            color=style.colour,
            linestyle=style.line,
            linewidth=1.4,
            markersize=size,
            **style.marks,
        )
        _band(ax, x, part, style)
    line = Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.4, markersize=size + 1, **style.marks)
    best = best_point(points, experiment.lower_is_better)
    if best is None:
        return line, f"{named(name)}: no score"
    if len(points) == 1:
        return line, f"{named(name)} {best.label}: {_figures(best)}"
    ring = {"marker": "o", "markersize": size + 6, "markerfacecolor": "none", "markeredgecolor": style.colour}
    ax.plot([places[best.label]], [best.score], linestyle="none", markeredgewidth=1.6, zorder=5, **ring)
    return line, f"{named(name)}, best {best.label}: {_figures(best)}"


def _steps_line(ax: Axes, label: str, steps: Mapping[int, Sequence[Point]], style: Style) -> None:
    known = {step: point for step, points in steps.items() for point in points if point.label == label}
    x, points = list(known), list(known.values())
    ax.plot(x, [p.score for p in points], color=style.colour, linewidth=1.4, marker="o", markersize=3.5)
    _band(ax, x, points, style)


def _step_axis(ax: Axes, steps: Sequence[int]) -> None:
    if min(steps) > 0 and max(steps) >= 20 * min(steps):
        ax.set_xscale("log")
        ax.minorticks_off()
    shown = steps if len(steps) <= 6 else [steps[i] for i in np.linspace(0, len(steps) - 1, 5).astype(int)]
    ax.set_xticks(shown, [f"{step:,}" for step in shown])
    ax.set_xlabel("training step (updates)", fontsize=TEXT)


def _band(ax: Axes, x: Sequence[float], points: Sequence[Point], style: Style) -> None:
    low, high = np.array([point.band for point in points]).reshape(-1, 2).T
    if len(points) > 1:
        ax.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0)
    else:
        ax.vlines(x, low, high, color=style.colour, linewidth=3, alpha=0.35)
    for place, point in zip(x, points):
        if point.sampled and point.sure:
            ax.vlines(place, point.low, point.high, color=style.colour, linewidth=0.8, alpha=0.8)


def _across(
    ax: Axes, experiment: Experiment, controls: Mapping[str, Sequence[Point]], styles: Mapping[str, Style]
) -> list[Entry]:
    """Dashed lines: chance and ceiling in grey, upstreams of one layer in their colour."""
    ceiling = {name: value for name, value in experiment.levels.items() if name.startswith("ceiling")}
    far = [name for name, value in ceiling.items() if _is_far(value, experiment)]
    drawn: list[tuple[str, float, object, Any]] = [
        (f"{name}: {rounded(value)}", value, "0.25", CEILING if name in ceiling else DASHES[0])
        for name, value in experiment.levels.items()
        if name not in far
    ]
    for i, (name, (point,)) in enumerate(controls.items(), 1):
        if np.isfinite(point.score):
            ax.axhspan(*point.band, color=styles[name].colour, alpha=0.1, linewidth=0)
            dashes = DASHES[i % len(DASHES)]
            drawn.append((f"{named(name)}: {_figures(point)}", point.score, styles[name].colour, dashes))
    entries: list[Entry] = []
    for words, value, colour, dashes in drawn:
        line = ax.axhline(value, color=colour, linewidth=1.2, linestyle=dashes, zorder=1.5)
        entries.append((line, words))
    for name in far:
        words = f"{name}: {rounded(ceiling[name])}, off the axis"
        entries.append((Line2D([], [], color="0.25", linewidth=1.2, linestyle=CEILING), words))
    return entries


def _is_far(ceiling: float, experiment: Experiment) -> bool:
    """Whether a ceiling would press all curves flat: it lies farther from them than FAR times what they span."""
    chance = [value for name, value in experiment.levels.items() if not name.startswith("ceiling")]
    scores = [point.score for points in experiment.curves.values() for point in points if np.isfinite(point.score)]
    known = [*chance, *scores]
    if not known or max(known) == min(known):
        return False
    return max(ceiling - max(known), min(known) - ceiling) > FAR * (max(known) - min(known))


def _band_entry(curves: Sequence[Sequence[Point]]) -> list[Entry]:
    """What bands are, in words."""
    points = [point for points in curves for point in points if np.isfinite(point.band).all()]
    if not points:
        return []
    kinds = {"± deviation over samples" if p.sampled else "95 % interval" if p.sure else OVER_TRIALS for p in points}
    entries: list[Entry] = [(Patch(facecolor="0.8", linewidth=0), f"band: {', or '.join(sorted(kinds))}")]
    if any(point.sampled and point.sure for point in points):
        entries.append((Line2D([], [], color="0.3", linewidth=0.8), "thin bars: 95 % interval, mean over samples"))
    return entries


def _figures(point: Point) -> str:
    """A score with its deviation over samples and its interval, as a table would print it."""
    text = rounded(point.score)
    text += f" ± {rounded(point.deviation)}" if point.sampled else ""
    return f"{text} [{rounded(point.low)}, {rounded(point.high)}]" if point.sure else text
