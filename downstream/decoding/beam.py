"""The likeliest units of CTC's outputs: a search over the beginnings of what was said.

Many paths of outputs spell the same units (a blank more, a unit held longer); their probabilities are summed, where a
greedy decoder sees one path. Each beginning has two scores, of the paths that end in a blank and of those that end in
its last unit, for only after a blank the same unit can come again (Graves et al. 2006, section 3.2; Hannun et al.
2014, algorithm 1). The search is exact where the beam holds all beginnings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLANK = 0
NEVER = -np.inf


@dataclass(frozen=True)
class Beginnings:
    """Sequences of units [K]: their number in `Spelled`, their last unit (-1 of the empty one), and the logarithms of
    what their paths sum to, float64 [K]: those that end in a blank, and those that end in the last unit."""

    node: np.ndarray
    last: np.ndarray
    in_blank: np.ndarray
    in_unit: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Of all paths."""
        return np.logaddexp(self.in_blank, self.in_unit)


class Spelled:
    """All sequences that were met, as a tree: a node is a unit after another node; 0 is the empty sequence."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], int] = {}
        self.parent, self.unit = [-1], [-1]

    def after(self, node: int, unit: int) -> int:
        """The node of a sequence with one unit more."""
        found = self._nodes.setdefault((node, unit), len(self.parent))
        if found == len(self.parent):
            self.parent.append(node)
            self.unit.append(unit)
        return found

    def units(self, node: int) -> list[int]:
        """The units from the first to the last."""
        units = []
        while node:
            units.append(self.unit[node])
            node = self.parent[node]
        return units[::-1]


def search(emissions: np.ndarray, beam: int, threshold: float, nbest: int) -> list[tuple[Sequence[int], float]]:
    """The units of the `nbest` likeliest sequences and the logarithms of their probabilities, best first.

    `emissions` [T, V] are natural logarithms, unit 0 is the blank. At every step `beam` beginnings are kept, those that
    are not `threshold` below the best one."""
    spelled, nothing = Spelled(), np.zeros(1, np.int64)
    kept = Beginnings(nothing, nothing - 1, np.zeros(1), np.full(1, NEVER))
    for step in np.asarray(emissions, np.float64):
        kept = _advance(kept, step, beam, threshold, spelled)
    total = kept.total
    order = np.argsort(-total, kind="stable")[:nbest].tolist()
    return [(spelled.units(int(kept.node[k])), float(total[k])) for k in order]


def _advance(kept: Beginnings, step: np.ndarray, beam: int, threshold: float, spelled: Spelled) -> Beginnings:
    """The beginnings after one more step of outputs, float64 [V]."""
    total, again = kept.total, np.flatnonzero(kept.last >= 0)
    last = kept.last[again]
    in_blank, in_unit = total + step[BLANK], np.full(len(total), NEVER)
    in_unit[again] = kept.in_unit[again] + step[last]
    longer = total[:, None] + step[1:]  # [K, V - 1], by a unit after the blank
    longer[again, last - 1] = kept.in_blank[again] + step[last]
    rows = {node: row for row, node in enumerate(kept.node.tolist())}
    for row, node in enumerate(kept.node.tolist()):
        shorter = rows.get(spelled.parent[node])
        if shorter is not None:  # one unit more makes a beginning that is kept already
            unit = spelled.unit[node] - 1
            in_unit[row] = np.logaddexp(in_unit[row], longer[shorter, unit])
            longer[shorter, unit] = NEVER
    chosen = _best(np.concatenate([np.logaddexp(in_blank, in_unit), longer.ravel()]), beam, threshold)
    same, more = chosen[chosen < len(total)], chosen[chosen >= len(total)] - len(total)
    shorter_rows, units = np.divmod(more, len(step) - 1)
    pairs = zip(kept.node[shorter_rows].tolist(), (units + 1).tolist())
    nodes = np.fromiter((spelled.after(node, unit) for node, unit in pairs), np.int64, len(more))
    return Beginnings(
        np.concatenate([kept.node[same], nodes]),
        np.concatenate([kept.last[same], units + 1]),
        np.concatenate([in_blank[same], np.full(len(more), NEVER)]),
        np.concatenate([in_unit[same], longer.ravel()[more]]),
    )


def _best(total: np.ndarray, most: int, threshold: float) -> np.ndarray:
    """The numbers of the best scores, at most so many, in order; those far below the best one are dropped."""
    kept = np.flatnonzero((total > NEVER) & (total >= total.max() - threshold))
    if not len(kept):
        return np.zeros(1, np.int64)  # nothing is possible
    if len(kept) <= most:
        return kept
    least = np.partition(total[kept], -most)[-most]
    above, equal = kept[total[kept] > least], kept[total[kept] == least]
    return np.sort(np.concatenate([above, equal[: most - len(above)]]))  # of equals the first, on every machine
