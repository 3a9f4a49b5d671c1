"""What was said in each utterance, as units: characters, subwords or words of texts; phones of a lexicon or of an
alignment."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream.config import DataConfig
from downstream.labels.matching import known_utterances
from downstream.labels.table import with_row
from downstream.labels.units import BOUNDARY, UnitKind, Units
from downstream.splits import PARTS, Indices, Parts
from downstream.utterances import FramedUtterances
from utility.labels.alignment import Alignment
from utility.labels.lexicon import Lexicon
from utility.labels.phone_sets import SILENCES, without_stress
from utility.labels.texts import TEXT, Texts
from utility.temporary_array import TemporaryArray
from utility.text import short

INSTALL = "data.subword_model needs sentencepiece: pip install -r requirements-subword.txt"


@dataclass(frozen=True)
class Spoken:
    """What a corpus says: `units` of an utterance by its id, and `reference`, the text that errors are counted in.

    `words` are those of an utterance's text, none where there are only phones."""

    units: Callable[[str], Sequence[str]]
    reference: Callable[[str], str]
    words: Callable[[str], Sequence[str]]


class Transcripts:
    """The units of the utterances of all parts; they are numbered once, and wait in a temporary file."""

    def __init__(self, utterances: FramedUtterances, spoken: Spoken, units: Units, parts: Parts):
        self.units, self.spoken, self.utterances, self.train = units, spoken, utterances, parts.train
        self.start = np.zeros(len(utterances), np.int64)
        self.count = np.zeros(len(utterances), np.int64)
        self.needed = np.zeros(len(utterances), np.int64)  # steps: one for each unit, and a blank between equal ones
        self.unseen = dict.fromkeys(PARTS, 0)
        self._codes, total, digest = TemporaryArray(np.int32), 0, hashlib.sha256()
        for part in PARTS:
            for index in getattr(parts, part).tolist():
                key = utterances.ids[index]
                names = spoken.units(key)
                codes = units.codes(names)
                self._codes.append(codes)
                self.start[index], self.count[index], total = total, len(codes), total + len(codes)
                self.needed[index] = len(codes) + np.count_nonzero(codes[1:] == codes[:-1])
                self.unseen[part] += sum(name not in units for name in names)
                digest.update(f"{key}\t{spoken.reference(key)}\n".encode())
        self.digest = digest.hexdigest()[:16]

    def codes(self, index: int) -> np.ndarray:
        """Codes of an utterance's units, int64 [U]; UNSEEN where there is no output."""
        return self._codes.read(self.start[index], self.start[index] + self.count[index]).astype(np.int64)

    def reference(self, key: str) -> str:
        """What was said, as errors are counted in it."""
        return self.spoken.reference(key)

    def training_words(self) -> list[str]:
        """The words of the training texts, each once, sorted."""
        return sorted({word for index in self.train.tolist() for word in self.spoken.words(self.utterances.ids[index])})

    def long_enough(self, chosen: Indices, stack: int) -> np.ndarray:
        """Which of the chosen utterances have a step for each unit, `stack` frames being one, bool [U]."""
        return -(-self.utterances.lengths[chosen] // stack) >= self.needed[chosen]

    def labelled(self, chosen: Indices) -> int:
        """Frames of the chosen utterances: all have an answer."""
        return int(self.utterances.lengths[chosen].sum())


@dataclass(frozen=True)
class TextSource:
    """What the utterances of a corpus say, before these are divided."""

    task: str
    kind: UnitKind
    utterances: FramedUtterances
    spoken: Spoken
    min_count: int
    usable: np.ndarray
    left_out: dict[str, int]
    strata: None = None

    def read(self, parts: Parts) -> Transcripts:
        """The units are those of the training part; ValueError where a part says nothing."""
        ids = self.utterances.ids
        sequences: Iterator[Sequence[str]] = (self.spoken.units(ids[index]) for index in parts.train.tolist())
        units = Units.of(self.kind, sequences, self.min_count)
        labels = Transcripts(self.utterances, self.spoken, units, parts)
        for part in PARTS:
            if not labels.count[getattr(parts, part)].any():
                raise ValueError(f"{self.task}: the {part} part has no {self.kind} to recognise")
        return labels


def text_source(task: str, kind: UnitKind, utterances: FramedUtterances, config: DataConfig) -> TextSource:
    """The units that a task recognises; ValueError where a key or a text is missing that it needs."""
    if config.label_columns:
        raise ValueError(f"{task}: data.label_column would change nothing: what was said comes from data.text")
    allowed, left_out = None, dict[str, int]()
    if utterances.rows is not None:  # it may divide
        listed, left_out = with_row(task, utterances, config)
        allowed = np.array(listed, np.int64)
    spoken, usable, missing = _of_texts(task, kind, utterances, config, allowed)
    return TextSource(task, kind, utterances, spoken, config.min_count, usable, {**left_out, **missing})


def _of_texts(
    task: str, kind: UnitKind, utterances: FramedUtterances, config: DataConfig, allowed: np.ndarray | None
) -> tuple[Spoken, np.ndarray, dict[str, int]]:
    """What is said, the utterances of which it is known, and how many are left out, by reason."""
    if config.lexicon is not None and (kind != "phone" or config.text is None):
        why = "it gives the phones of texts (data.text)" if kind == "phone" else f"{task} has no use for it"
        raise ValueError(f"data.lexicon={short(config.lexicon)} would change nothing: {why}")
    if kind == "phone" and config.lexicon is None:
        if config.alignment is None:
            raise ValueError(
                f"{task}: phones come from data.text with data.lexicon (pronunciations), or from data.alignment: "
                "neither is set"
            )
        alignment = Alignment(config.alignment)
        usable, lacks = known_utterances(config.alignment, alignment, utterances, config)
        usable = usable if allowed is None else np.intersect1d(usable, allowed)
        return _aligned(alignment, config.strip_stress), usable, {"not in the alignment": lacks} if lacks else {}
    if config.text is None:
        raise ValueError(f"{task}: data.text is not set: name a folder made by preprocess_text.py")
    texts = Texts(config.text)
    usable, lacks = known_utterances(config.text, texts, utterances, config)
    usable = usable if allowed is None else np.intersect1d(usable, allowed)
    left_out = {"not in the texts": lacks} if lacks else {}
    if kind != "phone":
        return _spelled(kind, texts, [utterances.ids[i] for i in usable], config), usable, left_out
    assert config.lexicon is not None, "else phones come from an alignment"
    lexicon = Lexicon.read(Path(config.lexicon).expanduser())
    if config.unaligned == "error":
        said = (texts[utterances.ids[i]] for i in usable.tolist())
        lexicon.check(said, "add them, or go on without such utterances by data.unaligned=leave_out")
    known = np.array([lexicon.knows(texts[utterances.ids[i]]) for i in usable.tolist()], bool)
    if not known.any():
        raise ValueError(f"{lexicon.file}: no text of {texts.root} has pronunciations of all its words")
    if not known.all():
        left_out["words without a pronunciation"] = int((~known).sum())
    return _pronounced(texts, lexicon, config.strip_stress), usable[known], left_out


def _spelled(kind: UnitKind, texts: Texts, ids: Sequence[str], config: DataConfig) -> Spoken:
    """Texts by their characters, subwords or words."""

    def words(key: str) -> Sequence[str]:
        return texts[key].split()

    if kind == "word":
        return Spoken(words, texts.__getitem__, words)
    if kind == "subword":
        encode = _subwords(config.subword_model)
        return Spoken(lambda key: encode(texts[key]), texts.__getitem__, words)
    marked = next((key for key in ids if BOUNDARY in texts[key]), None)
    if marked is not None:
        raise ValueError(
            f"{texts.root / TEXT}: {short(marked)}: the text holds {BOUNDARY}, which stands between words: leave it out"
        )
    return Spoken(lambda key: list(texts[key].replace(" ", BOUNDARY)), texts.__getitem__, words)


def _pronounced(texts: Texts, lexicon: Lexicon, bare: bool) -> Spoken:
    """The phones of the texts' words."""

    def phones(key: str) -> list[str]:
        return _phones(lexicon.pronounce(texts[key]), bare)

    return Spoken(phones, lambda key: " ".join(phones(key)), lambda key: texts[key].split())


def _aligned(alignment: Alignment, bare: bool) -> Spoken:
    """The labels of an alignment's segments, in order."""
    names = alignment.labels

    def phones(key: str) -> list[str]:
        codes = alignment.segments(key)["label"]
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(names):
            raise ValueError(f"{alignment.root}: {short(key)}: a label is none of the {len(names)}; make it again")
        return _phones([names[code] for code in codes.tolist()], bare)

    return Spoken(phones, lambda key: " ".join(phones(key)), lambda key: ())


def _phones(labels: Sequence[str], bare: bool) -> list[str]:
    """Without silence; equal neighbours stay two phones."""
    phones = [label.replace(" ", "_") for label in labels if label.lower() not in SILENCES]
    return [without_stress(phone) for phone in phones] if bare else phones


def _subwords(model: str | None) -> Callable[[str], Sequence[str]]:
    """What cuts a text into the pieces of a sentencepiece model."""
    if model is None:
        raise ValueError("data.subword_model is not set: name a model, as preprocess_text.py --target subword makes it")
    try:
        import sentencepiece
    except ModuleNotFoundError:
        raise ValueError(INSTALL) from None
    content = Path(model).expanduser().read_bytes()
    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(content)
    except (RuntimeError, OSError):
        raise ValueError(f"{model}: no sentencepiece model") from None
    return lambda text: pieces.encode(text, out_type=str)
