"""What figures draw: the content of result.json of an analysis, checked and typed.

`{"experiments": {NAME: EXPERIMENT}, "curves": {CURVE: {"control"}}}`; an EXPERIMENT has `measure`, `unit` (empty: a
pure number), `higher_is` ("better" or "worse": which layer is the best one) and any of these fields. A score may be
null or NaN: nothing is drawn there.

- `shown`: "rows" where the points are no layers: each is drawn in a row, and the last one of a curve counts.
- `upstreams`: {CURVE: [{"label", "score", "low", "high", "per_trial", "per_sample"}]}, a point for each layer. Curves
  that are called RUN@STEP, for two steps or more, are also drawn over training steps.
- `chance`, `ceiling`: a number for all layers, numbers by name where runs differ, or null.
- `data`: counts in words, {"tokens": 7800, "classes": 39}, or a list of them, one for each sample
  or upstream, whose first is shown.
- `maps`: {NAME: {"values": [[...]], "rows": [...], "columns": [...], "row_axis", "column_axis", "measure", "unit",
  "centre", "scale", "marks"}}, a matrix. `centre` is the value that means "no effect", `scale` "log" is for weights of
  which few are large, `marks` are a short text for each cell. Maps of one measure, unit and pair of axes share a figure
  and its scale of colours.
- `differences`: [{"one": [CURVE, LABEL], "other": [CURVE, LABEL], "value", "low", "high"}], paired, one minus other.
- `heads`: {CURVE: {"layers", "globalness", "verticality", "diagonality", "category", "certainty"}}, labels [L], tables
  [L][H]; `certainty` is the share of resamples in which a head keeps its category.
- `block_heads`: {CURVE: [point of "T1 head 0" ...]}, `changes`: {CURVE: {CHANGE: [point of each layer]}}.
- `pruning`: {CURVE: {"heads" or "span": [{"name", "steps", "figures": {FIGURE: [...]}}], "figures": {FIGURE: unit}}}. A
  step of a span is null where nothing is cut.
- `layer_weights`: [{"task", "upstream", "seeds", "mean", "deviation", "times_norm", "scores"}], of layers T0 to TL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from utility.text import short


@dataclass(frozen=True)
class Point:
    """The score of one layer, and its interval from `low` to `high`; NaN is unknown."""

    label: str
    score: float
    low: float
    high: float
    repeats: tuple[float, ...]  # the scores of samples or trials that it is the mean of
    sampled: bool = False  # whether repeats are of several samples of the corpus

    @property
    def deviation(self) -> float:
        """The deviation over its repeats, NaN for one."""
        return float(np.std(self.repeats, ddof=1)) if len(self.repeats) > 1 else nan

    @property
    def band(self) -> tuple[float, float]:
        """The score ± the deviation over samples; of one sample its interval, or else ± the deviation over trials."""
        if self.sure and not self.sampled:
            return self.low, self.high
        return self.score - self.deviation, self.score + self.deviation

    @property
    def sure(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


@dataclass(frozen=True)
class Map:
    """A matrix [R, C] float64, NaN where nothing is known, with a label for each row and column."""

    name: str
    values: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str
    column_axis: str
    measure: str
    unit: str
    centre: float | None = None
    logarithmic: bool = False
    marks: tuple[tuple[str, ...], ...] | None = None

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """Maps of one kind share a figure."""
        return self.measure, self.unit, self.row_axis, self.column_axis


@dataclass(frozen=True)
class PairedDifference:
    """The score of one layer minus that of the other on the same samples, each as (curve, label)."""

    one: tuple[str, str]
    other: tuple[str, str]
    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Experiment:
    """One experiment of a result; `raw` holds the fields that only one kind of figure reads."""

    name: str
    measure: str
    unit: str
    lower_is_better: bool
    curves: Mapping[str, tuple[Point, ...]]
    levels: Mapping[str, float]  # chance and ceiling, in words
    data: str
    maps: tuple[Map, ...]
    differences: tuple[PairedDifference, ...]
    raw: Mapping[str, Any]

    @property
    def in_rows(self) -> bool:
        """Whether points are no layers."""
        return self.raw.get("shown") == "rows"

    @property
    def axis(self) -> str:
        """What the score is, with its unit."""
        return with_unit(self.measure, self.unit)


def with_unit(measure: str, unit: str) -> str:
    """The label of an axis."""
    return f"{measure} ({unit})" if unit else measure


def experiments(content: Mapping[str, Any], name: str = "result.json") -> tuple[Experiment, ...]:
    """The experiments of a result; ValueError with `name` and the field where it is none of an analysis."""
    listed = content.get("experiments")
    if not isinstance(listed, Mapping):
        raise ValueError(f"{name}: no result of an analysis, its experiments are {short(listed)}")
    return tuple(_experiment(f"{name}: {key}", key, value) for key, value in listed.items())


def controls(content: Mapping[str, Any]) -> frozenset[str]:
    """The curves that are controls: features, random weights."""
    curves = content.get("curves")
    listed = curves.items() if isinstance(curves, Mapping) else ()
    return frozenset(str(name) for name, about in listed if isinstance(about, Mapping) and about.get("control") is True)


def field(where: str, content: Any, key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
    """A checked field; ValueError says where it is missing or of another kind. Null counts as missing."""
    value = content.get(key) if isinstance(content, Mapping) else content
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind) or isinstance(value, bool) or not isinstance(content, Mapping):
        raise ValueError(f"{where}: its {key} is {short(value)}, which no figure can show")
    return value


def number(where: str, content: Any, key: str) -> float:
    """A number, NaN where there is none."""
    return float(field(where, content, key, (int, float), nan))


def table(where: str, content: Any, key: str, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """A matrix of numbers, float64; null becomes NaN. ValueError for rows of unlike length, or another size."""
    listed = field(where, content, key, list)
    try:
        values = np.array([[nan if value is None else value for value in row] for row in listed], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: its {key} is no table of numbers") from None
    wanted = (len(values) if rows is None else rows, values.shape[-1] if columns is None else columns)
    if values.ndim != 2 or not values.size or values.shape != wanted:
        raise ValueError(f"{where}: its {key} has the shape {values.shape}, expected {wanted}")
    return values


def texts(where: str, content: Any, key: str) -> tuple[str, ...]:
    """A list of labels."""
    return tuple(str(value) for value in field(where, content, key, list))


def _experiment(where: str, name: str, content: Any) -> Experiment:
    curves = field(where, content, "upstreams", Mapping, {})
    maps = field(where, content, "maps", Mapping, {})
    differences = field(where, content, "differences", list, [])
    return Experiment(
        name=name,
        measure=field(where, content, "measure", str),
        unit=field(where, content, "unit", str, ""),
        lower_is_better=field(where, content, "higher_is", str, "better") in ("worse", "lower"),
        curves={curve: points_of(f"{where}: {curve}", points) for curve, points in curves.items()},
        levels=_level(where, content, "ceiling") | _level(where, content, "chance"),
        data=_counts(content.get("data")),
        maps=tuple(_map(f"{where}: map {key}", key, value) for key, value in maps.items()),
        differences=tuple(_difference(where, value) for value in differences),
        raw=content,
    )


def _level(where: str, content: Any, key: str) -> dict[str, float]:
    """Chance or the ceiling: one, or several by name."""
    value = field(where, content, key, (int, float, Mapping), nan)
    values = {f"{key} of {name}": number(where, value, name) for name in value} if isinstance(value, Mapping) else {}
    return {name: level for name, level in (values or {key: value}).items() if np.isfinite(level)}


def points_of(where: str, listed: Any) -> tuple[Point, ...]:
    """The points of a curve; ValueError names what is wrong."""
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ValueError(f"{where}: its layers are {short(listed)}, which no figure can show")
    return tuple(
        Point(
            label=str(field(where, point, "label", str)),
            score=number(where, point, "score"),
            low=number(where, point, "low"),
            high=number(where, point, "high"),
            repeats=_repeats(where, point),
            sampled=len(_samples(where, point)) > 1,
        )
        for point in listed
    )


def _repeats(where: str, point: Any) -> tuple[float, ...]:
    """The scores of several samples, or else of the trials of one."""
    repeats = _samples(where, point) or field(where, point, "per_trial", list, [])
    return tuple(float(one) for one in repeats if isinstance(one, int | float))


def _samples(where: str, point: Any) -> list[Any]:
    return list(field(where, point, "per_sample", list, []))


def _map(where: str, name: str, content: Any) -> Map:
    rows, columns = texts(where, content, "rows"), texts(where, content, "columns")
    centre, marks = number(where, content, "centre"), field(where, content, "marks", list, None)
    return Map(
        name=name,
        values=table(where, content, "values", len(rows), len(columns)),
        rows=rows,
        columns=columns,
        row_axis=field(where, content, "row_axis", str),
        column_axis=field(where, content, "column_axis", str),
        measure=field(where, content, "measure", str),
        unit=field(where, content, "unit", str, ""),
        centre=centre if np.isfinite(centre) else None,
        logarithmic=field(where, content, "scale", str, "") == "log",
        marks=None if marks is None else tuple(tuple(str(mark) for mark in row) for row in marks),
    )


def _difference(where: str, content: Any) -> PairedDifference:
    one, other = (texts(where, content, key) for key in ("one", "other"))
    if len(one) != 2 or len(other) != 2:
        raise ValueError(f"{where}: a difference is of {short([*one, *other])}: expected a curve and a label, twice")
    value, low, high = (number(where, content, key) for key in ("value", "low", "high"))
    return PairedDifference((one[0], one[1]), (other[0], other[1]), value, low, high)


def _counts(data: Any) -> str:
    """Counts of the data in words, of the first sample or upstream: as many as fit under a title."""
    first = data[0] if isinstance(data, list) and data else data
    shown = []
    for name, value in first.items() if isinstance(first, Mapping) else ():
        if name == "upstream":
            continue
        words = name.replace("_", " ")
        if isinstance(value, int) and not isinstance(value, bool):
            shown.append(f"{value:,} {words}" if words.endswith("s") else f"{words}: {value:,}")
        elif isinstance(value, str) and 0 < len(value) < 30:
            shown.append(f"{words}: {value}")
    return ", ".join(shown[:5])
