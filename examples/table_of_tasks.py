"""Print what several systems reach in several tasks as a Markdown table: a row per task and data, a column per system.

Reads DIR/result_UPSTREAM_TASK/DATA-SYSTEM/{summary,result}.json, as examples/real_tasks.sh names its runs. A cell is
the test score, its standard deviation where there are several seeds, and its 95 % interval."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from downstream.tasks.table import TASKS
from examples.table import markdown
from utility.command import only_argument
from utility.runs import in_brackets

ARROWS = {"higher": "↑", "lower": "↓"}


def finished(run: Path) -> dict[str, Any] | None:
    """The result of a run, of all its seeds or folds together, or None where it is not finished."""
    for name in ("summary.json", "result.json"):
        if (run / name).is_file():
            found = json.loads((run / name).read_text())
            return found if found.get("test_mean", found.get("value")) is not None else None
    return None


def cell(found: dict[str, Any]) -> str:
    """Score, deviation, interval. Folds have the score of all their predictions, without the deviation over folds."""
    value = found.get("pooled") or found.get("test_mean", found.get("value"))
    spread = None if "folds" in found else found.get("test_deviation")
    said = f"{value:.1f}" + (f" ± {spread:.1f}" if spread is not None else "")
    return said + in_brackets(found.get("interval"), 1)


def table(directory: Path) -> str:
    """All finished runs below `directory`."""
    rows: dict[str, dict[str, str]] = {}
    for run in sorted(directory.glob("result_*/*-*")):
        task = max((name for name in TASKS if run.parent.name.endswith(f"_{name}")), key=len, default=None)
        found = finished(run)
        if task is None or found is None:
            continue
        data, _, system = run.name.partition("-")
        row = f"`{task}` {data.replace('_', ' ')}, {found['metric']['name']} {ARROWS[found['metric']['better']]}"
        rows.setdefault(row, {})[system] = cell(found)
    return markdown("task", rows, lambda system: system.partition("_")[2].replace("_", " "))


if __name__ == "__main__":
    results = Path(only_argument("RESULT_DIRECTORY"))
    if not results.is_dir():
        print(f"table_of_tasks.py: {results}: no such folder", file=sys.stderr)
        raise SystemExit(2)
    print(table(results))
