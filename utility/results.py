"""Finished probes read again: result.json of one run, and the folders that a summary.json stands for."""

from pathlib import Path
from typing import Any

from utility.runs import read_json
from utility.text import short

RESULT, SUMMARY = "result.json", "summary.json"
FIELDS = {  # what is read of a result again, and what it must be
    "task": str,
    "upstream": str,
    "metric": dict,
    "value": float | int | None,
    "dev_value": float | int | None,
    "selection_error": float | int,
    "best_step": int,
    "steps": int,
    "layer_weights": list | None,
}


def read_result(path: Path) -> dict[str, Any]:
    """A result.json with its header; of an old one, which had none and was always an accuracy, it is made up here."""
    content = read_json(path)
    if "value" not in content:
        content |= {
            "metric": {"name": str(content.get("metric")).removesuffix(" (%)"), "unit": "%", "better": "higher"},
            "value": content.get("test_accuracy"),
            "dev_value": content.get("dev_accuracy"),
            "selection_error": content.get("criterion"),
        }
    for name, kind in FIELDS.items():
        if name not in content or not isinstance(content[name], kind) or isinstance(content[name], bool):
            wrong = f"{name} is {short(content.get(name))}"
            raise ValueError(f"{path}: damaged, {wrong}: remove it, and it is written again")
    if not isinstance(content["metric"].get("unit"), str):
        raise ValueError(f"{path}: damaged, its metric has no unit: remove it, and it is written again")
    if not all(map(_is_interval, (content.get("interval"), content.get("dev_interval")))):
        raise ValueError(f"{path}: damaged, its interval is none: remove it, and it is written again")
    if not all(type(weight) in (int, float) for weight in content["layer_weights"] or ()):
        raise ValueError(f"{path}: damaged, layer_weights are no numbers: remove it, and it is written again")
    return content


def _is_interval(value: Any) -> bool:
    kinds = {"low": float | int, "high": float | int, "level": float, "method": str, "groups": int}
    return value is None or (
        isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())
    )


def summary_folders(file: Path) -> list[list[Path]]:
    """The folders that a summary names, of each seed those of its folds; also where all of it was moved since."""
    content = read_json(file)
    try:
        parts = content.get("folds", [content])
        folders = [[_there(file.parent, Path(row["folder"])) for row in part["seeds"]] for part in parts]
        return [list(of_seed) for of_seed in zip(*folders, strict=True)]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(
            f"{file}: damaged, or no summary of run_downstream.py: go on with the run (--resume)"
        ) from None


def _there(summary: Path, folder: Path) -> Path:
    """A folder below that of the summary, wherever the latter is now."""
    tails = (summary.joinpath(*folder.parts[start:]) for start in range(1, len(folder.parts)))
    found = next((tail for tail in (*tails, folder) if (tail / RESULT).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{summary / SUMMARY} names {folder}, where no {RESULT} is: name folders of single runs"
        )
    return found
