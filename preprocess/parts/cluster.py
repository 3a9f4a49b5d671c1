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
from typing import Any, TypeVar

import distributed

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
    connection: Future[distributed.Client] = Future()

    def connect() -> None:
        try:
            connection.set_result(distributed.Client(address, timeout=PATIENCE, set_as_default=False))
        except OSError as error:
            connection.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()  # for another kind of server Dask would wait for ever
    try:
        return connection.result(2 * PATIENCE)
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
        submitted = (self.client.submit(_Task(self.requirements, task), pure=False) for task in tasks)
        done = distributed.as_completed(
            islice(submitted, IN_FLIGHT), loop=self.client.loop, with_results=True, raise_errors=False
        )
        for future, results in done:
            if future.status != "finished":
                future.result()  # raises what ended it
            for another in islice(submitted, 1):
                done.add(another)
            yield from results


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


@dataclass(frozen=True)
class _Task:
    """What a worker does at a time; one object, because Dask would search lists for other tasks."""

    requirements: _Requirements
    calls: Sequence[Callable[[], Any]]

    def __call__(self) -> list[Any]:
        self.requirements.check()
        return [call() for call in self.calls]


@contextlib.contextmanager
def _in_one_line(address: str) -> Iterator[None]:
    """Turn what Dask raises into an OSError that says what to do."""
    again = "what is finished is kept: run the same command again to continue"
    try:
        yield
    except distributed.KilledWorker:
        reason = f"several workers died at the same few recordings, perhaps for want of memory: see their logs; {again}"
    except (distributed.CancelledError, asyncio.CancelledError):
        reason = f"the scheduler is lost; {again}"
    except ImportError as error:
        reason = f"{error} there: start the scheduler and every worker with PYTHONPATH={PROJECT} in this environment"
    else:
        return
    raise OSError(f"--dask {address}: {reason}")
