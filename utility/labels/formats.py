"""Readers of alignment files: each yields (id, segments in seconds) and keeps the file's own silence labels."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from praatio import textgrid
from praatio.utilities.errors import PraatioException

from utility.arrays import number
from utility.files import files_below
from utility.kaldi.archives import read_ark
from utility.labels.alignment import TimedLabels
from utility.labels.names import FORMATS
from utility.text import cut, parse_json, read_text, short
from utility.utterance_ids import timit_id

NAMED_BY_FILE = ("textgrid", "montreal")  # formats whose files hold one utterance each, and not its id
AlignedUtterances = Iterator[tuple[str, TimedLabels]]
TIMIT_RATE = 16000
CPC_SHIFT = 0.01  # seconds per label
POSITION = re.compile(r"_[BIES]$")  # of a phone in its word: first, inside, last, alone
NO_PHONE = re.compile(r"<eps>|#\w+")  # symbols of phones.txt that no frame has
GRID_TIMES = re.compile(r"^[ \t]*(?:x(?:min|max)[ \t]*=)?[ \t]*([-+]?[\d._]+(?:[eE][-+\d_]+)?)[ \t\r]*$", re.MULTILINE)


def read_textgrid(file: Path, tier: str) -> AlignedUtterances:
    """The tier `phones` or `words`, or `<speaker> - phones`, of a Praat TextGrid; empty intervals are kept."""
    try:
        grid = textgrid.openTextgrid(str(file), includeEmptyIntervals=True, reportingMode="silence")
    except OSError:
        raise
    except PraatioException as error:
        raise ValueError(f"{file}: not a readable TextGrid: {cut(str(error))}") from None
    except Exception:  # praatio meets broken files with whatever its parser stumbles over
        raise ValueError(f"{file}: not a readable TextGrid: cut off, or in another form") from None
    _check_times(file)
    names = [name for name in grid.tierNames if name == tier or name.endswith(f" - {tier}")]
    if len(names) != 1:
        held = f"{len(names)} tiers of {tier}" if names else f"no tier {short(tier)}"
        among = cut(", ".join(map(repr, grid.tierNames))) or "no tiers"
        raise ValueError(f"{file}: {held} among {among}")
    entries = grid.getTier(names[0]).entries
    if entries and len(entries[0]) != 3:
        raise ValueError(f"{file}: tier {short(names[0])} holds points, not intervals")
    yield file.stem, [(float(entry.start), float(entry.end), entry.label.strip()) for entry in entries]


def _check_times(file: Path) -> None:
    """Refuse times that Python takes for numbers and Praat does not."""
    data = file.read_bytes()
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace")
    for line, match in ((match[1].strip(), match) for match in GRID_TIMES.finditer(text)):
        try:
            number(line)
        except ValueError:
            place = text.count("\n", 0, match.start(1)) + 1
            raise ValueError(f"{file}:{place}: expected a time, got {short(line)}") from None


def read_ctm(file: Path, tier: str) -> AlignedUtterances:
    """NIST CTM: `utterance channel start duration label [confidence]`, one utterance's lines together."""
    rows = _fields(file, "utterance channel start duration label", (5, 6), comment=";;")
    for key, group in itertools.groupby(rows, key=lambda row: row[1][0]):
        segments = []
        for where, (_, _, start, length, label, *_) in group:
            begin = _number(where, start)
            segments.append((begin, begin + _number(where, length), label))
        yield key, segments


def read_timit(file: Path, tier: str) -> AlignedUtterances:
    """TIMIT's `.phn` and `.wrd`: `start end label` in samples; a word that overlaps the next ends where that starts."""
    segments: list[tuple[float, float, str]] = []
    for where, (start, end, label) in _fields(file, "start end label", (3,)):
        begin = _number(where, start) / TIMIT_RATE
        if segments and segments[-1][0] < begin < segments[-1][1] and file.suffix.lower() == ".wrd":
            segments[-1] = (segments[-1][0], begin, segments[-1][2])
        segments.append((begin, _number(where, end) / TIMIT_RATE, label))
    yield timit_id(file), segments


def read_montreal(file: Path, tier: str) -> AlignedUtterances:
    """One text file per utterance, lines `start end label` in seconds."""
    rows = _fields(file, "start end label", (3,))
    yield file.stem, [(_number(where, start), _number(where, end), label) for where, (start, end, label) in rows]


def read_cpc(file: Path, tier: str) -> AlignedUtterances:
    """Lines `utterance id id ...`, one phone id per 10 ms; runs of one id become a segment."""
    for where, (key, *ids) in _fields(file, "utterance id id ...", None):
        segments, begin = [], 0
        for label, run in itertools.groupby(ids):
            if not _is_code(label):
                raise ValueError(f"{where}: expected a phone id, got {short(label)}")
            end = begin + len(list(run))
            segments.append((begin * CPC_SHIFT, end * CPC_SHIFT, label))
            begin = end
        yield key, segments


def read_json(file: Path, tier: str) -> AlignedUtterances:
    """`{token: [[utterance, audio, start, end], ...]}` or `{utterance: [audio, [start, end, token], ...]}`, seconds."""
    try:
        table = parse_json(read_text(file))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from None
    segments: dict[str, list[tuple[float, float, str]]] = {}
    try:
        for name, entries in table.items():
            if entries and isinstance(entries[0], str):
                segments[name] = [_json_segment(*entry) for entry in entries[1:]]
            else:
                for key, _, start, end in entries:
                    if not isinstance(key, str):
                        raise TypeError(f"utterance {short(key)}")
                    segments.setdefault(key, []).append(_json_segment(start, end, name))
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        expected = "{token: [[utterance, audio, start, end], ...]} or {utterance: [audio, [start, end, token], ...]}"
        raise ValueError(f"{file}: expected JSON {expected}") from None
    for key in sorted(segments):
        yield key, sorted(segments[key])


def _json_segment(start: float, end: float, label: str) -> tuple[float, float, str]:
    """TypeError where JSON has other types at these places."""
    if not isinstance(label, str) or not all(type(time) in (int, float) for time in (start, end)):
        raise TypeError(f"{start!r}, {end!r}, {short(label)}")
    return float(start), float(end), label


class NotPhones(ValueError):
    """An archive of Kaldi whose numbers are no phones, so that nothing in it can be trusted."""


def read_phone_table(file: Path) -> dict[int, str]:
    """Kaldi's `phones.txt`, lines `PHONE id`: the phones by id, without the marks of their position in a word.

    Symbols that no frame has (`<eps>`, `#0`) are left out; ValueError for other lines, and what is there twice."""
    phones: dict[int, str] = {}
    seen: dict[str, str] = {}
    for number_, line in enumerate(read_text(file).removeprefix("\ufeff").split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not _is_code(fields[1]) or len(fields[1]) > 9:
            raise ValueError(f"{file}:{number_}: expected `PHONE id`, got {short(line.strip())}")
        for field in (f"phone {short(fields[0])}", f"id {int(fields[1])}"):
            if field in seen:
                raise ValueError(f"{file}:{number_}: {field} is there twice, first in {seen[field]}")
            seen[field] = f"line {number_}"
        if not NO_PHONE.fullmatch(fields[0]):
            phones[int(fields[1])] = POSITION.sub("", fields[0])
    if not phones:
        raise ValueError(f"{file}: no phone in it: expected lines `PHONE id`, as in data/lang/phones.txt")
    return phones


def read_kaldi(file: Path, tier: str, phones: Mapping[int, str], shift: float) -> AlignedUtterances:
    """An archive (.ark, .gz) of Kaldi with a phone id for every frame, `shift` seconds each; runs become segments.

    `NotPhones` where an id is none of `phones`: these are transition ids, or the table is another one's."""
    for key, values in read_ark(file):
        if values.ndim != 1 or values.dtype.kind != "i":
            what = f"{values.dtype} {list(values.shape)}"
            raise NotPhones(f"{file}: {cut(key)}: expected a whole number for every frame, got {what}")
        unknown = [code for code in np.unique(values).tolist() if code not in phones]
        if unknown:
            raise NotPhones(f"{file}: {cut(key)}: {_no_phone(unknown, max(phones))}")
        starts = np.flatnonzero(np.diff(values, prepend=-1)).tolist()
        runs = zip(starts, [*starts[1:], len(values)])
        yield key, [(start * shift, end * shift, phones[int(values[start])]) for start, end in runs]


def _no_phone(unknown: list[int], largest: int) -> str:
    if unknown[-1] <= largest:
        return f"{unknown[0]} is no phone of the table of --phones: give that of the model that aligned"
    return (
        f"{unknown[-1]} is more than {largest}, the largest id of --phones: transition ids cannot be mapped without "
        "the model: write phones by Kaldi's `ali-to-phones --per-frame=true final.mdl ark:... ark:...`"
    )


READERS: dict[str, Callable[[Path, str], AlignedUtterances]] = dict(
    zip(FORMATS, (read_textgrid, read_ctm, read_timit, read_montreal, read_cpc, read_json))
)


def reader(format: str, phones: Path | None, shift: float) -> Callable[[Path, str], AlignedUtterances]:  # noqa: A002
    """What reads files of a format; `phones` (phones.txt) and `shift` (seconds per frame) are of Kaldi's."""
    if format != "kaldi":
        return READERS[format]
    assert phones is not None, "the flags were checked"
    return partial(read_kaldi, phones=read_phone_table(phones), shift=shift)


def find_files(path: Path, format: str, tier: str) -> tuple[str, list[Path]]:  # noqa: A002
    """The format (found by suffix where `auto`) and the files of `path`, itself a file or a folder, sorted.

    `ValueError` where nothing fits, or where `auto` finds two formats.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else [path / name for name in files_below(path)]
    if format == "auto":
        if path.suffix in (".ark", ".gz") and path.is_file():
            raise ValueError(f"{path}: an archive of Kaldi? say --format kaldi, and --phones phones.txt")
        by_format = {name: _of_format(files, name, tier) for name in ("textgrid", "timit", "ctm", "json")}
        held = [name for name, fitting in by_format.items() if fitting]
        if len(held) > 1:
            raise ValueError(f"{path}: holds {' and '.join(held)} files; choose by --format")
        format = held[0] if held else _text_format(_of_format(files, "montreal", tier))  # noqa: A001
    fitting = [path] if path.is_file() else _of_format(files, format, tier)
    if not fitting:
        raise ValueError(f"{path}: no {'alignment' if format == 'auto' else format} files of {tier} found")
    return format, fitting


def _of_format(files: list[Path], format: str, tier: str) -> list[Path]:  # noqa: A002
    suffixes = {
        "textgrid": (".textgrid",),
        "ctm": (".ctm",),
        "timit": (".phn",) if tier == "phones" else (".wrd",),
        "json": (".json",),
        "kaldi": (".ark", ".gz"),
    }.get(format, (".txt",))
    transcripts = (".trans.txt", "unaligned.txt")
    return [file for file in files if file.suffix.lower() in suffixes and not file.name.lower().endswith(transcripts)]


def _text_format(files: list[Path]) -> str:
    """`montreal` or `cpc` by the first line of the first file; `auto` where neither fits."""
    if not files:
        return "auto"
    with files[0].open(encoding="utf-8", errors="replace") as lines:
        fields = lines.readline().split()
    if len(fields) == 3 and all(re.fullmatch(r"[\d.eE+-]+", field) for field in fields[:2]):
        return "montreal"
    if len(fields) > 1 and all(map(_is_code, fields[1:])):
        return "cpc"
    raise ValueError(f"{files[0]}: neither `start end phone` nor `utterance id id ...`; choose by --format")


def _fields(
    file: Path, expected: str, counts: tuple[int, ...] | None, comment: str | None = None
) -> Iterator[tuple[str, list[str]]]:
    """(`file:line`, fields) of the lines that are not empty; `ValueError` where their number is not in `counts`."""
    with file.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                fields = line.split()
                if not fields or (comment and line.startswith(comment)):
                    continue
                if counts and len(fields) not in counts:
                    raise ValueError(f"{file}:{number}: expected `{expected}`, got {short(line.strip())}")
                yield f"{file}:{number}", fields
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: not UTF-8 text ({error})") from None


def _is_code(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(where: str, text: str) -> float:
    try:
        return number(text)
    except ValueError:
        raise ValueError(f"{where}: expected a time, got {short(text)}") from None
