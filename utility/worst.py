"""The utterances of the greatest loss that `--plot --worst` drew: a table beside the pictures."""

import csv
from collections.abc import Mapping
from pathlib import Path

from utility.arrays import number
from utility.files import replacing

WORST = "worst.csv"
COLUMNS = ["utterance", "loss"]


def write_worst(folder: Path, losses: Mapping[str, float]) -> Path:
    """Write ids and their losses, in their order."""
    with replacing(folder / WORST) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows((name, f"{loss:.6g}") for name, loss in losses.items())
    return folder / WORST


def read_worst(path: Path) -> dict[str, float]:
    """Losses by id, in the order of the file; ValueError for a damaged one."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [*csv.reader(file)]
    try:
        if rows[:1] == [COLUMNS]:
            return {name: number(loss) for name, loss in rows[1:]}
    except ValueError:
        pass
    raise ValueError(f"{path}: damaged, no table of {' and '.join(COLUMNS)}: run --plot --worst again")
