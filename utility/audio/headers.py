"""Recordings on disk: finding them, and reading their lengths and rates from the headers alone."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

import joblib
from tqdm import tqdm

from utility.audio.extensions import AUDIO_EXTENSIONS, MEDIA_EXTENSIONS, recording_extensions
from utility.audio.waveform import AudioError, audio_header
from utility.files import files_below
from utility.text import short

SCAN_THREADS = 8
SCANNED_AT_ONCE = 64
Part = TypeVar("Part")
Seen = TypeVar("Seen")


def audio_files(root: Path, extensions: Sequence[str] = AUDIO_EXTENSIONS) -> list[str]:
    """Paths below `root`, with forward slashes, sorted; hidden files and folders left out, links followed once.

    Of a film beside its sound (a.mp4, a.wav) the sound is the recording."""
    endings = tuple(extension.lower() for extension in extensions)
    paths = [path for path in files_below(root) if path.lower().endswith(endings)]
    known = {PurePosixPath(path).with_suffix("") for path in paths if path.lower().endswith(AUDIO_EXTENSIONS)}
    paths = [path for path in paths if not (_is_media(path) and PurePosixPath(path).with_suffix("") in known)]
    for path in paths:
        if path != path.encode(errors="replace").decode():
            raise ValueError(f"{root}: file name {short(path)} is not UTF-8: rename it")
    return paths


def unread_media(root: Path, extensions: Sequence[str] | None = None) -> list[str]:
    """Sound and video below `root` that none of the `extensions` names, by default those that this machine reads."""
    read = recording_extensions() if extensions is None else extensions
    return audio_files(root, [ending for ending in MEDIA_EXTENSIONS if ending not in read])


def unread_note(paths: Sequence[str]) -> str:
    """What to tell a user of files that are left out; empty without any."""
    counts = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    if not counts:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"{kinds} not read: install ffmpeg, or convert them, e.g. ffmpeg -i a{min(counts)} a.flac"


def _is_media(path: str) -> bool:
    return path.lower().endswith(MEDIA_EXTENSIONS)


def recording_state(path: Path) -> bytes:
    """Eight bytes of a recording's size and time, which change when another is put in its place; none: not there."""
    try:
        status = path.stat()
    except OSError:
        return b"-" * 8
    return hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode()).digest()[:8]


class Header(NamedTuple):
    """Length and rate of a recording; of one that cannot be read 0, 1 and the reason."""

    num_samples: int
    rate: int
    reason: str = ""


def scan(paths: Sequence[Path], shown: str | None = None, threads: int = SCAN_THREADS) -> Iterator[Header]:
    """The headers of recordings, in order, read by several threads; `shown` is the name of a progress bar."""
    yield from in_threads(_header, paths, shown, threads)


def in_threads(
    look: Callable[[Part], Seen], parts: Sequence[Part], shown: str | None = None, threads: int = SCAN_THREADS
) -> Iterator[Seen]:
    """`look` at recordings, or parts of them, in several threads, the results in order; it must not raise."""
    hidden = True if shown is None else None
    starts = range(0, len(parts), SCANNED_AT_ONCE)
    with ThreadPoolExecutor(joblib.effective_n_jobs(threads)) as pool:
        some = pool.map(lambda start: [look(part) for part in parts[start : start + SCANNED_AT_ONCE]], starts)
        seen = itertools.chain.from_iterable(some)
        yield from tqdm(seen, shown, len(parts), unit="utt", disable=hidden, leave=False)


def _header(path: Path) -> Header:
    try:
        return Header(*audio_header(path))
    except AudioError as error:
        return Header(0, 1, str(error).removeprefix(f"{path}: "))
