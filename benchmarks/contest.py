"""Contestants in processes of their own take turns, so that noise of the machine meets all of them alike."""

import gc
import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from statistics import median

Turn = Callable[[], None]
WARM_UP = 2  # turns that are not counted
PATIENCE = 10  # seconds that a process has to end by itself


@dataclass(frozen=True)
class Result:
    """Seconds of each turn, and the most memory held beyond an idle process, MiB."""

    times: tuple[float, ...]
    memory: float

    @property
    def seconds(self) -> float:
        """The median."""
        return median(self.times)


def contest(makers: Mapping[str, Callable[[], Turn]], rounds: int) -> dict[str, Result]:
    """Let each maker build its contestant in a new process, then time `rounds` turns of all of them, one at a time.

    A maker must be importable (picklable); what it returns does one turn and leaves no work behind on a device."""
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[SpawnProcess, Connection]] = {}
    try:
        for name, maker in makers.items():
            here, there = context.Pipe()
            worker = context.Process(target=_serve, args=(maker, there))
            worker.start()
            there.close()
            workers[name] = (worker, here)
            _answer(name, here)
        times: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, (_, pipe) in workers.items():
                pipe.send("turn")
                times[name].append(_answer(name, pipe))
        memory = {}
        for name, (_, pipe) in workers.items():
            pipe.send("end")
            memory[name] = _answer(name, pipe)
        for worker, _ in workers.values():
            worker.join(PATIENCE)
    finally:
        for worker, _ in workers.values():
            worker.terminate()
            worker.join()
    return {name: Result(tuple(t), memory[name]) for name, t in times.items()}


def _answer(name: str, pipe: Connection) -> float:
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError(f"{name}: the process of this contestant ended, see its error above") from None


def _serve(maker: Callable[[], Turn], pipe: Connection) -> None:
    idle = peak_memory()
    turn = maker()
    for _ in range(WARM_UP):
        turn()
    pipe.send(0.0)
    while pipe.recv() == "turn":
        gc.collect()
        start = time.perf_counter()
        turn()
        pipe.send(time.perf_counter() - start)
    pipe.send(peak_memory() - idle)


def peak_memory() -> float:
    """MiB: of the GPU where there is one, else resident."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10
