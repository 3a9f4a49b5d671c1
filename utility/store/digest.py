"""What the frames of a split are, in a few digits: made while they are written, so that nobody reads them for it."""

import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from utility.files import replace_file
from utility.store.files import SplitFiles

ROW_BYTES = 4


def row_digest(data: bytes | memoryview) -> bytes:
    """CRC of an utterance's frames as they lie on disk: cheap beside computing them."""
    return zlib.crc32(data).to_bytes(ROW_BYTES, "little")


def write_digest(files: SplitFiles, rows: Iterable[bytes]) -> None:
    """Keep the digest of a split beside it, from those of its rows in the order of its table."""
    replace_file(files.digest, f"{_combined(rows)}\n".encode())


def read_digest(files: SplitFiles, rows: Callable[[], Iterable[bytes]]) -> str | None:
    """The digest of a split; None for one of an earlier version, which has none.

    Where the array was touched after its digest was written (copied, or other frames put in its place) it is made again
    from `rows`, which reads all of the frames. A copy of the same frames is then remembered as such."""
    try:
        text = files.digest.read_text().strip()
    except FileNotFoundError:
        return None
    if _touched(files.array) <= _touched(files.digest):
        return text
    made_again = _combined(rows())
    if made_again == text:
        with contextlib.suppress(OSError):  # of a store that may only be read
            os.utime(files.digest)
    return made_again


def _combined(rows: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(rows)).hexdigest()[:16]


def _touched(file: Path) -> int:
    status = file.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)
