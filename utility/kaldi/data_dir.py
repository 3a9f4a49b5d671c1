"""Kaldi's data directories: wav.scp, segments, utt2spk and what stands beside them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from utility.arrays import number
from utility.kaldi.tables import Entry, entries
from utility.text import cut, short

SECONDS_OFF = 0.05  # of a duration: the share by which utt2dur and reco2dur may differ from what is there
SORTED = ("wav.scp", "segments", "utt2spk", "text", "feats.scp")


class Part(NamedTuple):
    """An utterance: its recording, and from where to where in seconds; None for the recording's own."""

    recording: str
    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True)
class DataDir:
    """A data directory: lines of wav.scp by recording, utterances by id, and their speakers where known.

    `unsorted` are its files that Kaldi would refuse, `warnings` what else does not fit together."""

    path: Path
    recordings: Mapping[str, Entry]
    utterances: Mapping[str, Part]
    speakers: Mapping[str, str]
    unsorted: tuple[str, ...]
    warnings: tuple[str, ...]


def read_data_dir(path: Path) -> DataDir:
    """Read a directory with wav.scp; `segments` and `utt2spk` where they are there.

    ValueError with file and line for what is malformed, there twice, or names a recording that wav.scp lacks."""
    scp = path / "wav.scp"
    _check_there(path, scp)
    recordings = {entry.key: entry for entry in entries(scp, "recording path' or 'recording command |")}
    if not recordings:
        raise ValueError(f"{scp}: no recordings")
    segments = path / "segments"
    parts = _segments(segments, recordings) if segments.is_file() else {key: Part(key) for key in recordings}
    if not parts:
        raise ValueError(f"{segments}: no segments")
    speakers = read_speakers(path / "utt2spk")
    warnings = [*_unlike(path, parts, speakers), *_spk2utt(path / "spk2utt", speakers)]
    unsorted = [name for name in SORTED if (path / name).is_file() and not _is_sorted(path / name)]
    known = {key: speakers[key] for key in parts if key in speakers}
    return DataDir(path, recordings, parts, known, tuple(unsorted), tuple(warnings))


def read_speakers(path: Path) -> dict[str, str]:
    """Speakers by utterance of an utt2spk; none where it is not there."""
    if not path.is_file():
        return {}
    return {entry.key: entry.value for entry in entries(path, "utterance speaker", 1)}


def read_durations(path: Path) -> dict[str, float]:
    """Seconds by key of an utt2dur or reco2dur; none where it is not there."""
    if not path.is_file():
        return {}
    return {entry.key: _seconds(path, entry, entry.value) for entry in entries(path, "key seconds", 1)}


def duration_warning(path: Path, stated: Mapping[str, float], found: Mapping[str, float]) -> str:
    """How many durations of the file `path` are not those of the audio; empty where all are."""
    off = [
        key for key in stated if key in found and abs(stated[key] - found[key]) > SECONDS_OFF * max(found[key], 0.01)
    ]
    if not off:
        return ""
    first = f"{cut(off[0])} has {stated[off[0]]:g} s there, {found[off[0]]:g} s of audio"
    return f"{path}: {len(off)} durations are off by more than {SECONDS_OFF:.0%}: {first}"


def _check_there(path: Path, scp: Path) -> None:
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder")
    if not scp.is_file():
        raise ValueError(f"{path}: no data directory of Kaldi: it has no {scp.name}")


def _segments(path: Path, recordings: Mapping[str, Entry]) -> dict[str, Part]:
    parts = {}
    for entry in entries(path, "utterance recording start end", 3):
        recording, *times = entry.value.split()
        start, stop = (_seconds(path, entry, text) for text in times)
        if recording not in recordings:
            raise ValueError(f"{path}:{entry.number}: recording {short(recording)} is not in wav.scp")
        if start < 0:
            raise ValueError(f"{path}:{entry.number}: start is {start:g}, below 0")
        if stop != -1 and stop <= start:
            raise ValueError(
                f"{path}:{entry.number}: end is {stop:g}, not after start {start:g}; -1 is the recording's"
            )
        parts[entry.key] = Part(recording, start, None if stop == -1 else stop)
    return parts


def _seconds(path: Path, entry: Entry, text: str) -> float:
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}:{entry.number}: {short(text)} is not a number of seconds")
    return value


def _unlike(path: Path, utterances: Iterable[str], speakers: Mapping[str, str]) -> list[str]:
    """What utt2spk lacks, where there is one."""
    without = [key for key in utterances if key not in speakers] if speakers else []
    return (
        [f"{path / 'utt2spk'}: no speaker of {len(without)} utterances, {cut(without[0])} for one"] if without else []
    )


def _spk2utt(path: Path, speakers: Mapping[str, str]) -> list[str]:
    """spk2utt is not used; where it says something else than utt2spk somebody should know."""
    if not path.is_file() or not speakers:
        return []
    listed = {key: entry.key for entry in entries(path, "speaker utterance ...") for key in entry.value.split()}
    if listed == speakers:
        return []
    key = next(key for key in [*speakers, *listed] if listed.get(key) != speakers.get(key))
    there, here = (f"speaker {cut(who[key])}" if key in who else "no speaker" for who in (listed, speakers))
    return [f"{path}: not used, it differs from utt2spk: {cut(key)} has {there} in it, {here} in utt2spk"]


def _is_sorted(path: Path) -> bool:
    """Whether the keys are in the order of their bytes, as `LC_ALL=C sort` puts them."""
    with path.open("rb") as file:
        keys = (line.split(None, 1)[:1] for line in file)
        return all(one <= other for one, other in pairwise(keys))
