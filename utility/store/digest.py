"""What the frames of a split are, in a few digits: made while they are written, so that nobody reads them for it."""

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from utility.files import replace_file
from utility.store.files import SplitFiles
from utility.text import parse_json

ROW_BYTES = 4
EMPTY = bytes(ROW_BYTES)  # the digest of nothing


def row_digest(data: bytes | memoryview, before: bytes = EMPTY) -> bytes:
    """CRC of an utterance's frames as they lie on disk: cheap beside computing them; `before` is that of what stands
    before `data` in the row."""
    return zlib.crc32(data, int.from_bytes(before, "little")).to_bytes(ROW_BYTES, "little")


def write_digest(files: SplitFiles, rows: Iterable[bytes]) -> None:
    """Keep the digest of a split beside it, from those of its rows in the order of its table."""
    _write(files.digest, _combined(rows))


def content_digest(
    files: SplitFiles, arrays: Sequence[Path], rows: Callable[[], Iterable[bytes]], beside: Path | None = None
) -> str:
    """The digest of a split whose frames lie in the files `arrays`.

    It is made from `rows`, which reads all of the frames, where there is none yet (an earlier version or the originals
    made the split), and where a file was touched after its digest was written: copied, or other frames put in its
    place. It is kept beside the split; of a store that may only be read, in the folder `beside`."""
    written = _read(files.digest)
    if written is not None and _touched(arrays) <= _touched([files.digest]):
        return written
    state, note = _state(arrays), None if beside is None else _note(files, beside)
    if note is not None and (noted := _noted(note, state)) is not None:
        return noted
    digest = _combined(rows())
    if _state(arrays) != state:
        return digest  # somebody writes there just now: it is no digest of what will be there
    try:
        if digest == written:
            os.utime(files.digest)
        else:
            _write(files.digest, digest)
    except OSError:
        if note is not None:
            with contextlib.suppress(OSError):  # it is made again when next needed
                _write(note, json.dumps({"digest": digest, "of": str(files.array.resolve()), "state": state}))
    return digest


def _combined(rows: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(rows)).hexdigest()[:16]


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return None


def _write(file: Path, text: str) -> None:
    replace_file(file, f"{text}\n".encode())


def _note(files: SplitFiles, folder: Path) -> Path:
    """Where the digest of a split lies that cannot be kept beside it."""
    place = hashlib.sha256(str(files.array.resolve()).encode()).hexdigest()[:16]
    return folder / f".{place}.digest"


def _noted(note: Path, state: str) -> str | None:
    """The digest in a note, if its split is still in that state."""
    try:
        content = parse_json(note.read_text())
        return str(content["digest"]) if content["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state(arrays: Iterable[Path]) -> str:
    """Sizes and times of files; they change whenever one is written, or another put in its place."""
    digest = hashlib.sha256()
    for array in arrays:
        status = array.stat()
        digest.update(f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _touched(arrays: Iterable[Path]) -> int:
    return max(max(status.st_mtime_ns, status.st_ctime_ns) for status in (array.stat() for array in arrays))
