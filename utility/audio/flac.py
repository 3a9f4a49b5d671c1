"""How long a FLAC file is: by its header, or where that does not say (it was written into a pipe) by its last frame.

The format: RFC 9639. Every frame has its number, and checksums of its header and of all of it."""

import functools
import io
from pathlib import Path
from typing import Any, NamedTuple

STREAMINFO = slice(8, 42)  # its place in a file
UNKNOWN = (1 << 63) - 1  # what libsndfile says of a file that does not state its length
SAMPLES_PER_BYTE = 4  # what claims more is looked at closely; silence may well have more
BLOCK_SIZES = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)}, **{c: 256 << (c - 8) for c in range(8, 16)}}


class Stream(NamedTuple):
    """What STREAMINFO says."""

    smallest_block: int
    largest_block: int
    largest_frame: int  # bytes; 0: not known
    channels: int
    bits: int
    samples: int  # per channel; 0: not known


def flac_length(path: Path, frames: int) -> int | None:
    """Samples per channel of a file that libsndfile takes for one of `frames`; None where its header cannot be true,
    and for a file without a length that is cut off."""
    if frames != UNKNOWN and frames <= SAMPLES_PER_BYTE * path.stat().st_size:
        return frames
    start = flac_start(path)
    counted = counted_samples(path, stream_of(start)) if start else None
    return counted if frames in (UNKNOWN, counted) else None


def flac_start(path: Path) -> bytes:
    """The bytes of a file up to the end of STREAMINFO; empty where it is no FLAC file."""
    with path.open("rb") as file:
        start = file.read(STREAMINFO.stop)
    plain = len(start) == STREAMINFO.stop and start[:4] == b"fLaC" and start[4] & 0x7F == 0
    return start if plain else b""


def stream_of(start: bytes) -> Stream:
    """STREAMINFO, from the first bytes of a file."""
    info = start[STREAMINFO]
    packed = int.from_bytes(info[10:18], "big")
    channels, bits, samples = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1, packed & ((1 << 36) - 1)
    blocks = int.from_bytes(info[:2], "big"), int.from_bytes(info[2:4], "big")
    return Stream(*blocks, int.from_bytes(info[7:10], "big"), channels, bits, samples)


def counted_samples(path: Path, stream: Stream) -> int | None:
    """Samples per channel by the last frame; None where the file does not end with a whole one."""
    whole = 64 + stream.largest_block * stream.channels * (stream.bits + 8) // 8
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - max(whole, stream.largest_frame), STREAMINFO.stop))
        tail = file.read()
    position = len(tail)
    while (position := tail.rfind(b"\xff", 0, position)) >= 0:
        end = _end_of_frame(tail[position : position + 16], stream)
        if end is not None and _crc(tail[position:], 16, 0x8005) == 0:
            return end
    return None


def _end_of_frame(head: bytes, stream: Stream) -> int | None:
    """The sample after a frame's last one, from its header; None where there is no such header."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    lead = head[4]
    more = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1  # bytes that follow, as in UTF-8
    if 0x80 <= lead < 0xC0 or more > 6:
        return None
    number = lead if not more else lead & (0x3F >> more)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    code, rate, position = head[2] >> 4, head[2] & 15, 5 + more
    extra = {6: 1, 7: 2}.get(code, 0)
    block = int.from_bytes(head[position : position + extra], "big") + 1 if extra else BLOCK_SIZES.get(code, 0)
    position += extra + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not block or position >= len(head) or _crc(head[: position + 1], 8, 0x07):
        return None
    variable = head[1] & 1
    return (number if variable else number * stream.largest_block) + block


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value, mask, table = 0, (1 << bits) - 1, _table(bits, polynomial)
    for byte in data:
        value = (value << 8 & mask) ^ table[(value >> (bits - 8)) ^ byte]
    return value


@functools.cache
def _table(bits: int, polynomial: int) -> list[int]:
    table, top, mask = [], 1 << (bits - 1), (1 << bits) - 1
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


class WithLength(io.FileIO):
    """A FLAC file as if its header said how long it is."""

    def __init__(self, path: Path, start: bytes, samples: int):
        super().__init__(path)
        packed = int.from_bytes(start[18:26], "big") | samples
        self._start = start[:18] + packed.to_bytes(8, "big") + start[26:]

    def readinto(self, buffer: Any, /) -> int:
        """As of any file."""
        position, count = self.tell(), super().readinto(buffer) or 0
        if position < len(self._start):
            known = self._start[position : position + count]
            memoryview(buffer).cast("B")[: len(known)] = known
        return count

    def read(self, size: int = -1, /) -> bytes:
        """As of any file."""
        data, position = bytearray(max(size, 0)), self.tell()
        if size < 0:
            data = bytearray(self.seek(0, io.SEEK_END) - position)
            self.seek(position)
        return bytes(data[: self.readinto(data)])
