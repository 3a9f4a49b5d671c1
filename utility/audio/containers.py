"""What the headers of audio files say of their sizes, where libsndfile believes them, or forgives them, too easily."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from utility.text import short

STREAMED = 0x7F000000  # from here on a length stands for none: a program that wrote into a pipe left it
SPHERE_COUNTS = ("sample_count", "channel_count", "sample_n_bytes")
OGG_PAGE = 27 + 255 + 255 * 255  # bytes, at most
MOST_SAMPLES = {"OGG": 4096, "MP3": 96}  # per byte: packets of silence; all other kinds but FLAC:
MOST_SAMPLES_OF_OTHERS = 32
EXTENSIBLE, IEEE_FLOAT = 0xFFFE, 3  # tags of samples in the format chunk of wav and w64
Endian = Literal["little", "big"]


class HeaderError(ValueError):
    """A header that makes no sense; the message names no file."""


def check_size(path: Path, kind: str, frames: int, subtype: str) -> None:
    """Raise HeaderError for a file that ends before its header says, or whose header cannot be true.

    `kind` and `subtype` are what libsndfile takes it for, `frames` the samples that it promises; FLAC has checks of its
    own."""
    size = path.stat().st_size
    if frames > MOST_SAMPLES.get(kind, MOST_SAMPLES_OF_OTHERS) * size:
        raise HeaderError(f"claims {frames} samples in {size} bytes")
    with path.open("rb") as file:
        if size < (_mp3(file) if kind == "MP3" else _end_of_samples(file)):
            raise HeaderError("truncated: it ends before its header says")
        if kind == "OGG" and not _ogg_ends(file, size):
            raise HeaderError("truncated: it ends before its header says")
        if kind == "W64" and subtype.startswith("PCM") and _w64_is_float(file):
            raise HeaderError("libsndfile takes its floats for integers: convert it, e.g. ffmpeg -i a.w64 a.flac")


def _end_of_samples(file: BinaryIO) -> int:
    """The byte after the last sample; 0 where a header does not say."""
    start = file.read(16)
    match start[:4]:
        case b"RIFF" | b"RF64":
            return _riff(file, "little")
        case b"RIFX" | b"FORM":
            return _riff(file, "big")
        case b".snd":
            return _au(start, "big")
        case b"dns.":
            return _au(start, "little")
        case b"riff":
            return next((end for name, _, end in _w64_chunks(file) if name == b"data"), 0)
        case b"caff":
            return _caf(file)
        case b"NIST":
            return _sphere(file, start)
    return 0


def _riff(file: BinaryIO, order: Endian) -> int:
    """Of wav, RF64 and AIFF: chunks `name, length, content`, padded to even lengths."""
    long = 0
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = head[:4], int.from_bytes(head[4:], order)
        if name == b"ds64":
            long = int.from_bytes(file.read(16)[8:], order)
            file.seek(-16, 1)
        if name in (b"data", b"SSND"):
            length = long if length == 0xFFFFFFFF and long else length
            return 0 if STREAMED <= length <= 0xFFFFFFFF and not long else file.tell() + length
        file.seek(length + length % 2, 1)
    return 0


def _au(start: bytes, order: Endian) -> int:
    header, length = (int.from_bytes(start[i : i + 4], order) for i in (4, 8))
    return 0 if length >= STREAMED else header + length


def _w64_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte of the content and the byte after it, of each chunk of a w64 file."""
    position = 40
    while True:
        file.seek(position)
        head = file.read(24)
        length = int.from_bytes(head[16:], "little")
        if len(head) < 24 or length < 24:
            return
        yield head[:4], position + 24, position + length
        position += -(-length // 8) * 8


def _w64_is_float(file: BinaryIO) -> bool:
    for name, start, _ in _w64_chunks(file):
        if name == b"fmt ":
            file.seek(start)
            content = file.read(26)
            tags = [int.from_bytes(content[i : i + 2], "little") for i in (0, 24)]
            return tags == [EXTENSIBLE, IEEE_FLOAT]
    return False


def _caf(file: BinaryIO) -> int:
    file.seek(8)
    while len(head := file.read(12)) == 12:
        length = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"data":
            return 0 if length < 0 else file.tell() + length
        if length < 0:
            return 0
        file.seek(length, 1)
    return 0


def _sphere(file: BinaryIO, start: bytes) -> int:
    header = _count("the size of its header", start[8:].decode(errors="replace").strip())
    file.seek(0)
    lines = file.read(min(header, 1 << 20)).decode(errors="replace").split("\n")
    fields = {words[0]: words[2] for line in lines if len(words := line.split()) == 3}
    samples, channels, width = (_count(name, fields.get(name, "1")) for name in SPHERE_COUNTS)
    return header + samples * channels * width


def _mp3(file: BinaryIO) -> int:
    """As the first frame says (LAME's Xing or Info), which most encoders write."""
    file.seek(0)
    tag = file.read(10)
    start = 0
    if tag[:3] == b"ID3":  # 28 bits in four bytes
        start = 10 + sum((byte & 127) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0)))
    file.seek(start)
    frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if frame[:1] != b"\xff" or not 0 < at <= 4 + 2 + 32:
        return 0
    flags, *numbers = (int.from_bytes(frame[at + i : at + i + 4], "big") for i in (4, 8, 12))
    if not flags & 2:  # it does not say how many bytes there are
        return 0
    return start + numbers[flags & 1]  # behind the number of frames, where that is there


def _count(name: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise HeaderError(f"damaged header: {name} is {short(text)}, expected a number")
    return int(text)


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Whether the last page is whole and marked as the last."""
    file.seek(max(size - OGG_PAGE, 0))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
