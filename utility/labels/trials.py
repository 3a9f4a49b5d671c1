"""Trials of speaker verification: pairs of utterances, and whether one speaker said both; read, and made by a rule."""

import hashlib
import heapq
import stat
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from utility.labels.table import ById, ByPath
from utility.text import short

LABELS = {"1": True, "0": False, "target": True, "nontarget": False}
FORM = "a label (1 or 0, target or nontarget) and two utterances"


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances of a corpus, by their numbers, and whether one speaker said both (`target`); all [N].

    `lines` are those of the `file`; those of pairs that were made are 0. `left_out` more trials name utterances that
    are not there. `digest` changes with any trial."""

    file: str
    first: np.ndarray
    second: np.ndarray
    target: np.ndarray
    lines: np.ndarray
    left_out: int = 0
    digest: str = ""

    def __len__(self) -> int:
        return len(self.target)

    def utterances(self) -> np.ndarray:
        """The numbers of all utterances in a trial, ascending."""
        return np.union1d(self.first, self.second)

    def at(self, utterance: int) -> str:
        """Where an utterance is named first, for messages."""
        line = int(self.lines[(self.first == utterance) | (self.second == utterance)][0])
        return f"{self.file}: line {line}" if line else self.file

    def check_both_kinds(self) -> None:
        """Raise ValueError where all trials are of one kind."""
        targets = int(self.target.sum())
        if targets in (0, len(self)):
            has, lacks = ("target", "nontarget") if targets else ("nontarget", "target")
            raise ValueError(f"{self.file}: all {len(self)} trials are {has}, an error rate needs {lacks} ones too")


def read_trials(file: str, ids: Sequence[str], paths: Sequence[str], leave_out: bool = False) -> Trials:
    """The trials of a file, `label id id` a line; empty lines are skipped.

    A word is the utterance with that id, else the one of that path of a recording, as in tables of labels (VoxCeleb's
    lists have paths). A pair may come in both orders, not twice in one. ValueError names the line of what is no trial,
    twice, of one utterance, or of one that is not there; with `leave_out` the last are left out."""
    find = _Finder(file, ids, paths)
    first, second, lines, target = array("q"), array("q"), array("q"), bytearray()
    digest, missing = hashlib.sha256(), 0
    for line, text in _lines(Path(file).expanduser()):
        words = text.split()
        if not words:
            continue
        if len(words) != 3 or words[0].lower() not in LABELS:
            hint = "; the label comes first" if len(words) == 3 and words[2].lower() in LABELS else ""
            raise ValueError(f"{file}: line {line}: {short(text.strip())} is no trial: expected {FORM}{hint}")
        label, pair = LABELS[words[0].lower()], [find.number(word, line) for word in words[1:]]
        if None in pair and not leave_out:
            lost = short(words[1 + pair.index(None)])
            hint = f"ids there look like {short(ids[0])}; data.unaligned=leave_out goes on without such trials"
            raise ValueError(f"{file}: line {line}: the data has no utterance {lost}, {hint}")
        if pair[0] is None or pair[1] is None:
            missing += 1
            continue
        if pair[0] == pair[1]:
            raise ValueError(f"{file}: line {line}: utterance {short(words[1])} beside itself is no trial")
        first.append(pair[0])
        second.append(pair[1])
        lines.append(line)
        target.append(label)
        digest.update(f"{int(label)} {ids[pair[0]]} {ids[pair[1]]}\n".encode())
    if not lines:
        why = f"none of its {missing} trials has both utterances in the data" if missing else "no trial in it"
        raise ValueError(f"{file}: {why}: expected {FORM} a line")
    one, other, at = (np.frombuffer(each, np.int64) for each in (first, second, lines))
    trials = Trials(file, one, other, np.frombuffer(target, bool), at, missing, digest.hexdigest()[:16])
    _check_pairs(trials, ids)
    trials.check_both_kinds()
    return trials


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, one in memory at a time."""
    if file.is_dir():
        raise ValueError(f"{file}: a folder, expected a list of trials")
    if not file.exists():
        raise ValueError(f"{file}: no such list of trials")
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError(f"{file}: not a regular file: copy it to one")
    with file.open("rb") as lines:
        for line, data in enumerate(lines, 1):
            try:
                yield line, data.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{file}: line {line}: not UTF-8 text") from None


def _check_pairs(trials: Trials, ids: Sequence[str]) -> None:
    """Raise ValueError for a trial that is there twice, or in both orders with both labels."""
    one, other = trials.first, trials.second
    twice = _repeated(one, other, len(ids))
    turned = _repeated(np.minimum(one, other), np.maximum(one, other), len(ids))
    both = turned[trials.target[turned[:, 0]] != trials.target[turned[:, 1]]]
    for pairs, what in ((twice, "twice"), (both, "with both labels")):
        if len(pairs):
            before, after = pairs[np.argmin(trials.lines[pairs[:, 1]])]
            pair, lines = f"{ids[one[after]]} {ids[other[after]]}", f"{trials.lines[before]} and {trials.lines[after]}"
            raise ValueError(f"{trials.file}: trial {short(pair)} is there {what}, in lines {lines}: keep one")


def _repeated(one: np.ndarray, other: np.ndarray, size: int) -> np.ndarray:
    """The places of equal pairs [n, 2], the earlier one first."""
    key = one * np.int64(size) + other
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    return np.stack([order[again], order[again + 1]], 1)


class _Finder:
    """Utterances by id, else by path; the paths are looked at when a word is no id."""

    def __init__(self, file: str, ids: Sequence[str], paths: Sequence[str]):
        self.file, self.paths = file, paths
        self._by_id = ById(ids)

    def number(self, word: str, line: int) -> int | None:
        """The utterance that a word means."""
        found = self._by_id.find(word, line)
        return self._by_path.find(word, line) if found is None else found

    @cached_property
    def _by_path(self) -> ByPath:
        return ByPath(self.file, self.paths)


@dataclass(frozen=True)
class TrialParts:
    """The trials of the test part, and where there are of dev ("test", "dev"), and what they make of a division.

    `listed` [U] is the part of each utterance, empty for one that is left out; `left_out` are counted by reason."""

    tables: Mapping[str, Trials]
    listed: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> Mapping[str, str]:
        """Those of the lists."""
        return {part: table.digest for part, table in self.tables.items()}

    def placed(self, listed: Sequence[str], ids: Sequence[str], speakers: Sequence[str]) -> "TrialParts":
        """With the division that follows from `listed` [U], for which part each utterance is listed.

        Utterances of a part's trials are that part. They are taken from what is listed for it, whose other utterances
        are left out; or where nothing is, from train, which loses all utterances of their speakers. ValueError for
        trials that contradict the lists or the speakers."""
        if not all(speakers):
            first = short(ids[list(speakers).index("")])
            raise ValueError(f"trials need the speaker of every utterance, {first} has none")
        parts, counts = list(listed), {}
        of_test: set[str] = set()
        for part in ("test", "dev"):
            if part not in self.tables:
                continue
            table, source = self.tables[part], part if part in listed else "train"
            used = table.utterances().tolist()
            wrong = next((number for number in used if listed[number] != source or speakers[number] in of_test), None)
            if wrong is not None:
                where, whose = f"{table.at(wrong)}: utterance {short(ids[wrong])}", short(speakers[wrong])
                if listed[wrong] != source:
                    raise ValueError(f"{where} is listed in data.{listed[wrong]}, expected in data.{source}")
                raise ValueError(
                    f"{where} is of speaker {whose}, whom {self.tables['test'].file} tests on: take others"
                )
            _check_labels(table, ids, speakers)
            named = {speakers[number] for number in used}
            of_test |= named
            others = set(np.flatnonzero(np.array(listed) == source).tolist()) - set(used)
            if source != part:
                others = {number for number in others if speakers[number] in named}
            for number in others:
                parts[number] = ""
            for number in used:
                parts[number] = part
            if others:
                reason = f"of data.{part}, in no trial" if source == part else f"of speakers of {part} trials, in none"
                counts[reason] = len(others)
        return TrialParts(self.tables, parts, counts)


def _check_labels(table: Trials, ids: Sequence[str], speakers: Sequence[str]) -> None:
    """Raise ValueError for a trial whose label contradicts the corpus."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(speakers))}
    code = np.array([codes[name] for name in speakers])
    wrong = np.flatnonzero((code[table.first] == code[table.second]) != table.target)
    if len(wrong):
        at = wrong[0]
        one, other = int(table.first[at]), int(table.second[at])
        label, said = ("target", "two speakers") if table.target[at] else ("nontarget", "one speaker")
        who = " and ".join(dict.fromkeys((short(speakers[one]), short(speakers[other]))))
        pair = short(f"{ids[one]} {ids[other]}")
        raise ValueError(f"{table.file}: line {table.lines[at]}: trial {pair} is {label}, but of {said}: {who}")


@dataclass(frozen=True)
class PartTrials:
    """The trials of a part: `first` and `second` [N] are places in its utterances, `target` [N] is one speaker's.

    `ids` and `speakers` are those of the utterances, `rows` are their places by id; `about` is what a result says."""

    ids: Sequence[str]
    speakers: Sequence[str]
    rows: Mapping[str, int]
    first: np.ndarray
    second: np.ndarray
    target: np.ndarray
    about: Mapping[str, object]

    @classmethod
    def of(cls, trials: Trials, ids: Sequence[str], speakers: Sequence[str], chosen: np.ndarray) -> "PartTrials":
        """Those of the `chosen` utterances of a corpus, which have both utterances of every trial."""
        place = np.zeros(len(ids), np.int64)
        place[chosen] = np.arange(len(chosen))
        targets = int(trials.target.sum())
        about: dict[str, object] = {"list": trials.file, "targets": targets, "nontargets": len(trials) - targets}
        about |= {"left_out": trials.left_out} if trials.left_out else {}
        own = [ids[index] for index in chosen.tolist()]
        rows = {key: row for row, key in enumerate(own)}
        said = [speakers[index] for index in chosen.tolist()]
        return cls(own, said, rows, place[trials.first], place[trials.second], trials.target, about)


@dataclass(frozen=True)
class Caps:
    """How many pairs of each speaker are trials: of its own utterances, and with others of its sex and not of it.

    Where sexes are unknown as many as both together are with any other speakers."""

    same: int = 40
    same_sex: int = 40
    other_sex: int = 20


def made_trials(
    utterances: Mapping[str, Sequence[str]], caps: Caps, sexes: Mapping[str, str] | None = None
) -> Iterator[tuple[bool, str, str]]:
    """Trials (target, id, id) of some speakers: of all pairs the first in the order of SHA-256 of "id id".

    Speakers come in the order of their names, each with its own pairs first. A pair of two speakers has the utterance
    of the one whose turn it is first. All pairs are looked at: their number is the square of the utterances'."""
    ids = {speaker: sorted(utterances[speaker]) for speaker in sorted(utterances)}
    for speaker, own in ids.items():
        for pair in _earliest(((one, own[place:]) for place, one in enumerate(own, 1)), caps.same):
            yield True, *pair
        others = [name for name in ids if name != speaker]
        groups = [(others, caps.same_sex + caps.other_sex)]
        if sexes is not None:
            alike = [name for name in others if sexes[name] == sexes[speaker]]
            groups = [(alike, caps.same_sex), ([name for name in others if name not in set(alike)], caps.other_sex)]
        for names, count in groups:
            for pair in _earliest(((one, ids[name]) for one, name in product(own, names)), count):
                yield False, *pair


def _earliest(pairs: Iterable[tuple[str, Sequence[str]]], count: int) -> list[tuple[str, str]]:
    """Of all pairs of an id and its others the first `count` in the order of `text_order("id id")`."""
    hashed = (key for one, others in pairs for key in _hashed(one, others))
    return [(one, other) for _, one, other in heapq.nsmallest(count, hashed)]


def _hashed(one: str, others: Sequence[str]) -> Iterator[tuple[bytes, str, str]]:
    begun = hashlib.sha256(f"{one} ".encode())  # shared by all pairs of it
    for other in others:
        whole = begun.copy()
        whole.update(other.encode())
        yield whole.digest(), one, other
