"""examples/layers.py: tables of layer analyses."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT


def row(label: str, score: float) -> dict:
    return {"label": label, "score": score, "low": score - 0.01, "high": score + 0.02}


def result(better: str) -> dict:
    """Two upstreams and a control; the control stands first in one difference and second in another."""
    curves = {"ours": [row("T0", 0.3), row("T1", 0.5), row("T2", 0.4)], "random": [row("T0", 0.35), row("T1", 0.2)]}
    curves["features"] = [row("F", 0.25)]
    differences = [
        {"one": ["ours", "T1"], "other": ["random", "T0"], "value": 0.15, "low": 0.1, "high": 0.2},
        {"one": ["features", "F"], "other": ["ours", "T1"], "value": -0.25, "low": -0.5, "high": 0.1},
    ]
    experiment = {
        "measure": "held-out CCA",
        "higher_is": better,
        "upstreams": curves,
        "chance": 0.01,
        "ceiling": None,
        "differences": differences,
    }
    flags = {"ours": {"control": False}, "random": {"control": True}, "features": {"control": True}}
    about = {"kind": "analysis", "seconds": 12.3, "peak_memory_mib": 456.7}
    return about | {"experiments": {"cca_phone": experiment}, "curves": flags}


def write(folder: Path, content: dict) -> None:
    run = folder / "result_analysis" / "phones"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps(content))


def printed(*folders: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "examples/layers.py", *map(str, folders)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def rows_of(text: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells for cells in lines}


def test_a_row_has_the_best_layer_and_its_signed_differences(tmp_path):
    write(tmp_path, result("better"))
    text = printed(tmp_path).stdout
    assert "phones: 12 s, 457 MiB at most" in text
    assert "**cca_phone**, held-out CCA, chance 0.010" in text
    rows = rows_of(text)
    assert rows["curve"][-2:] == ["above random", "above features"]
    assert rows["ours"][1:] == ["T1", "0.500 [0.490, 0.520]", "T0 0.300", "T2 0.400", "highest at T1, lowest at T0",
                                "0.150 [0.100, 0.200]*", "0.250 [-0.100, 0.500]"]  # fmt: skip
    assert rows["random"][1:6] == ["T0", "0.350 [0.340, 0.370]", "T0 0.350", "T1 0.200", "falls"]


def test_where_lower_is_better_the_lowest_layer_is_the_best(tmp_path):
    write(tmp_path, result("worse"))
    assert rows_of(printed(tmp_path).stdout)["ours"][1] == "T0"


def test_a_folder_without_an_analysis_is_refused_in_one_line(tmp_path):
    ended = printed(tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert str(tmp_path) in ended.stderr
