"""Which tokens and utterances of a corpus are looked at: drawn from a seed, kept on disk, and what was left out and
why."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.segments import microseconds
from utility.files import replacing
from utility.labels.alignment import TOLERANCE, Alignment, TimedLabels
from utility.labels.formats import read_json
from utility.labels.phone_sets import SILENCES
from utility.seeds import numpy_generator, text_seed
from utility.text import cut, short

TOKEN = np.dtype([("utterance", "<i4"), ("start", "<f8"), ("end", "<f8"), ("label", "<i4")])


@dataclass(frozen=True)
class Tokens:
    """Labelled segments of a corpus, utterance after utterance, 24 bytes each.

    `table` [N] has the fields `utterance` (index into `ids`), `start`, `end` (seconds) and `label` (index into
    `classes`).
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    table: np.ndarray

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> np.ndarray:
        """The index of each token's class, int32 [N]."""
        return self.table["label"]

    @property
    def counts(self) -> np.ndarray:
        """Tokens of each class, int64 [classes]."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def take(self, chosen: np.ndarray) -> "Tokens":
        """The tokens at indices, or under a mask, `chosen`; classes without any are dropped, the others sorted."""
        table = self.table[chosen].copy()
        used = sorted(np.unique(table["label"]).tolist(), key=self.classes.__getitem__)
        codes = np.full(len(self.classes), -1, dtype=np.int32)
        codes[used] = np.arange(len(used))
        table["label"] = codes[table["label"]]
        return Tokens(self.ids, tuple(self.classes[k] for k in used), table)

    def of_utterance(self, index: int) -> np.ndarray:
        """Where utterance `index` has its tokens: their indices int64 [n]."""
        low, high = np.searchsorted(self.table["utterance"], [index, index + 1])
        return np.arange(low, high)

    def relabelled(self, rule: Callable[[str], str]) -> "Tokens":
        """Every class under another name, as lower case; names that become alike are one class."""
        names = [rule(name) for name in self.classes]
        classes = sorted(set(names))
        codes = np.array([classes.index(name) for name in names], dtype=np.int32)
        table = self.table.copy()
        table["label"] = codes[table["label"]] if len(table) else table["label"]
        return replace(self, classes=tuple(classes), table=table)


def tokens_of(utterances: Iterable[tuple[str, TimedLabels]]) -> Tokens:
    """The tokens of (id, segments in seconds); `ValueError` for an id that comes twice."""
    ids: list[str] = []
    codes: dict[str, int] = {}
    rows: list[tuple[int, float, float, int]] = []
    for key, segments in utterances:
        rows += [(len(ids), start, end, codes.setdefault(label, len(codes))) for start, end, label in segments]
        ids.append(key)
    return _tokens(ids, list(codes), np.array(rows, dtype=TOKEN))


def tokens_of_alignment(alignment: Alignment, ids: Sequence[str]) -> Tokens:
    """The tokens of the stored alignment of these utterances; `ValueError` for one that has none."""
    parts = []
    for index, key in enumerate(ids):
        segments = alignment.segments(key)
        part = np.empty(len(segments), dtype=TOKEN)
        part["utterance"] = index
        for name in ("start", "end", "label"):
            part[name] = segments[name]
        parts.append(part)
    return _tokens(ids, alignment.labels, np.concatenate(parts) if parts else np.empty(0, dtype=TOKEN))


def _tokens(ids: Sequence[str], classes: Sequence[str], table: np.ndarray) -> Tokens:
    seen: set[str] = set()
    for key in ids:
        if key in seen:
            raise ValueError(f"utterance {short(key)} comes twice")
        seen.add(key)
    return Tokens(tuple(ids), tuple(classes), table).take(np.arange(len(table)))


@dataclass(frozen=True)
class Sampling:
    """What is asked of tokens and classes, and how many tokens of a class are drawn.

    A class has the lesser of its count and `max_per_class`: the original draws the size itself between two bounds, so
    that classes differ from run to run. Classes below `min_per_class` are left out; of more than `most_frequent`
    classes the less frequent ones are.
    """

    max_per_class: int | None = 200
    min_per_class: int = 20
    most_frequent: int | None = None
    classes: frozenset[str] | None = None  # no others
    min_letters: int = 0
    min_seconds: float = 0.0


PHONES = Sampling()
WORDS = Sampling(max_per_class=15, min_per_class=5, most_frequent=500)
ALL_WORDS = Sampling(max_per_class=200, min_per_class=1)
DISCRIMINATION = Sampling(max_per_class=None, min_per_class=2, min_letters=5, min_seconds=0.5)


@dataclass(frozen=True)
class LeftOut:
    """Tokens that were not drawn for one reason, and the classes that have none left because of it."""

    reason: str
    tokens: int
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """Drawn tokens, in the order of the corpus, and all that was left out."""

    tokens: Tokens
    left_out: tuple[LeftOut, ...]


def sample_generator(seed: int, experiment: str, sample: int = 0) -> np.random.Generator:
    """The generator of everything that sample number `sample` of an experiment draws."""
    return numpy_generator(seed, text_seed(experiment), sample)


def draw(
    tokens: Tokens,
    sampling: Sampling,
    generator: np.random.Generator,
    frame_shift: float,
    durations: np.ndarray | None = None,
) -> Sample:
    """Draw tokens of each class without replacement, classes in sorted order.

    Left out, with the reason: silence, unknown words (`<unk>`), classes that were not asked for, what is too short
    (less than `frame_shift` seconds, too), what the end of the audio cuts off by more than a frame (`durations` [U] in
    seconds), rare classes, and what `max_per_class` leaves. `ValueError` for a token over 0.1 s beyond the audio, or
    where fewer than two classes remain.
    """
    left: list[LeftOut] = []
    for reason, wrong in _refusals(tokens, sampling, frame_shift, durations):
        tokens = _without(tokens, wrong(tokens), reason, left)
    counts = tokens.counts
    tokens = _without(tokens, counts[tokens.labels] < sampling.min_per_class, "rare class", left)
    if sampling.most_frequent is not None and len(tokens.classes) > sampling.most_frequent:
        order = np.argsort(-tokens.counts, kind="stable")
        rare = np.isin(tokens.labels, order[sampling.most_frequent :])
        tokens = _without(tokens, rare, "less frequent class", left)
    if sampling.max_per_class is not None:
        chosen = _chosen(tokens, sampling.max_per_class, generator)
        beyond = np.ones(len(tokens), dtype=bool)
        beyond[chosen] = False
        tokens = _without(tokens, beyond, f"beyond {sampling.max_per_class} of its class", left)
    if len(tokens.classes) < 2:
        reasons = "; ".join(f"{part.reason}: {part.tokens}" for part in left) or "there were no others"
        what = f"{len(tokens.classes)} class{'' if len(tokens.classes) == 1 else 'es'} with {len(tokens)} tokens remain"
        raise ValueError(f"{what}, at least 2 are needed; tokens left out: {cut(reasons, 400)}")
    return Sample(tokens, tuple(left))


Refusal = tuple[str, Callable[[Tokens], np.ndarray]]


def _refusals(
    tokens: Tokens, sampling: Sampling, frame_shift: float, durations: np.ndarray | None
) -> Iterable[Refusal]:
    """Reasons for which single tokens are left out, with a function to the mask [N] of those of them, in this order."""
    yield "silence", lambda some: _of_class(some, lambda name: name.lower() in SILENCES)
    yield "unknown word", lambda some: _of_class(some, is_unknown)
    asked = sampling.classes
    if asked is not None:
        yield "class not asked for", lambda some: _of_class(some, lambda name: name not in asked)
    if sampling.min_letters:
        few = sampling.min_letters
        yield f"fewer than {few} letters", lambda some: _of_class(some, lambda name: sum(map(str.isalpha, name)) < few)
    shortest = max(sampling.min_seconds, frame_shift)
    reason = f"shorter than {shortest:g} s" if sampling.min_seconds > frame_shift else "shorter than a frame"
    yield (
        reason,
        lambda some: microseconds(some.table["end"]) - microseconds(some.table["start"]) < round(shortest * 1e6),
    )
    if durations is not None:
        _check_ends(tokens, durations)
        yield (
            "cut off by the end of the audio",
            lambda some: some.table["end"] > durations[some.table["utterance"]] + frame_shift + 1e-6,
        )


def is_unknown(label: str) -> bool:
    """Whether a label stands for what nobody could transcribe, as `<unk>`."""
    return label[:1] + label[-1:] in ("<>", "[]")


def _check_ends(tokens: Tokens, durations: np.ndarray) -> None:
    table = tokens.table
    late = table["end"] > durations[table["utterance"]] + TOLERANCE + 1e-6
    if late.any():
        row = table[late][0]
        name, end = tokens.ids[row["utterance"]], durations[row["utterance"]]
        what = f"{tokens.classes[row['label']]} from {row['start']:g} to {row['end']:g} s"
        raise ValueError(
            f"{cut(name)}: {cut(what)}, but the audio ends at {end:.3f} s; they are not of the same recording"
        )


def _of_class(tokens: Tokens, wrong: Callable[[str], bool]) -> np.ndarray:
    return np.array([wrong(name) for name in tokens.classes], dtype=bool)[tokens.labels]


def _without(tokens: Tokens, wrong: np.ndarray, reason: str, left: list[LeftOut]) -> Tokens:
    """The tokens that are not `wrong` [N]; the others are added to `left`."""
    if not wrong.any():
        return tokens
    kept = tokens.take(~wrong)
    gone = tuple(sorted(set(tokens.classes) - set(kept.classes)))
    left.append(LeftOut(reason, int(wrong.sum()), gone))
    return kept


def _chosen(tokens: Tokens, most: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of at most `most` tokens of each class, drawn class by class."""
    chosen = []
    for own in np.split(np.argsort(tokens.labels, kind="stable"), np.cumsum(tokens.counts)[:-1]):
        chosen.append(own if len(own) <= most else generator.choice(own, most, replace=False))
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


def draw_utterances(ids: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """At most `count` of the ids without replacement, in their own order."""
    if count < 1:
        raise ValueError(f"expected at least 1 utterance to draw, got {count}")
    chosen = np.sort(generator.choice(len(ids), min(count, len(ids)), replace=False))
    return [ids[i] for i in chosen.tolist()]


def write_sample(file: Path, tokens: Tokens, audio: dict[str, str]) -> None:
    """The original's form: `{utterance: [audio, [start, end, token], ...]}`, utterances without a token left out.

    `audio` names each utterance's recording. The file appears whole or not at all.
    """
    entries: dict[str, list] = {}
    for row in tokens.table.tolist():
        name = tokens.ids[row[0]]
        entries.setdefault(name, [audio.get(name, "")]).append([row[1], row[2], tokens.classes[row[3]]])
    with replacing(file) as new:
        new.write_text(json.dumps(entries, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def read_sample(file: Path, ids: Sequence[str]) -> Tokens:
    """The tokens of a sample file, in the order of `ids`; `ValueError` for an utterance that is none of these, and for
    files that are no samples."""
    utterances = dict(read_json(file, ""))
    unknown = utterances.keys() - set(ids)
    if unknown:
        raise ValueError(
            f"{file}: utterance {short(min(unknown))} is not in the corpus; is it a sample of another one?"
        )
    return tokens_of((key, utterances.get(key, ())) for key in ids)
