"""Attention heads: tables of their metrics, one metric against another, and what pruning them costs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.attention.head_metrics import CATEGORIES
from analysis.figures.content import Experiment, Map, field, points_of, table, texts, with_unit
from analysis.figures.maps import heat_map, map_figures
from analysis.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    SMALL,
    TEXT,
    dress,
    graded_styles,
    layer_colours,
    printed_figure,
    put_legend,
    value_axis,
)

METRICS = {"globalness": "nats", "verticality": "nats", "diagonality": "shares of the utterance"}
SHAPES = dict(zip(CATEGORIES, ("o", "s", "^")))
SURE = 0.95
RANDOM = "random"  # what random orders of pruning are called, before a number


@dataclass(frozen=True)
class Heads:
    """The metrics of one upstream's heads by name, each [L, H], the labels of its layers, what each head is, and the
    share of resamples in which it is that (NaN: not known)."""

    layers: tuple[str, ...]
    metrics: Mapping[str, np.ndarray]
    category: np.ndarray
    certainty: np.ndarray


def heads_of(where: str, content: Any) -> Heads:
    """The heads of one upstream in a result; ValueError names what is no table of their size."""
    layers = texts(where, content, "layers")
    metrics = {name: table(where, content, name, len(layers)) for name in METRICS}
    category = np.array(field(where, content, "category", list), dtype=object)
    shape = metrics["globalness"].shape
    certainty = np.full(shape, np.nan)
    if content.get("certainty") is not None:
        certainty = table(where, content, "certainty", *shape)
    if {*(one.shape for one in metrics.values()), category.shape} != {shape} or set(category.flat) - set(CATEGORIES):
        raise ValueError(f"{where}: its tables differ in size, or a category is none of {', '.join(CATEGORIES)}")
    return Heads(layers, metrics, category, certainty)


def heads_figure(heads: Heads, title: str) -> Figure:
    """The three metrics, layer by head; a letter marks the heads of the metric's category, a small one those that are
    so in fewer than 95 % of resamples."""
    side = float(np.clip(0.25 * max(heads.category.shape), 2.3, 4.0))
    figure = printed_figure(3 * (side + 1.15), side + 0.8)
    axes = figure.subplots(1, len(METRICS))
    numbers = tuple(str(head) for head in range(heads.category.shape[1]))
    for ax, (name, unit), category in zip(axes, METRICS.items(), CATEGORIES):
        values = heads.metrics[name]
        marks = _marks(heads, category)
        shown = Map(name, values, heads.layers, numbers, "layer", "head (index)", name, unit, marks=marks)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        image = heat_map(ax, shown, Normalize(low, max(high, low + 1e-9)), side)
        ax.set_title(f"{name} ({category[0].upper()}: {category} heads)", fontsize=TEXT, loc="left")
        bar = figure.colorbar(image, ax=ax, pad=0.02, shrink=0.8)
        bar.set_label(with_unit(name, unit), fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL - 1)
    small = ", small letter: in fewer than 95 % of resamples" if (heads.certainty < SURE).any() else ""
    figure.suptitle(f"{title}{small}", fontsize=TEXT + 1, parse_math=False)
    return figure


def _marks(heads: Heads, category: str) -> tuple[tuple[str, ...], ...]:
    """The letter of a category in the cells of its heads."""
    unsure = heads.certainty < SURE
    letters = np.where(unsure, category[0], category[0].upper())
    return tuple(map(tuple, np.where(heads.category == category, letters, "").tolist()))


def heads_scatter(heads: Heads, title: str) -> Figure:
    """Each metric against each other, a mark for each head: its layer by shade, its category by shape."""
    figure = printed_figure(9.6, 3.2)
    axes = figure.subplots(1, 3)
    shades = graded_styles(heads.layers)
    colours = np.array([shades[label].colour for label in heads.layers])
    for ax, (x, y) in zip(axes, combinations(METRICS, 2)):
        for category, shape in SHAPES.items():
            rows, columns = np.nonzero(heads.category == category)
            ax.scatter(
                heads.metrics[x][rows, columns],
                heads.metrics[y][rows, columns],
                c=colours[rows],
                marker=shape,
                s=24,
                edgecolors="0.2",
                linewidths=0.4,
            )
        dress(ax, f"{y} against {x}")
        ax.grid(axis="x", color="0.9", linewidth=0.6)
        ax.set_xlabel(with_unit(x, METRICS[x]), fontsize=TEXT)
        value_axis(ax, with_unit(y, METRICS[y]), 2.4)
    layer_colours(figure, list(axes), heads.layers, shades)
    figure.suptitle(title, fontsize=TEXT + 1, parse_math=False)
    put_legend(figure, [(_mark(shape), f"{category} head") for category, shape in SHAPES.items()])
    return figure


def pruning_figures(experiment: Experiment) -> Iterator[tuple[str, Figure]]:
    """For each upstream: figures against heads pruned, and against the span of attention, by the end of a file's name.

    A line for each order of pruning; random orders are one dashed line, their mean, with their range."""
    for curve, content in field(experiment.name, experiment.raw, "pruning", Mapping, {}).items():
        where = f"{experiment.name}: pruning of {curve}"
        units = field(where, content, "figures", Mapping, {})
        for key, axis in (("heads", "heads pruned"), ("span", "radius of attention (frames)")):
            if orders := field(where, content, key, list, []):
                measured = {name: str(units.get(name, "")) for name in field(where, orders[0], "figures", Mapping)}
                yield f"{key}_{curve}", _pruning_figure(where, orders, measured, axis, f"{experiment.name}: {curve}")


def block_figures(experiment: Experiment) -> Iterator[tuple[str, Figure]]:
    """For each upstream: the score of every head's map, layer by head, by the end of a file's name."""
    for curve, listed in field(experiment.name, experiment.raw, "block_heads", Mapping, {}).items():
        scores: dict[tuple[int, int], float] = {}
        for point in points_of(f"{experiment.name}: heads of {curve}", listed):
            if match := re.fullmatch(r"T(\d+) head (\d+)", point.label):
                scores[int(match[1]), int(match[2])] = point.score
        if not scores:
            continue
        layers, heads = (sorted({place[axis] for place in scores}) for axis in (0, 1))
        values = np.array([[scores.get((layer, head), np.nan) for head in heads] for layer in layers])
        shown = Map(
            name=f"heads of {curve}",
            values=values,
            rows=tuple(f"T{layer}" for layer in layers),
            columns=tuple(map(str, heads)),
            row_axis="layer",
            column_axis="head (index)",
            measure=experiment.measure,
            unit=experiment.unit,
        )
        for figure in map_figures([shown], experiment.name):
            yield f"block_heads_{curve}", figure


def _pruning_figure(where: str, orders: Sequence[Any], units: Mapping[str, str], axis: str, title: str) -> Figure:
    figure = printed_figure(min(0.9 + 3.6 * len(units), 11), 3.4)
    axes = figure.subplots(1, len(units), squeeze=False)[0]
    named, random = _orders(where, orders, units)
    steps = field(where, orders[0], "steps", list)
    places = list(range(len(steps))) if None in steps else [float(step) for step in steps]
    entries: list[tuple[Artist, str]] = []
    for ax, (name, unit) in zip(axes, units.items()):
        entries = []
        for i, (order, figures) in enumerate(named.items()):
            marks = {"marker": MARKERS[i], "markersize": 4, "markerfacecolor": COLOURS[i] if i % 2 == 0 else "white"}
            (line,) = ax.plot(places, figures[name], color=COLOURS[i], linewidth=1.4, **marks)
            entries.append((line, order))
        if random:
            every = np.array([figures[name] for figures in random])
            (line,) = ax.plot(places, every.mean(0), color="0.3", linewidth=1.2, linestyle=DASHES[0])
            ax.fill_between(places, every.min(0), every.max(0), color="0.3", alpha=0.15, linewidth=0)
            entries.append((line, _random_words(len(random))))
        dress(ax, name)
        _steps(ax, steps, places)
        ax.set_xlabel(axis, fontsize=TEXT)
        value_axis(ax, with_unit(name, unit), 2.4)
    figure.suptitle(title, fontsize=TEXT + 1, parse_math=False)
    if len(entries) > 1:
        put_legend(figure, entries)
    return figure


def _random_words(orders: int) -> str:
    return f"random: mean and range of {orders} orders" if orders > 1 else "random: one order"


def _orders(
    where: str, orders: Sequence[Any], units: Mapping[str, str]
) -> tuple[dict[str, dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """The figures of the orders with a name, and of the random ones, each [steps]."""
    steps = field(where, orders[0], "steps", list)
    named: dict[str, dict[str, np.ndarray]] = {}
    random = []
    for order in orders:
        name, figures = field(where, order, "name", str), field(where, order, "figures", Mapping)
        rows = {key: table(where, {key: [figures.get(key)]}, key, 1, len(steps))[0] for key in units}
        if order["steps"] != steps:
            raise ValueError(f"{where}: the order {name} has other steps than the first one")
        if name.startswith(RANDOM):
            random.append(rows)
        else:
            named[name] = rows
    return named, random


def _steps(ax: Axes, steps: Sequence[float | None], places: Sequence[float]) -> None:
    """Ticks at the steps; null is attention without a limit."""
    shown = slice(None, None, -(-len(steps) // 9))
    labels = ["all" if step is None else f"{step:g}" for step in steps]
    ax.set_xticks(list(places)[shown], labels[shown])


def _mark(shape: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=shape, markerfacecolor="0.7", markeredgecolor="0.2", markersize=5)
