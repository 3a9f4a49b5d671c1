"""Heat maps: layer by layer, model by model, head by head, phone by phone."""

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from analysis.figures.content import Map, with_unit
from analysis.figures.style import SEQUENTIAL, SMALL, TEXT, UNKNOWN, layer_kind, printed_figure, put_legend, rounded
from utility.text import cut

PANELS = 6  # of a figure; more maps go to further figures
CELLS_WITH_NUMBERS = 14  # along an axis, at most, for the numbers to be read in the cells
NUMBER_CELL, LABEL_CELL = 0.34, 0.13  # inches of a cell that holds a number, and of one that has a label of its own
SMALLEST, LARGEST = 2.2, 5.6  # inches of a panel
COUNTED = 30  # rows or columns, from which on numbers as labels are those of an axis
DECADES = 1000.0  # how far below the greatest value a logarithmic scale ends
CLIPPED = 99.5  # percentile of what is not "no effect" where the scale ends
Rows = tuple[Map, ...]


def map_figures(maps: Sequence[Map], title: str) -> Iterator[Figure]:
    """A figure for every six maps of one kind, side by side in one scale of colours.

    A map with a centre has it in neutral grey; darker is less, lighter is more. Cells without a value are hatched."""
    norm = _norm(maps)
    for start in range(0, len(maps), PANELS):
        page = maps[start : start + PANELS]
        pages = f" ({start // PANELS + 1} of {ceil(len(maps) / PANELS)})" if len(maps) > PANELS else ""
        yield _page(page, norm, title + pages)


def heat_map(ax: Axes, shown: Map, norm: Normalize, inches: float) -> AxesImage:
    """One matrix on axes so many inches wide, with numbers or marks in its cells where they can be read."""
    ax.patch.set(facecolor=UNKNOWN, hatch="////", edgecolor="0.6", linewidth=0)
    layered = all(layer_kind(label)[0] in ("C", "P", "T", "F", "final") for label in shown.rows)
    square = 1 / 3 < shown.values.shape[0] / shown.values.shape[1] < 3
    image = ax.imshow(
        shown.values,
        norm=norm,
        cmap=SEQUENTIAL,
        interpolation="nearest",
        origin="lower" if layered else "upper",
        aspect="equal" if square else "auto",
    )
    size = inches / max(shown.values.shape)
    _ticks(ax, "x", shown.columns, inches / len(shown.columns))
    _ticks(ax, "y", shown.rows, inches / len(shown.rows))
    ax.set_xlabel(shown.column_axis, fontsize=TEXT, parse_math=False)
    ax.set_ylabel(shown.row_axis, fontsize=TEXT, parse_math=False)
    if shown.marks is not None:
        _cells(ax, shown, norm, shown.marks, size)
    elif max(shown.values.shape) <= CELLS_WITH_NUMBERS and size >= 0.24:
        _cells(ax, shown, norm, [[_short_number(value) for value in row] for row in shown.values], size)
    return image


def _page(maps: Sequence[Map], norm: Normalize, title: str) -> Figure:
    cells = max(max(one.values.shape) for one in maps)
    wanted = cells * (NUMBER_CELL if cells <= CELLS_WITH_NUMBERS else LABEL_CELL)
    columns = min(len(maps), 3 if wanted <= 4 else 2)
    inches = float(np.clip(wanted, SMALLEST, LARGEST if columns < 3 else 3.6))
    rows = ceil(len(maps) / columns)
    figure = printed_figure(columns * (inches + 0.75) + 0.9, rows * (inches + 0.8) + 0.4)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(maps))]
    for ax, shown in zip(axes, maps):
        image = heat_map(ax, shown, norm, inches)
        if len(maps) > 1:
            ax.set_title(cut(shown.name, 40), fontsize=TEXT, loc="left", parse_math=False)
    every = np.concatenate([one.values.ravel() for one in maps])
    extend = "max" if np.nanmax(every, initial=-np.inf) > norm.vmax else "neither"
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=30, shrink=0.8, extend=extend)
    bar.set_label(with_unit(maps[0].measure, maps[0].unit), fontsize=TEXT, parse_math=False)
    bar.ax.tick_params(labelsize=SMALL)
    if isinstance(norm, TwoSlopeNorm):
        ticks = [norm.vmin, (norm.vmin + norm.vcenter) / 2, norm.vcenter, (norm.vcenter + norm.vmax) / 2, norm.vmax]
        bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    words = f"{title}: {maps[0].name}" if len(maps) == 1 else title
    figure.suptitle(cut(words, 90), fontsize=TEXT + 1, parse_math=False)
    if np.isnan(every).any():
        put_legend(figure, [(Patch(facecolor=UNKNOWN, hatch="////", edgecolor="0.6", linewidth=0), "no value")])
    return figure


def _norm(maps: Sequence[Map]) -> Normalize:
    """One scale for all: logarithmic where one is, around the centre where there is one, 0 to 1 for shares up to
    1, else from least to greatest."""
    every = np.concatenate([one.values[np.isfinite(one.values)] for one in maps])
    centres = {one.centre for one in maps} - {None}
    if not len(every):
        return Normalize(0, 1)
    low, high = float(every.min()), float(every.max())
    if any(one.logarithmic for one in maps) and high > 0:
        return LogNorm(max(high / DECADES, float(every[every > 0].min())) / 1.001, high, clip=True)
    if centres:
        centre = float(centres.pop() or 0.0)
        above = every[every > centre]
        high = float(np.percentile(above, CLIPPED)) if len(above) else centre + 1e-9
        return TwoSlopeNorm(centre, min(low, centre - 1e-9), max(high, centre + 1e-9))
    if low >= 0 and 0.9 < high <= 1:
        return Normalize(0, 1)
    return Normalize(low, max(high, low + 1e-9))


def _ticks(ax: Axes, axis: str, labels: Sequence[str], cell: float) -> None:
    """Labels of rows or columns, every second one or fewer where all would overlap."""
    counted = len(labels) > COUNTED and all(label.isdecimal() for label in labels)  # frames: round numbers of them
    steps, least = ((10, 20, 25, 50, 100, 200, 500), 0.4) if counted else ((1, 2, 3, 4, 6, 12, 24, 48), 0.105)
    step = next((step for step in steps if step * cell >= least), len(labels))
    size = float(np.clip(60 * step * cell, 6, SMALL))
    longest = max(len(label) for label in labels)
    upright = axis == "x" and longest * size / 110 > step * cell
    places, shown = list(range(0, len(labels), step)), [cut(label, 24) for label in labels[::step]]
    if axis == "x":
        ax.set_xticks(places, shown, fontsize=size, rotation=90 if upright else 0, parse_math=False)
    else:
        ax.set_yticks(places, shown, fontsize=size, parse_math=False)
    ax.tick_params(axis="both", length=2)


def _cells(ax: Axes, shown: Map, norm: Normalize, words: Sequence[Sequence[str]], size: float) -> None:
    """A short text in each cell with a value, dark on light and light on dark."""
    for (row, column), value in np.ndenumerate(shown.values):
        if np.isfinite(value):
            light = float(norm(value)) > 0.55
            ax.text(
                column,
                row,
                words[row][column],
                ha="center",
                va="center",
                fontsize=float(np.clip(20 * size, 5.5, 7)),
                color="black" if light else "white",
                parse_math=False,
            )


def _short_number(value: float) -> str:
    """Two figures: .71, 1.0, -.32."""
    text = f"{value:.2f}" if abs(value) < 0.995 else rounded(value)[:4]
    return text.replace("0.", ".", 1).replace("-.00", ".00") if abs(value) < 0.995 else text
