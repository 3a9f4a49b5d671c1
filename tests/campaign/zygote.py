"""A process that has everything imported and forks a child for each command: a command costs no import.

A child is a process group of its own. It runs a script of the repository as `python SCRIPT` would, from its first line
on, with one thread for each library. Here is the caller's side; `server` is the process, `child` what it forks."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

PROJECT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
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


class Running:
    """A command that a zygote has begun."""

    def __init__(self, zygote: "Zygote") -> None:
        self._zygote = zygote
        self.pid: int = zygote.answer()["pid"]

    def ended(self) -> bool:
        """Whether its process is gone."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """End it and its workers, as SIGKILL does; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> Outcome:
        """How it ended."""
        return Outcome(**self._zygote.answer())


class Zygote:
    """The process, to be used as a context; one command at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.campaign.server", str(theirs.fileno())]
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
        return self._begin(
            argv=list(argv), cwd=str(cwd), timeout=timeout, memory=memory, kill_after=kill_after, kill=kill,
            kill_signal=int(kill_signal), limits=dict(limits or {}), user=user, prepare=prepare,
            environment=dict(environment or {}),
        ).wait()  # fmt: skip

    def start(self, argv: Sequence[str], cwd: Path, *, timeout: float = 600, memory: int = 8 * GIB) -> "Running":
        """Begin what `run` would run; its end must have been waited for before another command."""
        return self._begin(
            argv=list(argv), cwd=str(cwd), timeout=timeout, memory=memory, kill_after=None, kill="group",
            kill_signal=int(signal.SIGKILL), limits={}, user=None, prepare=None, environment={},
        )  # fmt: skip

    def _begin(self, **wish: object) -> "Running":
        self.channel.write(json.dumps(wish).encode() + b"\n")
        self.channel.flush()
        return Running(self)

    def answer(self) -> Any:
        """The next line of the server."""
        line = self.channel.readline()
        if not line:
            raise RuntimeError("the zygote has gone")
        return json.loads(line)

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
