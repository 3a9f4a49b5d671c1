"""Texts as sequences of numbers, with their vocabulary: phones, characters, subwords or words.

As the originals' script for LibriSpeech has them: `<sos>` is 0, `<eos>` 1, of words and subwords `<unk>` 2. Units
follow, the most frequent first (equally frequent ones by code point). Every sequence begins with 0 and ends with 1."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from utility.labels.lexicon import Lexicon
from utility.labels.names import Target
from utility.labels.texts import ENCODED, SUBWORDS, VOCABULARY
from utility.text import short

START, END, UNKNOWN = "<sos>", "<eos>", "<unk>"
BLANK = "|"  # stands for the blank between words, where units are characters
INSTALL = "--target subword needs sentencepiece: pip install -r requirements-subword.txt"


@dataclass(frozen=True, kw_only=True)
class TargetFlags:
    """What texts become: `n_tokens` is the largest vocabulary, of words and subwords."""

    target: Target
    n_tokens: int
    lexicon: Path | None
    unknown_words: str


@dataclass(frozen=True)
class Encoder:
    """A vocabulary and how a text becomes numbers; `model` is sentencepiece's, of subwords."""

    vocabulary: Sequence[str]
    encode: Callable[[str], list[int]]
    model: bytes = b""


def encoder(flags: TargetFlags, texts: Sequence[tuple[str, str]], fitted: Sequence[str]) -> Encoder:
    """Make the vocabulary of the `fitted` texts; all `texts` must have pronunciations, unless they may be left out."""
    if flags.target == "subword":
        return _subwords(flags.n_tokens, fitted)
    if flags.target == "word":
        special, units = (START, END, UNKNOWN), str.split
        return _table(special, units, fitted, flags.n_tokens - len(special), unknown=2)
    if flags.target == "char":
        if any(BLANK in text for _, text in texts):
            raise ValueError(f"a text holds {BLANK}, which stands for blanks: leave it out of --keep_characters")
        return _table((START, END), lambda text: list(text.replace(" ", BLANK)), fitted)
    assert flags.lexicon is not None, "phones come from a lexicon"
    lexicon = Lexicon.read(flags.lexicon.expanduser())
    if flags.unknown_words == "error":
        lexicon.check((text for _, text in texts), "add them, or --unknown_words leave_out")
    return _table((START, END), lexicon.pronounce, _pronounced(lexicon, fitted))


def write_encoded(
    folder: Path, made: Encoder, texts: Sequence[tuple[str, str]]
) -> tuple[int, list[tuple[str, int, str, str]]]:
    """Write vocabulary and sequences; how many there are, and an error for each text that has none."""
    (folder / VOCABULARY).write_text("".join(f"{unit}\n" for unit in made.vocabulary), encoding="utf-8")
    if made.model:
        (folder / SUBWORDS).write_bytes(made.model)
    count, errors = 0, []
    with (folder / ENCODED).open("w", encoding="utf-8", newline="") as file:
        for key, text in texts:
            try:
                codes = made.encode(text)
            except ValueError as error:
                errors.append((ENCODED, 0, key, str(error)))
                continue
            file.write(f"{key}\t{' '.join(map(str, [0, *codes, 1]))}\n")
            count += 1
    if not count:
        raise ValueError(f"no text can be encoded; the first: {errors[0][2]}: {errors[0][3]}")
    return count, errors


def _table(
    special: Sequence[str],
    units: Callable[[str], list[str]],
    fitted: Sequence[str] | Iterator[str],
    most: int | None = None,
    unknown: int | None = None,
) -> Encoder:
    counts: Counter[str] = Counter()
    for text in fitted:
        counts.update(units(text))
    order = sorted(counts, key=lambda unit: (-counts[unit], unit))
    taken = next((unit for unit in special if unit in counts), None)
    if taken:
        raise ValueError(f"a text holds {taken}, which has a meaning of its own: remove it")
    vocabulary = [*special, *order[:most]]
    codes = {unit: code for code, unit in enumerate(vocabulary)}

    def encode(text: str) -> list[int]:
        numbers = [codes.get(unit, unknown) for unit in units(text)]
        if None in numbers:
            unit = next(unit for unit in units(text) if unit not in codes)
            raise ValueError(f"{short(unit)} is not in the vocabulary, which was made of other texts")
        return [number for number in numbers if number is not None]

    return Encoder(vocabulary, encode)


def _pronounced(lexicon: Lexicon, texts: Sequence[str]) -> Iterator[str]:
    """The texts whose words all have pronunciations."""
    return (text for text in texts if all(word.upper() in lexicon.phones for word in text.split()))


def sentencepiece_or_refuse() -> ModuleType:
    """The library; ValueError with what to install where it is not."""
    try:
        import sentencepiece
    except ModuleNotFoundError:
        raise ValueError(INSTALL) from None
    return sentencepiece


def _subwords(n_tokens: int, fitted: Sequence[str]) -> Encoder:
    """Pieces by byte pair encoding, by sentencepiece in one thread: the same texts give the same model."""
    library = sentencepiece_or_refuse()
    model = io.BytesIO()
    try:
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(fitted),
            model_writer=model,
            model_type="bpe",
            vocab_size=n_tokens,
            character_coverage=1.0,
            normalization_rule_name="identity",
            num_threads=1,
            bos_id=0,
            eos_id=1,
            unk_id=2,
            pad_id=-1,
            bos_piece=START,
            eos_piece=END,
            unk_piece=UNKNOWN,
            max_sentence_length=1 << 20,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        what = str(error).split("] ")[-1].strip() or "the texts are too few"
        raise ValueError(f"--n_tokens {n_tokens}: sentencepiece makes no such vocabulary: {what}") from None
    pieces = library.SentencePieceProcessor(model_proto=model.getvalue())
    vocabulary = [pieces.id_to_piece(code) for code in range(pieces.vocab_size())]
    return Encoder(vocabulary, lambda text: pieces.encode(text), model.getvalue())
