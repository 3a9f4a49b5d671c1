"""Pronunciations of words: a file with a word and its phones a line, as CMU's dictionary."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.text import cut, read_text, short

VARIANT = re.compile(r"\(\d+\)$")  # WORD(2): another pronunciation of WORD
MOST_FREQUENT = 10


@dataclass(frozen=True)
class Lexicon:
    """The first pronunciation of each word, by the word in capital letters."""

    file: Path
    phones: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, file: Path | str) -> "Lexicon":
        """`WORD P1 P2 ...` a line; of a word's pronunciations (`WORD(2)`, or repeated) the first one counts.

        Lines that begin with `;;;` or `#` are comments, and so is what follows ` #`. ValueError naming the line of a
        word without phones, or where no line holds a word."""
        file = Path(file)
        phones: dict[str, Sequence[str]] = {}
        for number, line in enumerate(read_text(file).split("\n"), 1):
            if line.startswith((";;;", "#")) or not line.strip():
                continue
            word, *sounds = line.partition(" #")[0].split()
            if not sounds:
                raise ValueError(f"{file}: line {number}: {short(word)} has no phones")
            phones.setdefault(VARIANT.sub("", word).upper(), tuple(sounds))
        if not phones:
            raise ValueError(f"{file}: holds no word")
        return cls(file, phones)

    def pronounce(self, text: str) -> list[str]:
        """The phones of a text's words, one after the other; ValueError for a word that is not here."""
        return [phone for word in text.split() for phone in self._of(word)]

    def knows(self, text: str) -> bool:
        """Whether all words of a text are here."""
        return all(word.upper() in self.phones for word in text.split())

    def check(self, texts: Iterable[str], remedy: str) -> None:
        """Raise ValueError naming the ten most frequent words of the texts that are not here, and a `remedy`."""
        missing: Counter[str] = Counter()
        for text in texts:
            missing.update(word for word in text.split() if word.upper() not in self.phones)
        if missing:
            order = sorted(missing, key=lambda word: (-missing[word], word))[:MOST_FREQUENT]
            shown = ", ".join(f"{cut(word, 30)} ({missing[word]})" for word in order)
            raise ValueError(f"{self.file}: no pronunciation of {len(missing)} words: {shown}: {remedy}")

    def _of(self, word: str) -> Sequence[str]:
        try:
            return self.phones[word.upper()]
        except KeyError:
            raise ValueError(f"{self.file} has no pronunciation of {short(word)}") from None
