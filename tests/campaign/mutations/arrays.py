"""Changes of .npy files: of the header's words, of its lengths, of the body."""

import io
import zipfile
from collections.abc import Callable

import numpy as np

from tests.campaign.mutations.pickles import gadget
from tests.campaign.mutations.raw import changed, cut

HEADS = (
    (b"}", b""), (b"}", b"]"), (b"'shape'", b"'shapes'"), (b"(", b""), (b")", b""), (b"'descr'", b"'descr"), (b",",
    b""),
    (b"False", b"True"), (b"False", b"0"), (b"False", b"None"), (b"<f4", b">f4"), (b"<f4", b"<f8"), (b"<f4", b"<c8"),
    (b"<f4", b"|O"), (b"<f4", b"<i4"), (b"<f4", b"|S4"), (b"<f4", b"<U1"), (b"<f4", b"x4"), (b"<f4", b"<f2"), (b"<f4",
    b"<m8"),
    (b"(", b"(-"), (b"(", b"(9"), (b"(", b"(1L"), (b"(", b"(99999999999999999999, "), (b"(", b"(1, "), (b", 80)",
    b",)"),
    (b", 80)", b", 0)"), (b", 80)", b", 8)"), (b", 80)", b", 80.0)"), (b"'",
    b'"'), (b"{", b"{{"), (b"{", b"dict("), (b":", b"="),
    (b"'<f4'", b"[('a', '<f4'), ('a', '<f4')]"), (b"'<f4'", b"[('a', '<f4')]"), (b"'<f4'", b"('<f4', (2,))"),
    (b"'<f4'", b"" + b"(" * 300),
    (b"NUMPY", b"NUMPX"), (b"\x01\x00", b"\x02\x00"), (b"\x01\x00", b"\x03\x00"), (b"\x01\x00", b"\x09\x00"), (b" ",
    b"\0"), (b" ", b"\n"),
)  # fmt: skip


def changed_array(data: bytes, rng: np.random.Generator) -> tuple[bytes, str, bool]:
    """An array file that is wrong somewhere; how; and whether it surely lacks something."""
    how = rng.choice(["head", "head", "head", "bytes", "bytes", "cut", "other", "values"])
    if how == "head":
        old, new = HEADS[rng.integers(len(HEADS))]
        return _replaced(data, old, new, rng), f"header {old!r} -> {new[:20]!r}", False
    if how == "cut":
        return cut(data, rng), "cut", True
    if how == "values":
        return _values(data, rng), "values that are not finite", False
    if how == "other":
        makers: tuple[Callable[[np.random.Generator], bytes], ...] = (
            _objects,
            _npz,
            lambda _: b"",
            lambda _: b"\x93NUMPY",
        )
        at = int(rng.integers(len(makers)))
        return makers[at](rng), ("objects", "a zip", "nothing", "six bytes")[at], False
    return *changed(data, rng), False


def _replaced(data: bytes, old: bytes, new: bytes, rng: np.random.Generator) -> bytes:
    """The header with one word replaced; its stated length is mended half of the time."""
    end = 10 + int.from_bytes(data[8:10], "little")
    head = data[:10], data[10:end].replace(old, new, 1)
    if old in data[:10]:
        return data[:10].replace(old, new) + data[10:]
    grown = len(head[1]) - (end - 10)
    length = len(head[1]) if rng.random() < 0.5 and grown else end - 10
    return head[0][:8] + length.to_bytes(2, "little") + head[1] + data[end:]


def _values(data: bytes, rng: np.random.Generator) -> bytes:
    end = 10 + int.from_bytes(data[8:10], "little")
    at = end + int(rng.integers(max((len(data) - end) // 8, 1))) * 8
    with np.errstate(over="ignore"):
        bad = np.array(
            [float(rng.choice([np.nan, np.inf, -np.inf, -1e300, 1e300]))], "<f8" if rng.random() < 0.5 else "<f4"
        )
    return data[:at] + bad.tobytes() + data[at + bad.nbytes :]


def _objects(rng: np.random.Generator) -> bytes:
    """An array of one object, whose pickle would run code."""
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (53 + 64 - len(head)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + gadget(rng)[0]


def _npz(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        item = zipfile.ZipInfo("a.npy", (2020, 1, 1, 0, 0, 0))
        archive.writestr(item, b"\x93NUMPY\x01\x00")
    return out.getvalue()
