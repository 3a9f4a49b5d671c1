"""Upstreams by tasks: in each cell the run that dev likes best, beside the best of its column and a baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from report.runs import Probe
from utility.runs import mean


@dataclass(frozen=True)
class Difference:
    """The test score of a run minus that of another on the same utterances, with its 95 % interval."""

    value: float
    low: float | None
    high: float | None
    reason: str = ""  # why there is no interval

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


Paired = Callable[[Probe, Probe], Difference | None]  # None: their predictions are not of the same utterances
Examined = Callable[[Probe], str]  # what tells the recordings and labels of its test part from others


@dataclass(frozen=True)
class Column:
    """A task on one test part."""

    task: str
    data: str  # what it was tested on, in words
    metric: str
    unit: str
    better: str

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.better == "higher" else "↓"


@dataclass(frozen=True)
class Row:
    """An upstream as a reader tells it from others."""

    name: str
    about: str  # fingerprint of a checkpoint, or the features


@dataclass(frozen=True)
class Cell:
    """The run that stands for an upstream in a column."""

    probe: Probe
    runs: int  # of how many it was chosen
    best: bool = False
    minus_best: Difference | None = None
    minus_baseline: Difference | None = None

    @property
    def as_good(self) -> bool:
        """Whether nothing says that it is worse than the best one: the interval of the difference holds 0."""
        return self.minus_best is not None and self.minus_best.low is not None and not self.minus_best.clear


@dataclass(frozen=True)
class Leaderboard:
    """The table: cells by row and column; ranks and error reductions are over the columns that every row has."""

    rows: Sequence[Row]
    columns: Sequence[Column]
    cells: Mapping[tuple[Row, Column], Cell]
    shared: int  # columns that all rows have
    ranks: Mapping[Row, float] = field(default_factory=dict)
    reductions: Mapping[Row, float] = field(default_factory=dict)  # of the error of the baseline, in percent
    baseline: str | None = None  # the name of the rows that others are compared with, of which a column has one

    def beside(self, column: Column) -> Row | None:
        """The row of that name in a column, the best on dev of several."""
        return _beside([row for row in self.rows if (row, column) in self.cells], self.baseline, column, self.cells)


def leaderboard(probes: Sequence[Probe], examined: Examined, paired: Paired, baseline: str | None) -> Leaderboard:
    """Put runs with a test score into a table; dev, never test, chooses between runs of one cell.

    ValueError where `baseline` names no row."""
    found: dict[tuple[Row, Column], list[Probe]] = {}
    scored = [one for one in probes if one.test.value is not None]
    for probe, column in zip(scored, _columns(scored, examined)):
        found.setdefault((_row(probe), column), []).append(probe)
    rows = list(dict.fromkeys(row for row, _ in found))
    columns = sorted(dict.fromkeys(column for _, column in found), key=lambda one: (one.task, one.data, one.metric))
    name = _baseline(rows, baseline)
    chosen = {key: Cell(_best_on_dev(runs), len(runs)) for key, runs in found.items()}
    for column in columns:
        here = {row: chosen[row, column] for row in rows if (row, column) in chosen}
        chosen |= _compared(here, column, _beside(list(here), name, column, chosen), paired)
    shared = [column for column in columns if all((row, column) in chosen for row in rows)]
    ranks = _ranks(rows, shared, chosen)
    rows.sort(key=lambda row: (ranks.get(row, 0.0), row.name, row.about))
    return Leaderboard(rows, columns, chosen, len(shared), ranks, _reductions(rows, shared, chosen, name), name)


def _row(probe: Probe) -> Row:
    spec = str(probe.origin.get("spec") or probe.upstream)
    kind = spec.partition("=")[2] or spec
    if kind.startswith("baseline"):
        return Row(probe.upstream, _features(probe))
    if kind.startswith("random"):
        return Row(probe.upstream, "random weights")
    return Row(probe.upstream, str(probe.origin.get("fingerprint") or ""))


def _features(probe: Probe) -> str:
    """The features in words: a baseline is nothing else."""
    features = probe.result.get("features")
    if not isinstance(features, Mapping):
        return "features"
    deltas = int(features.get("deltas") or 0)
    words = [str(features.get("kind")), f"{deltas} delta{'s' * (deltas > 1)}" if deltas else ""]
    cmvn = features.get("cmvn", "none")
    return ", ".join(filter(None, [*words, "no CMVN" if cmvn == "none" else f"CMVN by {cmvn}"]))


def _columns(probes: Sequence[Probe], examined: Examined) -> list[Column]:
    """The column of each probe: one for the stores that hold features of the same recordings; parts of one name that
    differ are told apart by a number."""
    keys = [(probe.task, probe.metric.name, examined(probe)) for probe in probes]
    names: dict[tuple[str, str, str], list[str]] = {}
    for key, probe in zip(keys, probes):
        names.setdefault(key, []).append(_tested_on(probe))
    alike: dict[tuple[str, str, str], list[str]] = {}  # parts of a task, a metric and a name
    titles = {}
    for key, stores in names.items():
        data = " = ".join(dict.fromkeys(stores))
        known = alike.setdefault((*key[:2], data), [])
        known.append(key[2])
        titles[key] = data if len(known) == 1 else f"{data} ({len(known)})"
    return [
        Column(probe.task, titles[key], probe.metric.name, probe.metric.unit, probe.metric.better)
        for key, probe in zip(keys, probes)
    ]


def _tested_on(probe: Probe) -> str:
    """The test part in words: STORE/SPLIT, or the ends of other paths."""
    paths = probe.setting("data", "test") or probe.setting("data", "train") or []
    return ", ".join("/".join(Path(str(path)).parts[-2:]) for path in paths) or "unknown data"


def _best_on_dev(runs: Sequence[Probe]) -> Probe:
    return min(runs, key=lambda one: (inf if one.dev is None else one.metric.error(one.dev), one.place))


def _baseline(rows: Sequence[Row], name: str | None) -> str | None:
    wanted = "baseline" if name is None else name
    if any(row.name == wanted for row in rows):
        return wanted
    if name is not None:
        known = ", ".join(dict.fromkeys(row.name for row in rows)) or "none"
        raise ValueError(f"--baseline {name}: no run has an upstream of that name: there are {known}")
    return None


def _beside(
    rows: Sequence[Row], name: str | None, column: Column, cells: Mapping[tuple[Row, Column], Cell]
) -> Row | None:
    """The row of a name among those of a column, the best on dev of several, as of features with and without CMVN."""
    named = {row: cells[row, column].probe for row in rows if row.name == name}
    best = _best_on_dev(list(named.values())) if named else None
    return next((row for row, probe in named.items() if probe is best), None)


def _compared(
    cells: Mapping[Row, Cell], column: Column, baseline: Row | None, paired: Paired
) -> dict[tuple[Row, Column], Cell]:
    """Each cell of a column beside the best test score, and beside the baseline's."""
    best = min(cells, key=lambda row: (_error(cells[row]), cells[row].probe.place))
    compared = {}
    for row, cell in cells.items():
        apart = None if row == best else paired(cell.probe, cells[best].probe)
        gain = None
        if baseline is not None and baseline in cells and row != baseline:
            gain = paired(cell.probe, cells[baseline].probe)
        compared[row, column] = Cell(cell.probe, cell.runs, row == best, apart, gain)
    return compared


def _ranks(
    rows: Sequence[Row], columns: Sequence[Column], cells: Mapping[tuple[Row, Column], Cell]
) -> dict[Row, float]:
    """The mean place over the columns that all rows have; equal scores share the mean of their places."""
    places: dict[Row, list[float]] = {row: [] for row in rows}
    for column in columns:
        errors = {row: _error(cells[row, column]) for row in rows}
        for row, own in errors.items():
            better = sum(other < own for other in errors.values())
            equal = sum(other == own for other in errors.values())
            places[row].append(better + (equal + 1) / 2)
    return {row: sum(own) / len(own) for row, own in places.items() if own}


def _reductions(
    rows: Sequence[Row],
    columns: Sequence[Column],
    cells: Mapping[tuple[Row, Column], Cell],
    baseline: str | None,
) -> dict[Row, float]:
    """100 (E_b - E) / E_b, the mean over the columns that all rows have with the baseline among them."""
    beside = {column: _beside(rows, baseline, column, cells) for column in columns}
    reductions = {}
    for row in rows:
        own = []
        for column, other in beside.items():
            if other is not None:
                before = _error(cells[other, column])
                own.append(100 * (before - _error(cells[row, column])) / before if before else None)
        average = mean(own)
        if average is not None:
            reductions[row] = average
    return reductions


def _error(cell: Cell) -> float:
    assert cell.probe.test.value is not None, "only scored runs are in the table"
    return cell.probe.metric.error(cell.probe.test.value)
