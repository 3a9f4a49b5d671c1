"""Files of texts in every usual form -> lines of text with their ids."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from preprocess.parts.names import PARTS, PATH_COLUMNS, SPLIT_COLUMNS
from utility.files import files_below
from utility.labels.table import ID_COLUMNS
from utility.labels.trn import parse_trn
from utility.tables import one_of, open_table
from utility.text import cut, numbered_lines, short
from utility.utterance_ids import TIMIT, timit_id, utterance_ids

TABLES = (".csv", ".tsv")


class Line(NamedTuple):
    """A text as it stands in a file; `split` is empty where nobody says it, `reason` says why there is no text."""

    file: Path
    number: int
    id: str
    text: str
    split: str = ""
    reason: str = ""


Lines = Iterator[Line]


def find_texts(path: Path, form: str) -> tuple[str, list[Path]]:
    """The form and the files of texts at `path`, a file or a folder; ValueError for none, or two forms."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if not path.is_dir():
        return (form if form != "auto" else _form_of(path)), [path]
    below = files_below(path)
    found = {name: [path / file for file in below if FORMS[name](PurePosixPath(file))] for name in FORMS}
    if form != "auto":
        if not found[form] or form == "csv":
            what = "give --data_path the table itself" if form == "csv" else f"expected {EXPECTED[form]}"
            raise ValueError(f"{path}: a folder without files of form {form}: {what}")
        return form, found[form]
    tables = found.pop("csv")
    there = [name for name, files in found.items() if files]
    if len(there) > 1:
        examples = ", ".join(f"{name} ({found[name][0].relative_to(path)})" for name in there)
        raise ValueError(f"{path}: texts of several forms: {cut(examples, 300)}; choose one by --format")
    if not there:
        table = f"; {tables[0]} is a table: give that to --data_path" if tables else ""
        raise ValueError(f"{path}: no texts found, expected {', '.join(EXPECTED.values())}{table}")
    return there[0], found[there[0]]


def read_texts(form: str, files: Sequence[Path], column: str = "text") -> Lines:
    """Every line of every file; `column` holds the texts of a table."""
    for file in files:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ValueError(f"{file}: not a regular file: copy it to one")
        if form == "csv":
            yield from _table(file, column)
            continue
        yield from READERS[form](file, _split(form, file))


def _split(form: str, file: Path) -> str:
    """The split that a corpus' layout says, as the scripts for its recordings call it; empty where it says none."""
    parts = file.absolute().parts
    if form == "librispeech":  # <split>/<speaker>/<chapter>/*.trans.txt
        return parts[-4] if len(parts) > 4 else ""
    if form == "timit":  # TRAIN/DR1/<speaker>/*.TXT, or the sample's dr1-<speaker>/*.txt
        return parts[-4].lower() if len(parts) > 4 and parts[-4].lower() in PARTS else "train"
    return parts[-2].replace("_", "-") if form == "kaldi" else ""


def _form_of(file: Path) -> str:
    form = next((name for name, fits in FORMS.items() if fits(PurePosixPath(*file.absolute().parts[-3:]))), None)
    if form is None:
        raise ValueError(f"{file}: which form has it? --format {', '.join(FORMS)}")
    return form


def _lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """Number and text of each line, without blanks around it, and the reason where it is none."""
    return ((number, text.strip(), reason) for number, text, reason in numbered_lines(file))


def _keyed(file: Path, split: str) -> Lines:
    """`ID TEXT`: transcripts of LibriSpeech, and Kaldi's `text`."""
    for number, text, reason in _lines(file):
        if text or reason:
            key, _, said = text.replace("\t", " ", 1).partition(" ")
            yield Line(file, number, key, said, split, reason)


def _timit(file: Path, split: str) -> Lines:
    """`0 N TEXT`, one line: the samples that the text spans."""
    key, said = timit_id(file), []
    for number, text, reason in _lines(file):
        start, *rest = text.split(None, 2) or ("",)
        if reason or (text and not (start.isdecimal() and len(rest) == 2 and rest[0].isdecimal())):
            yield Line(file, number, key, "", split, reason or f"expected 0 SAMPLES TEXT, got {short(text)}")
            return
        said += rest[1:]
    yield Line(file, 1, key, " ".join(said), split)


def _trn(file: Path, split: str) -> Lines:
    """NIST's `text (id)`; lines that begin with `;;` are comments."""
    for number, text, reason in _lines(file):
        try:
            found = None if reason else parse_trn(text)
        except ValueError as error:
            found, reason = None, str(error)
        if found is not None or reason:
            yield Line(file, number, *(found or ("", "")), split, reason)


def _table(file: Path, column: str) -> Lines:
    """A CSV or TSV table with a header; ids are those of its column of ids, else made of its paths."""
    with open_table(file) as table:
        names = list(table.fieldnames or ())
        id_column, path_column, split_column = (
            one_of(names, known) for known in (ID_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS)
        )
        if column not in names:
            there = cut(", ".join(names)) or "none"
            raise ValueError(f"{file}: no column {short(column)}; it has {there}: choose one by --text_column")
        if id_column is None and path_column is None:
            raise ValueError(f"{file}: no column id or path; it has {cut(', '.join(names))}")
        ids = None if id_column else iter(_ids_of_paths(file, str(path_column)))
        for row in table:
            key = row[str(id_column)] if ids is None else next(ids)
            whole = None not in row and None not in row.values()
            split = (row[split_column] or "") if split_column else ""
            reason = "" if whole else f"fields that do not fit the {len(names)} columns"
            yield Line(file, table.line_num, key or "", row[column] or "", split, reason)


def _ids_of_paths(file: Path, column: str) -> list[str]:
    """Ids by the rule of recordings, which sees all paths of a table."""
    with open_table(file) as table:
        paths = [row[column] or "" for row in table]
    return utterance_ids([PurePosixPath(path.replace("\\", "/")).as_posix() for path in paths])


READERS: dict[str, Callable[[Path, str], Lines]] = {
    "librispeech": _keyed,
    "kaldi": _keyed,
    "timit": _timit,
    "trn": _trn,
}
FORMS: dict[str, Callable[[PurePosixPath], bool]] = {
    "librispeech": lambda file: file.name.endswith(".trans.txt"),
    "kaldi": lambda file: file.name == "text",
    "csv": lambda file: file.suffix.lower() in TABLES,
    "timit": lambda file: file.suffix.lower() == ".txt" and TIMIT.search(file.as_posix()) is not None,
    "trn": lambda file: file.suffix.lower() == ".trn",
}
EXPECTED = {
    "librispeech": "*.trans.txt",
    "kaldi": "files named text",
    "timit": "dr?/SPEAKER/*.txt or dr?-SPEAKER/*.txt",
    "trn": "*.trn",
}
