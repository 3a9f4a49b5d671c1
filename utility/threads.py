"""Work side by side on a CPU, in threads of which each lets PyTorch use one."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import threadpoolctl
import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part], threads: int) -> list[Result]:
    """`work` on every part, in so many threads, the results in order; nothing is recorded for backward or cast."""
    inference = torch.is_inference_mode_enabled()

    def quietly(part: Part) -> Result:
        with torch.inference_mode(inference), torch.no_grad(), torch.autocast("cpu", enabled=False):
            return work(part)

    alone = threads == 1 or len(parts) < 2
    return [quietly(part) for part in parts] if alone else list(_pool(threads).map(quietly, parts))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "side_by_side", initializer=take_one_core)


@contextmanager
def blas_in_the_calling_thread() -> Iterator[None]:
    """Let NumPy's and SciPy's matrix products compute in the thread that asks for them, for work side by side.

    Threads of their own wait for each other in loops: sums of small blocks took twice the time on two cores, four times
    that of the processor. It is a setting of the process: a program makes it."""
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


def take_one_core() -> None:
    """Let PyTorch compute in no other thread than the one that calls this.

    `torch.set_num_threads` would also be the number of every thread that is started later."""
    torch.get_num_threads()  # the first use in a thread takes over the number of the process
    threadpoolctl.threadpool_limits(1, "openmp")  # OpenMP counts for each thread that calls it


os.register_at_fork(after_in_child=_pool.cache_clear)
