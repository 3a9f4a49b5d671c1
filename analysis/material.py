"""The corpus of an analysis: its utterances, its labelled tokens, and what is drawn of them, once for all layers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.abx import Items, draw_contrasted
from analysis.collect import Subject
from analysis.collectors import Cut, DrawnTokens
from analysis.config import AnalysisConfig, file_of
from analysis.folds import Division, balanced_folds, divide
from analysis.sampling import (
    DISCRIMINATION,
    Sample,
    Sampling,
    Tokens,
    draw,
    draw_utterances,
    read_sample,
    sample_generator,
    tokens_of,
    tokens_of_alignment,
)
from analysis.sentences import SentencePairs, read_sentence_pairs
from analysis.word_vectors import read_attributes
from analysis.words import SimilaritySet, read_similarity_set
from utility.labels.alignment import Alignment
from utility.text import read_text, short

PHONE_SETS = ("phones", "mi_phones")
WORD_SETS = ("words", "mi_words", "all_words", "awd")
ABX = "abx"  # phones and their neighbours
SHOWN = 20  # names in a result
SAID = "utterance"  # the label of a token that is a whole utterance

FRAMES = "frames"  # of frame experiments: what is wanted of them, and the draw of their folds


@dataclass(frozen=True)
class Utterances:
    """Those that every upstream has a frame of: their numbers in the corpus [U], ids, speakers and seconds [U]."""

    numbers: np.ndarray
    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    durations: np.ndarray
    frame_shift: float  # seconds, of the slowest upstream: shorter tokens are left out
    left_out: int

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> "Utterances":
        """Of all upstreams; ValueError where their corpora differ, or no utterance is long enough."""
        first = subjects[0]
        ids = first.corpus.ids
        for other in subjects[1:]:
            if other.corpus.ids != ids:
                raise ValueError(f"{other.name} and {first.name} are not of the same utterances")
        frames = np.min([subject.frames(label) for subject in subjects for label in subject.labels], axis=0)
        numbers = np.flatnonzero(frames > 1)
        if not len(numbers):
            reason = first.inputs.reason(0)
            raise ValueError(f"no utterance has two frames of every upstream: {short(ids[0])} for one: {reason}")
        durations = np.max([_durations(subject) for subject in subjects], axis=0)[numbers]
        speakers = tuple(first.corpus.speakers[i] for i in numbers)
        shift = max(subject.clock(subject.upstream.layers[0])[0] for subject in subjects)
        return cls(numbers, tuple(ids[i] for i in numbers), speakers, durations, shift, len(ids) - len(numbers))

    def groups(self, by: str, places: np.ndarray) -> np.ndarray:
        """The group of each unit, whose utterances stand at `places` [n]; of samples each its own."""
        if by == "sample":
            return np.arange(len(places)).astype(str)
        if by == "speaker" and not all(self.speakers):
            raise ValueError("cca.group=speaker: the corpus does not say who speaks in every utterance")
        return np.array(self.speakers if by == "speaker" else self.ids)[places]


def _durations(subject: Subject) -> np.ndarray:
    """Seconds of each utterance, as its samples or its frames say."""
    inputs, rate = subject.inputs, subject.inputs.rate or subject.corpus.info.sample_rate
    shift, offset = subject.clock(subject.upstream.layers[0])
    seconds = inputs.frames * shift + offset
    known = inputs.num_samples > 0
    return np.where(known, inputs.num_samples / rate, seconds) if rate else seconds


class Material:
    """What experiments are made of. Draws come from (seed + sample, what is drawn) alone."""

    def __init__(self, utterances: Utterances, config: AnalysisConfig, seed: int):
        self.utterances, self.config, self.seed = utterances, config, seed
        self.tokens = cache(self._tokens)  # of one object alone: it lives as long as the run
        self.all_tokens = cache(self._all_tokens)
        self.files = cache(self._files)

    def generator(self, name: str, sample: int) -> np.random.Generator:
        """The generator of what is drawn for a name."""
        return sample_generator(self.seed + sample, name)

    def _all_tokens(self, kind: str) -> tuple[Tokens, np.ndarray]:
        """Every token of the phones or words alignment, and which utterances have one, bool [U]."""
        key = "data.alignment" if kind == "phones" else "data.words"
        path = self.config.data.alignment if kind == "phones" else self.config.data.words
        assert path is not None, "the need was checked"
        alignment, ids = Alignment(path), self.utterances.ids
        held = held_by(alignment, ids, f"{key}={path}", self.config.data.unaligned)
        tokens = tokens_of_alignment(alignment, [name for name, there in zip(ids, held) if there])
        table = tokens.table.copy()
        table["utterance"] = np.flatnonzero(held)[table["utterance"]]
        tokens = Tokens(ids, tokens.classes, table)
        return (tokens if kind == "phones" else tokens.relabelled(str.lower)), held

    def _tokens(self, name: str, sample: int) -> Sample:
        """The drawn tokens of a set: one of PHONE_SETS, WORD_SETS, or utterances (whole ones)."""
        if name == "utterances":
            said = zip(self.utterances.ids, self.utterances.durations.tolist())
            return Sample(tokens_of((key, [(0.0, seconds, SAID)]) for key, seconds in said), ())
        tokens, _ = self.all_tokens("phones" if name in (*PHONE_SETS, ABX) else "words")
        if (file := self._given(f"{name}_sample{sample}.json")) is not None:
            return Sample(read_sample(file, self.utterances.ids), ())
        generator, here = self.generator(name, sample), self.utterances
        sampling = None if name == ABX else self.sampling(name)
        try:
            if sampling is None:
                sizes = self.config.abx.max_size_group, self.config.abx.max_tokens
                return draw_contrasted(tokens, here.speakers, *sizes, generator, here.frame_shift, here.durations)
            return draw(tokens, sampling, generator, here.frame_shift, here.durations)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def items(self, tokens: Tokens) -> Items:
        """Tokens of the phone alignment with their neighbours and speakers."""
        return Items.of(tokens, self.all_tokens("phones")[0], self.utterances.speakers)

    def _given(self, name: str) -> Path | None:
        """A file of another run's samples; None where none are given. ValueError for one that is not there."""
        if self.config.sampling.given is None:
            return None
        file = Path(self.config.sampling.given).expanduser() / name
        if not file.is_file():
            raise ValueError(
                f"sampling.given={self.config.sampling.given}: it has no {name}: name the folder samples/ of a run of "
                "these experiments and as many --samples"
            )
        return file

    def sampling(self, name: str) -> Sampling:
        """What is drawn for a set of tokens."""
        sampling, mi, awd = self.config.sampling, self.config.mi, self.config.awd
        if name == "all_words":
            return Sampling(sampling.all_words_max, 1, classes=self._listed_words() or None)
        return {
            "phones": sampling.phones,
            "mi_phones": Sampling(mi.phones_max, sampling.phones_min),
            "words": sampling.words,
            "mi_words": Sampling(mi.words_max, sampling.words_min, sampling.words_frequent),
            "awd": Sampling(None, DISCRIMINATION.min_per_class, None, None, awd.min_letters, awd.min_seconds),
        }[name]

    def _listed_words(self) -> frozenset[str]:
        """The words of attribute and similarity files."""
        words: set[str] = set()
        for key in ("semantic", "syntactic"):
            if path := getattr(self.config.words, key):
                words |= set(read_attributes(file_of(path, f"words.{key}")).words)
        for each in self.similarity_sets():
            words |= {word for pair in each.pairs for word in pair}
        return frozenset(words)

    def similarity_sets(self) -> list[SimilaritySet]:
        """The word similarity files."""
        return [read_similarity_set(file_of(path, "words.similarity")) for path in self.config.words.similarity]

    def pairs(self) -> SentencePairs:
        """The sentence pairs."""
        assert self.config.words.pairs is not None, "the need was checked"
        return read_sentence_pairs(file_of(self.config.words.pairs, "words.pairs"))

    def _files(self) -> str:
        """A fingerprint of what the files of words say."""
        words = self.config.words
        paths = [words.vectors, words.agwe, words.semantic, words.syntactic, *words.similarity, words.pairs]
        return digest(*(_content(Path(path)) for path in paths if path and Path(path).is_file()))

    def aligned(self) -> str:
        """A fingerprint of the utterances, who speaks in them, and of the files of their phone alignment."""
        here, path = self.utterances, self.config.data.alignment
        return digest(here.ids, here.speakers, here.durations, *([] if path is None else contents(path)))

    def cut(self, name: str) -> Cut:
        """Which frames the tokens of a set have."""
        sampling = self.config.sampling
        if name == "utterances":
            return Cut()
        if name == ABX:
            return Cut(rule=sampling.frames)
        return Cut(sampling.phone_part if name in PHONE_SETS else sampling.part, sampling.frames)

    def drawn(self, name: str, sample: int) -> DrawnTokens:
        """The tokens of a set for the collectors."""
        tokens, here = self.tokens(name, sample).tokens, self.utterances
        return DrawnTokens(tokens, here.numbers, here.durations, self.cut(name))

    def frame_utterances(self, sample: int) -> np.ndarray:
        """Places of the utterances of frame experiments, int64, ascending."""
        index = {name: place for place, name in enumerate(self.utterances.ids)}
        if (file := self._given(f"frames_sample{sample}.txt")) is not None:
            names = read_text(file).split("\n")[:-1]
            if unknown := [name for name in names if name not in index]:
                raise ValueError(f"{file}: utterance {short(unknown[0])} is not in the corpus")
        else:
            names = draw_utterances(
                self.utterances.ids, self.config.sampling.utterances, self.generator("frames", sample)
            )
        return np.array(sorted(index[name] for name in names), np.int64)

    def check_frames(self, sample: int) -> None:
        """Raise ValueError for fewer utterances of frame experiments than folds need."""
        self.divided(FRAMES, sample, self.frame_utterances(sample), None, 0)

    def divided(
        self, name: str, sample: int, places: np.ndarray, labels: np.ndarray | None, resampled: int, group: str = ""
    ) -> Division:
        """The folds of units whose utterances stand at `places` [n]."""
        cca = self.config.cca
        groups = self.utterances.groups(group or cca.group, places)
        sizes = None if labels is not None else self.utterances.durations[places]
        generator = self.generator(f"folds {name}", sample)
        return divide(
            groups,
            generator,
            labels=labels,
            sizes=sizes,
            folds=cca.folds,
            trials=cca.trials,
            resampled=resampled,
        )

    def groups_that_fit(self, set_bytes: int, what: str) -> int:
        """How many groups of the bootstrap the allowed memory holds; ValueError where it does not hold the folds."""
        cca = self.config.cca
        fitting = int(cca.memory_mib * 2**20 // max(set_bytes, 1))
        if fitting < 1 + 2 * cca.trials:
            needed = set_bytes * (1 + 2 * cca.trials) / 2**20
            raise ValueError(
                f"moments of {what} take {needed:.2f} MiB, and cca.memory_mib={cca.memory_mib:g} allows less: raise "
                "it, or look at fewer layers (--layer)"
            )
        return min(cca.groups, max(fitting - 1 - cca.trials, cca.trials))

    def centred_on(self, name: str, sample: int, places: np.ndarray) -> np.ndarray:
        """Which units [n] give the mean that is taken off, bool: of utterances that are not scored; none where nothing
        is taken off."""
        if self.config.words.centre == "none":
            return np.zeros(len(places), bool)
        return self.halves(name, sample, places, self.config.words.centre_share, "utterance")

    def halves(self, name: str, sample: int, places: np.ndarray, share: float, group: str = "") -> np.ndarray:
        """Which units [n] are of the first part, bool: whole groups, about `share` of all units."""
        groups = np.unique(self.utterances.groups(group or self.config.cca.group, places), return_inverse=True)[1]
        count = int(groups.max()) + 1
        if count < 2:
            raise ValueError(f"{name}: one group only: nothing to divide; choose another cca.group")
        parts = min(count, 20)
        sizes = np.bincount(groups)
        fold = balanced_folds(sizes, parts, self.generator(f"parts {name}", sample))
        taken = min(max(round(share * parts), 1), parts - 1)
        return fold[groups] < taken


def held_by(alignment: Alignment, ids: Sequence[str], key: str, unaligned: str) -> np.ndarray:
    """Which utterances an alignment has, bool [U]; ValueError where it lacks some, unless these may be left out, or
    all. `key` names the alignment."""
    held = np.array([name in alignment for name in ids])
    if not held.any():
        example = f"{short(alignment.ids[0])} there, {short(ids[0])} here"
        raise ValueError(f"{key}: it is of none of the {len(ids)} utterances ({example}): name theirs")
    if not held.all() and unaligned == "error":
        missing = short(ids[int(np.argmin(held))])
        count = int((~held).sum())
        raise ValueError(
            f"{key}: it lacks {count} of {len(ids)} utterances, {missing} for one: make it of all, or say "
            "data.unaligned=leave_out"
        )
    return held


def contents(folder: str) -> list[str]:
    """Digests of all files below a folder."""
    return [_content(file) for file in sorted(Path(folder).rglob("*")) if file.is_file()]


def _content(file: Path) -> str:
    """A digest of a file of any size."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """16 hex digits of anything that has a text, and of arrays."""
    total = hashlib.sha256()
    for part in parts:
        data = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:16]


def described(sample: Sample) -> dict[str, Any]:
    """Drawn tokens in figures."""
    tokens = sample.tokens
    left_out = {left.reason: left.tokens for left in sample.left_out}
    classes = sorted({name for left in sample.left_out if left.reason == "rare class" for name in left.classes})
    return {
        "tokens": len(tokens),
        "classes": len(tokens.classes),
        "utterances": len(np.unique(tokens.table["utterance"])),
        "left_out": left_out,
        "rare_classes": classes if len(classes) <= SHOWN else [*classes[:SHOWN], f"... {len(classes)} in all"],
    }


def frames_described(material: Material, sample: int) -> dict[str, Any]:
    """The utterances of frame experiments in figures."""
    places, config = material.frame_utterances(sample), material.config.sampling
    seconds = float(material.utterances.durations[places].sum())
    return {"utterances": len(places), "seconds": round(seconds, 2), "every": config.every}
