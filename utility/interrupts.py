"""Ctrl-C ends a command, at whatever moment it comes."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SOON = 0.01  # seconds; by then a destructor is over


@contextmanager
def interruptible() -> Iterator[None]:
    """Let no Ctrl-C get lost during the block; afterwards one ends the process at once, without a traceback.

    Python drops a KeyboardInterrupt that is raised in a destructor, or in a callback of a weak reference or of a C
    library, and prints it. Here it is raised once more. Only for the main thread of a program."""
    before = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is KeyboardInterrupt:
            _thread.start_new_thread(_interrupt_soon, ())  # takes no lock, which the main thread may hold just now
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what waits for threads now has nothing to clean up


def _interrupt_soon() -> None:
    time.sleep(SOON)
    _thread.interrupt_main()
