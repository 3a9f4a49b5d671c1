"""A process that has everything imported and forks a child for each command: a command costs no import.

A child is a process group of its own. It runs a script of the repository as `python SCRIPT` would, from its first line
on, with one thread for each library."""

import contextlib
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

PROJECT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
MOST_OUTPUT = 1 << 20  # characters of stdout and of stderr that an Outcome holds
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "MPLBACKEND": "Agg",
    "GOMP_SPINCOUNT": "10000",  # as utility/openmp.py sets it
    "PYTHONPATH": str(PROJECT),
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `code` is -N for signal N, `peak_rss` in bytes, of the process alone (not its workers).

    `seconds` go from the fork to the end of the process itself, `workers_seconds` are what its workers took longer.
    `killed` is False for a command that ended before the moment of its kill."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak_rss: int
    timed_out: bool
    too_large: bool = False
    killed: bool = False
    workers_seconds: float = 0.0
    cpu_seconds: float = 0.0


class Zygote:
    """The process, to be used as a context; one command at a time."""

    def __init__(self) -> None:
        import socket

        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.campaign.zygote", str(theirs.fileno())]
            environment = {**os.environ, **ENVIRONMENT}
            self.process = subprocess.Popen(command, cwd=PROJECT, env=environment, pass_fds=[theirs.fileno()])
        self.socket, self.channel = ours, ours.makefile("rwb")
        ready = json.loads(self.channel.readline() or "null")
        if ready is None or ready["threads"] != 1:
            raise RuntimeError(f"the zygote does not stand alone: {ready}")  # a fork would copy only one thread

    def run(
        self,
        argv: Sequence[str],
        cwd: Path,
        *,
        timeout: float = 20,
        memory: int = 2 * GIB,
        kill_after: float | None = None,
        kill: Literal["group", "parent"] = "group",
        kill_signal: int = signal.SIGKILL,
        limits: Mapping[str, int] | None = None,
        user: int | None = None,
        prepare: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run the script `argv[0]` (a path in the repository) with the words that follow, in the folder `cwd`.

        `kill_after`: seconds until `kill_signal` goes to the whole group, or to the parent alone. `limits`: of
        `resource`, as {"FSIZE": 60000}. `user`: the number of a user to become. `prepare`: `module:function`, or
        `module:function:text`, called with the text in the child before the script."""
        wish = {
            "argv": list(argv), "cwd": str(cwd), "timeout": timeout, "memory": memory, "kill_after": kill_after,
            "kill": kill, "kill_signal": int(kill_signal), "limits": dict(limits or {}), "user": user,
            "prepare": prepare, "environment": dict(environment or {}),
        }  # fmt: skip
        self.channel.write(json.dumps(wish).encode() + b"\n")
        self.channel.flush()
        answer = self.channel.readline()
        if not answer:
            raise RuntimeError(f"the zygote has gone, at {argv}")
        return Outcome(**json.loads(answer))

    def close(self) -> None:
        """End the process."""
        self.channel.close()
        self.socket.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def serve(number: int) -> None:
    """Answer the commands that come through the socket `number` until it is closed."""
    import socket

    connection = socket.socket(fileno=number)
    channel = connection.makefile("rwb")
    _import_everything()
    _warm_up()
    _adopt_orphans()
    _say(channel, {"threads": len(os.listdir("/proc/self/task"))})
    while line := channel.readline():
        wish = json.loads(line)
        folder = Path(tempfile.mkdtemp(prefix="zygote-"))
        for name in ("stdout", "stderr"):  # a child may be killed before it could make them
            (folder / name).touch()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            connection.detach()
            os.close(number)
            _child(wish, folder)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # by both, so that it is done before the first of either needs it
        outcome = _watch(pid, wish, started)
        outcome |= {name: _text(folder / name) for name in ("stdout", "stderr")}
        shutil.rmtree(folder, ignore_errors=True)
        _say(channel, outcome)


def _say(channel: Any, value: Mapping[str, Any]) -> None:
    channel.write(json.dumps(value).encode() + b"\n")
    channel.flush()


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="backslashreplace") as file:
        return file.read(MOST_OUTPUT)


def _import_everything() -> None:
    """Every module of the project that a script may want, and what those import late."""
    import torch

    torch.set_num_threads(1)  # before any work, so that no pool is made
    for room in ("commands", "originals", "downstream", "mockingjay", "utility", "preprocess"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
            # Scripts are run, not imported; Dask, Transformers and the code of exported folders are for those who ask.
            if path.parent.name != "preprocess" and path.stem not in ("cluster", "huggingface", "folder_hubconf"):
                importlib.import_module(module)
    for module in ("matplotlib.pyplot", "torch._dynamo", "torch.utils.data", "scipy.signal", "concurrent.futures"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def _warm_up() -> None:
    """Load what is compiled at its first use: kernels of features and of packed attention."""
    import torch

    from mockingjay.build import new_model
    from mockingjay.config import PretrainConfig
    from utility.audio.feature_config import FeatureConfig
    from utility.audio.features import FeatureExtractor
    from utility.config import build

    generator = torch.Generator().manual_seed(0)
    noise, lengths = torch.randn(2, 8000, generator=generator), torch.tensor([8000, 4000])
    for kind in ("fbank", "mel"):
        frames, counts = FeatureExtractor(FeatureConfig(kind=kind, deltas=0))(noise, lengths)  # [2, T, 80], [2]
    sizes = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
    model = new_model(build(PretrainConfig, {"model": sizes}), frames.shape[-1], frames.shape[-1], 0)
    with torch.no_grad():
        model(frames, counts)


def _adopt_orphans() -> None:
    """Workers whose parent was killed become children of this process, which so sees them end."""
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _child(wish: Mapping[str, Any], folder: Path) -> None:
    """The forked process: become what `python SCRIPT` is, run it, and end as an interpreter ends."""
    import runpy

    code = 1
    try:
        os.setpgid(0, 0)
        _redirect(folder)
        _restrict(wish)
        script, *words = wish["argv"]
        path = str(PROJECT / script)
        sys.argv, sys.path[0] = [path, *words], str(Path(path).parent)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "surrogateescape")
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
        if wish["prepare"]:
            module, function, *text = wish["prepare"].split(":", 2)
            getattr(importlib.import_module(module), function)(*text)
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
    import resource

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
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


def _finish(code: int) -> None:
    """What an interpreter does at its end: wait for threads, call what is registered, write what is buffered."""
    import atexit
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done; a real interpreter is gone sooner than this one
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code & 255)


def _watch(pid: int, wish: Mapping[str, Any], started: float) -> dict[str, Any]:
    """Wait for the child, kill it where that is wished or where it takes too long or too much, and end its workers."""
    end, moment, largest = started + wish["timeout"], wish["kill_after"], 0
    timed_out = too_large = killed = False
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        now = time.monotonic()
        if done:
            break
        largest = max(largest, _rss(pid))
        if moment is not None and now >= started + moment:
            _kill(pid, wish["kill"] == "group", wish["kill_signal"])
            moment, killed = None, True
        elif now >= end or largest > wish["memory"]:
            timed_out, too_large = now >= end, largest > wish["memory"]
            _kill(pid, True, signal.SIGKILL)
        soon = 0.001 if moment is None or now + 0.003 < started + moment else max(started + moment - now, 0)
        time.sleep(min(soon, 0.001 + (now - started) / 50))
    seconds = time.monotonic() - started
    workers = _end_workers(pid)
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code, "seconds": seconds, "peak_rss": max(largest, usage.ru_maxrss * 1024), "timed_out": timed_out,
        "too_large": too_large,
        "killed": killed and (code < 0 or wish["kill_signal"] != signal.SIGKILL), "workers_seconds": workers,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }  # fmt: skip


def _kill(pid: int, group: bool, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(pid, number)


def _rss(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _end_workers(group: int, patience: float = 10) -> float:
    """Wait for what is left of the group; kill it after `patience` seconds. The seconds that it took."""
    started = time.monotonic()
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return time.monotonic() - started
        if time.monotonic() > started + patience:
            _kill(group, True, signal.SIGKILL)
        time.sleep(0.005)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
