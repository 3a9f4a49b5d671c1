"""Work side by side on a CPU, in threads of which each lets PyTorch use one."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

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
    return ThreadPoolExecutor(threads, "side_by_side", initializer=torch.set_num_threads, initargs=(1,))


os.register_at_fork(after_in_child=_pool.cache_clear)
