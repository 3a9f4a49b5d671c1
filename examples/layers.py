"""Print layer analyses as Markdown: for each experiment a table with a row per curve.

Reads DIR/result_analysis/NAME/result.json, as run_analysis.py --expdir DIR writes them. A row has the best layer and
its score with its interval, the first and the last layer, how the score goes with depth, and how far the best layer is
above the best one of every control, with the interval of that difference. `*` marks one whose interval has no 0."""

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import only_argument

Row = Mapping[str, Any]


def course(rows: Sequence[Row]) -> str:
    """How a score goes with depth over blocks: where it falls, rises, or turns."""
    blocks = [row for row in rows if str(row["label"]).startswith("T")]
    scores = [row["score"] for row in blocks]
    if len(scores) < 2:
        return ""
    steps = [after - before for before, after in pairwise(scores)]
    if all(step > 0 for step in steps):
        return "rises"
    if all(step < 0 for step in steps):
        return "falls"
    top, low = scores.index(max(scores)), scores.index(min(scores))
    return f"highest at {blocks[top]['label']}, lowest at {blocks[low]['label']}"


def number(value: float) -> str:
    """A score in three decimals, or fewer for large ones."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def interval(row: Row) -> str:
    """The interval of a score or difference, where it has one."""
    return "" if row.get("low") is None else f" [{number(row['low'])}, {number(row['high'])}]"


def difference(found: Sequence[Row], curve: str, best: str, other: str) -> str:
    """The best layer of a curve minus the best one of another, as result.json has it for one order of the two."""
    for row in found:
        one, two = row["one"], row["other"]
        if one == [curve, best] and two[0] == other:
            sign, low, high = 1, row["low"], row["high"]
        elif two == [curve, best] and one[0] == other:
            sign, low, high = -1, -row["high"], -row["low"]
        else:
            continue
        mark = "*" if low > 0 or high < 0 else ""
        return f"{number(sign * row['value'])} [{number(low)}, {number(high)}]{mark}"
    return ""


def table(name: str, experiment: Mapping[str, Any], controls: Sequence[str]) -> list[str]:
    """The lines of one experiment."""
    curves = {curve: rows for curve, rows in experiment["upstreams"].items() if rows}
    beside = [control for control in controls if control in curves]
    header = ["curve", "best", "score", "first", "last", "with depth", *(f"above {control}" for control in beside)]
    lines = [
        f"**{name}**, {experiment['measure']}{_levels(experiment)}",
        "",
        _cells(header),
        _cells(["---"] * len(header)),
    ]
    sign = 1 if experiment["higher_is"] == "better" else -1
    for curve, rows in curves.items():
        in_rows = experiment.get("shown") == "rows"  # no layers: the last row counts
        best = rows[-1] if in_rows else max(rows, key=lambda row: sign * row["score"])
        cells = [curve, best["label"], number(best["score"]) + interval(best)]
        cells += [f"{row['label']} {number(row['score'])}" for row in (rows[0], rows[-1])] + [course(rows)]
        found = experiment.get("differences", [])
        cells += ["" if control == curve else difference(found, curve, best["label"], control) for control in beside]
        lines.append(_cells(cells))
    return [*lines, ""]


def _levels(experiment: Mapping[str, Any]) -> str:
    known: list[tuple[str, float]] = []
    for key in ("chance", "ceiling"):
        level = experiment.get(key)
        by_name = {f"{key} of {name}": value for name, value in level.items()} if isinstance(level, Mapping) else {}
        known += by_name.items() if by_name else [] if level is None else [(key, level)]
    return "".join(f", {key} {number(value)}" for key, value in known)


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def report(content: Mapping[str, Any], name: str) -> str:
    """All experiments of a run, and what it took."""
    controls = [curve for curve, about in content["curves"].items() if about["control"]]
    lines = [f"{name}: {content['seconds']:.0f} s, {content['peak_memory_mib']:.0f} MiB at most", ""]
    for experiment, found in content["experiments"].items():
        if found.get("upstreams"):
            lines += table(experiment, found, controls)
    return "\n".join(lines)


if __name__ == "__main__":
    folder = Path(only_argument("RESULT_DIRECTORY"))
    files = sorted(folder.glob("result_analysis/*/result.json"))
    if not files:
        print(f"layers.py: {folder}: no result_analysis/NAME/result.json of run_analysis.py below it", file=sys.stderr)
        raise SystemExit(2)
    for file in files:
        print(report(json.loads(file.read_text(encoding="utf-8")), file.parent.name))
