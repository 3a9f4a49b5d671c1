"""Recordings that a wav.scp names: files as they are; what lies packed, in an archive or behind a command, unpacked."""

import gzip
import hashlib
import re
import shutil
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import soundfile

from utility.files import replacing
from utility.kaldi.commands import is_command, refusal, run, serve
from utility.kaldi.scp_entries import Located

IN_ARCHIVE = re.compile(r"(?P<path>.+):(?P<offset>[0-9]{1,18})", re.DOTALL)
UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # of a WAV file that was written into a pipe
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Unpacking:
    """A recording that is no file by itself: `source` says in words where it comes from, `make` writes it."""

    target: Path
    source: str
    make: Callable[[BinaryIO], None]
    command: bool = False


def recording_file(text: str, located: Located, folder: Path, allow_commands: bool) -> Path | Unpacking:
    """The file that a line of wav.scp names, or how to make one in `folder`. ValueError for a command not allowed."""
    if is_command(text):
        served = serve(text)
        if served is None:
            if not allow_commands:
                raise ValueError(refusal(text))
            return _unpacking(folder, text.strip(), ".wav", partial(run, text), command=True)
        path = located(Path(served.path))
        if served.packed:
            return _unpacking(folder, f"{path.absolute()} unpacked", path.with_suffix("").suffix, partial(_unzip, path))
        if served.channel:
            source = f"channel {served.channel} of {path.absolute()}"
            return _unpacking(folder, source, ".wav", partial(_channel, path, served.channel))
        return path
    path = located(Path(text))
    match = IN_ARCHIVE.fullmatch(text)
    if match is None or path.is_file():
        return path
    archive, offset = located(Path(match["path"])), int(match["offset"])
    return _unpacking(folder, f"{archive.absolute()}:{offset}", ".wav", partial(_from_archive, archive, offset))


def _unpacking(
    folder: Path, source: str, suffix: str, make: Callable[[BinaryIO], None], command: bool = False
) -> Unpacking:
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    return Unpacking(folder / f"{name}{suffix or '.wav'}", source, make, command)


def unpack(wanted: Iterable[Unpacking], threads: int, run_commands: bool = True) -> dict[str, str]:
    """Make the files that are not there yet; the reason of each that could not be made, by its path.

    Without `run_commands` commands count as such."""
    with ThreadPoolExecutor(threads) as pool:
        made = [(item.target, pool.submit(_made, item, run_commands)) for item in wanted]
        return {str(target.absolute()): reason for target, future in made if (reason := future.result())}


def _made(item: Unpacking, run_commands: bool) -> str:
    if item.target.exists():
        return ""
    if item.command and not run_commands:
        return "a command, which a dry run does not run"
    try:
        with replacing(item.target) as new:
            with new.open("wb") as file:
                item.make(file)
            if not new.stat().st_size:
                raise ValueError(f"nothing came out of {item.source}")
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, soundfile.LibsndfileError) as error:
        text = str(error)
        return text if item.command else f"{item.source}: {text}"
    except FileNotFoundError as error:
        return f"{error.filename}: no such file"
    return ""


def _unzip(path: Path, output: BinaryIO) -> None:
    with gzip.open(path) as file:
        shutil.copyfileobj(file, output, BLOCK)


def _from_archive(path: Path, offset: int, output: BinaryIO) -> None:
    """Copy a WAV file that begins at a byte of a larger file; its header says how long it is."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise ValueError("no WAV file begins there")
        size = int.from_bytes(head[4:8], "little")
        left = None if size in UNKNOWN_SIZES else size + 8 - len(head)
        output.write(head)
        while piece := file.read(BLOCK if left is None else min(left, BLOCK)):
            output.write(piece)
            left = None if left is None else left - len(piece)
        if left:
            raise ValueError(f"cut off: {left} bytes are missing")


def _channel(path: Path, channel: int, output: BinaryIO) -> None:
    with _opened(path) as file:
        if channel > file.channels:
            raise ValueError(f"there is no channel {channel}, it has {file.channels}")
        small = file.subtype in ("PCM_16", "ULAW", "ALAW", "PCM_S8", "PCM_U8")
        kind, subtype = ("int16", "PCM_16") if small else ("float32", "FLOAT")
        with soundfile.SoundFile(output, "w", file.samplerate, 1, subtype, format="WAV") as new:
            for block in file.blocks(BLOCK, dtype=kind, always_2d=True):
                new.write(block[:, channel - 1])


@contextmanager
def _opened(path: Path):
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    with soundfile.SoundFile(path) as file:
        yield file
