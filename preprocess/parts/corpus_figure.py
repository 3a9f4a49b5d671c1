"""A corpus in one picture: lengths of utterances, hours by speaker, labels by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utility.plot import new_figure
from utility.text import cut

NAMED = 40  # speakers or classes whose names fit
BINS = 40
WIDE = 30  # from the shortest to the longest: lengths are drawn on a logarithmic axis
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")  # Tol's, for the colour-blind
USUAL = ("train", "dev", "valid", "test")  # the order of splits, as far as their names begin so


@dataclass(frozen=True)
class Drawn:
    """What the picture shows of each good utterance [U]; `labels` empty where it has none, None without a table."""

    title: str
    splits: Sequence[str]
    speakers: Sequence[str]
    seconds: np.ndarray
    labels: Sequence[str] | None
    label_name: str = "label"


def corpus_figure(drawn: Drawn) -> Figure:
    """Panels side by side, splits by colour; a panel that would be empty is left out."""
    names = sorted(set(drawn.splits), key=lambda name: (_rank(name), name))
    splits = np.array([names.index(name) for name in drawn.splits])
    speakers = _shares(drawn.speakers, splits, drawn.seconds, len(names))
    unit, size = ("hours", 3600) if max((s.sum() for s in speakers.values()), default=0) >= 3600 else ("minutes", 60)
    speakers = {name: share / size for name, share in speakers.items()}
    classes = _shares(drawn.labels or (), splits, np.ones(len(splits)), len(names))
    panels = 1 + bool(speakers) + bool(classes)
    figure = new_figure(4.6 * panels + 0.6, 4.2)
    axes = iter(figure.subplots(1, panels, squeeze=False)[0])
    _lengths(next(axes), drawn.seconds, splits, names)
    if speakers:
        _bars(next(axes), speakers, f"{len(speakers)} speakers", unit)
    if classes:
        _bars(next(axes), classes, f"{len(classes)} classes of {cut(drawn.label_name, 30)}", "utterances")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(
            handles,
            [cut(label, 24) for label in labels],
            loc="outside lower center",
            ncols=min(len(names), 6),
            fontsize=9,
        )
    figure.suptitle(cut(drawn.title, 90), fontsize=11, parse_math=False)
    return figure


def _rank(name: str) -> int:
    return next((rank for rank, start in enumerate(USUAL) if name.startswith(start)), len(USUAL))


def _colour(split: int) -> str:
    return COLOURS[split % len(COLOURS)]


def _lengths(ax: Axes, seconds: np.ndarray, splits: np.ndarray, names: Sequence[str]) -> None:
    """A histogram of lengths, one split on top of the other."""
    low, high = float(seconds.min()), float(seconds.max())
    if high > WIDE * low:
        edges = np.geomspace(low, high, BINS + 1)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low * 0.9, low * 1.1])
    parts = [seconds[splits == split] for split in range(len(names))]
    colours = [_colour(split) for split in range(len(names))]
    ax.hist(parts, edges, stacked=True, color=colours, label=list(names), edgecolor="white", linewidth=0.3)
    middle = float(np.median(seconds))
    ax.axvline(middle, color="0.25", linewidth=1, linestyle="--")
    ax.annotate(
        f"median {middle:.2f} s", (middle, 1), (4, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
        va="top", fontsize=8, color="0.25",
    )  # fmt: skip
    ax.set(xlabel="length (s)", ylabel="utterances")
    ax.margins(y=0.12)
    _title(ax, f"{len(seconds)} utterances, {seconds.sum() / 3600:.2f} hours")


def _shares(names: Sequence[str], splits: np.ndarray, amounts: np.ndarray, num_splits: int) -> dict[str, np.ndarray]:
    """By name the amount in each split, the largest sum first; what has no name is left out."""
    shares: dict[str, np.ndarray] = {}
    for name, split, amount in zip(names, splits.tolist(), amounts.tolist()):
        if name:
            shares.setdefault(name, np.zeros(num_splits))[split] += amount
    return dict(sorted(shares.items(), key=lambda item: (-item[1].sum(), item[0])))


def _bars(ax: Axes, shares: Mapping[str, np.ndarray], title: str, unit: str) -> None:
    """A bar for each name; without their names, and without gaps, where there are many."""
    few = len(shares) <= NAMED
    values = np.array(list(shares.values()))  # [names, splits]
    places, bottom = np.arange(len(values)), np.zeros(len(values))
    for split in range(values.shape[1]):
        ax.bar(places, values[:, split], 0.8 if few else 1.0, bottom, color=_colour(split), linewidth=0)
        bottom += values[:, split]
    size = float(np.clip(150 / len(values), 5, 9))
    if few:
        turned = 90 if len(values) > 6 or max(map(len, shares)) > 8 else 0
        ax.set_xticks(places, [cut(name, 16) for name in shares], rotation=turned, fontsize=size, parse_math=False)
    else:
        ax.set_xlabel("each, from the largest to the smallest")
    ax.set_ylabel(unit)
    ax.set_ylim(0, 1.08 * bottom.max())
    ax.set_xlim(-0.7, len(values) - 0.3)
    _title(ax, title)


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", fontsize=9, parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
