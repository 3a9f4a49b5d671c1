"""Figures of what a model sees and predicts: reconstructions, and what its masking hides."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mockingjay.figures.phones import Phones, mark_phones
from utility.plot import Clock, feature_axis, feature_unit, new_figure, spectrogram_axes, static_part, value_norm
from utility.store.info import StoreInfo

SPAN_COLOUR = "tab:red"


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


def reconstruction_figure(
    shown: Reconstruction, source: StoreInfo, target: StoreInfo, name: str, phones: Phones | None = None
) -> Figure:
    """Four panels of the utterance `name`, masked spans marked in red; its phones where they are known."""
    panels = (
        ("input: what the model sees", shown.masked, source),
        ("predicted", shown.predicted, target),
        ("true", shown.true, target),
        ("filled: predicted where it counts, true elsewhere", shown.filled, target),
    )
    same, norm = source == target, value_norm(shown.true)
    clock, hidden = Clock.of(target), shown.hidden
    figure = new_figure(clock.width(len(hidden)) + 1, 10)
    axes = figure.subplots(len(panels), sharex=True)
    for ax, (title, values, info) in zip(axes, panels):
        scale = norm if same or info is target else value_norm(values)
        image = spectrogram_axes(ax, values, clock, feature_axis(info.features), scale, title)
        mark_spans(ax, hidden, clock)
        ax.label_outer()
        if not same:
            figure.colorbar(image, ax=ax, label=feature_unit(info.features), extend="both", pad=0.01)
    if same:
        figure.colorbar(image, ax=axes, label=feature_unit(target.features), extend="both", pad=0.01, aspect=60)
    counted = f"{100 * shown.chosen.mean():.1f}% of the values count in the loss (whole frames: red)"
    figure.suptitle(f"{name}: {counted}", fontsize=11, parse_math=False)
    mark_phones(figure, axes, phones)
    return figure


def alterations_figure(
    altered: Mapping[str, Tensor], info: StoreInfo, name: str, phones: Phones | None = None
) -> Figure:
    """One utterance [T, D] under each alteration, a panel each by name; the first is the original."""
    panels = {title: static_part(_array(values), info.features) for title, values in altered.items()}
    norm, clock = value_norm(next(iter(panels.values()))), Clock.of(info)
    frames = len(next(iter(panels.values())))
    figure = new_figure(clock.width(frames) + 1, 2.2 * len(panels) + 0.6)
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for ax, (title, values) in zip(axes, panels.items()):
        image = spectrogram_axes(ax, values, clock, feature_axis(info.features), norm, title)
        ax.label_outer()
    figure.colorbar(image, ax=axes, label=feature_unit(info.features), extend="both", pad=0.01, aspect=60)
    figure.suptitle(f"{name}: alterations", fontsize=11, parse_math=False)
    mark_phones(figure, axes, phones)
    return figure


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()


def _unstacked(values: Tensor, rate: int, info: StoreInfo) -> np.ndarray:
    """Stacked frames [T', D * rate] -> the static part of each [T' * rate, D]."""
    return static_part(_array(values).reshape(len(values) * rate, -1), info.features)


def mark_spans(ax: Axes, hidden: np.ndarray, clock: Clock) -> None:
    """A bar above each masked span, and lines at its ends."""
    edges = clock.edges(len(hidden))
    turns = np.flatnonzero(np.diff(np.r_[False, hidden, False]))
    for begin, end in edges[turns].reshape(-1, 2):
        ax.axvspan(begin, end, ymin=1.0, ymax=1.03, color=SPAN_COLOUR, clip_on=False, linewidth=0)
        ax.axvspan(begin, end, fill=False, edgecolor=SPAN_COLOUR, linewidth=0.8)
