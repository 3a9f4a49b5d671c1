"""How fast a training goes, and how long it waits."""

import time
from contextlib import AbstractContextManager


class Stopwatch:
    """Frames per second and the share of time spent waiting for data, of the time that trains."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.frames, self.wait, self.idle, self.start = 0, 0.0, 0.0, time.perf_counter()

    def waiting(self) -> AbstractContextManager:
        return _Span(self, "wait")

    def paused(self) -> AbstractContextManager:
        return _Span(self, "idle")

    def read(self) -> dict[str, float]:
        """The figures since the last reading."""
        spent = max(time.perf_counter() - self.start - self.idle, 1e-9)
        values = {"frames_per_s": self.frames / spent, "data_wait_share": self.wait / spent}
        self.restart()
        return values


class _Span:
    def __init__(self, clock: Stopwatch, name: str):
        self.clock, self.name = clock, name

    def __enter__(self) -> None:
        self.begin = time.perf_counter()

    def __exit__(self, *error) -> None:
        setattr(self.clock, self.name, getattr(self.clock, self.name) + time.perf_counter() - self.begin)
