"""Figures of what a model sees, predicts and holds: spectrograms, hidden states, attention."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, SymLogNorm, hsv_to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from utility.labels.alignment import Alignment
from utility.plot import Clock, ValueAxis, feature_axis, feature_unit, new_figure, spectrogram_axes, static_part
from utility.store.info import StoreInfo

LINEAR_BELOW = 1e-3  # the originals' threshold of the symmetric logarithmic scale
SPAN_COLOUR = "tab:red"
CODEBOOKS_SHOWN = 4


@dataclass(frozen=True)
class Reconstruction:
    """One utterance at the rate of the features, without deltas: what the model saw and what it made of it."""

    masked: np.ndarray  # [T, source D], the model's input
    predicted: np.ndarray  # [T, target D]
    true: np.ndarray  # [T, target D]
    chosen: np.ndarray  # bool [T, target D], what the loss counts

    @classmethod
    def of(cls, frames: Mapping[str, Tensor], rate: int, source: StoreInfo, target: StoreInfo) -> "Reconstruction":
        """From frames stacked by `rate`: `true` and `predicted` [T', target D * rate], `masked` and bool `mask`
        [T', source D * rate]."""
        predicted, true = (_unstacked(frames[name], rate, target) for name in ("predicted", "true"))
        chosen = _unstacked(frames["mask"], rate, source) > 0
        if chosen.shape != true.shape:
            chosen = np.broadcast_to(chosen.any(-1, keepdims=True), true.shape)
        return cls(_unstacked(frames["masked"], rate, source), predicted, true, chosen)

    @property
    def hidden(self) -> np.ndarray:
        """Bool [T]: the frames that were chosen whole."""
        return np.asarray(self.chosen.all(-1))

    @property
    def filled(self) -> np.ndarray:
        """The true frames with what was chosen taken from the prediction, [T, target D]."""
        return np.where(self.chosen, self.predicted, self.true)


def reconstruction_figure(shown: Reconstruction, source: StoreInfo, target: StoreInfo, name: str) -> Figure:
    """Four panels of the utterance `name`, masked spans marked in red."""
    panels = (
        ("input: what the model sees", shown.masked, source),
        ("predicted", shown.predicted, target),
        ("true", shown.true, target),
        ("filled: predicted where it counts, true elsewhere", shown.filled, target),
    )
    same, norm = source == target, _norm(shown.true)
    clock, hidden = Clock.of(target), shown.hidden
    figure = new_figure(clock.width(len(hidden)) + 1, 10)
    axes = figure.subplots(len(panels), sharex=True)
    for ax, (title, values, info) in zip(axes, panels):
        scale = norm if same or info is target else _norm(values)
        image = spectrogram_axes(ax, values, clock, feature_axis(info.features), scale, title)
        _mark_spans(ax, hidden, clock)
        ax.label_outer()
        if not same:
            figure.colorbar(image, ax=ax, label=feature_unit(info.features), extend="both", pad=0.01)
    if same:
        figure.colorbar(image, ax=axes, label=feature_unit(target.features), extend="both", pad=0.01, aspect=60)
    counted = f"{100 * shown.chosen.mean():.1f}% of the values count in the loss (whole frames: red)"
    figure.suptitle(f"{name}: {counted}", fontsize=11, parse_math=False)
    return figure


@dataclass(frozen=True)
class Codes:
    """One utterance at the rate of the model: what it saw, the codes of its frames, and what was predicted."""

    inputs: np.ndarray  # [T', source D * rate]
    codes: np.ndarray  # int64 [T', codebooks]
    predicted: np.ndarray  # int64 [T', codebooks]
    masked: np.ndarray  # bool [T']
    rate: int


@dataclass(frozen=True)
class Phones:
    """The phones of an utterance: where each begins and ends [S] in seconds, and its label."""

    starts: np.ndarray
    ends: np.ndarray
    labels: Sequence[str]

    @classmethod
    def of(cls, alignment: Alignment, name: str) -> "Phones":
        """Those of utterance `name`; ValueError where the alignment lacks it."""
        segments = alignment.segments(name)
        return cls(segments["start"], segments["end"], [alignment.labels[label] for label in segments["label"]])


def codes_figure(shown: Codes, source: StoreInfo, name: str, phones: Phones | None = None) -> Figure:
    """The input of the utterance `name`, and under it the codes of the first codebooks: the true ones, and those that
    are predicted at masked frames; boundaries of phones where they are known.

    A code's colour is drawn from its number: like colours beside each other are the same code."""
    clock = Clock.of(source)
    frames = shown.inputs.reshape(len(shown.inputs) * shown.rate, -1)
    values, hidden = static_part(frames, source.features), np.repeat(shown.masked, shown.rate)
    books = min(shown.codes.shape[1], CODEBOOKS_SHOWN)
    figure = new_figure(clock.width(len(values)) + 1, 3.6 + 1.2 * books)
    axes = figure.subplots(1 + books, sharex=True, height_ratios=[3, *[1] * books])
    top = axes[0]
    spectrogram_axes(top, values, clock, feature_axis(source.features), _norm(values), "input: what the model sees")
    _mark_spans(top, hidden, clock)
    top.label_outer()
    edges = clock.stacked(shown.rate).edges(len(shown.codes))
    for book, ax in enumerate(axes[1:]):
        true, predicted = shown.codes[:, book], shown.predicted[:, book]
        right = (true == predicted)[shown.masked]
        rows = np.stack([_colours(true), np.where(shown.masked[:, None], _colours(predicted), 1.0)])
        ax.imshow(rows, aspect="auto", interpolation="nearest", extent=(edges[0], edges[-1], 1.5, -0.5))
        ax.set_yticks([0, 1], ["true", "predicted"])
        share = f"{100 * right.mean():.0f} % of {len(right)} masked frames right" if len(right) else "nothing masked"
        title = f"codebook {book + 1}: " if books > 1 else "codes: "
        ax.set_title(f"{title}{len(np.unique(true))} different ones; {share}", loc="left", fontsize=10)
    axes[-1].set(xlabel=f"time ({clock.unit})", xlim=(edges[0], edges[-1]))
    if phones is not None:
        _mark_phones(axes, phones)
    figure.suptitle(
        f"{name}: {100 * shown.masked.mean():.1f}% of the frames are masked (red)", fontsize=11, parse_math=False
    )
    return figure


def _colours(codes: np.ndarray) -> np.ndarray:
    """A colour for each code [T]: RGB [T, 3]. Neighbouring numbers get hues far apart."""
    hue = (codes * 0.6180339887) % 1.0
    value = 0.55 + 0.4 * ((codes * 0.7548776662) % 1.0)
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.65), value], axis=-1))


def _mark_phones(axes: Sequence[Axes], phones: Phones) -> None:
    """Lines at the boundaries through all panels, labels above the first."""
    for ax in axes:
        for edge in np.union1d(phones.starts, phones.ends):
            ax.axvline(edge, color="white", linewidth=0.9)
            ax.axvline(edge, color="black", linewidth=0.5, linestyle=(0, (2, 2)))
    top = axes[0]
    for start, end, label in zip(phones.starts, phones.ends, phones.labels):
        top.text((start + end) / 2, 1.04, label, transform=top.get_xaxis_transform(), ha="center", fontsize=7)
    top.set_title(top.get_title(loc="left"), loc="left", fontsize=10, pad=18)


def alterations_figure(altered: Mapping[str, Tensor], info: StoreInfo, name: str) -> Figure:
    """One utterance [T, D] under each alteration, a panel each by name; the first is the original."""
    panels = {title: static_part(_array(values), info.features) for title, values in altered.items()}
    norm, clock = _norm(next(iter(panels.values()))), Clock.of(info)
    frames = len(next(iter(panels.values())))
    figure = new_figure(clock.width(frames) + 1, 2.2 * len(panels) + 0.6)
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for ax, (title, values) in zip(axes, panels.items()):
        image = spectrogram_axes(ax, values, clock, feature_axis(info.features), norm, title)
        ax.label_outer()
    figure.colorbar(image, ax=axes, label=feature_unit(info.features), extend="both", pad=0.01, aspect=60)
    figure.suptitle(f"{name}: alterations", fontsize=11, parse_math=False)
    return figure


def hidden_states_figure(states: Tensor, clock: Clock, title: str) -> Figure:
    """Hidden states [T, H] over time, signed logarithmic colours as in the originals."""
    values = _array(states)
    limit = max(float(np.abs(values).max()), 10 * LINEAR_BELOW)
    norm = SymLogNorm(LINEAR_BELOW, vmin=-limit, vmax=limit)
    figure = new_figure(clock.width(len(values)) + 1, 5)
    ax = figure.subplots()
    image = spectrogram_axes(ax, values, clock, ValueAxis("hidden unit (index)"), norm, title, "RdBu_r")
    figure.colorbar(image, ax=ax, label="activation (dimensionless, symmetric log)", pad=0.01)
    return figure


def attention_figure(maps: Tensor, clock: Clock, title: str) -> Figure:
    """Attention weights [heads, T', T'] of one layer, a panel per head and one of their mean.

    `clock` is that of the stacked frames. A row is a query, and sums to 1."""
    heads = _array(maps)
    panels = {f"head {index}": head for index, head in enumerate(heads)} | {"mean of heads": heads.mean(axis=0)}
    columns = math.ceil(math.sqrt(1.3 * len(panels)))
    rows = -(-len(panels) // columns)
    figure = new_figure(3 * columns + 1, 3 * rows + 0.6)
    norm = _attention_norm(heads)
    left, right = clock.edges(heads.shape[1])[[0, -1]]
    for index, (name, weights) in enumerate(panels.items()):
        ax = figure.add_subplot(rows, columns, index + 1)
        image = ax.imshow(weights, norm=norm, cmap="magma", interpolation="nearest", extent=(left, right, right, left))
        ax.set_title(name, fontsize=10)
        below, leftmost = index + columns >= len(panels), index % columns == 0
        ax.tick_params(labelbottom=below, labelleft=leftmost)
        ax.set_xlabel(f"key: time ({clock.unit})" if below else "")
        ax.set_ylabel(f"query: time ({clock.unit})" if leftmost else "")
    label = "attention weight (log; a row sums to 1)"
    figure.colorbar(image, ax=figure.axes, label=label, extend="both", pad=0.01, shrink=0.7, aspect=30)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()


def _unstacked(values: Tensor, rate: int, info: StoreInfo) -> np.ndarray:
    """Stacked frames [T', D * rate] -> the static part of each [T' * rate, D]."""
    return static_part(_array(values).reshape(len(values) * rate, -1), info.features)


def _norm(values: np.ndarray) -> Normalize:
    low, high = np.percentile(values, (0.5, 99.5))
    return Normalize(low, max(high, low + 1e-6))


def _attention_norm(weights: np.ndarray) -> LogNorm:
    """From the 1st percentile to the 99.9th, no more than four decades, no less than a factor of 2."""
    low, high = np.percentile(weights, (1, 99.9))
    return LogNorm(vmin=max(min(low, high / 2), high / 1e4), vmax=high, clip=True)


def _mark_spans(ax: Axes, hidden: np.ndarray, clock: Clock) -> None:
    """A bar above each masked span, and lines at its ends."""
    edges = clock.edges(len(hidden))
    turns = np.flatnonzero(np.diff(np.r_[False, hidden, False]))
    for begin, end in edges[turns].reshape(-1, 2):
        ax.axvspan(begin, end, ymin=1.0, ymax=1.03, color=SPAN_COLOUR, clip_on=False, linewidth=0)
        ax.axvspan(begin, end, fill=False, edgecolor=SPAN_COLOUR, linewidth=0.8)
