"""Phones on a figure: boundaries through its panels, labels on its outer edges."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase, RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from utility.labels.alignment import Alignment
from utility.text import cut

TEXT = 7.0  # points of a label
DISTANCE = 5.0  # points from a panel to its labels
ROW = 9.0  # points from a row of labels to the one above it
SPARSE = 6.0  # points from boundary to boundary, on average, from which on lines across a panel let it be seen
MARK = 4.0  # points of a line outside the panel, where boundaries are nearer
GAP = 1.5  # points between two labels, at least
LONGEST = 12  # characters of a label
ACROSS = (("white", 0.7, "-"), ("black", 0.4, (0, (2.5, 2.5))))  # one over the other, so that they show on any colour
OUTSIDE = (("black", 0.5, "-"),)


@dataclass(frozen=True)
class Phones:
    """The phones of an utterance: where each begins and ends [S] in seconds, and its label."""

    starts: np.ndarray
    ends: np.ndarray
    labels: Sequence[str]

    @classmethod
    def of(cls, alignment: Alignment, name: str, audio_end: float) -> "Phones":
        """Those of utterance `name`, whose audio ends at `audio_end` seconds; ValueError where the alignment lacks it,
        or is one of another recording."""
        segments = alignment.fitting_segments(name, audio_end)
        return cls(segments["start"], segments["end"], [alignment.labels[label] for label in segments["label"]])

    def between(self, begin: float, end: float) -> "Phones":
        """What of them lies between two times; those at the ends are cut."""
        there = np.flatnonzero((self.ends > begin) & (self.starts < end))
        starts, ends = (times[there].clip(begin, end) for times in (self.starts, self.ends))
        return Phones(starts, ends, [self.labels[i] for i in there.tolist()])

    @property
    def boundaries(self) -> np.ndarray:
        """Where one begins or ends, ascending, to the microsecond."""
        return np.unique(np.round(np.concatenate([self.starts, self.ends]), 6))

    @property
    def middles(self) -> np.ndarray:
        """Where labels stand [S]."""
        return (self.starts + self.ends) / 2


def mark_phones(figure: Figure, axes: Sequence[Axes], phones: Phones | None) -> None:
    """Boundaries through panels of one time axis, and labels above the first, whose title makes room.

    A label that would overlap the one before it stands a row higher, or where it would do so there, nowhere. It comes
    last: which labels have room is known when all else has its place."""
    if phones is None:
        return
    top = axes[0]
    shown = phones.between(*top.get_xlim())
    labels = label_phones(top, shown, "x")
    with laid_out(figure) as renderer:
        for ax in axes:
            draw_boundaries(ax, shown, "x")
        higher = crowded(labels, "x", renderer)
        for text in higher:
            text.xyann = (0.0, DISTANCE + ROW)
        for text in crowded(higher, "x", renderer):
            text.remove()
    title, pad = top.get_title(loc="left"), 20.0 + (ROW if higher else 0.0)
    top.set_title(title, loc="left", fontsize=10, pad=pad, parse_math=False)


def draw_boundaries(ax: Axes, phones: Phones, direction: str) -> None:
    """Lines at the boundaries of phones on the axis `direction` ("x" or "y") of axes that are laid out: across the
    whole of the other, or where so many would hide the picture, beside it, where labels stand."""
    box = ax.get_window_extent()
    along, across = (box.width, box.height) if direction == "x" else (box.height, box.width)
    points, places = ax.figure.dpi / 72, phones.boundaries
    sparse = along >= SPARSE * points * len(places)
    begin, end = (0.0, 1.0) if sparse else (1.0, 1.0 + MARK * points / across)
    lines = [[(place, begin), (place, end)] for place in places]
    segments = lines if direction == "x" else [[point[::-1] for point in line] for line in lines]
    transform = ax.get_xaxis_transform() if direction == "x" else ax.get_yaxis_transform()
    for colour, width, style in ACROSS if sparse else OUTSIDE:
        drawn = LineCollection(segments, colors=colour, linewidths=width, linestyles=[style], transform=transform)
        drawn.set_clip_on(sparse)
        ax.add_collection(drawn, autolim=False)  # an axis shows the frames, and no more


def label_phones(ax: Axes, phones: Phones, direction: str) -> list[Annotation]:
    """Labels above the axes (direction "x") or right of them ("y"), each at its phone's middle."""
    above = direction == "x"
    texts = [
        ax.annotate(
            cut(label, LONGEST),
            (middle, 1.0) if above else (1.0, middle),
            (0.0, DISTANCE) if above else (DISTANCE, 0.0),
            ax.get_xaxis_transform() if above else ax.get_yaxis_transform(),
            "offset points",
            ha="center" if above else "left",
            va="bottom" if above else "center",
            fontsize=TEXT,
            annotation_clip=False,
        )
        for middle, label in zip(phones.middles, phones.labels)
    ]
    for text in texts:  # so many would take long to lay out: a title makes room above, the longest label beside
        text.set(parse_math=False, in_layout=False)
    reserve_room(texts, direction)
    return texts


def reserve_room(texts: Sequence[Annotation], direction: str) -> None:
    """Let labels right of a panel (direction "y") have as much room as the longest takes."""
    if texts and direction == "y":
        max(texts, key=lambda text: len(text.get_text())).set_in_layout(True)


@contextmanager
def laid_out(figure: Figure) -> Iterator[RendererBase]:
    """Everything has the place that it will have, if all is there that takes room; texts are measured by what it gives.

    One renderer serves all: without it each text makes one of its own, of the size of the picture."""
    layout = figure.get_layout_engine()
    assert layout is not None, "new_figure gives one"
    canvas = FigureCanvasAgg(figure)
    layout.execute(figure)
    yield canvas.get_renderer()
    FigureCanvasBase(figure)  # without that renderer's picture, which would stay as long as the figure


def crowded(texts: Sequence[Annotation], direction: str, renderer: RendererBase) -> list[Annotation]:
    """Those of a row (direction "x", from the left) or a column ("y", from the top) which would overlap the one before
    them that is not among them."""
    end, overlapping = -np.inf, []
    for text in texts:
        box = text.get_window_extent(renderer)
        first, last = (box.x0, box.x1) if direction == "x" else (-box.y1, -box.y0)
        if first < end:
            overlapping.append(text)
        else:
            end = last + GAP * text.figure.dpi / 72
    return overlapping
