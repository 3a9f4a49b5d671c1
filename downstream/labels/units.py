"""The units that recognition has outputs for: phones, characters, subwords or words, and CTC's blank before them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from utility.text import short

UnitKind = Literal["phone", "char", "subword", "word"]
BLANK, UNKNOWN = "<blank>", "<unk>"
BOUNDARY = "|"  # among characters: what stands between two words
SPACE = "▁"  # sentencepiece's sign for what begins a word
UNSEEN = -1  # the code of a unit that has no output


@dataclass(frozen=True)
class Units:
    """Names of the outputs; the first one is the blank. Words have UNKNOWN where the rarer ones share an output."""

    kind: UnitKind
    names: tuple[str, ...]

    @classmethod
    def of(cls, kind: UnitKind, sequences: Iterable[Sequence[str]], min_count: int = 1) -> "Units":
        """The units of some texts, sorted by code point; those rarer than `min_count` are UNKNOWN."""
        counts: Counter[str] = Counter()
        for sequence in sequences:
            counts.update(sequence)
        if BLANK in counts:
            raise ValueError(f"{short(BLANK)} is a {kind} of the texts, but here it stands for CTC's blank")
        kept = {name for name, count in counts.items() if count >= min_count}
        return cls(kind, (BLANK, *sorted(kept if len(kept) == len(counts) else kept | {UNKNOWN})))

    @cached_property
    def _code(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    def __contains__(self, name: object) -> bool:
        return name in self._code

    def codes(self, sequence: Sequence[str]) -> np.ndarray:
        """Codes int64 [U]; a unit that is not here has that of UNKNOWN if there is one, else UNSEEN."""
        code = self._code
        other = code.get(UNKNOWN, UNSEEN) if self.kind == "word" else UNSEEN
        return np.fromiter((code.get(name, other) for name in sequence), np.int64, len(sequence))

    def text(self, codes: Iterable[int]) -> str:
        """What codes without blanks spell, words (or phones) between single spaces."""
        names = [self.names[code] for code in codes]
        if self.kind == "char":
            return " ".join("".join(names).replace(BOUNDARY, " ").split())
        if self.kind == "subword":
            return " ".join("".join(names).replace(SPACE, " ").split())
        return " ".join(names)
