"""Fluent Speech Commands on disk -> utterances with the three labels of intent classification."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from preprocess.parts.corpora import Corpus, Utterance, corpus_root
from preprocess.parts.label_table import PARTS, Labelled, Labels, labelled
from utility.tables import fits, names_and_rows, open_table
from utility.text import cut

FILES = ("train", "valid", "test")  # data/<name>_data.csv
LABELS = ("action", "object", "location")
NEEDED = ("path", *LABELS)
COLUMNS = ("speaker", *LABELS, "transcription")


def fluent_commands(root: Path, splits: Sequence[str] = ()) -> tuple[Corpus, Labels]:
    """The rows of `data/{train,valid,test}_data.csv`, whose paths are relative to `root`; valid is dev.

    Labels: action, object and location, and the transcription. Ids are the names of the files."""
    root = corpus_root(root, ("fluent_speech_commands_dataset",))
    files = {name: root / "data" / f"{name}_data.csv" for name in FILES}
    lost = next((file for file in files.values() if not file.is_file()), None)
    if lost is not None:
        raise ValueError(f"{lost}: not there; of Fluent Speech Commands data/ holds {', '.join(FILES)}, _data.csv each")
    pairs = (pair for name, file in files.items() for pair in _rows(file, PARTS[name]))
    return labelled(root, COLUMNS, pairs, splits, "rows of data/*_data.csv")


def _rows(file: Path, split: str) -> Iterator[Labelled]:
    with open_table(file) as table:
        names, rows = names_and_rows(table)
        lost = [name for name in NEEDED if name not in names]
        if lost:
            raise ValueError(f"{file}: no column {', '.join(lost)}; it has {cut(', '.join(names)) or 'none'}")
        for line, row in rows:
            where = f"{file}: line {line}"
            if not fits(row):
                raise ValueError(f"{where} has fields that do not fit the {len(names)} columns")
            empty = next((name for name in NEEDED if not row[name]), None)
            if empty:
                raise ValueError(f"{where}: no {empty}")
            speaker = row.get("speakerId", "")
            values = (speaker, *(row[name] for name in LABELS), row.get("transcription", ""))
            path = PurePosixPath(row["path"])
            yield Utterance(path.stem, split, speaker, path.as_posix()), values
