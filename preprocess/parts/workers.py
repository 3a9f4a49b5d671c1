"""Processes that work for a command and end with it."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

PR_SET_PDEATHSIG = 1  # Linux's prctl.h
DIED = "a worker process died, perhaps for want of memory: run again with a smaller --n_jobs"
Part = TypeVar("Part")
Done = TypeVar("Done")


def end_with(parent: int) -> None:
    """Make this worker end when the process `parent` ends, however that ends; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def in_fresh_processes(work: Callable[[Part], Done], parts: Sequence[Part], at_once: int) -> Iterator[Done]:
    """`work` on each part in a process of its own, so many at once; results as they come, what it raises is raised.

    OSError where a process dies. They are forked: it is for a library that keeps a state
    from one part to the next."""
    context = multiprocessing.get_context("fork")
    waiting, running = iter(parts), dict[Connection, multiprocessing.process.BaseProcess]()
    try:
        while True:
            for part in islice(waiting, at_once - len(running)):
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(target=_answer, args=(writer, os.getpid(), work, part))
                running[reader] = process
                _start(process)
                writer.close()  # of what is forked next, too: the end of a process is the end of its pipe
            if not running:
                return
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                done = _received(ready)
                running.pop(ready).join()
                ready.close()
                yield done
    finally:
        for left in running.values():
            if left.pid is not None:
                left.kill()
                left.join()


def _start(process: multiprocessing.process.BaseProcess) -> None:
    """Fork while Ctrl-C is held back: it meets the parent alone, and not a child that is half made."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(writer: Connection, parent: int, work: Callable[[Part], Done], part: Part) -> None:
    end_with(parent)
    try:
        answer: tuple[Done | None, Exception | None] = work(part), None
    except Exception as error:
        answer = None, error
    writer.send(answer)


def _received(reader: Connection) -> Any:
    try:
        done, error = reader.recv()
    except EOFError:
        raise OSError(DIED) from None
    if error is not None:
        raise error
    return done
