"""The workers of a Dask cluster as the place where features are extracted; its machines share the file system."""

import asyncio
import contextlib
import functools
import hashlib
import importlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeVar

import distributed
import joblib
from distributed.client import CancelledError
from joblib._dask import DaskDistributedBackend

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 10  # seconds that the scheduler has to answer, and then the first worker to appear
IN_FLIGHT = 2000  # tasks lie ready at the scheduler, so that workers who join later find some
TASK_CALLS = 60  # calls in one task, at most: an hour of audio, seconds of work where the scheduler spends milliseconds
LIBRARIES = ("torch", "numpy", "scipy", "soundfile", "soxr")  # that have a say in the numbers
Result = TypeVar("Result")


@contextlib.contextmanager
def cluster(address: str, folders: Sequence[Path]) -> Iterator["Cluster"]:
    """The cluster of the scheduler at `address`; OSError or ValueError where it does not answer, has no worker, or its
    workers lack this code or one of those `folders` that are there already."""
    for name in ("distributed", "distributed.client", "tornado.application"):  # what goes wrong is raised
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _in_one_line(address), _connected(address) as client:
        client.run_on_scheduler(importlib.import_module, "preprocess.parts.extraction")
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise OSError(f"--dask {address}: it has no workers: start some, `dask worker {address}`") from None
        client.run(importlib.import_module, "preprocess.parts.extraction")
        client.run(_Requirements(_code(), [folder for folder in folders if folder.is_dir()]).check)
        yield Cluster(client, _Requirements(_code(), folders))


def _connected(address: str) -> distributed.Client:
    connected: Future[distributed.Client] = Future()

    def connect() -> None:
        try:
            connected.set_result(distributed.Client(address, timeout=PATIENCE, set_as_default=False))
        except OSError as error:
            connected.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()  # for another kind of server Dask would wait for ever
    try:
        return connected.result(2 * PATIENCE)
    except OSError:
        raise OSError(f"--dask {address}: no scheduler answers there within {PATIENCE} seconds") from None


class Cluster:
    """Workers that run calls; what a worker that dies was at is done again by another."""

    def __init__(self, client: distributed.Client, requirements: "_Requirements"):
        self.client, self.requirements = client, requirements

    def __call__(self, calls: Iterator[Callable[[], Result]], count: int) -> Iterator[Result]:
        """The results of `count` calls, in the order in which they come."""
        size = max(1, min(TASK_CALLS, count // (4 * max(1, sum(self.client.nthreads().values())))))
        tasks = iter(lambda: list(islice(calls, size)), [])
        with joblib.parallel_config(_Backend(client=self.client)):
            pool = joblib.Parallel(return_as="generator_unordered", batch_size=1)
            for results in pool(joblib.delayed(_task)(self.requirements, task) for task in tasks):
                yield from results


class _Backend(DaskDistributedBackend):
    """joblib's own, which would wait for ever for a task that Dask has given up."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        return IN_FLIGHT // 2  # joblib keeps twice as many in flight

    async def _collect(self) -> None:
        while self._continue:
            async for future, result in self.waiting_futures:
                del self._results[future]
                self._callbacks.pop(future)(result[1] if future.status == "error" else result)
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class _Requirements:
    """What a worker must have."""

    code: str
    folders: Sequence[Path]

    def check(self) -> None:
        where = f"--dask: the worker on {socket.gethostname()}"
        for folder in self.folders:
            if not folder.is_dir():
                raise OSError(f"{where} has no {folder}: the machines of the cluster must share these files")
        if _code() != self.code:
            raise ValueError(f"{where} has other code or libraries: start it from {PROJECT} and its environment")


@functools.cache
def _code() -> str:
    """What feature extraction is made of, as a digest."""
    digest = hashlib.sha256(" ".join(version(name) for name in LIBRARIES).encode())
    for room in ("preprocess", "utility"):
        for file in sorted((PROJECT / room).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _task(requirements: _Requirements, calls: Sequence[Callable[[], Result]]) -> list[Result]:
    requirements.check()
    return [call() for call in calls]


@contextlib.contextmanager
def _in_one_line(address: str) -> Iterator[None]:
    """Turn what Dask raises into an OSError that says what to do."""
    again = "what is finished is kept: run the same command again to continue"
    try:
        yield
    except distributed.KilledWorker:
        reason = f"several workers died at the same few recordings, perhaps for want of memory: see their logs; {again}"
    except (CancelledError, asyncio.CancelledError):
        reason = f"the scheduler is lost; {again}"
    except ImportError as error:
        reason = f"{error} there: start the scheduler and every worker with PYTHONPATH={PROJECT} in this environment"
    else:
        return
    raise OSError(f"--dask {address}: {reason}")
