"""What an importer knows of every utterance beside its sound: the rows of labels.csv."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.parts.corpora import Corpus, Utterance, make_corpus
from utility.tables import table_bytes

LABEL_FILE = "labels.csv"
BASE, SPAN = ("id", "split", "path"), ("start", "end")
PARTS = dict.fromkeys(("train", "training"), "train")
PARTS |= dict.fromkeys(("dev", "development", "valid", "validation", "val"), "dev")
PARTS |= dict.fromkeys(("test", "testing", "eval", "evaluation"), "test")

Labelled = tuple[Utterance, tuple[str, ...]]  # an utterance, and its values of the columns of labels


@dataclass(frozen=True)
class Labels:
    """A table of labels: the names of its columns, `id` the first, and its rows, sorted by id."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    @property
    def csv(self) -> bytes:
        """The table as a file."""
        return table_bytes(self.columns, self.rows)


def labelled(
    root: Path,
    columns: Sequence[str],
    pairs: Iterable[Labelled],
    splits: Sequence[str],
    expected: str,
    notes: Sequence[str] = (),
) -> tuple[Corpus, Labels]:
    """A corpus and its table of labels, which holds the utterances of all splits, also where `splits` names a few.

    Without any utterance `expected` says what was looked for (ValueError)."""
    utterances: list[Utterance] = []
    rows: list[tuple[str, ...]] = []
    for u, values in pairs:
        utterances.append(u)
        rows.append((u.id, u.split, u.path, *values))
    corpus = make_corpus(root, utterances, splits, expected, len(utterances), notes)
    head: tuple[str, ...] = BASE
    if any(u.start is not None or u.stop is not None for u in utterances):
        head += SPAN
        rows = [(*row[:3], *map(_seconds, (u.start, u.stop)), *row[3:]) for row, u in zip(rows, utterances)]
    return corpus, Labels((*head, *columns), sorted(rows))


def _seconds(value: float | None) -> str:
    return "" if value is None else repr(value)


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers, from 1, without those that are blank; ValueError for other text."""
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from ((number, line) for number, line in enumerate(stream, 1) if line.strip())
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
