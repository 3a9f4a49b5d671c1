"""A class for each of several columns of a table of labels (what is done, with what, where)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from downstream.config import DataConfig
from downstream.labels.speakers import NameLabels
from downstream.labels.table import TableSource, renamed, rows_of, table_classes
from downstream.splits import Indices, Parts
from downstream.utterances import FramedUtterances

MOST = 1 << 62  # combinations that have a number


class ColumnLabels:
    """The labels of each column; an utterance has one number, of the combination of its classes."""

    def __init__(self, columns: Mapping[str, NameLabels]):
        self.columns = dict(columns)
        self.sizes = [len(labels.classes) for labels in self.columns.values()]
        if math.prod(self.sizes) > MOST:
            raise ValueError(f"{' x '.join(map(str, self.sizes))} classes: their combinations are too many to number")

    def utterance(self, index: int) -> np.int64:
        """The number of the combination, a scalar int64."""
        combined = 0
        for size, labels in zip(self.sizes, self.columns.values()):
            combined = combined * size + int(labels.utterance(index))
        return np.int64(combined)

    def labelled(self, chosen: Indices) -> int:
        """How many frames the chosen utterances have: each has a class of every column."""
        return next(iter(self.columns.values())).labelled(chosen)


@dataclass(frozen=True)
class ColumnSource:
    """A class of every column for each utterance."""

    columns: Mapping[str, TableSource]
    usable: np.ndarray
    left_out: dict[str, int]

    @property
    def strata(self) -> Sequence[str]:
        """The combination of labels of each usable utterance."""
        names = [source.names for source in self.columns.values()]
        return ["\t".join(column[index] for column in names) for index in self.usable.tolist()]

    def read(self, parts: Parts) -> ColumnLabels:
        """The classes of a column are those of the training part; ValueError where dev or test has another."""
        return ColumnLabels({name: source.read(parts) for name, source in self.columns.items()})


def table_columns(task: str, utterances: FramedUtterances, config: DataConfig) -> ColumnSource:
    """The classes of `data.label_column`, a list; ValueError names the line where a label cannot be used."""
    if config.classes:
        raise ValueError("data.classes is of one column of labels: data.label_column lists several")
    if config.label_mode is not None:
        raise ValueError(
            f"data.label_mode {config.label_mode} is of one column of labels: data.label_column lists several"
        )
    rows, columns = rows_of(task, utterances), config.label_columns
    sources = {}
    for name in columns:
        renamed(config, rows, name)  # says which name of the map no column has
        own = {old: new for old, new in config.label_map.items() if old in set(rows.values[name])}
        one = replace(config, label_column=name, label_map=own)
        sources[name] = table_classes(f"{task}, column {name}", utterances, one)
    usable = sorted(set.intersection(*(set(source.usable.tolist()) for source in sources.values())))
    first = sources[columns[0]]
    left_out = {reason: count for reason, count in first.left_out.items() if reason != "without a label"}
    lacking = len(first.usable) + first.left_out.get("without a label", 0) - len(usable)
    left_out |= {"without a label": lacking} if lacking else {}
    if not usable:
        raise ValueError(f"{task}: no utterance has a label in every column of {', '.join(columns)}")
    return ColumnSource(sources, np.array(usable, np.int64), left_out)
