"""Commands in Kaldi's scp files: harmless ones are served without a shell, others run only where the user allows it."""

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from utility.text import one_line, short

SPECIAL = frozenset("$`\\*?[]{}()<>|&;~!#\"'\n\0")  # what a shell could read as more than a letter
KNOWN = {  # of programs that print a file: the options that change nothing for us, sorted
    "flac": (["-c", "-d"], ["-c", "-d", "-s"]),
    "sox": (["-", "-t", "wav"],),
    "cat": ([],),
    "gunzip": (["-c"],),
    "zcat": ([],),
}
SECONDS = 60.0  # that a command may take
LAST_BYTES = 4096  # of what it says on stderr


@dataclass(frozen=True)
class Served:
    """A file that a harmless command would print, its name as it stands there.

    `packed`: by gzip. `channel`: the only channel of a recording that is meant, from 1; None for all."""

    path: str
    packed: bool = False
    channel: int | None = None


def is_command(text: str) -> bool:
    """Whether Kaldi would give this to a shell."""
    return text.rstrip().endswith("|")


def serve(text: str) -> Served | None:
    """What a command that ends in `|` prints, if it is one of the known forms; nothing runs. None for all others.

    Known are `sph2pipe [-f wav] [-p] [-c 1|2] FILE`, `flac -c -d [-s] FILE`, `sox FILE -t wav -`, `cat FILE`,
    `gunzip -c FILE` and `zcat FILE`, the program with or without its folder."""
    try:
        words = shlex.split(text.rstrip().removesuffix("|"))
    except ValueError:
        return None
    if len(words) < 2 or any(SPECIAL & set(word) for word in words):
        return None
    program, rest = PurePath(words[0]).name, words[1:]
    if program == "sph2pipe":
        return _sph2pipe(rest)
    file, *options = rest if program == "sox" else reversed(rest)
    if sorted(options) not in KNOWN.get(program, ()) or not _is_file(file):
        return None
    return Served(file, packed=program in ("gunzip", "zcat"))


def _sph2pipe(words: Sequence[str]) -> Served | None:
    rest, channel = list(words), None
    while len(rest) > 1:
        option = rest.pop(0)
        if option == "-c" and rest[0] in ("1", "2"):
            channel = int(rest.pop(0))
        elif option == "-f" and rest[0] == "wav":
            rest.pop(0)
        elif option != "-p":
            return None
    return Served(rest[0], channel=channel) if rest and _is_file(rest[0]) else None


def _is_file(word: str) -> bool:
    return bool(word) and not word.startswith("-")


def refusal(text: str) -> str:
    """What to say of a command that is not run."""
    return f"a shell command, {short(text.strip())}: run it only if you trust the file: --allow_commands"


def run(text: str, output: BinaryIO, seconds: float = SECONDS) -> None:
    """Let a shell run the command `text` that ends in `|`, what it prints goes to the file `output`.

    ValueError with its exit code and the last line of its stderr where it fails, and where it takes longer."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            text.rstrip().removesuffix("|"),
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ValueError(f"the command {short(text.strip())} took longer than {seconds:g} s") from None
        finally:
            if process.poll() is None:  # all that it started is one group
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code:
            said.seek(max(said.seek(0, os.SEEK_END) - LAST_BYTES, 0))
            lines = said.read().decode(errors="replace").strip().splitlines()
            last = f": {one_line(lines[-1])}" if lines else ""
            raise ValueError(f"the command {short(text.strip())} ended with exit code {code}{last}")
