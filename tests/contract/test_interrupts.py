"""Ctrl-C ends a command in one line, wherever it finds the interpreter."""

import os
import signal
import subprocess
import sys
import time
import weakref
from typing import Annotated

import pydantic
import pytest

from tests.conftest import PROJECT
from utility.command import run

PATIENCE = 20.0  # seconds
SECOND = """
import os, signal, sys, threading, time
from utility.command import run

def main(argv):
    threading.Thread(target=time.sleep, args=(60,)).start()
    raise KeyboardInterrupt

try:
    run(main)
finally:
    print("over", flush=True)
"""


@pytest.fixture(autouse=True)
def hears_ctrl_c():
    """As at a terminal; `run` leaves the process to the system's own answer to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Something:
    """What a weak reference may watch."""


def interrupt(*gone: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)


def in_a_callback() -> None:
    watched = Something()
    reference = weakref.ref(watched, interrupt)
    del watched
    assert reference() is None


def in_a_destructor() -> None:
    class Last:
        __del__ = interrupt

    Last()


def plainly() -> None:
    interrupt()


def in_a_library_that_makes_another_error_of_it() -> None:
    class Section(pydantic.BaseModel):
        value: Annotated[int, pydantic.PlainSerializer(lambda value: interrupt())] = 1

    Section().model_dump()


COMINGS = [in_a_callback, in_a_destructor, plainly, in_a_library_that_makes_another_error_of_it]


@pytest.mark.parametrize("come", COMINGS)
def test_ctrl_c_ends_a_command_even_where_python_drops_it(come, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x.py"])
    began = time.monotonic()

    def main(argv):
        come()
        while time.monotonic() < began + PATIENCE:
            time.sleep(0.01)

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "x.py: interrupted\n"
    assert time.monotonic() < began + PATIENCE / 2


def test_what_destructors_raise_else_is_still_printed(capsys):
    heard = []

    class Wrong:
        def __del__(self):
            raise ValueError("x")

    before, sys.unraisablehook = sys.unraisablehook, heard.append
    try:
        with pytest.raises(SystemExit):
            run(lambda argv: Wrong() and None)
    finally:
        sys.unraisablehook = before
    assert [dropped.exc_type for dropped in heard] == [ValueError]


def test_a_second_ctrl_c_while_threads_end_is_silent():
    command = [sys.executable, "-c", SECOND]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "over\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT
    assert said == "-c: interrupted\n"
