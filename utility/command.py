"""How every command ends: its exit code, and errors of one line."""

import errno
import os
import re
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from utility.interrupts import interruptible
from utility.text import cut, one_line

PIPE_CLOSED = 141  # the exit code of a program that a closed pipe ends, 128 + SIGPIPE
NO_MEMORY = re.compile("out of memory|can't allocate memory")  # as PyTorch says it, of CUDA and of a CPU


def only_argument(name: str) -> str:
    """The one argument of a small script without flags; anything else ends in a line of usage and exit code 2."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(f"usage: python {sys.argv[0]} {name}", file=sys.stderr)
        raise SystemExit(2)
    return sys.argv[1]


def run(main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Run a command's `main(argv)`; bad input ends in one line on stderr and exit code 2, without a traceback."""
    name = os.path.basename(sys.argv[0])
    code: Any
    try:
        with interruptible():
            code = main(sys.argv[1:])
    except SystemExit as ended:
        code = ended.code
    except (ValueError, OSError) as error:
        code = PIPE_CLOSED if isinstance(error, OSError) and _is_of_stdout(error) else 2
        if code == 2:
            print(f"{name}: {_line(error)}", file=sys.stderr)
    except (MemoryError, OverflowError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        print(f"{name}: {reason}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        code = 130
    if _nobody_reads():
        code = PIPE_CLOSED
    raise SystemExit(code or 0)


def _nobody_reads() -> bool:
    """Whether the reader of our output has ended, as `head` does; then nothing more is written to it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _is_of_stdout(error: OSError) -> bool:
    """Whether it says that the reader of our output has ended, and of no other pipe."""
    if not isinstance(error, BrokenPipeError):
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # no file at all
        return False
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _line(error: Exception) -> str:
    """What an error says, on one line; of the system's own errors the path and the reason, without their number."""
    text = re.sub(r"^\[Errno \d+\] ", "", str(error))
    if isinstance(error, OSError) and error.strerror:
        path = str(error.filename)
        name = cut(path) if error.errno == errno.ENAMETOOLONG else path
        text = error.strerror if error.filename is None else f"{name}: {error.strerror}"
    return one_line(text)


def _reason(error: MemoryError | OverflowError | RuntimeError) -> str | None:
    """What the input did to the interpreter, where no reader said it with more words; None for a fault of ours."""
    if isinstance(error, RecursionError):
        return "an input is nested too deeply"
    if isinstance(error, OverflowError):
        return f"an input holds a number that is too large: {_line(error)}"
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return "out of memory: take a smaller model, or smaller batches (batch_frames)"
    return None
