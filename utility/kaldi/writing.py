"""Bytes of Kaldi's objects: the counterpart of `kaldi_matrices`, the same bytes as Kaldi's own code writes."""

import struct
from typing import Literal

import numpy as np

from utility.kaldi.matrices import INT32, INTEGER, unpack_uint16

Form = Literal["float", "double", "text", "speech", "two_byte"]

PLAIN: dict[str, tuple[bytes, np.dtype]] = {"float": (b"F", np.dtype("<f4")), "double": (b"D", np.dtype("<f8"))}
FEW_ROWS = 8  # up to here Kaldi's automatic method takes two bytes per value


def pack(values: np.ndarray, form: Form) -> bytes:
    """The object that holds `values`: floats [T, D] or [N], or integers [N], which are written as integers.

    An array of 0 x D becomes Kaldi's empty matrix, 0 x 0. Raises ValueError for what the form cannot hold."""
    values = np.asarray(values)
    integers = values.dtype.kind in "iu" and values.ndim == 1
    if not integers and (values.dtype.kind != "f" or values.ndim not in (1, 2)):
        raise ValueError(f"{values.dtype} {list(values.shape)}: neither floats [T, D] or [N] nor integers [N]")
    if values.ndim == 2 and values.shape[1] == 0 < len(values):
        raise ValueError(f"a matrix of {len(values)} x 0: Kaldi has none")
    if max(values.shape) > INT32.max:
        raise ValueError(f"{max(values.shape)} rows, columns or values: Kaldi counts up to {INT32.max}")
    if integers and values.size and not INT32.min <= int(values.min()) <= int(values.max()) <= INT32.max:
        raise ValueError(f"integers from {values.min()} to {values.max()}: Kaldi has 32 bits")
    if form == "text":
        return _text(values)
    if form not in PLAIN:
        if values.ndim != 2:
            raise ValueError(f"{form} compresses matrices only, not {values.dtype} {list(values.shape)}")
        return b"\0B" + _compressed(_convert(values, np.dtype("<f4")), form)
    if integers:
        marked = np.empty(len(values), INTEGER)
        marked["size"], marked["value"] = 4, values
        return b"\0B" + _count(len(values)) + marked.tobytes()
    letter, kind = PLAIN[form]
    shape = values.shape if values.size or values.ndim == 1 else (0, 0)
    token = letter + (b"V " if values.ndim == 1 else b"M ")
    return b"\0B" + token + b"".join(map(_count, shape)) + _convert(values, kind).tobytes()


def _convert(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        converted = values.astype(kind, copy=False)
    if converted.itemsize < values.itemsize and np.any(np.isinf(converted) & np.isfinite(values)):
        raise ValueError("values too large for 32 bits: write doubles")
    return converted


def _count(count: int) -> bytes:
    return struct.pack("<Bi", 4, count)


def _text(values: np.ndarray) -> bytes:
    """All digits that tell the number from its neighbours; Kaldi itself writes 7 and loses some."""
    if values.dtype.kind != "f":
        return "".join(f"{value} " for value in values.tolist()).encode() + b"\n"
    number = "%.17g" if values.dtype.itemsize > 4 else "%.9g"
    rows = ["".join(f"{number % value} " for value in row) for row in np.atleast_2d(values).tolist()]
    if values.ndim == 1 or not values.size:
        return f" [ {''.join(rows)}]\n".encode()
    return (" [" + "".join(f"\n  {row}" for row in rows) + "]\n").encode()


def _compressed(values: np.ndarray, form: Form) -> bytes:
    """[T, D] float32 as CM2, or CM if `form` is speech and there are rows enough."""
    if not values.size:
        return struct.pack("<3s2f2i", b"CM ", 0, 0, 0, 0)
    low, high = values.min(), values.max()
    if low == high:
        high = np.float32(float(low) + (1 + abs(float(low))))
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    if not np.isfinite(span):
        raise ValueError(f"{form} cannot hold values from {low} to {high}: write floats")
    header = struct.pack("<2f2i", low, span, *values.shape)
    if form == "two_byte" or len(values) <= FEW_ROWS:
        return b"CM2 " + header + _uint16(values, low, span).tobytes()
    quarter = len(values) // 4
    ranks = [0, quarter, 3 * quarter, len(values) - 1]
    heads = _uint16(np.partition(values, ranks, axis=0)[ranks], low, span).astype(np.int32)  # [4, D]
    heads[0] = np.minimum(heads[0], 65532)  # four different values, whatever the column holds
    heads[1] = np.clip(heads[1], heads[0] + 1, 65533)
    heads[2] = np.clip(heads[2], heads[1] + 1, 65534)
    heads[3] = np.maximum(heads[3], heads[2] + 1)
    p0, p25, p75, p100 = unpack_uint16(heads, low, span)
    lower = _steps((values - p0) / (p25 - p0), 64, 0)
    middle = _steps((values - p25) / (p75 - p25), 128, 64)
    upper = _steps((values - p75) / (p100 - p75), 63, 192)
    codes = np.where(values < p25, lower, np.where(values < p75, middle, upper)).astype(np.uint8)
    return b"CM " + header + heads.T.astype("<u2").tobytes() + codes.T.tobytes()


def _uint16(values: np.ndarray, low: np.float32, span: np.float32) -> np.ndarray:
    share = np.clip((values - low) / span, 0, 1)
    return (share * np.float32(65535) + np.float64(0.499)).astype("<u2")


def _steps(share: np.ndarray, count: int, start: int) -> np.ndarray:
    """A share of a quartile's range, rounded to `count` steps from `start`."""
    return start + np.clip(share * np.float32(count) + np.float64(0.5), 0, count).astype(np.int32)
