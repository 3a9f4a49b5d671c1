"""Checkpoints of the originals opened so that nothing in them runs: scanned without tensors, then read weights-only."""

import math
import mmap
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from torch import Tensor

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's serialisation before 1.6
FOREIGN = "not a checkpoint of this project or of the originals"
ZIP_START = b"PK\x03\x04"
FAULTS = (
    pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, NotImplementedError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


class Inert:
    """Stands for an object of the originals: keeps its attributes as plain values and can do nothing."""

    __slots__ = ("values",)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an object's state is not a dict")
        self.values = state


# Every type that a checkpoint of the originals holds besides torch's own.
INERT = (
    "argparse.Namespace",
    "transformer.optimization.WarmupLinearSchedule",
    "mockingjay.optimization.WarmupLinearSchedule",
    "optimizers.WarmupLinearSchedule",
    "s3prl.optimizers.WarmupLinearSchedule",
    "utility.timer.Timer",
    "utils.timer.Timer",
)
ITEM_SIZES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip


class Refused(ValueError):
    """A file that no known program has written."""


class _Storage(NamedTuple):
    count: int


class Shape(NamedTuple):
    """Stands for a tensor in a scan."""

    size: tuple[int, ...]


def scan(file: BinaryIO, path: Path) -> Any:
    """The object in the opened torch file `path` with a `Shape` for every tensor; no tensor is read.

    ValueError names what is wrong: a global that is not inert, a file cut off, sizes that the file cannot hold."""
    start = file.read(len(ZIP_START))
    if not start:
        raise ValueError(f"{path}: not a checkpoint, or damaged: the file is empty")
    try:
        return _scan_zip(file) if start == ZIP_START else _scan_old(file)
    except Refused as error:
        raise ValueError(f"{path}: {FOREIGN}: {error}") from None
    except FAULTS:
        raise ValueError(f"{path}: {FOREIGN}, or damaged: cut off, or another kind of file") from None


def read_plain(file: BinaryIO, path: Path) -> Any:
    """The object in the opened torch file `path`, once `scan` has accepted it: dicts, lists, tuples, tensors, plain
    values, and the attributes of `Inert` objects as dicts. Errors as in `scan`."""
    file.seek(0)
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in INERT]):
            content = torch.load(file, map_location="cpu", weights_only=True)
        return _plain(content, {})
    except (*FAULTS, RecursionError):
        raise ValueError(f"{path}: {FOREIGN}, or damaged") from None


def _scan_zip(file: BinaryIO) -> Any:
    total = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        records = {item.filename.partition("/")[2]: item for item in archive.infolist()}
        if len(records) != len(archive.infolist()):
            raise Refused("two of its records have one name")
        if "constants.pkl" in records:
            raise Refused("it is a TorchScript program")
        if any(item.compress_type != zipfile.ZIP_STORED for item in records.values()):
            raise Refused("its records are compressed, which torch never does")
        if sum(item.file_size for item in archive.infolist()) > total:
            raise Refused("its records claim more bytes than the file has")
        with archive.open(records["data.pkl"]) as record:
            stream = BytesIO(record.read())

    def check(key: str, size: int) -> None:
        held = records[f"data/{key}"].file_size
        if held != size:
            raise Refused(f"storage {key} claims {size} bytes, its record has {held}")

    return _Scanner(stream, check).load()


def _scan_old(file: BinaryIO) -> Any:
    sizes: dict[str, int] = {}

    def check(key: str, size: int) -> None:
        if sizes.setdefault(key, size) != size:
            raise Refused(f"storage {key} claims {sizes[key]} bytes, then {size}")

    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        magic, protocol, _, content, keys = (_Scanner(view, check).load() for _ in range(5))
        if (magic, protocol) != (MAGIC, PROTOCOL):
            raise Refused("it does not begin as a torch file")
        if keys != sorted(sizes):
            raise Refused("its list of storages is not that of its tensors")
        left = len(view) - view.tell()
    wanted = sum(sizes.values()) + 8 * len(sizes)  # each is preceded by its length
    if wanted != left:
        raise Refused(f"its tensors claim {wanted} bytes, {left} are there: cut off, or damaged")
    return content


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Shape:
    """What torch's `_rebuild_tensor_v2` would read, if the storage has it all."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or len(size) != len(stride) or any(type(n) is not int for n in numbers):
        raise Refused("a tensor is not described as torch does")
    end = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1
    if min(numbers) < 0 or math.prod(size) > storage.count or (math.prod(size) and end > storage.count):
        raise Refused(f"a tensor of shape {list(size)} claims more than its {storage.count} stored numbers")
    return Shape(tuple(size))


def _parameter(data: Shape, requires_grad: Any, hooks: Any) -> Shape:
    return data


def _plain_dict(*none: Any) -> OrderedDict:
    if none:
        raise Refused("a dict is not built as torch does")
    return OrderedDict()


STAND_INS: dict[str, Callable] = {
    "collections.OrderedDict": _plain_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    **dict.fromkeys(INERT, Inert),
}


class _ItemSize(NamedTuple):
    bytes: int


class _Scanner(pickle._Unpickler):
    """The pickle machine in Python (its memory grows with the file only) with inert stand-ins for every callable."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream: Any, check: Callable[[str, int], None]):
        super().__init__(stream, encoding="utf-8")
        self.check = check

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        kind = name.removesuffix("Storage")
        if module == "torch" and name.endswith("Storage") and kind in ITEM_SIZES:
            return _ItemSize(ITEM_SIZES[kind])
        if full not in STAND_INS:
            raise Refused(f"it holds the global {full!r}, which none of them does, and is not opened")
        return STAND_INS[full]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, item, key, _, count, *view = pid
        known = kind == "storage" and isinstance(item, _ItemSize) and type(key) is str and type(count) is int
        if not known or count < 0 or view not in ([], [None]):
            raise Refused("a tensor's storage is not described as torch does")
        self.check(key, count * item.bytes)
        return _Storage(count)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list) -> None:
        """Keys are text and numbers: hashing anything nested could take for ever."""
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict) or any(type(key) not in (str, int) for key in items[::2]):
            raise Refused("a dict's keys are neither text nor whole numbers")
        target.update(zip(items[::2], items[1::2]))

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """`value` rebuilt of exact built-in types; what is shared stays shared, what contains itself is refused."""
    if isinstance(value, str | int | float | None | Tensor):
        return value
    if id(value) in done:
        if done[id(value)] is _plain:
            raise ValueError("a value contains itself")
        return done[id(value)]
    done[id(value)] = _plain
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
