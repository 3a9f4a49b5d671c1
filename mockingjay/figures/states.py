"""Figures of hidden states: the input above, and under it the units, ordered so that like courses are neighbours."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from mockingjay.figures.phones import Phones, mark_phones
from utility.plot import (
    Clock,
    ValueAxis,
    feature_axis,
    feature_unit,
    new_figure,
    spectrogram_axes,
    static_part,
    value_norm,
)
from utility.store.info import StoreInfo

SHOWN = 3.0  # standard deviations from the mean, where colours end
CONSTANT = 1e-6  # of its largest value: a unit that moves less is constant, as far as float32 can tell
MOST_TURNED = 1024  # units whose tree is turned for the best order of leaves: half a second for 768, 3 s for 1,280


def hidden_states_figures(
    states: Mapping[str, np.ndarray], frames: np.ndarray, info: StoreInfo, phones: Phones | None = None
) -> list[Figure]:
    """A figure for each title of `states` [T, H] of one utterance, under its input `frames` [T, D].

    They can be compared: all have the same order of units, by their courses in all of them, and the same colours. A
    colour is a deviation from the unit's mean over the utterance, in its standard deviations: means differ between
    units far more than a unit moves, so that colours of plain values show stripes alone."""
    courses = {title: standardised(values) for title, values in states.items()}
    order, constant = unit_order(np.concatenate(list(courses.values())))
    return [_figure(title, values[:, order], constant, frames, info, phones) for title, values in courses.items()]


def standardised(values: np.ndarray) -> np.ndarray:
    """Each unit's course [T, H] less its mean, in its standard deviations; of a constant one zeros."""
    centred = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(centred).mean(axis=0, dtype=np.float64)).astype(np.float32)
    moves = deviation > CONSTANT * np.abs(values).max(axis=0)
    return np.where(moves, centred / np.where(moves, deviation, 1), 0)


def unit_order(courses: np.ndarray) -> tuple[np.ndarray, int]:
    """An order of the units [H] in which like courses [T, H] are neighbours, and how many constant ones (zeros) stand
    at its end.

    It is that of the leaves of a tree: average linkage by correlation distance, 1 - r, each branch turned to where
    neighbours are nearest (Bar-Joseph et al. 2001)."""
    length = np.linalg.norm(courses, axis=0)
    moving, constant = np.flatnonzero(length > 0), np.flatnonzero(length == 0)
    if len(moving) < 3:  # any order is the best one
        return np.concatenate([moving, constant]), len(constant)
    directions = courses[:, moving] / length[moving]
    distance = np.clip(1 - directions.T @ directions, 0, 2).astype(np.float64)
    np.fill_diagonal(distance, 0)
    pairs = squareform(distance, checks=False)
    tree = linkage(pairs, "average")
    if len(moving) <= MOST_TURNED:
        tree = optimal_leaf_ordering(tree, pairs)
    return np.concatenate([moving[leaves_list(tree)], constant]), len(constant)


def _figure(
    title: str, values: np.ndarray, constant: int, frames: np.ndarray, info: StoreInfo, phones: Phones | None
) -> Figure:
    clock, heard = Clock.of(info), static_part(frames, info.features)
    figure = new_figure(clock.width(len(values)) + 1, 7)
    axes: Sequence = figure.subplots(2, sharex=True, height_ratios=[1, 2.2])
    image = spectrogram_axes(axes[0], heard, clock, feature_axis(info.features), value_norm(heard), "input")
    axes[0].label_outer()
    figure.colorbar(image, ax=axes[0], label=feature_unit(info.features), extend="both", pad=0.01)
    words = f"{values.shape[1]} hidden units, like courses side by side"
    words += f"; {constant} constant, on top" if constant else ""
    image = spectrogram_axes(
        axes[1], values, clock, ValueAxis("hidden unit"), Normalize(-SHOWN, SHOWN), words, "RdBu_r"
    )
    axes[1].set_yticks([])  # a place in the order is no number of a unit
    label = "deviation from the unit's mean\n(standard deviations of the unit)"
    figure.colorbar(image, ax=axes[1], label=label, extend="both", pad=0.01)
    figure.suptitle(title, fontsize=11, parse_math=False)
    mark_phones(figure, axes, phones)
    return figure
