"""How figures of layers look: colours, markers, the axis of layers, the legend.

Colours are those of Okabe and Ito, which any colour vision tells apart; in grey, markers tell curves apart."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from utility.plot import new_figure
from utility.text import cut

PRINTED_DPI = 200
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
# Of lines without layers, and of controls.
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
SEQUENTIAL = "cividis"  # dark blue over grey to yellow: for any colour vision, and lighter is more in grey too
UNKNOWN = "0.82"  # grey, hatched, of cells without a value
TEXT, SMALL = 9.0, 8.0  # points
NAME = 32  # characters of a name in a legend
LETTER, HANDLE = 0.061, 0.65  # inches of a letter of a legend, and of what stands before its text
MANY_MARKERS = 60  # points in a figure, from which on markers are small
GAP = 0.8  # between kinds of layers, in layers
INPUTS = ("F", "W")  # features and samples, beside the layers of an upstream
KINDS = (*INPUTS, "C", "P", "T", "final", "H", "O")


@dataclass(frozen=True)
class Style:
    """How a curve is drawn."""

    colour: Any
    marker: str
    filled: bool
    line: Any = "-"

    @property
    def marks(self) -> dict[str, Any]:
        """Of the markers, for Axes.plot."""
        face = self.colour if self.filled else "white"
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour, "markeredgewidth": 1.0}


def curve_styles(names: Sequence[str], controls: Collection[str] = ()) -> dict[str, Style]:
    """A style for each name, by its place: the same curve looks the same in every figure of a result.

    The steps of one run, RUN@STEP, share a marker and go from dark to light. Controls are dashed."""
    runs = step_names(names)
    groups = list(dict.fromkeys(run_of(name, runs) for name in names))
    styles: dict[str, Style] = {}
    colours = iter(range(len(names)))
    for i, group in enumerate(groups):
        marker, filled = MARKERS[i % len(MARKERS)], i % 2 == 0
        if group in runs:
            members = list(runs[group].values())
            styles |= {n: Style(s.colour, marker, filled) for n, s in graded_styles(members).items()}
        else:
            line = DASHES[0] if group in controls else "-"
            styles[group] = Style(COLOURS[next(colours) % len(COLOURS)], marker, filled, line)
    return styles


def step_names(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Names RUN@STEP by run and step, ascending, of runs with two steps or more."""
    runs: dict[str, dict[int, str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.+)@(\d+)", name):
            runs.setdefault(match[1], {})[int(match[2])] = name
    return {run: dict(sorted(steps.items())) for run, steps in runs.items() if len(steps) > 1}


def run_of(name: str, runs: Mapping[str, Mapping[int, str]]) -> str:
    """The run that a curve is a step of, or else its own name."""
    run = name.rpartition("@")[0]
    return run if run in runs else name


def graded_styles(names: Sequence[str]) -> dict[str, Style]:
    """Styles from dark to light for what has an order, as layers have."""
    colours: Colormap = matplotlib.colormaps[SEQUENTIAL]
    places = np.linspace(0, 0.9, max(len(names), 2))
    return {n: Style(colours(p), MARKERS[i % len(MARKERS)], i % 2 == 0) for i, (n, p) in enumerate(zip(names, places))}


def printed_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, of a resolution for print."""
    figure = new_figure(width, height)
    figure.set_dpi(PRINTED_DPI)
    return figure


def layer_kind(label: str) -> tuple[str, int]:
    """What kind of layer a label names, and which number: T3 is (T, 3)."""
    match = re.fullmatch(r"([A-Z])(\d+)", label)
    return (match[1], int(match[2])) if match else (label, 0)


def layer_places(labels: Iterable[str]) -> dict[str, float]:
    """Where each layer stands on the x axis: convolutions left of blocks, a gap between kinds; others come last."""
    known = list(dict.fromkeys(labels))
    kinds = [*KINDS, *dict.fromkeys(layer_kind(label)[0] for label in known)]
    ordered = sorted(known, key=lambda label: (kinds.index(layer_kind(label)[0]), layer_kind(label)[1]))
    places: dict[str, float] = {}
    place, last = 0.0, None
    for label in ordered:
        kind, count = layer_kind(label)
        if last is not None:
            place += (count - last[1]) if kind == last[0] else 1 + GAP
        places[label], last = place, (kind, count)
    return places


def layer_axis(ax: Axes, places: Mapping[str, float], inches: float) -> None:
    """Ticks of the layers on an axis so many inches wide, every second one or fewer where all would overlap."""
    span = max(places.values(), default=0.0) + 1.2
    step = next(step for step in (1, 2, 3, 4, 6, 12, 24, 10**6) if step * inches / span > 0.24)
    kinds = [layer_kind(label) for label in places]
    first = {kind: min(count for other, count in kinds if other == kind) for kind, _ in kinds}
    shown = [label for label, (kind, count) in zip(places, kinds) if (count - first[kind]) % step == 0]
    ax.set_xticks([places[label] for label in shown], shown, fontsize=SMALL, parse_math=False)
    ax.set_xticks([place for label, place in places.items() if label not in shown], minor=True)
    ax.set_xlim(-0.6, span - 0.6)
    ax.set_xlabel("layer", fontsize=TEXT)


def layer_colours(figure: Figure, axes: Sequence[Axes], labels: Sequence[str], styles: Mapping[str, Style]) -> None:
    """A bar beside the axes that says which layer has which colour."""
    colours = ListedColormap([styles[label].colour for label in labels])
    shades = ScalarMappable(BoundaryNorm(np.arange(len(labels) + 1) - 0.5, len(labels)), colours)
    bar = figure.colorbar(shades, ax=axes, label="layer", aspect=30, pad=0.02)
    step = -(-len(labels) // 14)
    bar.set_ticks(range(0, len(labels), step), labels=labels[::step])
    bar.ax.tick_params(labelsize=SMALL, length=0, which="both")


def dress(ax: Axes, title: str, note: str = "") -> None:
    """Title, note under it, grid, and letters that can be read in print."""
    ax.set_title(cut(title, 90), loc="left", fontsize=TEXT + 1, parse_math=False, pad=16 if note else 6)
    if note:
        ax.annotate(
            cut(note, 110), (0, 1), (0, 4), "axes fraction", "offset points", fontsize=SMALL - 1, color="0.35"
        ).set_parse_math(False)
    ax.tick_params(labelsize=SMALL)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def put_legend(figure: Figure, entries: Sequence[tuple[Artist, str]]) -> None:
    """A legend under the figure, which grows by its height. Names may begin with `_` or hold `$`."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    longest = max(len(text) for _, text in entries)
    columns = min(max(1, int((width - 0.3) / (HANDLE + LETTER * longest))), 4, len(entries))
    words = [wrap(text, int((width - 0.3 - HANDLE) / LETTER)) or [text] for _, text in entries]
    legend = figure.legend(
        [artist for artist, _ in entries],
        ["\n".join(lines) for lines in words],
        loc="outside lower center",
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        handlelength=2.6,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.set_size_inches(width, height + 0.2 * -(-sum(map(len, words)) // columns))


def value_axis(ax: Axes, words: str, inches: float) -> None:
    """The label of the y axis, on as many lines as it needs beside axes so many inches high.

    Ticks say whole values: a number to be added to them would stand above the axes, where the note is."""
    formatter = ax.yaxis.get_major_formatter()
    if isinstance(formatter, ScalarFormatter):
        formatter.set_useOffset(False)
    ax.set_ylabel("\n".join(wrap(words, max(12, int(inches / (LETTER * 1.2))))), fontsize=TEXT, parse_math=False)


def rounded(value: float) -> str:
    """A score as a legend or a cell shows it: three figures."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def named(name: str) -> str:
    """A name as the legend shows it."""
    return cut(name, NAME)
