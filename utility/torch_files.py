"""Files of torch.save opened so that nothing in them runs: scanned without tensors, then read weights-only."""

import mmap
import os
import pickle
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from utility.pickles import READ, Inert, Refused, Scanner

MAGIC, FORM = 0x1950A86A20F9469CFC6C, 1001  # of torch's serialisation before 1.6
FOREIGN = "not a checkpoint of this project or of the originals"
ZIP_START = b"PK\x03\x04"
FAULTS = (
    pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, NotImplementedError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


class Damaged(ValueError):
    """A file that cannot be read, of which an older copy may be whole."""


def read_torch(file: BinaryIO, path: Path | str, what: str = FOREIGN) -> Any:
    """The object in the opened file `path`: dicts, lists, tuples, tensors on the CPU, plain values; of objects of other
    programs their attributes as dicts.

    Damaged, or another ValueError, in one line: a global that is not inert, a file cut off or changed since it was
    written, sizes that it cannot hold; `what` says what it is not. All this is known before a tensor is read."""
    scan(file, path, what)
    file.seek(0)
    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in READ.items()]):
            content = torch.load(file, map_location="cpu", weights_only=True)
        return _plain(content, {})
    except FAULTS:  # a RecursionError is one
        raise Damaged(f"{path}: {what}, or damaged") from None


def scan(file: BinaryIO, path: Path | str, what: str = FOREIGN) -> Any:
    """The object in the opened file `path` with a `Shape` for every tensor; no tensor is read. Errors: `read_torch`."""
    file.seek(0)
    start = file.read(len(ZIP_START))
    if not start:
        raise Damaged(f"{path}: not a checkpoint, or damaged: the file is empty")
    try:
        return _scan_zip(file) if start == ZIP_START else _scan_old(file)
    except Refused as error:
        raise ValueError(f"{path}: {what}: {error}") from None
    except Damaged as error:
        raise Damaged(f"{path}: damaged checkpoint: {error}") from None
    except FAULTS:
        raise Damaged(f"{path}: {what}, or damaged: cut off, or another kind of file") from None


def _scan_zip(file: BinaryIO) -> Any:
    total = os.fstat(file.fileno()).st_size
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        records = {item.filename.partition("/")[2]: item for item in archive.infolist()}
        if len(records) != len(archive.infolist()):
            raise Refused("two of its records have one name")
        if "constants.pkl" in records:
            raise Refused("it is a TorchScript program")
        if any(not 0 <= item.header_offset < total for item in records.values()):
            raise Damaged("its list of records points out of the file")
        if any(item.compress_type != zipfile.ZIP_STORED for item in records.values()):
            raise Refused("its records are compressed, which torch never does")
        if sum(item.file_size for item in archive.infolist()) > total:
            raise Refused("its records claim more bytes than the file has")
        changed = archive.testzip()  # torch itself does not look at the checksums
        if changed is not None:
            name = changed.partition("/")[2][:40]
            raise Damaged(f"the bytes of its record {name!r} are not those that were written (checksum)")
        with archive.open(records["data.pkl"]) as record:
            stream = BytesIO(record.read())

    def check(key: str, size: int) -> None:
        held = records[f"data/{key}"].file_size
        if held != size:
            raise Refused(f"storage {key[:40]} claims {size} bytes, its record has {held}")

    return Scanner(stream, check).load()


def _scan_old(file: BinaryIO) -> Any:
    """The form before 1.6, which holds no checksums."""
    sizes: dict[str, int] = {}

    def check(key: str, size: int) -> None:
        if sizes.setdefault(key, size) != size:
            raise Refused(f"storage {key[:40]} claims {sizes[key]} bytes, then {size}")

    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        magic, form, _, content, keys = (Scanner(view, check).load() for _ in range(5))
        if (magic, form) != (MAGIC, FORM):
            raise Refused("it does not begin as a torch file")
        if keys != sorted(sizes):
            raise Refused("its list of storages is not that of its tensors")
        left = len(view) - view.tell()
    wanted = sum(sizes.values()) + 8 * len(sizes)  # each is preceded by its length
    if wanted != left:
        raise Damaged(f"its tensors claim {wanted} bytes, {left} are there: cut off, or changed")
    return content


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """`value` rebuilt of exact built-in types; what is shared stays shared, what contains itself is refused."""
    if isinstance(value, str | int | float | None | Tensor):
        return value
    if isinstance(value, torch.device):
        return str(value)
    if id(value) in done:
        if done[id(value)] is _plain:
            raise ValueError("a value contains itself")
        return done[id(value)]
    done[id(value)] = _plain
    plain: Any
    if isinstance(value, dict):
        plain = {key: _plain(item, done) for key, item in dict(value).items()}
    elif isinstance(value, list | tuple | torch.Size):
        plain = type(value)(_plain(item, done) for item in value)
    elif isinstance(value, Inert):
        plain = _plain(getattr(value, "values", {}), done)
    else:
        raise TypeError(f"a {type(value).__name__}")
    done[id(value)] = plain
    return plain
