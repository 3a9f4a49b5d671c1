"""What every command line shares: one-line errors with exit code 2, and boolean flags."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

DEFAULT_SEED = 1337  # of the originals, on every command line
NO_MEMORY = re.compile("out of memory|can't allocate memory")  # as PyTorch says it, of CUDA and of a CPU
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and whose help shows the defaults."""

    def __init__(self, **options):
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def add_boolean(self, *names: str, default: bool, help: str) -> None:  # noqa: A002
        """Accept `--flag`, `--flag=True`, `--flag False` and `--no-flag` for one destination."""
        destination = names[0].lstrip("-").replace("-", "_")
        self.add_argument(
            *names, dest=destination, nargs="?", const=True, default=default, type=boolean, metavar="BOOL", help=help
        )
        negations = [f"--no-{name.lstrip('-')}" for name in names]
        self.add_argument(*negations, dest=destination, action="store_false", help=argparse.SUPPRESS)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=32, width=110)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        plain = action.default is None or action.default is argparse.SUPPRESS or action.const is not None
        if plain and not isinstance(action.default, bool):
            return text
        if isinstance(action, argparse._StoreTrueAction) or action.default in ("", []):
            return text
        return f"{text} (default: %(default)s)"


def boolean(text: str) -> bool:
    """`True`, `yes`, `1`, `on` and their opposites, in any case."""
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")


def shard(text: str) -> tuple[int, int]:
    """`I/N` with I from 1, as `1/4`, to (I - 1, N)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, as 1/4, got {text!r}")
    return int(match[1]) - 1, int(match[2])


def seed(text: str) -> int:
    """A seed that every generator takes."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2^63 - 1, got {text!r}")
    return int(text)


def only_argument(name: str) -> str:
    """The one argument of a small script without flags; anything else ends in a line of usage and exit code 2."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(f"usage: python {sys.argv[0]} {name}", file=sys.stderr)
        raise SystemExit(2)
    return sys.argv[1]


def run(main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Run a command's `main(argv)`; bad input ends in one line on stderr and exit code 2, without a traceback."""
    name = os.path.basename(sys.argv[0])
    try:
        code = main(sys.argv[1:])
    except (ValueError, OSError) as error:
        print(f"{name}: {_line(error)}", file=sys.stderr)
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        print(f"{name}: out of memory: take a smaller model, or smaller batches (batch_frames)", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    raise SystemExit(code or 0)


def _line(error: ValueError | OSError) -> str:
    """What an error says, on one line; of the system's own errors the path and the reason, without their number."""
    text = re.sub(r"^\[Errno \d+\] ", "", str(error))
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return " ".join(text.split())
