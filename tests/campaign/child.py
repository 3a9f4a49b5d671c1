"""What a `Zygote` forks: it becomes what `python SCRIPT` is, and ends as an interpreter ends."""

import atexit
import importlib
import io
import os
import resource
import runpy
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.campaign.zygote import PROJECT


def be_child(wish: Mapping[str, Any], folder: Path) -> NoReturn:
    """Run the command that is wished, its stdout and stderr in files in `folder`."""

    def begin() -> None:
        os.setpgid(0, 0)
        _restrict(wish)
        if wish["prepare"]:
            module, function, *text = wish["prepare"].split(":", 2)
            getattr(importlib.import_module(module), function)(*text)

    be_script(wish["argv"], folder, begin)


def be_script(argv: Sequence[str], folder: Path, begin: Callable[[], None]) -> NoReturn:
    """Become `python SCRIPT WORDS`, which has called `begin` before its first line."""
    code = 1
    try:
        _redirect(folder)
        script, *words = argv
        path = str(PROJECT / script)
        sys.argv, sys.path[0] = [path, *words], str(Path(path).parent)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "surrogateescape")
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
        begin()
        runpy.run_path(path, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _finish(code)


def _redirect(folder: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.close(null)


def _restrict(wish: Mapping[str, Any]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.environ.update(wish["environment"])
    tempfile.tempdir = None
    os.chdir(wish["cwd"])
    for name, value in wish["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
    if wish["user"] is not None:
        os.setgroups([])
        os.setgid(wish["user"])
        os.setuid(wish["user"])


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _finish(code: int) -> NoReturn:
    """What an interpreter does at its end: wait for threads, call what is registered, write what is buffered."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code & 255)
