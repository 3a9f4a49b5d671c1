"""Ctrl-C ends a command, at whatever moment it comes."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SOON = 0.01  # seconds; by then a destructor is over


@contextmanager
def interruptible() -> Iterator[None]:
    """Let no Ctrl-C get lost during the block; afterwards one ends the process at once, without a traceback.

    Python drops a KeyboardInterrupt that is raised in a destructor, or in a callback of a weak reference or of a C
    library, and prints it: here it is raised once more. Libraries make another error of one: here it is what it was.
    Only for the main thread of a program."""
    told = False

    def tell(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        raise KeyboardInterrupt

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is KeyboardInterrupt:
            _thread.start_new_thread(_interrupt_soon, ())  # takes no lock, which the main thread may hold just now
        else:
            before(dropped)

    before, sys.unraisablehook = sys.unraisablehook, hook
    is_main = threading.current_thread() is threading.main_thread()
    hears = (
        is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # one in the background ignores it
    if hears:
        signal.signal(signal.SIGINT, tell)
    try:
        yield
    except Exception:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.unraisablehook = before
        if hears:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what waits for threads now has nothing to clean up


def _interrupt_soon() -> None:
    time.sleep(SOON)
    _thread.interrupt_main()
