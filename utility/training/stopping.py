"""SIGTERM, as clusters send it before they end a job: the run saves where it stands."""

import signal
from types import FrameType, TracebackType

EXIT_CODE = 128 + signal.SIGTERM


class Stopped(Exception):
    """A run was told to end; it is saved, and says where it stands."""


class Stop:
    """Within its block a SIGTERM only sets `told`; a second one ends the process at once.

    Programs make one, for their main thread."""

    def __init__(self) -> None:
        self.told = False

    def __enter__(self) -> "Stop":
        self._before = signal.signal(signal.SIGTERM, self._tell)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
