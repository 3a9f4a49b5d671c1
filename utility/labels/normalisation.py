"""What is done to a text before anything reads it: few steps, in one order, each of them recorded."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from utility.text import short

Case = Literal["keep", "upper", "lower"]
Digits = Literal["keep", "refuse"]
APOSTROPHE, RIGHT_QUOTE = "'", "’"
OUTSIDE_WORDS = re.compile("(?<![^ '])'+|'+(?![^ '])")  # apostrophes that are quotation marks, or end a word


@dataclass(frozen=True)
class Normalisation:
    """The steps, in the order in which they are done.

    Unicode's form NFC and single blanks are always made. `keep_characters` are those that stay, every other one becomes
    a blank; None keeps letters of any script with their marks, decimal digits, and apostrophes inside words. No number
    is read out: `digits` may refuse them."""

    unicode: Literal["NFC"] = "NFC"
    blanks: Literal["single"] = "single"
    case: Case = "upper"
    keep_characters: str | None = None
    digits: Digits = "keep"

    def __post_init__(self) -> None:
        """Raise ValueError for characters that no text would hold after the steps before."""
        for character in self.keep_characters or "":
            if self._cased(character) != character:
                raise ValueError(f"keep_characters: {short(character)} is none of case {self.case}, so never there")

    def __call__(self, text: str) -> str:
        """The text after all steps, empty where nothing is left; ValueError for digits that are refused."""
        text = self._cased(" ".join(unicodedata.normalize("NFC", text).split()))
        if self.digits == "refuse":
            _refuse_digits(text)
        table = _table(self.keep_characters)
        text = text.translate(table)
        if self.keep_characters is None:
            if table.marks and not text.isascii():
                text = re.sub(f"(?<![^ '])[{''.join(sorted(table.marks))}]+", " ", text)  # marks of no letter
            if APOSTROPHE in text:
                text = OUTSIDE_WORDS.sub(" ", text)
        return " ".join(text.split())

    def _cased(self, text: str) -> str:
        if self.case == "keep":
            return text
        # A change of case can take a letter and its mark apart: NFC joins them again.
        return unicodedata.normalize("NFC", text.upper() if self.case == "upper" else text.lower())


class _Table(dict[int, str]):
    """What becomes of each character, looked up once; `marks` are those met that belong to the letter before them."""

    def __init__(self, kept: str | None):
        super().__init__()
        self.kept = kept
        self.marks: set[str] = set()

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character == RIGHT_QUOTE and (self.kept is None or (RIGHT_QUOTE not in self.kept)):
            stays = APOSTROPHE if self.kept is None or APOSTROPHE in self.kept else " "
        elif self.kept is not None:
            stays = character if character in self.kept else " "
        else:
            mark = unicodedata.category(character).startswith("M")
            if mark:
                self.marks.add(character)
            known = mark or character.isalpha() or character.isdecimal() or character == APOSTROPHE
            stays = character if known else " "
        self[code] = stays
        return stays


@lru_cache(maxsize=8)
def _table(kept: str | None) -> _Table:
    return _Table(kept)


def _refuse_digits(text: str) -> None:
    for character in text:
        if character.isdigit() or (character.isnumeric() and not character.isalpha()):
            raise ValueError(f"holds the number sign {short(character)}, which no step reads out")
