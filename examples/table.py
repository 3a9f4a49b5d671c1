"""Print probing results as a Markdown table: a row per system, a column per task and data.

Reads DIR/result_UPSTREAM_TASK/DATA-SYSTEM/{summary,result}.json, as examples/demo.sh and examples/real_speech.sh name
their runs; accuracies are test %, with the standard deviation over seeds where there are several. Linear probes of one
layer are solved for, and depend on no learning rate; what is trained by steps says so ("by SGD", "fine-tuned")."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import only_argument

TASKS = ("phone_linear", "phone_1hidden", "phone_concat", "speaker_frame", "speaker_utterance")


def cell(run: Path) -> str | None:
    """Test accuracy of a run, or None where it is not finished."""
    if (run / "summary.json").is_file():
        summary = json.loads((run / "summary.json").read_text())
        spread = summary["test_deviation"]
        return f"{summary['test_mean']:.1f}" + (f" ± {spread:.1f}" if spread is not None else "")
    if (run / "result.json").is_file():
        result = json.loads((run / "result.json").read_text())
        return f"{result.get('value', result.get('test_accuracy')):.1f}"  # old files have no header
    return None


def table(directory: Path) -> str:
    """All finished runs below `directory`."""
    cells: dict[str, dict[str, str]] = {}
    for run in sorted(directory.glob("result_*/*-*")):
        task = next(name for name in TASKS if run.parent.name.endswith(f"_{name}"))
        data, _, system = run.name.replace("_", " ").partition("-")
        value = cell(run)
        if value is not None:
            cells.setdefault(system, {})[f"{task} {data}"] = value
    return markdown("system", cells)


def markdown(corner: str, cells: Mapping[str, Mapping[str, str]], title: Callable[[str], str] = str) -> str:
    """A Markdown table of cells by row and column, both in the order of their names; cells that lack are empty."""
    columns = sorted({column for row in cells.values() for column in row})
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in sorted(cells.items())]
    return as_table([[corner, *map(title, columns)], *rows], ["---", *("---:" for _ in columns)])


def as_table(rows: Sequence[Sequence[str]], rule: Sequence[str] = ()) -> str:
    """A Markdown table of rows, the first of which is its header; `rule` says how columns are aligned."""
    header, *others = rows
    lines = [header, rule or ["---"] * len(header), *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    results = Path(only_argument("RESULT_DIRECTORY"))
    if not results.is_dir():
        print(f"table.py: {results}: no such folder", file=sys.stderr)
        raise SystemExit(2)
    print(table(results))
    if "speaker_" in table(results):
        print("\nSpeakers: of utterances that were never seen, by speakers that were.")
