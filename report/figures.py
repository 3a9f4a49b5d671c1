"""Figures of a page: matplotlib's SVG without what a page has already, in the colours of its theme."""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.errors import Errors
from report.runs import Pretraining, Probe
from utility.runs import deviation

SALT = "report"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito 2008, for all eyes
STYLES = ("-", "--", "-.", ":")
MANY = 45  # classes that a matrix has room for
POINTS = 400  # of a curve: more are no longer to be seen
# Black, white and grey follow the page, which is light or dark, and so do colours that the dark one swallows.
THEME = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    **dict.fromkeys(("#0072b2", "#1f77b4"), "var(--blue)"),
    **dict.fromkeys(("#009e73", "#2ca02c"), "var(--green)"),
}
GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")
SETTINGS = {"svg.hashsalt": SALT, "svg.fonttype": "none", "font.family": "sans-serif"}


def as_svg(figure: Figure, name: str, about: str) -> str:
    """A figure as an element of a page; `name` makes its identifiers unique there, `about` says what it shows.

    The same figure gives the same text."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, themed in THEME.items():
        text = text.replace(colour, themed)
    text = GREY.sub(_mixed, text)
    text = re.sub(r"\n\s*", "\n", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(about)}"', 1)


def _mixed(grey: re.Match[str]) -> str:
    """A grey between the page's two colours."""
    return f"color-mix(in srgb, currentColor {round(100 - int(grey[1], 16) / 2.55)}%, var(--paper))"


def _axes(width: float, height: float, below: float = 0.5, beside: float = 0.15) -> tuple[Figure, Axes]:
    """A figure in inches and its axes; a layout that is given takes half the time of one that is found."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.7 / width, below / height, 1 - (0.7 + beside) / width, 1 - (below + 0.1) / height))
    return figure, axes


def training_figure(probe: Probe, records: Sequence[Mapping[str, float]]) -> Figure | None:
    """Loss and dev score of the first seed over steps, from its metrics; None where there are no curves."""
    names = dict.fromkeys(name for record in records for name in record)
    score = next((name for name in names if name.startswith("dev_") and name != "dev_loss"), None)
    lines = [("loss", "training loss", COLOURS[0]), ("dev_loss", "dev loss", COLOURS[5])]
    drawn = [(label, colour, _points(records, name)) for name, label, colour in lines]
    if not any(len(points) > 1 for *_, points in drawn):
        return None
    figure, axes = _axes(5.2, 2.7, 0.75, 0.7 if score else 0.15)
    for (label, colour, points), style in zip(drawn, STYLES):
        if len(points):
            axes.plot(*points.T, color=colour, linestyle=style, label=label, linewidth=1.4)
    if score is not None and len(points := _points(records, score)):
        beside = axes.twinx()
        beside.plot(
            *points.T, color=COLOURS[1], label=f"dev {probe.metric.name}", marker="o", markersize=2.5, linewidth=1
        )
        beside.set_ylabel(f"dev {probe.metric}", parse_math=False)
        _plain(beside)
        beside.spines["right"].set_visible(True)
    axes.set(xlabel="step", ylabel="loss")
    _plain(axes)
    handles = [handle for one in figure.axes for handle in one.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, fontsize=8, loc="lower center", ncols=3, frameon=False)
    return figure


def layers_figure(probe: Probe) -> Figure | None:
    """Dev scores of a sweep over layers: mean and deviation over seeds and folds."""
    scores = probe.by_layer
    if len(scores) < 2:
        return None
    figure, axes = _axes(4.2, 2.4)
    spread = [deviation(values) or 0.0 for values in scores.values()]
    places = range(len(scores))
    means = [float(np.mean(values)) for values in scores.values()]
    axes.errorbar(
        places, means, yerr=spread if any(spread) else None, color=COLOURS[0], marker="o", capsize=3, linewidth=1.2
    )
    axes.set_xticks(places, [name.partition("layer=")[2] for name in scores], fontsize=8)
    axes.set(xlabel="layer")
    axes.set_ylabel(f"dev {probe.metric}", parse_math=False)
    _plain(axes)
    return figure


def weights_figure(probe: Probe) -> Figure | None:
    """The learnt weights of layers, with the deviation over seeds."""
    rows = [row["layer_weights"] for row in probe.rows if row.get("layer_weights")] or [
        probe.result.get("layer_weights")
    ]
    if not rows[0]:
        return None
    weights = np.array([row for row in rows if len(row) == len(rows[0])], np.float64)
    figure, axes = _axes(4.2, 2.3)
    spread = weights.std(axis=0, ddof=1) if len(weights) > 1 else None
    axes.bar(range(weights.shape[1]), weights.mean(axis=0), yerr=spread, capsize=3, color=COLOURS[5], ecolor="#000000")
    labels = probe.result.get("layers") or [f"T{number}" for number in range(weights.shape[1])]
    axes.set_xticks(range(len(labels)), [str(label) for label in labels], fontsize=8)
    axes.axhline(1 / len(labels), color="#777777", linestyle=":", linewidth=1)
    axes.set(xlabel="layer (dotted: equal weights)", ylabel="weight")
    _plain(axes)
    return figure


def confusion_figure(errors: Errors) -> Figure | None:
    """Shares of each true answer (row) that got each predicted one; None for more answers than there is room for."""
    if errors.counts is None:
        return None
    names = sorted({name for pair in errors.counts for name in pair})
    if not 2 <= len(names) <= MANY:
        return None
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    for (true, predicted), count in errors.counts.items():
        counts[place[true], place[predicted]] = count
    total = counts.sum(axis=1, keepdims=True)
    share = np.where(total > 0, 100 * counts / np.maximum(total, 1), np.nan)
    side = float(np.clip(1.6 + 0.13 * len(names), 3.2, 7))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class (%)", fraction=0.046, pad=0.02)
    size = float(np.clip(300 / len(names), 5, 9))
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def numbers_figure(errors: Errors) -> Figure | None:
    """Predicted numbers against true ones."""
    if len(errors.numbers) < 2:
        return None
    true, predicted = np.array(errors.numbers).T
    figure, axes = _axes(3.6, 3.2)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color="#777777", linestyle=":")
    axes.scatter(true, predicted, s=float(np.clip(2000 / len(true), 2, 14)), color=COLOURS[0], alpha=0.6, linewidths=0)
    axes.set(xlabel="true (dotted: equal)", ylabel="predicted")
    _plain(axes)
    return figure


def losses_figure(runs: Mapping[str, Sequence[Mapping[str, float]]], key: str, label: str) -> Figure | None:
    """One figure of the metrics of several pre-training runs, such as the training loss, over updates."""
    drawn = {name: points for name, records in runs.items() if len(points := _points(records, key)) > 1}
    if not drawn:
        return None
    lines = -(-len(drawn) // 3)
    figure, axes = _axes(6.4, 3.1 + 0.17 * lines, 0.6 + 0.17 * lines)
    for number, (name, points) in enumerate(drawn.items()):
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
        axes.plot(*points.T, color=colour, linestyle=style, label=name, linewidth=1.4)
    axes.set(xlabel="updates", ylabel=label)
    _plain(axes)
    legend = figure.legend(fontsize=8, loc="lower center", ncols=3, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _points(records: Sequence[Mapping[str, float]], key: str) -> np.ndarray:
    """Step and value [N, 2], at most `POINTS` of them."""
    points = np.array([(one["step"], one[key]) for one in records if key in one], np.float64).reshape(-1, 2)
    return (
        points[np.unique(np.linspace(0, len(points) - 1, min(len(points), POINTS)).astype(int))]
        if len(points)
        else points
    )


def _plain(axes: Axes) -> None:
    """Small letters, few lines."""
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#d9d9d9", linewidth=0.5)
    axes.set_axisbelow(True)


def loss_of(run: Pretraining) -> str:
    """What its loss is, with its unit."""
    return "cross-entropy (nats)" if run.config.get("objective") == "codes" else "L1"
