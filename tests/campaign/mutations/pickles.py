"""Pickles that would run code or take memory, in every wrapping that a torch file can have."""

import builtins
import io
import os
import pathlib
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.campaign.mutations.values import CANARY

PROTOCOLS = (0, 2, 4)
MAGIC, TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's serialisation before 1.6
COMMAND = f"touch {CANARY}"
EXPRESSION = f"__import__('os').system({COMMAND!r})"


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None):
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments) if self.state is None else (self.function, self.arguments, self.state)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


VALUES: dict[str, Callable[[], Any]] = {  # gadgets that Python itself can write, at any protocol
    "os.system": lambda: Calls(os.system, COMMAND),
    "os.popen": lambda: Calls(os.popen, COMMAND),
    "eval": lambda: Calls(eval, EXPRESSION),
    "exec": lambda: Calls(exec, f"import os; os.system({COMMAND!r})"),
    "open": lambda: Calls(builtins.open, CANARY, "w"),
    "Path.touch": lambda: Calls(pathlib.Path.touch, pathlib.PosixPath(CANARY)),
    "check_call": lambda: Calls(subprocess.check_call, ["touch", CANARY]),
    "Popen": lambda: Calls(subprocess.Popen, ["touch", CANARY]),
    "os.mkdir": lambda: Calls(os.mkdir, CANARY),
    "getattr": lambda: Calls(getattr, Calls(__import__, "os"), "system"),
    "__import__": lambda: Calls(__import__, "antigravity_of_no_module"),
    "numpy array of objects": lambda: np.array([Calls(os.system, COMMAND)], dtype=object),
    "in a dict": lambda: {"Transformer": Calls(os.system, COMMAND), "Settings": {}},
    "as a key": lambda: {("a", Calls(os.getpid)): Calls(os.system, COMMAND)},
    "state": lambda: Calls(dict, state={"x": Calls(os.system, COMMAND)}),
}
STREAMS = {  # gadgets made by hand; the protocol is their own
    "INST": b"\x80\x02(" + _text(COMMAND) + b"ios\nsystem\n.",
    "OBJ": b"\x80\x02(cos\nsystem\n" + _text(COMMAND) + b"o.",
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + _text(COMMAND) + b"\x85\x81.",
    "STACK_GLOBAL": b"\x80\x04" + _text("os") + _text("system") + b"\x93" + _text(COMMAND) + b"\x85R.",
    "setstate": b"\x80\x02cargparse\nNamespace\n)\x81}"
    + _text("__setstate__")
    + b"cos\nsystem\nsb"
    + _text(COMMAND)
    + b"b.",
    "defaults": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}" + _text("__defaults__") + _text("x") + b"\x85s\x86b.",
}
BOMBS = {
    "bytearray of a terabyte": b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
    "memo of 16 GB": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "nested lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "nested tuples as a key": b"\x80\x02N" + b"2\x86" * 60 + b"q\x000}h\0Ns.",
    "a number of a million digits": b"\x80\x02\x8b" + struct.pack("<I", 400_000) + b"\x7f" * 400_000 + b".",
}


def gadget(rng: np.random.Generator) -> tuple[bytes, str]:
    """A pickle that would run code, and its name."""
    names = [*VALUES, *STREAMS]
    name = names[rng.integers(len(names))]
    if name in STREAMS:
        return STREAMS[name], name
    protocol = int(rng.choice(PROTOCOLS))
    return pickle.dumps(VALUES[name](), protocol), f"{name}, protocol {protocol}"


def wrapped(stream: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """A pickle as a file: raw, in torch's zip, in a zip of ours, in torch's old form."""
    form = str(rng.choice(["raw", "zip", "zip of ours", "deflated zip", "old"]))
    if form == "raw":
        return stream, form
    if form == "old":
        start = [pickle.dumps(part, 2) for part in (MAGIC, TORCH_PROTOCOL, {"little_endian": True})]
        return b"".join([*start, stream, pickle.dumps([], 2)]), form
    if form == "zip of ours":
        stream = _ours(stream)
    return zipped(stream, zipfile.ZIP_DEFLATED if form == "deflated zip" else zipfile.ZIP_STORED), form


def _ours(stream: bytes) -> bytes:
    """The pickle of {"format": "mockingjay-1", "kind": "pretrain", "model": whatever `stream` makes}."""
    inner = stream[2:-1] if stream[:1] == b"\x80" else stream[:-1]
    about = b"".join(_text(word) for word in ("format", "mockingjay-1", "kind", "pretrain", "model"))
    return b"\x80\x04}(" + about + inner + b"u."


def zipped(stream: bytes, method: int = zipfile.ZIP_STORED, records: dict[str, bytes] | None = None) -> bytes:
    """The zip form that torch writes, around a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in {"data.pkl": stream, "version": b"3\n", **(records or {})}.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", (2020, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def bomb(rng: np.random.Generator) -> tuple[bytes, str]:
    """A file that claims, or unpacks to, more than any memory."""
    names = [*BOMBS, "zip of 200 MB", "zip of 4 GB of zeros as a record"]
    name = names[rng.integers(len(names))]
    if name == "zip of 200 MB":
        return zipped(b"\x80\x02" + _text("a" * (200 << 20)) + b".", zipfile.ZIP_DEFLATED), name
    if name == "zip of 4 GB of zeros as a record":
        return zipped(_ours(b"\x80\x02}."), zipfile.ZIP_DEFLATED, {"data/0": bytes(300 << 20)}), name
    data, form = wrapped(BOMBS[name], rng)
    return data, f"{name}, {form}"


def hostile(rng: np.random.Generator) -> tuple[bytes, str]:
    """A file that would run code (most), or take more than any memory."""
    if rng.random() < 0.2:
        return bomb(rng)
    stream, name = gadget(rng)
    data, form = wrapped(stream, rng)
    return data, f"{name}, {form}"
