"""Figures of a probing run: confusions, predicted against true numbers, errors of trials, and the training curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri

from utility.plot import new_figure
from utility.runs import Metric

MANY = 100  # classes whose names still fit on an axis
CELLS = 1000  # along an axis, at most: more are no longer to be seen, but take memory


def confusion_figure(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Share of each true class (row) taken for each class (column), in percent; rows of absent classes are blank.

    More than `CELLS` classes are drawn in groups of neighbours."""
    group = -(-len(classes) // CELLS)
    starts = np.arange(0, len(classes), group)
    counts = np.add.reduceat(np.add.reduceat(counts, starts, axis=0), starts, axis=1)
    total = counts.sum(axis=1, keepdims=True)
    share = np.where(total > 0, 100 * counts / np.maximum(total, 1), np.nan)
    side = float(np.clip(2.5 + 0.17 * len(classes), 5, 16))
    figure = new_figure(side + 2.4, side + 0.4)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class (%)", fraction=0.046, pad=0.02)
    if len(classes) <= MANY:
        size = float(np.clip(580 / len(classes), 6, 10))
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(classes)), classes, fontsize=size, parse_math=False)
    together = f" ({group} to a cell)" if group > 1 else ""
    axes.set(xlabel=f"predicted class{together}", ylabel=f"true class{together}")
    axes.set_title(title, fontsize=10, parse_math=False)
    return figure


def scatter_figure(true: np.ndarray, predicted: np.ndarray, title: str) -> Figure:
    """Predicted numbers [N] against true ones, with the line where both are equal."""
    figure = new_figure(5.5, 5.5)
    axes = figure.add_subplot()
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color="gray", linestyle=":", label="equal")
    size = float(np.clip(4000 / len(true), 3, 25))
    axes.scatter(true, predicted, s=size, color="tab:blue", alpha=0.6, linewidths=0, rasterized=len(true) > MANY**2)
    axes.set(xlabel="label", ylabel="prediction")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=8)
    axes.set_title(title, fontsize=10, parse_math=False)
    return figure


def curves_figure(records: Sequence[dict[str, float]], chosen: int, metric: Metric, loss: str, title: str) -> Figure:
    """Training loss and dev score against the step, from a run's metrics; `chosen` is the step that was kept.

    `loss` labels the axis of the losses, with their unit."""
    figure = new_figure(7, 4)
    losses = figure.add_subplot()
    scores = losses.twinx()
    for axes, name, color, label in (
        (losses, "loss", "tab:blue", "training loss"),
        (losses, "dev_loss", "tab:cyan", "dev loss"),
        (scores, f"dev_{metric.key}", "tab:red", f"dev {metric}"),
    ):
        points = [(record["step"], record[name]) for record in records if name in record]
        if points:
            axes.plot(*zip(*points), color=color, label=label, marker="." if len(points) < 40 else None)
    scores.axvline(chosen, color="gray", linestyle=":", label=f"kept: step {chosen}")
    losses.set(xlabel="step", ylabel=loss)
    losses.set_title(title, fontsize=10, parse_math=False)
    scores.set(ylabel=f"dev {metric}, {metric.better} is better")
    handles = [handle for axes in (losses, scores) for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=len(handles))
    return figure


def detection_figure(false: np.ndarray, missed: np.ndarray, title: str) -> Figure:
    """False acceptances against misses at every threshold, both shares on normal axes (Martin et al. 1997).

    On the diagonal they are equal."""
    figure = new_figure(5.5, 5)
    axes = figure.add_subplot()
    ticks = np.array([0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80])
    edges = ndtri(np.array([0.0005, 0.9]))
    axes.plot(*(ndtri(np.clip(share, 1e-4, 1 - 1e-4)) for share in (false, missed)), color="tab:blue")
    axes.plot(edges, edges, color="gray", linestyle=":", label="equal error rate")
    axes.set(xlabel="nontarget trials accepted (%)", ylabel="target trials missed (%)", xlim=edges, ylim=edges)
    axes.set_xticks(ndtri(ticks / 100), [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ndtri(ticks / 100), [f"{tick:g}" for tick in ticks])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(title, fontsize=10, parse_math=False)
    return figure
