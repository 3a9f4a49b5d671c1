"""Recordings of every kind that are wrong: their headers, their bodies, their ends."""

import io
import struct
from dataclasses import dataclass

import numpy as np
import soundfile

from tests.campaign.mutations.raw import changed

SPHERE_WORDS = (
    b"12000x", b"1.2e4", b"-1", b"0", b"1x", b"two", b"99999999999999999999", b"8589934592", b"268435456", b"1", b"",
    b"nan",
    b"3",
)  # fmt: skip
SPHERE_FIELDS = (b"sample_rate", b"sample_count", b"channel_count", b"sample_n_bytes", b"sample_sig_bits")
COUNTS = (
    0,
    1,
    2**28,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**33,
    2**36 - 1,
    2**63 - 1,
)  # samples or bytes that a header claims
RATES = (0, 1, 2, 7, 100, 999, 1000, 3999, 4000, 192_000, 768_000, 768_001, 1_000_000, 2**20 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Seed:
    """A sound recording as bytes: the ending of its name, what it is, and how long it lasts."""

    extension: str
    kind: str
    data: bytes
    seconds: float


@dataclass(frozen=True)
class Damaged:
    """A recording made wrong: how, whether it surely lacks samples, and how long its sound one lasted."""

    name: str
    data: bytes
    how: str
    lacking: bool
    seconds: float


KINDS = (  # format, subtype, ending
    ("WAV", "PCM_16", "wav"), ("WAV", "FLOAT", "wav"), ("WAV", "ULAW", "wav"), ("WAVEX", "PCM_16", "wav"), ("RF64",
    "PCM_16", "wav"),
    ("W64", "PCM_16", "w64"), ("AIFF", "PCM_16", "aiff"), ("AIFF", "PCM_24", "aif"), ("AU", "PCM_16", "au"), ("CAF",
    "PCM_16", "caf"),
    ("FLAC", "PCM_16", "flac"), ("FLAC", "PCM_24", "flac"), ("OGG", "VORBIS", "ogg"), ("OGG", "OPUS", "opus"),
    ("NIST", "PCM_16", "sph"),
    ("NIST", "ULAW", "sph"), ("MP3", "MPEG_LAYER_III", "mp3"),
)  # fmt: skip


def seeds(rng: np.random.Generator) -> list[Seed]:
    """Sound recordings of every kind: half a second of coloured noise, one or two channels, three rates."""
    made = []
    for number, (form, subtype, extension) in enumerate(KINDS * 2):
        rate = 48_000 if subtype == "OPUS" else (16_000, 8000, 22_050)[number % 3]
        count, channels = int(rate * rng.uniform(0.3, 0.6)), 1 + number // len(KINDS)
        wave = 0.02 * np.cumsum(rng.standard_normal((count, channels)), axis=0)
        wave -= wave.mean(0)
        out = io.BytesIO()
        soundfile.write(out, wave / (np.abs(wave).max() * 1.2), rate, subtype, format=form)
        made.append(Seed(extension, f"{form} {subtype}", out.getvalue(), count / rate))
    return made


def damaged(seed: Seed, number: int, rng: np.random.Generator) -> Damaged:
    """The recording `seed`, wrong somewhere, under a name of that `number`."""
    how = str(rng.choice(["cut", "header", "header", "bytes", "bytes", "bytes", "as it is", "named otherwise"]))
    extension, data, lacking = seed.extension, seed.data, False
    if how == "cut":
        data, lacking = _cut(seed, rng), True
    elif how == "header":
        data, how = _header(seed, rng)
    elif how == "bytes":
        data, how = changed(data, rng)
    elif how == "named otherwise":
        extension = str(rng.choice(["wav", "flac", "mp3", "ogg", "sph", "aiff", "au"]))
    return Damaged(f"r{number:02}.{extension}", data, f"{seed.kind}: {how}", lacking, seed.seconds)


def _cut(seed: Seed, rng: np.random.Generator) -> bytes:
    """Without its end: at least one sample is lost."""
    if rng.random() < 0.2:
        return seed.data[:-1]
    return seed.data[: int(len(seed.data) * float(rng.choice([0.3, 0.6, 0.9, 0.98, rng.uniform(0.1, 0.98)])))]


def _header(seed: Seed, rng: np.random.Generator) -> tuple[bytes, str]:
    """A header that claims another length or rate."""
    form, data = seed.kind.split()[0], seed.data
    claimed, rate = COUNTS[rng.integers(len(COUNTS))], RATES[rng.integers(len(RATES))]
    of_length = bool(rng.random() < 0.6)
    how = f"header claims {claimed} samples" if of_length else f"header claims {rate} Hz"
    if form == "NIST":
        return _sphere(data, rng)
    if form == "FLAC":
        return _flac(data, claimed if of_length else None, None if of_length else rate), how
    order = "<" if form in ("WAV", "WAVEX", "RF64", "W64") else ">"
    if form == "AU":
        return _written(data, 8 if of_length else 16, ">", claimed if of_length else rate, 4), how
    if form == "AIFF":
        at = data.find(b"COMM") + 8
        return (_written(data, at + 2, ">", claimed, 4) if of_length else _aiff_rate(data, at + 8, rate)), how
    if form in ("WAV", "WAVEX", "RF64", "W64"):
        wide = form == "W64"
        at = data.find(b"data") + (16 if wide else 4) if of_length else data.find(b"fmt ") + (28 if wide else 12)
        return _written(data, at, order, claimed if of_length else rate, 8 if wide and of_length else 4), how
    if form == "CAF":
        at = data.find(b"data") + 4 if of_length else data.find(b"desc") + 12
        value = struct.pack(">q", claimed) if of_length else struct.pack(">d", float(rate))
        return data[:at] + value + data[at + 8 :], how
    if form == "OGG":
        return _ogg(data, claimed), f"last page claims {claimed} samples"
    return changed(data[:64], rng)[0] + data[64:], "first bytes"


def _written(data: bytes, at: int, order: str, number: int, width: int) -> bytes:
    raw = (number % 256**width).to_bytes(width, "little" if order == "<" else "big")
    return data[:at] + raw + data[at + width :]


def _flac(data: bytes, count: int | None, rate: int | None) -> bytes:
    """STREAMINFO: 20 bits of rate, 3 of channels, 5 of width, 36 of samples."""
    at = 8 + 10
    bits = int.from_bytes(data[at : at + 8], "big")
    if count is not None:
        bits = bits >> 36 << 36 | count % 2**36
    if rate is not None:
        bits = bits & (1 << 44) - 1 | rate % 2**20 << 44
    return data[:at] + bits.to_bytes(8, "big") + data[at + 8 :]


def _aiff_rate(data: bytes, at: int, rate: int) -> bytes:
    """The rate as a number of 80 bits."""
    exponent = rate.bit_length() - 1
    raw = struct.pack(">HQ", 16383 + exponent, rate << (63 - exponent)) if rate else bytes(10)
    return data[:at] + raw + data[at + 10 :]


def _sphere(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    word = SPHERE_WORDS[rng.integers(len(SPHERE_WORDS))]
    if rng.random() < 0.2:
        return data[:8] + word[:7].rjust(7) + data[15:], f"SPHERE size {word!r}"
    field = SPHERE_FIELDS[rng.integers(len(SPHERE_FIELDS))]
    lines = data[:1024].split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(field):
            lines[number] = b" ".join([*line.split()[:2], word])
    return b"\n".join(lines)[:1024].ljust(1024) + data[1024:], f"SPHERE {field.decode()} {word!r}"


def _ogg(data: bytes, count: int) -> bytes:
    """The position that the last page states, its checksum mended."""
    at = data.rfind(b"OggS")
    page = bytearray(data[at:])
    page[6:14], page[22:26] = (count % 2**63).to_bytes(8, "little"), bytes(4)
    page[22:26] = _ogg_checksum(bytes(page)).to_bytes(4, "little")
    return data[:at] + bytes(page)


def _ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value
