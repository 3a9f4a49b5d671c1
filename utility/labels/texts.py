"""Texts of utterances on disk: `text.tsv`, an id and its text a line, and `text.yaml`, how they were made."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from pathlib import Path

from utility.config import build, read_yaml, section, to_yaml
from utility.files import check_folder, naming, remove_leftovers, replace_folder, temporary
from utility.labels.alignment import ERRORS, LONGEST_ID
from utility.labels.normalisation import Normalisation
from utility.text import cut, read_text, short

TEXT, INFO = "text.tsv", "text.yaml"
VOCABULARY, ENCODED, SUBWORDS = "vocabulary.txt", "encoded.tsv", "subword.model"  # of `preprocess_text.py --target`
FILES = frozenset((TEXT, INFO, ERRORS, VOCABULARY, ENCODED, SUBWORDS))


@section
class TextInfo:
    """Where texts come from and what was done to them; `left_out` counts those in errors.csv.

    `fitted` are the splits of which vocabularies and n-grams were made, none: all texts."""

    format: str
    normalisation: Normalisation = field(default_factory=Normalisation)
    utterances: int = 0
    words: int = 0
    characters: int = 0
    left_out: int = 0
    target: str | None = None
    fitted: list[str] = field(default_factory=list)


class Texts:
    """The texts under `root`, sorted by id; ValueError where there are none, or with the line that is damaged."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        for name in (TEXT, INFO):
            if not (self.root / name).is_file():
                raise ValueError(f"{root}: no texts here ({name} is missing); make them by preprocess_text.py")
        try:
            self.info = build(TextInfo, read_yaml(self.root / INFO))
        except ValueError as error:
            raise ValueError(f"{self.root / INFO}: {str(error).removeprefix(f'{self.root / INFO}: ')}") from None
        self._texts = _read(self.root / TEXT)

    def __contains__(self, id: str) -> bool:  # noqa: A002
        return id in self._texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, id: str) -> str:  # noqa: A002
        """The text of one utterance, never empty."""
        if id not in self._texts:
            raise ValueError(f"{self.root}: no text of utterance {short(id)}")
        return self._texts[id]

    @property
    def ids(self) -> list[str]:
        """Every utterance's id, sorted."""
        return list(self._texts)

    def items(self) -> Iterator[tuple[str, str]]:
        """Ids and texts, sorted by id."""
        yield from self._texts.items()

    def digest(self) -> str:
        """16 hex digits of ids and texts."""
        return hashlib.sha256((self.root / TEXT).read_bytes()).hexdigest()[:16]


def write_texts(root: str | Path, texts: Iterable[tuple[str, str]], info: TextInfo) -> None:
    """Write (id, text) pairs, in any order, as one folder, whole or not at all; the counts of `info` are made here.

    ValueError for an id that comes twice, an empty text, what cannot stand in a line, or no text at all."""
    with text_folder(root) as folder:
        write_text_files(folder, texts, info)


@contextlib.contextmanager
def text_folder(root: str | Path) -> Iterator[Path]:
    """A new folder for the block to fill, which takes the place of `root` when the block ends well.

    ValueError where `root` holds something else than texts."""
    root = Path(root)
    root = root.resolve() if root.is_symlink() else root  # what a link stands for is replaced, not the link
    check_folder(root)
    others = {path.name for path in root.iterdir()} - FILES if root.exists() else set()
    if others:
        raise ValueError(f"{root}: holds {short(min(others))}, which is no part of texts; choose another name")
    root.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root.parent, root.name)
    with temporary(root) as scratch:
        scratch.mkdir()
        with naming(root):
            yield scratch
        replace_folder(scratch, root)


def write_text_files(folder: Path, texts: Iterable[tuple[str, str]], info: TextInfo) -> TextInfo:
    """Write text.tsv and text.yaml into a folder; return what the latter holds."""
    words = characters = count = 0
    previous = None
    with (folder / TEXT).open("w", encoding="utf-8", newline="") as file:
        for key, text in sorted(texts):
            check_text(key, text)
            if key == previous:
                raise ValueError(f"utterance {short(key)} comes twice")
            previous = key
            file.write(f"{key}\t{text}\n")
            count, words, characters = count + 1, words + text.count(" ") + 1, characters + len(text)
    if not count:
        raise ValueError("no text of any utterance: nothing to write")
    made = replace(info, utterances=count, words=words, characters=characters)
    (folder / INFO).write_bytes(to_yaml(made))
    return made


def check_text(key: str, text: str) -> None:
    """Raise ValueError for an id or a text that cannot stand in a line of text.tsv."""
    if not key or len(key) > LONGEST_ID or key != key.strip() or not _is_line(key):
        raise ValueError(f"utterance id {short(key)}: expected 1 to {LONGEST_ID} characters, on one line")
    if not text or text != " ".join(text.split()):
        raise ValueError(f"{cut(key)}: {'no text' if not text else 'a text must be one line with single blanks'}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{cut(key)}: a text must be of Unicode characters") from None


def _is_line(key: str) -> bool:
    return not any(character in key for character in "\t\n\r\0") and key == key.encode(errors="replace").decode()


def _read(file: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    rows = read_text(file).split("\n")
    for line, row in enumerate(rows if rows[-1] else rows[:-1], 1):
        key, tab, text = row.partition("\t")
        if not tab or not key or not text or "\t" in text:
            raise ValueError(f"{file}: line {line}: expected an id, a tab and a text, got {short(row)}; make it again")
        if key in texts:
            raise ValueError(f"{file}: line {line}: utterance {short(key)} is there twice; make it again")
        texts[key] = text
    if not texts:
        raise ValueError(f"{file}: no text in it; make it again")
    return texts
