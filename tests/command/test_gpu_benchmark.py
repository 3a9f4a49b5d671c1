"""`make gpu` on a machine without a GPU: every stage runs at tiny sizes, and what goes wrong is a row of its own."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.gpu.steps import ways
from benchmarks.gpu.table import ON_CPU, ON_GPU, Measurement, Row, Table
from tests.conftest import PROJECT

STAGES = {"facts", "products", "waits", "tests", "features", "extraction", "loader", "steps"}


def run(*words):
    return subprocess.run([sys.executable, "-m", "benchmarks.gpu", *words], cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.slow
def test_every_stage_runs_on_a_cpu(tmp_path):
    done = run("--cpu", "--json", tmp_path / "gpu.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["stage"] for row in rows} == STAGES
    assert not [row for row in rows if row["note"]]
    assert len(done.stdout.splitlines()) == len(rows) + 2
    steps = [row for row in rows if row["stage"] == "steps" and "frames/s" in row["figures"]]
    assert [row["name"].partition(",")[0] for row in steps] == ["Base", "Large", "TERA base", "APC"]
    assert all(row["figures"]["TFLOP/s"] > 0 for row in steps)


@pytest.mark.parametrize("way", ways((96_000, 9_000)), ids=lambda way: way.name)
def test_every_way_is_one_that_a_config_takes(way):
    config = way.config(ON_GPU)
    assert (config.loader.batch_frames, config.packs, config.speed.compile) == (way.budget, way.packed, way.compiled)
    assert config.speed.graphs == (way.more == "graphs=True")
    assert (config.speed.residual == "bf16") == (way.more == "residual=bf16")


def test_the_ways_are_all_different_and_have_those_that_should_pay_most():
    names = [way.name for way in ways((96_000, 9_000))]
    assert len(set(names)) == len(names)
    assert "Base, 96,000 frames, packed, compiled, residual=bf16" in names
    assert "Base, 9,000 frames, padded, compiled, graphs=True" in names


@pytest.mark.slow
def test_without_a_gpu_it_says_what_to_do(monkeypatch):
    if torch.cuda.is_available():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("no CUDA device: --cpu shows what would be measured")


def test_a_measurement_fails_alone_and_what_does_not_fit_is_left_out(tmp_path, capsys):
    table = Table(tmp_path / "gpu.json", seconds=60)
    table.run("one", Measurement("broken", 1, lambda: {"x": 1 / 0}))
    table.run("one", Measurement("long", 600, lambda: {"x": 1}))
    table.run("other", Measurement("fine", 1, lambda: {"frames/s": 1234567.8, "kernels": 314, "GPU": "none"}))
    assert [row.note.partition(":")[0] for row in table.rows] == ["failed", "left out", ""]
    assert table.rows[0].note == "failed: ZeroDivisionError: division by zero"
    assert "600 s" in table.rows[1].note
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| other | fine | frames/s 1,234,568, kernels 314, GPU none |"
    written = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [Row(**row) for row in written] == table.rows
    assert not ON_CPU.gpu
