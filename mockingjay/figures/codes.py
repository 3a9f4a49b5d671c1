"""Figures of codes: the true ones under what the model sees, and those that it predicts at masked frames."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from mockingjay.figures.phones import Phones, mark_phones
from mockingjay.figures.spectrograms import mark_spans
from utility.plot import Clock, feature_axis, new_figure, spectrogram_axes, static_part, value_norm
from utility.store.info import StoreInfo

CODEBOOKS_SHOWN = 4


@dataclass(frozen=True)
class Codes:
    """One utterance at the rate of the model: what it saw, the codes of its frames, and what was predicted."""

    inputs: np.ndarray  # [T', source D * rate]
    codes: np.ndarray  # int64 [T', codebooks]
    predicted: np.ndarray  # int64 [T', codebooks]
    masked: np.ndarray  # bool [T']
    rate: int


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
    spectrogram_axes(
        top, values, clock, feature_axis(source.features), value_norm(values), "input: what the model sees"
    )
    mark_spans(top, hidden, clock)
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
    figure.suptitle(
        f"{name}: {100 * shown.masked.mean():.1f}% of the frames are masked (red)", fontsize=11, parse_math=False
    )
    mark_phones(figure, axes, phones)
    return figure


def _colours(codes: np.ndarray) -> np.ndarray:
    """A colour for each code [T]: RGB [T, 3]. Neighbouring numbers get hues far apart."""
    hue = (codes * 0.6180339887) % 1.0
    value = 0.55 + 0.4 * ((codes * 0.7548776662) % 1.0)
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.65), value], axis=-1))
