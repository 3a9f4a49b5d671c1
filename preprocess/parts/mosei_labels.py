"""The labels of MOSI and MOSEI, from a CSV or TSV table or a computational sequence -> segments."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from preprocess.parts.csd import EMOTIONS, csd_rows
from preprocess.parts.label_table import PARTS
from preprocess.parts.manifest import (
    END_COLUMN,
    START_COLUMN,
    span_of,
)
from preprocess.parts.names import SPLIT_COLUMNS
from utility.arrays import number
from utility.labels.table import ID_COLUMNS
from utility.tables import fits, names_and_rows, one_of, open_table
from utility.text import cut, short

VIDEO_COLUMNS, INDEX, SEGMENT = ("filename", "file", "video"), "index", "segment"
SENTIMENT_COLUMNS = ("sentiment", "label")
SPLIT_OF = PARTS | {"0": "train", "1": "dev", "2": "test"} | dict.fromkeys(("3", "none", ""), "")


@dataclass(frozen=True, slots=True)
class Segment:
    """One row of the labels: `start` to `stop` seconds of a video, or what a recording of its own holds.

    `stem` is the name of that recording (empty: it is not known). `early` says that the table has a start below 0,
    `seconds` how long the table has it. `split` is empty for those of no part; `values` are the other columns."""

    id: str
    video: str
    speaker: str
    stem: str
    start: float | None
    stop: float | None
    early: bool
    seconds: float | None
    sentiment: float | None
    split: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """Which columns of the labels mean what; None where there is none. `others` go to labels.csv as they are."""

    names: tuple[str, ...]
    id: str | None
    video: str
    split: str | None
    sentiment: str | None
    others: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the columns whose values a segment has."""
        return ("video", *(["sentiment"] if self.sentiment else []), *self.others)

    @property
    def timed(self) -> bool:
        """Whether the table says where segments begin or end."""
        return START_COLUMN in self.names or END_COLUMN in self.names


def read_segments(file: Path) -> tuple[Columns, Iterator[Segment]]:
    """The segments of a table or a .csd, one by one, no id twice; ValueError, with the line, for what makes no sense.

    A segment that starts below 0 starts at 0."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file of labels")
    if file.suffix.lower() == ".csd":
        rows = csd_rows(file)
        first = next(rows, None)
        if first is None:
            raise ValueError(f"{file}: holds no segments")
        columns = _columns(file, list(first[1]))
        return columns, _segments(chain([first], rows), columns)
    with open_table(file) as table:
        columns = _columns(file, list(table.fieldnames or ()))
    return columns, _segments(_table(file, columns), columns)


def _columns(file: Path, names: Sequence[str]) -> Columns:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{file}: two columns are called {short(twice)}")
    video, key = one_of(names, VIDEO_COLUMNS), one_of(names, ID_COLUMNS)
    if video is None:
        raise ValueError(f"{file}: no column {', '.join(VIDEO_COLUMNS)}; it has {cut(', '.join(names)) or 'none'}")
    if key is None and INDEX not in names:
        raise ValueError(f"{file}: no column id or key, and no column index to make ids of")
    split, sentiment = one_of(names, SPLIT_COLUMNS), one_of(names, SENTIMENT_COLUMNS)
    known = {key, video, split, sentiment, START_COLUMN, END_COLUMN, SEGMENT, "", "id", "split", "path", "video"}
    others = tuple(name for name in names if name not in known)
    return Columns(tuple(names), key, video, split, sentiment, others)


def _table(file: Path, columns: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    with open_table(file) as table:
        names, rows = names_and_rows(table)
        for line, row in rows:
            if not fits(row) or not row[columns.video]:
                told = f"has no {columns.video}, or fields that do not fit the {len(names)} columns"
                raise ValueError(f"{file}: line {line} {told}")
            yield f"{file}: line {line}", row


def _segments(rows: Iterator[tuple[str, dict[str, str]]], columns: Columns) -> Iterator[Segment]:
    seen: set[str] = set()
    for where, row in rows:
        segment = _segment(where, row, columns)
        if segment.id in seen:
            raise ValueError(f"{where}: id {short(segment.id)} is there already")
        seen.add(segment.id)
        yield segment


def _segment(where: str, row: Mapping[str, str], columns: Columns) -> Segment:
    video = row[columns.video].removesuffix(".wav")
    indexed = f"{video}_{row[INDEX]}" if row.get(INDEX) else ""
    key = row[columns.id] if columns.id else indexed
    if not key:
        raise ValueError(f"{where}: no {columns.id or INDEX}")
    start, stop = span_of(where, row, clip=True)
    begin = number(row[START_COLUMN]) if start is not None else 0.0
    sentiment = _number(where, columns.sentiment, row)
    split = ""
    if columns.split:
        split = _part(where, columns.split, row)
    values = [video]
    values += ["" if sentiment is None else _shown(sentiment)] if columns.sentiment else []
    for name in columns.others:
        value = _number(where, name, row) if name in EMOTIONS else None
        values.append(row[name] if value is None else _shown(value))
    return Segment(
        id=key,
        video=video,
        speaker=row.get("speaker") or video,
        stem=row.get(SEGMENT) or indexed or key,
        start=start,
        stop=stop,
        early=begin < 0,
        seconds=None if stop is None else stop - begin,
        sentiment=sentiment,
        split=split,
        values=tuple(values),
    )


def read_parts(file: Path) -> dict[str, str]:
    """The split of every video of a CSV or TSV table of a column `file` (`filename`, `video`) and one `split`."""
    parts: dict[str, str] = {}
    with open_table(file) as table:
        names, rows = names_and_rows(table)
        video, split = one_of(names, VIDEO_COLUMNS), one_of(names, SPLIT_COLUMNS)
        if video is None or split is None:
            told = f"no columns video and split; it has {cut(', '.join(names)) or 'none'}"
            raise ValueError(f"{file}: {told}")
        for line, row in rows:
            where = f"{file}: line {line}"
            if not fits(row):
                raise ValueError(f"{where} has fields that do not fit the {len(names)} columns")
            name, part = row[video].removesuffix(".wav"), _part(where, split, row)
            if parts.setdefault(name, part) != part:
                raise ValueError(f"{where}: video {short(name)} is {part or 'of no part'}, and {parts[name]} before")
    return parts


def _part(where: str, column: str, row: Mapping[str, str]) -> str:
    """Train, dev, test, or empty for none."""
    part = SPLIT_OF.get(row[column].strip().lower())
    if part is None:
        told = f"{column} is {short(row[column])}"
        raise ValueError(f"{where}: {told}, expected train, dev, test or none, or 0, 1, 2, 3 for them")
    return part


def _number(where: str, name: str | None, row: Mapping[str, str]) -> float | None:
    """A value that is a number, None where it is empty."""
    text = row[name].strip() if name else ""
    if not text:
        return None
    try:
        return number(text)
    except ValueError:
        raise ValueError(f"{where}: {name} is {short(text)}, expected a number, or nothing where unknown") from None


def _shown(value: float) -> str:
    """Seven digits: what a single-precision number of a .csd and one of a table have in common."""
    return f"{value:.7g}"
