"""The pickles of checkpoints, gone through with inert stand-ins for every callable: no tensor is read, nothing runs."""

import math
import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple

PROTOCOL = 2  # of every pickle that torch writes, and that its safe loading reads
NUMBERS = {  # numpy's name of a kind of number -> that of struct
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H",
    "u1": "B", "b1": "?",
}  # fmt: skip
ITEM_SIZES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip


class Refused(ValueError):
    """A file that no known program has written."""


class Inert:
    """Stands for an object of another program: keeps its attributes as plain values and can do nothing."""

    __slots__ = ("values",)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused("an object's state is not a dict")
        self.values = state


class NumberKind:
    """Stands for `numpy.dtype`, of single numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *flags: Any):
        if type(code) is not str or code not in NUMBERS:
            raise Refused("it holds a numpy value that is no number")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|"):
            raise Refused("it holds a numpy value that is no number")
        self.order = "<" if state[1] == "|" else state[1]


def _number(kind: Any, data: Any) -> float | int | bool:
    """A numpy number as a plain one."""
    if type(kind) is not NumberKind or type(data) is not bytes:
        raise Refused("it holds a numpy value that is no number")
    return struct.unpack(kind.order + NUMBERS[kind.code], data)[0]


def _path(*parts: Any) -> str:
    if any(type(part) is not str for part in parts):
        raise Refused("it holds a path that is no text")
    return str(PurePosixPath(*parts))


def _device(*parts: Any) -> str:
    if any(type(part) not in (str, int) for part in parts):
        raise Refused("it holds a device that is no text")
    return ":".join(str(part) for part in parts)


def _bytes(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise Refused("it holds bytes that are not written as Python does")
    return text.encode("latin1")


def _dict(*kind: Any) -> dict:
    """A dict that had a default for what it does not hold; here it has none."""
    if len(kind) > 1:
        raise Refused("a dict is not built as Python does")
    return {}


# Every type that a checkpoint of the originals holds besides torch's own. Both the scan and the reading use these.
READ: dict[str, Callable] = {
    **dict.fromkeys(
        (
            "argparse.Namespace",
            "transformer.optimization.WarmupLinearSchedule",
            "mockingjay.optimization.WarmupLinearSchedule",
            "optimizers.WarmupLinearSchedule",
            "s3prl.optimizers.WarmupLinearSchedule",
            "utility.timer.Timer",
            "utils.timer.Timer",
            *(f"builtins.{kind}" for kind in ("int", "float", "str", "bool", "list", "dict")),  # defaults of dicts
        ),
        Inert,
    ),
    **{f"{module}.{pure}{system}Path": _path for module in ("pathlib", "pathlib._local") for pure in ("", "Pure")
       for system in ("Posix", "Windows")},
    **{f"numpy.{module}.multiarray.scalar": _number for module in ("core", "_core")},
    "numpy.dtype": NumberKind,
    "collections.defaultdict": _dict,
}  # fmt: skip


class _Storage(NamedTuple):
    length: int


class Shape(NamedTuple):
    """Stands for a tensor in a scan."""

    size: tuple[int, ...]


class _ItemSize(NamedTuple):
    bytes: int


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Shape:
    """What torch's `_rebuild_tensor_v2` would read, if the storage has it all."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or len(size) != len(stride) or any(type(n) is not int for n in numbers):
        raise Refused("a tensor is not described as torch does")
    end = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1
    if min(numbers) < 0 or math.prod(size) > storage.length or (math.prod(size) and end > storage.length):
        raise Refused(f"a tensor of shape {list(size)} claims more than its {storage.length} stored numbers")
    return Shape(tuple(size))


def _parameter(data: Shape, requires_grad: Any, hooks: Any) -> Shape:
    return data


def _ordered_dict(*none: Any) -> OrderedDict:
    if none:
        raise Refused("a dict is not built as torch does")
    return OrderedDict()


STAND_INS: dict[str, Callable] = {
    **READ,
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.device": _device,
    "_codecs.encode": _bytes,
}


class Scanner(pickle._Unpickler):
    """The pickle machine in Python (its memory grows with the file only) with stand-ins for every callable.

    `check(key, bytes)` is told what each storage claims."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]  # these are the machine's own, which its stubs leave out
    pop_mark: Callable[[], list[Any]]
    proto: int

    def __init__(self, stream: Any, check: Callable[[str, int], None]):
        super().__init__(stream, encoding="utf-8")
        self.check = check

    def load(self) -> Any:
        """The object, a `Shape` for each tensor; Refused or an error of the machine where it is none of theirs."""
        value = super().load()
        if self.proto != PROTOCOL:
            raise Refused(f"it was saved by pickle protocol {self.proto}; save it as torch.save does, by {PROTOCOL}")
        return value

    def find_class(self, module: str, name: str) -> Any:
        kind = name.removesuffix("Storage")
        if module == "torch" and name.endswith("Storage") and kind in ITEM_SIZES:
            return _ItemSize(ITEM_SIZES[kind])
        now = ".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))
        if now not in STAND_INS:
            full = f"{module}.{name}"[:100]
            raise Refused(f"it holds the global {full!r}, which none of them does, and is not opened")
        return STAND_INS[now]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, item, key, _, count, *view = pid
        known = kind == "storage" and isinstance(item, _ItemSize) and type(key) is str and type(count) is int
        if not known or count < 0 or view not in ([], [None]):
            raise Refused("a tensor's storage is not described as torch does")
        self.check(key, count * item.bytes)
        return _Storage(count)

    def load_build(self) -> None:
        """Only what stands for an object takes a state: the machine's own would set attributes of functions too."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) in (Inert, NumberKind):
            target.__setstate__(state)
        elif type(target) is not OrderedDict or type(state) is not dict:
            raise Refused("it sets attributes of what is no object")

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

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
