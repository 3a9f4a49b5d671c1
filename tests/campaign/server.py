"""The process behind a `Zygote`: imports everything, forks a child for each command, watches it and ends it."""

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.campaign.child import be_child
from tests.campaign.zygote import PROJECT

MOST_OUTPUT = 1 << 20  # characters of stdout and of stderr that an Outcome holds


def serve(number: int) -> None:
    """Answer the commands that come through the socket `number` until it is closed."""
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
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the child is ready to hear it
        pid = os.fork()
        if pid == 0:
            connection.detach()
            os.close(number)
            be_child(wish, folder)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # by both, so that it is done before the first of either needs it
        _say(channel, {"pid": pid})
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
    for room in ("analysis", "commands", "originals", "downstream", "mockingjay", "utility", "preprocess"):
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
