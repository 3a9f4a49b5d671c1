"""Speech corpora on disk -> utterances: LibriSpeech, and any folder of audio."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from utility.audio.extensions import AUDIO_EXTENSIONS
from utility.audio.headers import audio_files, unread_media, unread_note
from utility.store.files import split_name
from utility.text import cut, short
from utility.utterance_ids import IdRule, utterance_ids

SPLIT_WORDS = frozenset(
    "train training dev development valid validation val test testing eval evaluation".split()  # noqa: SIM905
)
WHOLE = "all"  # the split of a corpus that has none


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording, or the part of it from `start` to `stop` seconds (None: its own beginning, its own end).

    `path` is relative to its corpus, with forward slashes, and `speaker` is empty where unknown."""

    id: str
    split: str
    speaker: str
    path: str
    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True)
class Corpus:
    """Recordings under `root`, ids unique, ordered by split and id; `left_out` counts audio files that are none.

    `notes` are lines for the user: which folder became which split, and how many media files cannot be read. `unread`
    are the paths of those. `broken` has the reason of each recording that is known to be none, by its path."""

    root: Path
    utterances: list[Utterance]
    left_out: int = 0
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """Names of the splits, sorted."""
        return sorted({utterance.split for utterance in self.utterances})

    def of(self, split: str) -> list[Utterance]:
        """Utterances of one split, sorted by id."""
        return [utterance for utterance in self.utterances if utterance.split == split]


def librispeech(root: Path, splits: Sequence[str] = (), extensions: Sequence[str] = AUDIO_EXTENSIONS) -> Corpus:
    """`<split>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac` under `root` or `root/LibriSpeech`."""
    root = corpus_root(root, ("LibriSpeech",))
    utterances = []
    paths = audio_files(root, extensions)
    for path in paths:
        parts = PurePosixPath(path).parts
        if len(parts) == 4:
            split, speaker, chapter, _ = parts
            stem = PurePosixPath(path).stem
            key = stem if stem.startswith(f"{speaker}-") else f"{speaker}-{chapter}-{stem}"
            utterances.append(Utterance(key, split, speaker, path))
    expected = "<split>/<speaker>/<chapter>/*" + "|".join(extensions)
    return make_corpus(root, utterances, splits, expected, len(paths), unread=unread_media(root, extensions))


def folder(
    root: Path,
    splits: Sequence[str] = (),
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
    speaker_from: str = "parent",
    id_from: IdRule = "auto",
) -> Corpus:
    """Every audio file below `root`; folders with a word such as train, dev or test in their names are splits
    (`split_folders`), else all is one split `all`.

    `splits` may name any other folders. `speaker_from` is `parent`, `none`, or a regular expression whose first group
    is found in the path. `id_from` is a rule of `utterance_ids`, which sees all files below `root`.
    """
    root = corpus_root(root, ())
    speaker = speaker_rule(speaker_from)
    paths = audio_files(root, extensions)
    folders = {PurePosixPath(path).parts[0] for path in paths if "/" in path}
    known = split_folders(folders)
    missing = sorted(set(splits) - folders - set(known.values()) - {WHOLE})
    if missing:
        there = sorted(folders | set(known.values()))
        raise ValueError(f"{root}: no split {', '.join(missing)}; it has {', '.join([*there, WHOLE])}")
    names = known
    if splits:
        names = {name: split for name, split in known.items() if split in splits}
        names |= {name: split_name(name) for name in folders & set(splits)}  # asked for by its own name, it keeps it
    _check_distinct(root, names)
    utterances = []
    for path, key in zip(paths, utterance_ids(paths, id_from)):
        first, *rest = PurePosixPath(path).parts
        split = names[first] if first in names and rest else WHOLE
        if split != WHOLE or not names:
            below = "/".join(rest) if split != WHOLE else path
            utterances.append(Utterance(key, split, speaker(below), path))
    notes = [f"{root / name}: split {split}" for name, split in sorted(names.items()) if name != split]
    chosen = [*names.values(), *({WHOLE} & set(splits))] if splits else ()
    expected = "*" + "|".join(extensions)
    return make_corpus(root, utterances, chosen, expected, len(paths), notes, unread_media(root, extensions))


def parts(
    folders: Mapping[str, Path],
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
    speaker_from: str = "parent",
    id_from: IdRule = "auto",
) -> Corpus:
    """One folder of audio for each split, {"train": ..., "dev": ...}, wherever they lie; rules as of `folder`.

    Ids from paths begin with the name of the split; file names must differ over all folders to be ids.
    Raises ValueError where one folder lies in another."""
    roots = {split: corpus_root(path, ()).resolve() for split, path in folders.items()}
    for split, path in roots.items():
        other = next((name for name, it in roots.items() if name != split and path.is_relative_to(it)), None)
        if other:
            raise ValueError(f"{folders[split]}: {split} lies in the folder of {other}, {folders[other]}")
    root = Path(os.path.commonpath(roots.values()))
    utterances: list[Utterance] = []
    notes: list[str] = []
    unread: list[str] = []
    for split, path in roots.items():
        corpus = folder(path, [WHOLE], extensions, speaker_from, "stem" if id_from == "stem" else "path")
        below = path.relative_to(root)
        for u in corpus.utterances:
            key = u.id if id_from == "stem" else f"{split}_{u.id}"
            utterances.append(Utterance(key, split, u.speaker, (below / u.path).as_posix()))
        notes += corpus.notes
        unread += [(below / name).as_posix() for name in corpus.unread]
    if id_from == "auto":
        paths = [u.path for u in utterances]
        if (named := utterance_ids(paths)) != utterance_ids(paths, "path"):
            utterances = [replace(u, id=key) for u, key in zip(utterances, named)]
    corpus = make_corpus(root, utterances, (), "*" + "|".join(extensions), len(utterances), notes)
    return replace(corpus, unread=tuple(unread))


def split_folders(names: Collection[str]) -> dict[str, str]:
    """Which of these folders are splits, with the names of the splits.

    A name that begins with a word of `SPLIT_WORDS` (train-clean-100) is a split of that name. Where the word stands
    later (Custom_train, MyTest) the split has the word for its name, or the folder's name where others share it."""
    words = {name: _split_word(name) for name in names}
    shared = Counter(word for word in words.values() if word)
    return {
        name: word if shared[word] == 1 and not name.lower().startswith(word) else split_name(name)
        for name, word in words.items()
        if word
    }


def _check_distinct(root: Path, names: Mapping[str, str]) -> None:
    """Refuse folders whose names make the same name of a split."""
    first: dict[str, str] = {}
    for name, split in sorted(names.items()):
        if first.setdefault(split, name) != name:
            raise ValueError(
                f"{root}: {short(first[split])} and {short(name)} would both be split {cut(split)}: rename one"
            )


def _split_word(name: str) -> str | None:
    """The one word of a folder's name that says which split it is, in small letters."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)} & SPLIT_WORDS
    first = re.match(r"[A-Za-z]+", name)
    if first and first[0].lower() in SPLIT_WORDS:
        return first[0].lower()
    return words.pop() if len(words) == 1 else None


def speaker_rule(speaker_from: str) -> Callable[[str], str]:
    """From a path to its speaker: `parent` folder, `none`, or the first group of a regular expression."""
    if speaker_from == "none":
        return lambda path: ""
    if speaker_from == "parent":
        return lambda path: PurePosixPath(path).parent.name
    try:
        pattern = re.compile(speaker_from)
    except re.error as error:
        raise ValueError(f"speaker_from {short(speaker_from)}: not a regular expression: {error}") from None
    if pattern.groups < 1:
        raise ValueError(
            f"speaker_from {short(speaker_from)}: use parent, none, or a regular expression with one (group)"
        )
    return lambda path: (match[1] or "") if (match := pattern.search(path)) else ""


def make_corpus(
    root: Path,
    utterances: Sequence[Utterance],
    splits: Sequence[str],
    expected: str,
    files: int,
    notes: Sequence[str] = (),
    unread: Sequence[str] = (),
) -> Corpus:
    if unread:
        notes = [*notes, f"{root}: {unread_note(unread)}"]
    ordered = sorted(utterances, key=lambda utterance: (utterance.split, utterance.id, utterance.path))
    if not ordered:
        raise ValueError("; ".join([f"{root}: no audio found, expected {expected}", *notes]))
    seen: dict[str, Utterance] = {}
    for utterance in ordered:
        first = seen.setdefault(utterance.id, utterance)
        if first is not utterance:
            raise ValueError(f"{root}: {cut(first.path)} and {cut(utterance.path)} have one id, {short(utterance.id)}")
    corpus = Corpus(root.resolve(), ordered, files - len(ordered), tuple(notes), tuple(unread))
    missing = sorted(set(splits) - set(corpus.splits))
    if missing:
        raise ValueError(f"{root}: no split {', '.join(missing)}; it has {', '.join(corpus.splits)}")
    if not splits:
        return corpus
    return replace(corpus, utterances=[u for u in ordered if u.split in splits])


def corpus_root(root: Path, names: Sequence[str]) -> Path:
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder")
    return next((root / name for name in names if (root / name).is_dir()), root)
