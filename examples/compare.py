"""Print probing results of any upstreams side by side, each with what it cost.

Reads DIR/result_UPSTREAM_TASK/NAME/{summary,result}.json. For each task a Markdown table: test score with its 95 %
interval, dev score, how far the test score is from that of the features (baseline), layer, weights, and the seconds of
the hidden states and of training; `-` where these were kept from an earlier run. Of several seeds or folds it shows
means."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import only_argument
from utility.runs import in_brackets

COLUMNS = ("upstream", "run", "test", "dev", "above features", "layer", "weights", "trained", "frames", "states s",
           "MB", "training s")  # fmt: skip


def results_of(run: Path) -> list[dict[str, Any]]:
    """The finished result of a run, or those of its seeds that dev chose."""
    files = [run / "result.json"]
    if (run / "summary.json").is_file():
        summary = json.loads((run / "summary.json").read_text())
        seeds = [row for part in summary.get("folds", [summary]) for row in part["seeds"]]
        files = [Path(row["folder"]) / "result.json" for row in seeds]
    results = [json.loads(file.read_text()) for file in files if file.is_file()]
    return [result for result in results if result.get("value") is not None and "cost" in result]


def interval_of(run: Path) -> str:
    """The interval of the test score of a run, or of its mean over seeds, behind a space; empty where there is none."""
    file = run / "summary.json"
    content = json.loads((file if file.is_file() else run / "result.json").read_text())
    interval = None if content.get("interval_of") == "pooled" else content.get("interval")
    return in_brackets(interval, 1)


def row(name: str, results: Sequence[Mapping[str, Any]], interval: str, features: float | None) -> list[str]:
    """One line of the table."""
    test, dev = (statistics.fmean(result[key] for result in results) for key in ("value", "dev_value"))
    first, layers = results[0], sorted({str(_layer(result)) for result in results})
    cost, spread = first["cost"], ""
    if len(results) > 1:
        spread = f" ± {statistics.stdev(result['value'] for result in results):.1f}"
    return [
        first["upstream"],
        name,
        f"{test:.1f}{spread}{interval}",
        f"{dev:.1f}",
        "" if features is None else f"{test - features:+.1f}",
        ", ".join(layers),
        f"{first['parameters']['upstream']:,}",
        f"{first['parameters']['trained']:,}",
        f"{cost['frames']:,}",
        _seconds(results, "states_seconds"),
        f"{cost['states_bytes'] / 1e6:.1f}",
        _seconds(results, "training_seconds"),
    ]


def table(directory: Path) -> str:
    """All finished runs below `directory`, a table for each task and its unit."""
    runs: dict[str, list[tuple[str, list[dict[str, Any]], str]]] = {}
    for run in sorted(path for path in directory.glob("result_*/*") if path.is_dir()):
        if results := results_of(run):
            metric = results[0]["metric"]
            runs.setdefault(f"{results[0]['task']}: {metric['name']} ({metric['unit']})", []).append(
                (run.name, results, interval_of(run))
            )
    lines = []
    for title, found in sorted(runs.items()):
        plain = [
            results for _, results, _ in found if results[0]["fingerprints"]["upstream"]["spec"].endswith("baseline")
        ]
        features = statistics.fmean(result["value"] for result in plain[0]) if plain else None
        found.sort(key=lambda one: statistics.fmean(result["value"] for result in one[1]))
        rows = [list(COLUMNS), ["---"] * len(COLUMNS), *(row(*one, features) for one in found)]
        lines += [title, "", *(f"| {' | '.join(cells)} |" for cells in rows), ""]
    return "\n".join(lines).rstrip()


def _layer(result: Mapping[str, Any]) -> str:
    return result["layer_label"] or "+".join(result["layers"])


def _seconds(results: Sequence[Mapping[str, Any]], key: str) -> str:
    """The mean of what is known."""
    known = [result["cost"][key] for result in results if result["cost"][key] is not None]
    return f"{statistics.fmean(known):.1f}" if known else "-"


if __name__ == "__main__":
    folder = Path(only_argument("RESULT_DIRECTORY"))
    if not folder.is_dir():
        print(f"compare.py: {folder}: no such folder", file=sys.stderr)
        raise SystemExit(2)
    print(table(folder))
