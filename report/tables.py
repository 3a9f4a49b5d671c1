"""The table of scores for papers: Markdown, or CSV with every digit."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from report.leaderboard import Cell, Column, Leaderboard
from report.words import digits_of, interval, number, signed


def as_markdown(board: Leaderboard) -> str:
    """Best in bold; ≈ is not clearly worse than it; under `minus` the difference from the baseline, * where clear."""
    beside = board.baseline is not None
    head = ["upstream", *(f"{one.task} on {one.data}: {_metric(one)} {one.arrow}" for one in board.columns)]
    head += ["mean rank"] * (board.shared > 1)
    rows = [head, ["---"] * len(head)]
    for row in board.rows:
        cells = [_cell(board.cells.get((row, column)), column, beside) for column in board.columns]
        ranks = [number(board.ranks[row], 2)] if board.shared > 1 else []
        rows.append([f"{row.name} ({row.about})", *cells, *ranks])
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in one)} |\n" for one in rows)


def _metric(column: Column) -> str:
    return f"{column.metric} ({column.unit})" if column.unit else column.metric


def _cell(cell: Cell | None, column: Column, beside: bool) -> str:
    if cell is None:
        return ""
    digits, test = digits_of(column.unit), cell.probe.test
    value = number(test.value, digits)
    words = [f"**{value}**" if cell.best else f"{value} ≈" if cell.as_good else value, interval(test, digits)]
    if test.deviation is not None:
        words.append(f"± {number(test.deviation, digits)} (n = {len(cell.probe.rows)})")
    if beside and cell.minus_baseline is not None:
        words.append(f"minus {signed(cell.minus_baseline, digits)}{'*' * cell.minus_baseline.clear}")
    return " ".join(filter(None, words))


CSV_COLUMNS = (
    *("upstream", "about", "task", "data", "metric", "unit", "better", "value", "low", "high", "deviation", "runs"),
    *("dev", "layer", "best", "minus_best", "minus_best_low", "minus_best_high"),
    *("minus_baseline", "minus_baseline_low", "minus_baseline_high", "folder"),
)


def as_csv(board: Leaderboard) -> str:
    """A line for each cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    table.writerows(_lines(board))
    return text.getvalue()


def _lines(board: Leaderboard) -> Iterator[Sequence[Any]]:
    for column in board.columns:
        for row in board.rows:
            cell = board.cells.get((row, column))
            if cell is None:
                continue
            test, probe = cell.probe.test, cell.probe
            differences = [
                value
                for apart in (cell.minus_best, cell.minus_baseline)
                for value in ((None,) * 3 if apart is None else (apart.value, apart.low, apart.high))
            ]
            values = [test.value, test.low, test.high, test.deviation]
            about = [row.name, row.about, column.task, column.data, column.metric, column.unit, column.better]
            shown = [probe.dev, probe.layer, int(cell.best)]
            numbers = ["" if value is None else value for value in (*values, len(probe.folders), *shown, *differences)]
            yield [*about, *numbers, probe.place]
