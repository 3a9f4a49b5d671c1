"""Figures of attention: what each head of a layer looks at, over time."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from mockingjay.figures.phones import Phones, crowded, draw_boundaries, label_phones, laid_out, reserve_room
from utility.plot import Clock, new_figure

PANEL, LARGEST = 3.0, 4.5  # inches of a panel, and where phones need more room for their labels
PHONE = 0.1  # inches of a phone


def attention_figure(maps: np.ndarray, clock: Clock, title: str, phones: Phones | None = None) -> Figure:
    """Attention weights [heads, T', T'] of one layer, a panel per head and one of their mean.

    `clock` is that of the stacked frames. A row is a query, and sums to 1. Boundaries of phones cross on both axes;
    labels stand above the panels on top and right of the last ones."""
    heads = np.asarray(maps, np.float32)
    panels = {f"head {index}": head for index, head in enumerate(heads)} | {"mean of heads": heads.mean(axis=0)}
    columns = math.ceil(math.sqrt(1.3 * len(panels)))
    rows = -(-len(panels) // columns)
    left, right = clock.edges(heads.shape[1])[[0, -1]]
    shown = None if phones is None else phones.between(left, right)
    side = PANEL if shown is None else min(max(PANEL, PHONE * len(shown.labels)), LARGEST)
    figure = new_figure(side * columns + 1, side * rows + 0.6)
    figure.set_layout_engine("compressed")  # panels are square
    norm = _attention_norm(heads)
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(len(panels))]
    for index, (ax, (name, weights)) in enumerate(zip(axes, panels.items())):
        image = ax.imshow(weights, norm=norm, cmap="magma", interpolation="nearest", extent=(left, right, right, left))
        on_top = shown is not None and index < columns
        ax.set_title(name, fontsize=10, pad=16 if on_top else 6)
        below, leftmost = index + columns >= len(panels), index % columns == 0
        ax.tick_params(labelbottom=below, labelleft=leftmost)
        ax.set_xlabel(f"key: time ({clock.unit})" if below else "")
        ax.set_ylabel(f"query: time ({clock.unit})" if leftmost else "")
    label = "attention weight (log; a row sums to 1)"
    figure.colorbar(image, ax=axes, label=label, extend="both", pad=0.01, shrink=0.7, aspect=30)
    figure.suptitle(title, fontsize=11, parse_math=False)
    if shown is not None:
        _mark(figure, axes, columns, shown)
    return figure


def _mark(figure: Figure, axes: list[Axes], columns: int, phones: Phones) -> None:
    """Boundaries on both axes of every panel, labels on the outer edges of a grid of so many columns."""
    last = [ax for index, ax in enumerate(axes) if index % columns == columns - 1 or index == len(axes) - 1]
    above = [label_phones(ax, phones, "x") for ax in axes[:columns]]
    beside = [label_phones(ax, phones, "y") for ax in last]
    with laid_out(figure) as renderer:
        for ax in axes:
            draw_boundaries(ax, phones, "x")
            draw_boundaries(ax, phones, "y")
        for labels, direction in [*((row, "x") for row in above), *((column, "y") for column in beside)]:
            without_room = crowded(labels, direction, renderer)
            for text in without_room:
                text.remove()
            reserve_room([text for text in labels if text not in without_room], direction)


def _attention_norm(weights: np.ndarray) -> LogNorm:
    """From the 1st percentile to the 99.9th, no more than four decades, no less than a factor of 2."""
    low, high = np.percentile(weights, (1, 99.9))
    return LogNorm(vmin=max(min(low, high / 2), high / 1e4), vmax=high, clip=True)
