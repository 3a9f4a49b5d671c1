"""Words of a list, by their spelling, with a language model or none: flashlight-text searches.

Its beam goes through a tree of the words' letters, where each branch has the score of its best word (Pratap et al.
2018). It adds the language model's log10 scores to natural logarithms as they are: a weight w counts w / 2.303."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from downstream.config import DecodeConfig
from downstream.labels.units import BLANK, BOUNDARY, Units
from utility.text import cut, numbered_lines, short

UNKNOWN = "<unk>"
NEVER = -1e4


class LexiconDecoder:
    """A decoder that knows `words`; those with a letter that has no output cannot be found and are `unspelled`."""

    def __init__(self, config: DecodeConfig, units: Units, words: Sequence[str]):
        if units.kind != "char":
            raise ValueError(f"decode.method=lexicon spells words by characters, but the outputs are {units.kind}s")
        flashlight = _flashlight()
        code = {name: number for number, name in enumerate(units.names) if name != BLANK}
        self._boundary = code.setdefault(BOUNDARY, len(units.names))  # texts of one word each have no such output
        known = sorted(set(words))
        self.words = tuple(word for word in known if all(letter in code for letter in word) and BOUNDARY not in word)
        self.unspelled = len(known) - len(self.words)
        self._found = frozenset(self.words)
        if not self.words:
            where = "the training texts" if config.lexicon is None else config.lexicon
            why = f"; {short(known[0])} for one: the case must be that of the training texts" if known else ""
            raise ValueError(f"{where}: none of {len(known)} words can be spelled with the outputs{why}")
        self._nbest, self._outputs = config.nbest, len(code) + 1
        spellings = tuple((*(code[letter] for letter in word), self._boundary) for word in self.words)
        model, trie = _tree(config.lm, self.words, spellings, self._outputs)
        options = flashlight.LexiconDecoderOptions(
            beam_size=config.beam,
            beam_size_token=self._outputs,
            beam_threshold=config.threshold,
            lm_weight=config.lm_weight,
            word_score=config.word_score,
            unk_score=-np.inf,
            sil_score=0.0,
            log_add=False,
            criterion_type=flashlight.CriterionType.CTC,
        )
        blank = units.names.index(BLANK)
        self._search = flashlight.LexiconDecoder(options, trie, model, self._boundary, blank, 0, [], False)
        self._kept = model, trie  # the search does not hold them itself

    def outside(self, text: str) -> int:
        """How many words of a text cannot be found, whatever was said."""
        return sum(word not in self._found for word in text.split())

    def __call__(self, emissions: np.ndarray) -> list[tuple[str, float]]:
        """Texts of natural logarithms [T, V] and their scores, best first.

        A word ends with the sign between words, which stands after all but the last one in training: a step that is
        nothing but this sign is added at the end."""
        steps = np.full((len(emissions) + 1, self._outputs), NEVER, np.float32)
        steps[:-1, : emissions.shape[1]] = np.maximum(emissions, NEVER)
        steps[-1, self._boundary] = 0
        best: dict[str, float] = {}
        for found in self._search.decode(steps.ctypes.data, *steps.shape):
            text = " ".join(self.words[number - 1] for number in found.words if number > 0)
            best.setdefault(text, found.score)
            if len(best) == self._nbest:
                break
        return list(best.items()) or [("", NEVER)]


def _flashlight() -> Any:
    """The classes of the package, which is optional."""
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder.kenlm import KenLM
    except ImportError:
        raise ValueError(
            "decode.method=lexicon needs the package flashlight-text: pip install -r requirements-decode.txt"
        ) from None
    names = ("CriterionType", "LexiconDecoder", "LexiconDecoderOptions", "SmearingMode", "Trie", "ZeroLM")
    of_decoder = {name: getattr(decoder, name) for name in names}
    return SimpleNamespace(**of_decoder, Dictionary=dictionary.Dictionary, KenLM=KenLM)


@lru_cache(maxsize=1)
def _tree(file: str | None, words: tuple[str, ...], spellings: tuple[tuple[int, ...], ...], outputs: int) -> Any:
    """A language model (none: words have no score) and the tree of the spellings, which end in the sign between words.

    Words are numbered from 1. A sweep over weights makes it once."""
    flashlight = _flashlight()
    dictionary = flashlight.Dictionary([UNKNOWN, *words])
    dictionary.set_default_index(0)
    model = flashlight.ZeroLM() if file is None else _language_model(flashlight.KenLM, file, dictionary)
    trie = flashlight.Trie(outputs, spellings[0][-1])
    begin = model.start(False)
    for number, spelling in enumerate(spellings, 1):
        _, score = model.score(begin, number)
        trie.insert(list(spelling), number, score)
    trie.smear(flashlight.SmearingMode.MAX)
    return model, trie


def _language_model(kind: Callable[[str, Any], Any], file: str, dictionary: Any) -> Any:
    """An n-gram model by KenLM; ValueError for what is none."""
    if not Path(file).is_file():
        raise ValueError(f"decode.lm={file}: no such file")
    try:
        with _silenced():
            return kind(file, dictionary)
    except RuntimeError as error:
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise ValueError(f"{file}: no language model (ARPA, also .gz, or KenLM's own): {cut(reason[-1])}") from None


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Without what a C++ library writes to the error output: KenLM draws a bar there while it reads."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def read_words(file: str) -> list[str]:
    """The words of a list, one a line; blank lines and those that begin with # are skipped. ValueError for others."""
    words = []
    for number, line, reason in numbered_lines(Path(file)):
        word = [] if line.startswith("#") else line.split()
        if reason or len(word) > 1:
            raise ValueError(f"{file}: line {number}: {reason or f'expected one word, got {short(line)}'}")
        words += word
    if not words:
        raise ValueError(f"{file}: no word in it")
    return words
