"""One process at a time writes a folder, and what killed ones left there goes."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from utility import files
from utility.files import remove_leftovers, replace_folder, temporary
from utility.locks import LOCK, held

HOLDER = """
import sys, time, os
from pathlib import Path
from utility.locks import held
with held(Path(sys.argv[1]), "wait"):
    child = os.fork() if "fork" in sys.argv else 1
    if child:
        print("held", os.getpid(), child, flush=True)
    time.sleep(60)
"""


def holder(folder: Path, *words: str) -> tuple[subprocess.Popen, int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    pid, child = (int(word) for word in process.stdout.readline().split()[1:])
    assert pid == process.pid
    return process, child


def test_a_folder_that_another_process_holds_is_refused_in_one_line_that_names_it(tmp_path):
    process, _ = holder(tmp_path / "run")
    try:
        line = re.escape(f"run: process {process.pid} on {socket.gethostname()} writes there: take another")
        with pytest.raises(ValueError, match=line), held(tmp_path / "run", "take another"):
            pass
    finally:
        process.kill()
        process.wait()
    with held(tmp_path / "run", "take another"):  # what was killed holds nothing
        assert (tmp_path / "run" / LOCK).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert not (tmp_path / "run").exists()  # empty


def test_processes_that_a_killed_one_has_forked_do_not_hold_its_folder(tmp_path):
    process, child = holder(tmp_path / "run", "fork")
    assert child > 1
    process.kill()
    process.wait()
    try:
        with held(tmp_path / "run", "take another"):
            os.kill(child, 0)  # it still lives
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with held(tmp_path / "run", "take another"):
        (tmp_path / "run" / "result").touch()
    assert capsys.readouterr().err.count("this file system has no locks") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def gone() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def aged(path: Path, days: float, monkeypatch) -> Path:
    path.touch()
    now = time.time
    monkeypatch.setattr(files.time, "time", lambda: now() + 86400 * days)
    return path


def test_what_a_killed_process_left_half_written_is_removed_and_named(tmp_path, capsys):
    with temporary(tmp_path / "a.ckpt") as mine:
        mine.touch()
        theirs = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{gone()}-"))
        theirs.write_text("half")
        folder = mine.with_name(mine.name.replace("a.ckpt", "b").replace(f"-{os.getpid()}-", f"-{gone()}-"))
        (folder / "deep").mkdir(parents=True)
        alive = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))
        other = mine.with_name(mine.name.replace(files._host(), "elsewhere"))
        named = [tmp_path / ".a.ckpt.tmp", tmp_path / ".notes.2026-1234.tmp", tmp_path / "b.ckpt"]
        for path in (alive, other, *named):
            path.touch()
        remove_leftovers(tmp_path)
        assert set(tmp_path.iterdir()) == {mine, alive, other, *named}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("the process that wrote it was killed" in line for line in lines)


def test_what_other_machines_left_is_removed_after_a_day(tmp_path, monkeypatch):
    with temporary(tmp_path / "a.ckpt") as mine:
        other = mine.with_name(mine.name.replace(files._host(), "elsewhere"))
    old = tmp_path / ".a.ckpt.123-0123abcd.tmp"  # of versions whose names had no machine
    old.touch()
    aged(other, 0.9, monkeypatch)
    remove_leftovers(tmp_path)
    assert other.exists()
    assert old.exists()
    aged(other, 0.2, monkeypatch)
    remove_leftovers(tmp_path)
    assert not other.exists()
    assert not old.exists()


def test_a_process_that_got_the_number_of_a_killed_one_protects_nothing(tmp_path, monkeypatch):
    with temporary(tmp_path / "a.ckpt") as mine:
        mine.touch()
        remove_leftovers(tmp_path)
        assert mine.exists()
        monkeypatch.setattr(files, "_started", lambda pid: mine.stat().st_ctime + 60)
        remove_leftovers(tmp_path)
        assert not mine.exists()


def test_the_system_says_when_a_process_began():
    process = subprocess.Popen(["sleep", "9"])
    assert abs(time.time() - files._started(process.pid)) < 30
    process.kill()
    process.wait()
    assert files._started(process.pid) == 0


def test_long_names_have_temporary_names_that_fit(tmp_path):
    path = tmp_path / ("ä" * 120)  # 240 bytes
    with temporary(path) as new:
        new.touch()
        assert len(os.fsencode(new.name)) <= 255


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_and_the_old_one_given_back(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    for turn, name in enumerate("ab"):
        with temporary(tmp_path / "place") as new:
            new.mkdir()
            (new / name).touch()
            replace_folder(new, tmp_path / "place")
            assert [path.name for path in (tmp_path / "place").iterdir()] == [name]
            assert new.exists() == (turn == 1)
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_no_moment_is_without_a_folder_that_is_replaced(tmp_path, monkeypatch):
    """The old one was renamed away before the new one came in: a kill between left none."""
    place = tmp_path / "place"
    (place / "old").mkdir(parents=True)
    renames = []
    monkeypatch.setattr(os, "rename", lambda *pair: renames.append(pair) or os.replace(*pair))
    with temporary(place) as new:
        (new / "new").mkdir(parents=True)
        replace_folder(new, place)
    assert len(renames) == 1  # tried, and refused by the system
    assert [path.name for path in place.iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["place", "p" * 200], ids=["short", "long"])
def test_a_folder_that_a_killed_process_moved_away_comes_back(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    place = tmp_path / name
    (place / "old").mkdir(parents=True)
    rename = os.rename

    def killed(source, target):
        if Path(source).suffix == ".tmp" and not place.exists():
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed)
    monkeypatch.setattr(os, "getpid", gone)
    (tmp_path / "fresh").mkdir()
    with pytest.raises(KeyboardInterrupt), temporary(place) as new:
        replace_folder((tmp_path / "fresh").rename(new), place)
    assert not place.exists()
    monkeypatch.undo()
    remove_leftovers(tmp_path, name)
    assert [path.name for path in place.iterdir()] == ["old"]
    assert "put back" in capsys.readouterr().err
