"""Calls that a thread makes one after another, while the caller goes on."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from utility.threads import take_one_core


class Background:
    """A thread that lives in a `with`, and makes calls in their order; at most `ahead` of them are not done.

    The error of a call is raised by a later `call`, or by the end of the `with`. After an error, the caller's own
    too, calls that have not begun are left out."""

    def __init__(self, ahead: int):
        self.ahead = ahead
        self._begun: deque[Future[None]] = deque()
        self._failed = False

    def __enter__(self) -> "Background":
        self._pool = ThreadPoolExecutor(1, "background", initializer=take_one_core)
        return self

    def call(self, work: Callable[..., None], *args: Any) -> None:
        """Let the thread call `work`; wait while it is too far behind."""
        while len(self._begun) >= self.ahead:
            self._begun.popleft().result()
        self._begun.append(self._pool.submit(self._unless_failed, work, *args))

    def _unless_failed(self, work: Callable[..., None], *args: Any) -> None:
        if self._failed:
            return
        try:
            work(*args)
        except BaseException:
            self._failed = True
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._begun and kind is None:
                self._begun.popleft().result()
        finally:
            self._failed = True
            self._pool.shutdown()
