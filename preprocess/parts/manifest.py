"""A CSV or TSV table of recordings, or of parts of them -> utterances."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from preprocess.parts.corpora import (
    WHOLE,
    Corpus,
    Utterance,
    make_corpus,
)
from preprocess.parts.names import PATH_COLUMNS, SPLIT_COLUMNS
from utility.arrays import number
from utility.labels.table import ID_COLUMNS
from utility.tables import fits, names_and_rows, one_of, open_table
from utility.text import cut, short
from utility.utterance_ids import IdRule, utterance_ids

START_COLUMN, END_COLUMN = "start", "end"  # seconds: a row is a part of a recording


def manifest(
    file: Path, splits: Sequence[str] = (), id_from: IdRule = "auto", clip: bool = False, parts: bool = True
) -> Corpus:
    """A CSV or TSV table with a column `path` (relative to the table) and, where known, `id`, `speaker` and `split`.

    With the columns `start` and `end`, seconds, a row is a part of a recording: both empty are all of it, an end of -1
    its end. A start below 0 is refused, or 0 where `clip` says so. Who takes no `parts` refuses them."""
    with open_table(file) as table:
        names, numbered = names_and_rows(table)
        rows = list(numbered)
    path_column, id_column, split_column = (one_of(names, known) for known in (PATH_COLUMNS, ID_COLUMNS, SPLIT_COLUMNS))
    if path_column is None:
        raise ValueError(f"{file}: no column path; it has {cut(', '.join(names)) or 'none'}")
    for line, row in rows:
        if not fits(row) or not row[path_column]:
            raise ValueError(f"{file}: line {line} has no path, or fields that do not fit the {len(names)} columns")
    if not parts and (START_COLUMN in names or END_COLUMN in names):
        raise ValueError(f"{file}: parts of recordings (start, end) are taken by preprocess_any.py alone")
    spans = [span_of(f"{file}: line {line}", row, clip) for line, row in rows]
    part = next((line for (line, _), span in zip(rows, spans) if span != (None, None)), None)
    if part is not None and id_column is None:
        raise ValueError(f"{file}: line {part} is a part of a recording, which needs an id: add a column id")
    if clip and START_COLUMN not in names:
        raise ValueError(f"{file}: --clip is for a manifest with a column start; it has {cut(', '.join(names))}")
    paths = [PurePosixPath(row[path_column].replace("\\", "/")).as_posix() for _, row in rows]
    keys = [row[id_column] for _, row in rows] if id_column else utterance_ids(paths, id_from)
    utterances = [
        Utterance(key, row[split_column] if split_column else WHOLE, row.get("speaker", ""), path, *span)
        for (_, row), key, path, span in zip(rows, keys, paths, spans)
    ]
    return make_corpus(file.parent, utterances, splits, "rows", len(rows))


def span_of(where: str, row: Mapping[str, str], clip: bool) -> tuple[float | None, float | None]:
    """Start and stop of one row; None for the recording's own."""
    start, stop = (_seconds(where, name, row.get(name, "")) for name in (START_COLUMN, END_COLUMN))
    if stop == -1:
        stop = None
    if start is not None and start < 0:
        if not clip:
            raise ValueError(f"{where}: start is {start:g}, below 0: correct it, or take 0 with --clip")
        start = 0.0
    if stop is not None and stop <= (start or 0):
        raise ValueError(f"{where}: end is {stop:g}, not after start {start or 0:g}")
    return start, stop


def _seconds(where: str, name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: {name} is {short(text)}, expected seconds, or nothing for all of it")
    return value
