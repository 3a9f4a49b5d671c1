"""Processes that work for a command: what they raise is raised, one that dies is a line, none outlives its parent."""

import os
import signal
import time
from pathlib import Path

import pytest

from preprocess.parts.workers import in_fresh_processes


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def test_each_part_has_a_process_of_its_own():
    results = list(in_fresh_processes(square, [1, 2, 3, 4, 5], 2))
    assert sorted(value for value, _ in results) == [1, 4, 9, 16, 25]
    assert len({pid for _, pid in results} | {os.getpid()}) == 6


def test_large_results_come_through():
    assert [len(data) for data in in_fresh_processes(bytes, [1 << 20, 1 << 20], 2)] == [1 << 20] * 2


def raise_error(number: int) -> None:
    raise FileNotFoundError(2, "No such file", f"part {number}")


def test_what_a_worker_raises_is_raised():
    with pytest.raises(FileNotFoundError, match="part 1"):
        list(in_fresh_processes(raise_error, [1], 1))


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_said_and_not_waited_for():
    with pytest.raises(OSError, match="a worker process died, perhaps for want of memory"):
        list(in_fresh_processes(die, [1, 2], 2))


def write_and_wait(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


def test_the_others_end_when_one_fails(tmp_path):
    def work(path: Path) -> None:
        if path.name == "last":
            while not (tmp_path / "first").exists() or not (tmp_path / "first").read_text():
                time.sleep(0.01)
            raise ValueError("x")
        write_and_wait(path)

    with pytest.raises(ValueError, match="x"):
        list(in_fresh_processes(work, [tmp_path / "first", tmp_path / "last"], 2))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "first").read_text()), 0)


def test_ctrl_c_is_the_parents(tmp_path):
    def ask(number: int) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    assert list(in_fresh_processes(ask, [1], 1)) == [True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
