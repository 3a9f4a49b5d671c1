"""What a score is, and what a run is chosen by."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, Self, runtime_checkable

from utility.runs import Metric

TIE = 1e-6  # weight of the loss in the choice: it only decides between equal values of the metric
UNDEFINED = 1e3  # in the place of the distance of a value that there is not, so that the loss decides between such


class Score(Protocol):
    """Sums over the items (frames, utterances ...) of some batches; the sum of two scores is the score of both."""

    @property
    def count(self) -> int:
        """How many items were scored."""

    def __add__(self, other: Self) -> Self: ...

    def figures(self) -> dict[str, float]:
        """Named figures of all items at once: "loss", the metric under its key, and what else is worth logging.

        A figure that is not defined, as the correlation with a constant, is NaN."""


@runtime_checkable
class RowsAtEnd(Protocol):
    """A score that gives the rows of a file of predictions itself, when all of a part is scored, as for pairs."""

    def rows(self) -> Iterable[Sequence[str]]:
        """The id of each item, and the columns of the task."""


def selection_error(metric: Metric, figures: Mapping[str, float]) -> float:
    """What a run is chosen by, lower is better: the metric's distance from its best value; ties go to the lower loss.

    Of an accuracy it is 100 - accuracy + 1e-6 * loss."""
    value = figures[metric.key]
    return (UNDEFINED if math.isnan(value) else metric.error(value)) + TIE * min(figures["loss"], 1e3)
