"""A number for each utterance, from a table of labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from downstream.config import DataConfig
from downstream.labels.table import check_named, check_some, rows_of, with_row, without_label
from downstream.splits import Indices, Parts
from downstream.utterances import FramedUtterances
from utility.arrays import number
from utility.text import short


@dataclass(frozen=True)
class NumberLabels:
    """`numbers` [U] of all utterances, NaN where there is none, their `lengths` [U] in frames; mean and population
    deviation are of the training part."""

    numbers: np.ndarray
    lengths: np.ndarray
    mean: float
    deviation: float

    def utterance(self, index: int) -> np.float64:
        """The number, a scalar float64."""
        return np.float64(self.numbers[index])

    def labelled(self, chosen: Indices) -> int:
        """How many frames the chosen utterances have: each has a number."""
        return int(self.lengths[np.asarray(chosen)].sum())


@dataclass(frozen=True)
class NumberSource:
    """A number for each utterance, by a table."""

    task: str
    utterances: FramedUtterances
    numbers: np.ndarray
    usable: np.ndarray
    left_out: dict[str, int]
    strata: None = None

    def read(self, parts: Parts) -> NumberLabels:
        """Mean and deviation are those of the training part; ValueError where all its numbers are one."""
        train = self.numbers[parts.train]
        if (train == train[0]).all():
            raise ValueError(
                f"{self.task}: every label of the training part is {train[0]:g}: there is nothing to learn"
            )
        return NumberLabels(self.numbers, self.utterances.lengths, float(train.mean()), float(train.std()))


def table_numbers(
    task: str, utterances: FramedUtterances, config: DataConfig, bounds: Sequence[float] = ()
) -> NumberSource:
    """The numbers in the table of the utterances; ValueError names the line of what is none, or beyond `bounds`."""
    rows = rows_of(task, utterances)
    check_named(task, config.label_columns, rows)
    if len(config.label_columns) > 1:
        raise ValueError(f"{task}: data.label_column lists {len(config.label_columns)} columns, a number is in one")
    for name in ("label_map", "classes"):
        if getattr(config, name):
            raise ValueError(
                f"data.{name} would change nothing: labels are numbers; data.label_kind=class takes classes"
            )
    column = config.label_columns[0]
    numbers, usable = np.full(len(utterances), np.nan), []
    there, left_out = with_row(task, utterances, config)
    for index in there:
        text = rows.values[column][index]
        if without_label(config, rows, index, [text]):
            left_out.add("without a label")
            continue
        try:
            value = number(text)
        except ValueError:
            value = math.inf
        if not math.isfinite(value):
            raise ValueError(f"{rows.at(index)}: {column} is {short(text)}, expected a finite number")
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{rows.at(index)}: {column} is {short(text)}, beyond probe.bounds={list(bounds)}")
        numbers[index] = value
        usable.append(index)
    check_some(task, usable, left_out)
    return NumberSource(task, utterances, numbers, np.array(usable, np.int64), left_out)
