"""`make bench AGAINST=...`: both libraries are the ones asked for, and a loss is one in every run."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.against import ROOMS, SLACK, Comparison, Elsewhere, Repeated, compare
from benchmarks.contest import contest
from benchmarks.loading import Loading
from tests.conftest import PROJECT

SECONDS = 0.5
EPOCH = '        """The batches of an epoch as utterance indices."""\n'


@pytest.fixture
def before(tmp_path) -> Path:
    """A copy of the library that takes its time over every epoch."""
    for room in (*ROOMS, "config"):
        shutil.copytree(PROJECT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    loader = tmp_path / "utility/loader.py"
    source = loader.read_text()
    assert source.count(EPOCH) == 1
    loader.write_text(source.replace(EPOCH, f"{EPOCH}        __import__('time').sleep({SECONDS})\n"))
    return tmp_path


@pytest.mark.slow
def test_a_stage_runs_on_the_library_of_each_checkout(before, monkeypatch):
    monkeypatch.chdir(PROJECT)
    found = compare(Repeated(Loading(0), 1), before, rounds=1, runs=1)
    assert found.there > SECONDS > found.here
    assert found.faster


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [((1.03, 1.05, 1.04), "slower"), ((1.03, 1.05, SLACK), ""), ((0.9, 0.95), "faster"), ((0.9, 0.99), "")],
)
def test_a_loss_is_one_in_every_run(ratios, verdict):
    assert Comparison(1.0, 1.0, ratios).row("stage").split(" | ")[-1] == f"{verdict} |"


@pytest.mark.slow
def test_another_version_in_a_process_is_an_error(tmp_path, monkeypatch, capfd):
    """One that is installed is found wherever one looks."""
    installed, checkout = tmp_path / "installed", tmp_path / "checkout"
    for folder, rooms in ((installed, ROOMS), (checkout, ["config"])):
        folder.mkdir()
        for room in rooms:
            (folder / room).symlink_to(PROJECT / room)
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    monkeypatch.chdir(PROJECT)
    with pytest.raises(RuntimeError, match="the process of this contestant ended"):
        contest({"there": Elsewhere(pickle.dumps(Loading(0)), checkout)}, 1)
    assert "another version is installed or was imported" in capfd.readouterr().err


def test_a_folder_without_a_library_is_refused(tmp_path):
    command = [sys.executable, "-m", "benchmarks.against", str(tmp_path)]
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert found.returncode == 2
    assert "not a checkout of this repository" in found.stderr
