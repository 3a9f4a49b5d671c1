"""Where two curves cross: between which neighbouring values the better upstream becomes the worse one."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any


def place(axis: str, point: Mapping[str, Any], number: int) -> float:
    """Where a point is along the axis: at its hours, at its value, or as the `number`-th category."""
    return float({"hours": point["hours"], "number": point["value"]}.get(axis, number))


def in_order(axis: str, points: Sequence[Mapping[str, Any]]) -> list[int]:
    """The numbers of the points along the axis, the largest first; categories as they are."""
    numbers = range(len(points))
    return list(numbers) if axis == "category" else sorted(numbers, key=lambda i: -place(axis, points[i], i))


Paired = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[float, float] | None]


def crossings(content: Mapping[str, Any], paired: Paired | None = None) -> list[dict[str, Any]]:
    """For each two curves, all changes of the better one between neighbouring values; values without a winner are
    skipped. `gains` are the test means' differences at both, positive where the first of `curves` is better, with those
    of each seed. `paired` makes the interval of the metric of one point minus that of another, of their predictions."""
    found = []
    for one, other in combinations(content["curves"], 2):
        order = in_order(content["axis"], one["points"])
        gains = [(i, gain) for i in order if (gain := gain_at(content, one, other, i))["mean"] != 0]
        for (i, before), (j, after) in pairwise(gains):
            if (before["mean"] > 0) != (after["mean"] > 0):
                before, after = (
                    {**gain, "interval": _interval(content, one["points"][k], other["points"][k], paired)}
                    for k, gain in ((i, before), (j, after))
                )
                found.append(
                    {
                        "curves": [one["upstream"], other["upstream"]],
                        "between": [one["points"][i]["name"], one["points"][j]["name"]],
                        "hours": [one["points"][i]["hours"], one["points"][j]["hours"]],
                        "gains": [before, after],
                    }
                )
    return found


def gain_at(
    content: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any], number: int
) -> dict[str, Any]:
    """By how much a curve is better than another at a value, on average and for each seed."""
    sign = 1 if content["metric"]["better"] == "higher" else -1
    first, second = one["points"][number], other["points"][number]
    pairs = zip(first["seeds"], second["seeds"], strict=True)
    return {
        "mean": sign * (first["test_mean"] - second["test_mean"]),
        "seeds": [sign * (mine["test_value"] - theirs["test_value"]) for mine, theirs in pairs],
    }


def _interval(
    content: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any], paired: Paired | None
) -> dict[str, float] | None:
    """The interval of a gain."""
    ends = None if paired is None else paired(one, other)
    if ends is None:
        return None
    low, high = ends if content["metric"]["better"] == "higher" else (-ends[1], -ends[0])
    return {"low": low, "high": high}
