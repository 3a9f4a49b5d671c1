"""The figure of a curve: test scores over hours of labels, over another key's numbers, or by category."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from downstream.crossings import in_order, place
from utility.plot import new_figure

MARKERS, STYLES = "osD^vPX*", ("-", "--", "-.", ":")  # colours are never the only sign
WIDE = 30  # numbers whose largest is so many times the smallest are on a logarithmic axis
APART = 0.06  # ticks that are nearer, as a share of the axis, are not all written


def curve_figure(content: Mapping[str, Any]) -> Figure:
    """A line for each upstream of a curve.json, with the intervals of its scores where all have one, else with their
    deviations over seeds or folds."""
    metric, axis = content["metric"], content["axis"]
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    bars = _bars(content["curves"])
    for number, curve in enumerate(content["curves"]):
        order = in_order(axis, curve["points"])
        points = [curve["points"][i] for i in order]
        axes.errorbar(
            [place(axis, point, i) for point, i in zip(points, order)],
            [point["test_mean"] for point in points],
            yerr=np.transpose([_bar(point, bars) for point in points]) if bars else None,
            label=curve["upstream"],
            color=f"C{number % 10}",
            marker=MARKERS[number % len(MARKERS)],
            linestyle=STYLES[number % len(STYLES)],
            capsize=3,
            linewidth=1.4,
            markersize=5,
        )
    _dress_axis(axes, content)
    axes.set_ylabel(f"test {metric['name']}{unit}, {metric['better']} is better")
    axes.grid(alpha=0.3)
    axes.set_title(f"{content['task']}: {_about(content, bars)}", fontsize=10, parse_math=False)
    legend = figure.legend(fontsize=8, loc="outside lower center", ncols=min(4, len(content["curves"])))
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _bars(curves: Sequence[Mapping[str, Any]]) -> str:
    """What error bars show: "interval", "deviation", or nothing."""
    points = [point for curve in curves for point in curve["points"]]
    if all(_interval(point) is not None for point in points):
        return "interval"
    return "deviation" if all(point["test_deviation"] is not None for point in points) else ""


def _interval(point: Mapping[str, Any]) -> tuple[float, float] | None:
    """The lower and upper end of a point's interval, where it has one."""
    interval = point["interval"]
    return None if interval is None else (interval["low"], interval["high"])


def _bar(point: Mapping[str, Any], bars: str) -> tuple[float, float]:
    """How far an error bar reaches down and up."""
    if bars == "interval" and (interval := _interval(point)) is not None:
        return max(point["test_mean"] - interval[0], 0.0), max(interval[1] - point["test_mean"], 0.0)
    spread = point["test_deviation"] if bars else 0.0
    return spread, spread


def _about(content: Mapping[str, Any], bars: str) -> str:
    """How many runs a point is of, and what its bar is."""
    seeds = len(content["seeds"])
    runs = f"mean of {seeds} seeds" if seeds > 1 else "1 seed"
    shown = {"interval": ", 95 % intervals", "deviation": f", deviation over {content['deviation_over']}"}
    return runs + shown.get(bars, "")


def _dress_axis(axes: Axes, content: Mapping[str, Any]) -> None:
    axis, points = content["axis"], content["curves"][0]["points"]
    if axis == "category":
        names = [point["name"].partition("=")[2] for point in points]
        axes.set_xticks(range(len(points)), names, rotation=0 if sum(map(len, names)) < 60 else 90, parse_math=False)
        axes.set_xlabel(content["key"])
        return
    places = sorted(place(axis, point, i) for i, point in enumerate(points))
    logarithmic = axis == "hours" or (places[0] > 0 and places[-1] >= WIDE * places[0])
    if logarithmic:
        axes.set_xscale("log")
    shown = _apart(np.log(places) if logarithmic else np.array(places))
    axes.xaxis.set_major_locator(FixedLocator([places[i] for i in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.set_xlabel("hours of labelled speech" if axis == "hours" else content["key"])


def _apart(places: np.ndarray) -> list[int]:
    """Those of the sorted places that have room for a number, the largest among them."""
    span, shown = places[-1] - places[0], [len(places) - 1]
    for i in reversed(range(len(places) - 1)):
        if places[shown[-1]] - places[i] >= APART * span:
            shown.append(i)
    return shown[::-1]
