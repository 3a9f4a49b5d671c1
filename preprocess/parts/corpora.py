"""Speech corpora on disk -> utterances: LibriSpeech, TIMIT, any folder of audio, and CSV or TSV manifests."""

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from preprocess.parts.names import TIMIT_EXTENSIONS
from utility.audio.extensions import AUDIO_EXTENSIONS
from utility.audio.headers import audio_files, unread_media
from utility.labels.formats import timit_id

START_COLUMN, END_COLUMN = "start", "end"  # seconds: a row is a part of a recording
ID_COLUMNS = ("id", "utt_id", "utterance")
PATH_COLUMNS = ("path", "file", "wav", "audio")
SPLIT_COLUMNS = ("split", "subset")
SPLIT_WORDS = frozenset(
    "train training dev development valid validation val test testing eval evaluation".split()  # noqa: SIM905
)
WHOLE = "all"  # the split of a corpus that has none
# The 24 speakers of TIMIT's core test set, and the 50 of its test part that Kaldi's recipe keeps for development.
TIMIT_CORE = """
    MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0
    MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0
""".split()  # noqa: SIM905
TIMIT_DEV = """
    FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 FDMS0 FEDW0 MGJF0
    MGLB0 MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 MDVC0 MERS0 FMAH0 FDRW0
    MRCS0 MRJM4 FCAL1 MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 MTEB0 MJFC0 MRJR0 FMML0 MRWS1
""".split()  # noqa: SIM905


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

    `notes` are lines for the user: which folder became which split, and media files that cannot be read."""

    root: Path
    utterances: list[Utterance]
    left_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> list[str]:
        """Names of the splits, sorted."""
        return sorted({utterance.split for utterance in self.utterances})

    def of(self, split: str) -> list[Utterance]:
        """Utterances of one split, sorted by id."""
        return [utterance for utterance in self.utterances if utterance.split == split]


def librispeech(root: Path, splits: Sequence[str] = (), extensions: Sequence[str] = AUDIO_EXTENSIONS) -> Corpus:
    """`<split>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac` under `root` or `root/LibriSpeech`."""
    root = _inside(root, ("LibriSpeech",))
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
    return _corpus(root, utterances, splits, expected, len(paths), notes=_unread(root, extensions))


def timit(
    root: Path,
    splits: Sequence[str] = (),
    extensions: Sequence[str] = TIMIT_EXTENSIONS,
    drop_sa: bool = False,
    complete_test: bool = False,
    held_out: Mapping[str, str] | None = None,
) -> Corpus:
    """TIMIT as published, `{TRAIN,TEST}/DR?/<speaker>/*.WAV` in either case, or its NLTK sample, `dr?-<speaker>/*.wav`.

    Ids are `FAEM0_SI1392`. The sample, all training speakers, is one split `train`. Where all of TEST is there, `test`
    is the core test set of 24 speakers and `dev` the usual 50, unless `complete_test` keeps TEST as it is. `held_out`
    gives speakers another split, as {"FADG0": "dev"}; ValueError for one who is not there.
    """
    root = _inside(root, ("TIMIT", "timit", "data", "DATA"))
    utterances = []
    paths = _without_copies(audio_files(root, extensions))
    for path in paths:
        parts = PurePosixPath(path).parts
        key = timit_id(_single_suffix(path))
        speaker, _, sentence = key.partition("_")
        official = len(parts) == 4 and parts[0].lower() in ("train", "dev", "test")
        sample = len(parts) == 2 and re.match(r"dr\d-", parts[0], re.IGNORECASE)
        if (official or sample) and not (drop_sa and sentence in ("SA1", "SA2")):
            utterances.append(Utterance(key, parts[0].lower() if official else "train", speaker, path))
    if not complete_test:
        utterances = _core_test(utterances)
    utterances = _hold_out(utterances, held_out or {})
    expected = "{TRAIN,TEST}/DR?/<speaker>/*.WAV or dr?-<speaker>/*.wav"
    return _corpus(root, utterances, splits, expected, len(paths), notes=_unread(root, extensions))


def folder(
    root: Path,
    splits: Sequence[str] = (),
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
    speaker_from: str = "parent",
    id_from: str = "path",
) -> Corpus:
    """Every audio file below `root`; folders with a word such as train, dev or test in their names are splits
    (`split_folders`), else all is one split `all`.

    `splits` may name any other folders. `speaker_from` is `parent`, `none`, or a regular expression whose first group
    is found in the path. Ids are made of the path below `root` (`id_from="path"`) or of the file name alone (`"stem"`).
    """
    root = _inside(root, ())
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
        names |= {name: name for name in folders & set(splits)}  # asked for by its own name, a folder keeps it
    utterances = []
    for path, key in zip(paths, _ids(paths, id_from)):
        first, *rest = PurePosixPath(path).parts
        split = names[first] if first in names and rest else WHOLE
        if split != WHOLE or not names:
            below = "/".join(rest) if split != WHOLE else path
            utterances.append(Utterance(key, split, speaker(below), path))
    notes = [f"{root / name}: split {split}" for name, split in sorted(names.items()) if name != split]
    chosen = [*names.values(), *({WHOLE} & set(splits))] if splits else ()
    expected = "*" + "|".join(extensions)
    return _corpus(root, utterances, chosen, expected, len(paths), notes=[*notes, *_unread(root, extensions)])


def parts(
    folders: Mapping[str, Path],
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
    speaker_from: str = "parent",
    id_from: str = "path",
) -> Corpus:
    """One folder of audio for each split, {"train": ..., "dev": ...}, wherever they lie; rules as of `folder`.

    Ids from paths begin with the name of the split. Raises ValueError where one folder lies in another."""
    roots = {split: _inside(place, ()).resolve() for split, place in folders.items()}
    for split, place in roots.items():
        other = next((name for name, it in roots.items() if name != split and place.is_relative_to(it)), None)
        if other:
            raise ValueError(f"{folders[split]}: {split} lies in the folder of {other}, {folders[other]}")
    root = Path(os.path.commonpath(roots.values()))
    utterances: list[Utterance] = []
    notes: list[str] = []
    for split, place in roots.items():
        corpus = folder(place, [WHOLE], extensions, speaker_from, id_from)
        below = place.relative_to(root)
        for u in corpus.utterances:
            key = f"{split}_{u.id}" if id_from == "path" else u.id
            utterances.append(Utterance(key, split, u.speaker, (below / u.path).as_posix()))
        notes += corpus.notes
    return _corpus(root, utterances, (), "*" + "|".join(extensions), len(utterances), notes=notes)


def split_folders(names: Collection[str]) -> dict[str, str]:
    """Which of these folders are splits, with the names of the splits.

    A name that begins with a word of `SPLIT_WORDS` (train-clean-100) is a split of that name. Where the word stands
    later (Custom_train, MyTest) the split has the word for its name, or the folder's name where others share it."""
    words = {name: _split_word(name) for name in names}
    shared = Counter(word for word in words.values() if word)
    return {
        name: word if shared[word] == 1 and not name.lower().startswith(word) else name
        for name, word in words.items()
        if word
    }


def _split_word(name: str) -> str | None:
    """The one word of a folder's name that says which split it is, in small letters."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)} & SPLIT_WORDS
    first = re.match(r"[A-Za-z]+", name)
    if first and first[0].lower() in SPLIT_WORDS:
        return first[0].lower()
    return words.pop() if len(words) == 1 else None


def manifest(
    file: Path, splits: Sequence[str] = (), id_from: str = "path", clip: bool = False, parts: bool = True
) -> Corpus:
    """A CSV or TSV table with a column `path` (relative to the table) and, where known, `id`, `speaker` and `split`.

    With the columns `start` and `end`, seconds, a row is a part of a recording: both empty are all of it, an end of -1
    its end. A start below 0 is refused, or 0 where `clip` says so. Who takes no `parts` refuses them."""
    try:
        tabs = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if file.suffix.lower() == ".tsv" else {}
        with file.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, strict=True, **tabs)
            rows = [(table.line_num, row) for row in table]
            names = list(table.fieldnames or ())
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not a table (CSV or TSV): not UTF-8 text") from None
    except csv.Error as error:
        raise ValueError(f"{file}: not a table (CSV or TSV): {error}") from None
    path_column, id_column, split_column = (
        next((name for name in known if name in names), None) for known in (PATH_COLUMNS, ID_COLUMNS, SPLIT_COLUMNS)
    )
    if path_column is None:
        raise ValueError(f"{file}: no column path; it has {', '.join(names) or 'none'}")
    for line, row in rows:
        if None in row or None in row.values() or not row[path_column]:
            raise ValueError(f"{file}: line {line} has no path, or fields that do not fit the {len(names)} columns")
    if not parts and (START_COLUMN in names or END_COLUMN in names):
        raise ValueError(f"{file}: parts of recordings (start, end) are taken by preprocess_any.py alone")
    spans = [_span(file, line, row, clip) for line, row in rows]
    cut = next((line for (line, _), span in zip(rows, spans) if span != (None, None)), None)
    if cut is not None and id_column is None:
        raise ValueError(f"{file}: line {cut} is a part of a recording, which needs an id: add a column id")
    if clip and START_COLUMN not in names:
        raise ValueError(f"{file}: --clip is for a manifest with a column start; it has {', '.join(names)}")
    paths = [PurePosixPath(row[path_column].replace("\\", "/")).as_posix() for _, row in rows]
    keys = [row[id_column] for _, row in rows] if id_column else _ids(paths, id_from)
    utterances = [
        Utterance(key, row[split_column] if split_column else WHOLE, row.get("speaker", ""), path, *span)
        for (_, row), key, path, span in zip(rows, keys, paths, spans)
    ]
    return _corpus(file.parent, utterances, splits, "rows", len(rows))


def _span(file: Path, line: int, row: Mapping[str, str], clip: bool) -> tuple[float | None, float | None]:
    """Start and stop of one row; None for the recording's own."""
    start, stop = (_seconds(file, line, name, row.get(name, "")) for name in (START_COLUMN, END_COLUMN))
    if stop == -1:
        stop = None
    if start is not None and start < 0:
        if not clip:
            raise ValueError(f"{file}: line {line}: start is {start:g}, below 0: correct it, or take 0 with --clip")
        start = 0.0
    if stop is not None and stop <= (start or 0):
        raise ValueError(f"{file}: line {line}: end is {stop:g}, not after start {start or 0:g}")
    return start, stop


def _seconds(file: Path, line: int, name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{file}: line {line}: {name} is {text!r}, expected seconds, or nothing for all of it")
    return value


def speaker_rule(speaker_from: str) -> Callable[[str], str]:
    """From a path to its speaker: `parent` folder, `none`, or the first group of a regular expression."""
    if speaker_from == "none":
        return lambda path: ""
    if speaker_from == "parent":
        return lambda path: PurePosixPath(path).parent.name
    try:
        pattern = re.compile(speaker_from)
    except re.error as error:
        raise ValueError(f"speaker_from {speaker_from!r}: not a regular expression: {error}") from None
    if pattern.groups < 1:
        raise ValueError(f"speaker_from {speaker_from!r}: use parent, none, or a regular expression with one (group)")
    return lambda path: (match[1] or "") if (match := pattern.search(path)) else ""


def _corpus(
    root: Path,
    utterances: Sequence[Utterance],
    splits: Sequence[str],
    expected: str,
    files: int,
    notes: Sequence[str] = (),
) -> Corpus:
    utterances = sorted(utterances, key=lambda utterance: (utterance.split, utterance.id, utterance.path))
    if not utterances:
        raise ValueError("; ".join([f"{root}: no audio found, expected {expected}", *notes]))
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        first = seen.setdefault(utterance.id, utterance)
        if first is not utterance:
            raise ValueError(f"{root}: {first.path} and {utterance.path} have one id, {utterance.id!r}")
    corpus = Corpus(root.resolve(), utterances, files - len(utterances), tuple(notes))
    missing = sorted(set(splits) - set(corpus.splits))
    if missing:
        raise ValueError(f"{root}: no split {', '.join(missing)}; it has {', '.join(corpus.splits)}")
    if not splits:
        return corpus
    return replace(corpus, utterances=[u for u in utterances if u.split in splits])


def _unread(root: Path, extensions: Sequence[str]) -> list[str]:
    """A line on the sound and video below `root` that no extension names, where there is any."""
    unread = unread_media(root, extensions)
    return [f"{root}: {unread}"] if unread else []


def _inside(root: Path, names: Sequence[str]) -> Path:
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder")
    return next((root / name for name in names if (root / name).is_dir()), root)


def _ids(paths: Sequence[str], id_from: str) -> list[str]:
    if id_from == "stem":
        return [PurePosixPath(path).stem for path in paths]
    joined = [PurePosixPath(path).with_suffix("").as_posix().strip("/").replace("/", "_") for path in paths]
    return joined if len(set(joined)) == len(joined) else list(paths)


def _single_suffix(path: str) -> Path:
    return Path(re.sub(r"(\.\w+)\1$", r"\1", path, flags=re.IGNORECASE))


def _without_copies(paths: Sequence[str]) -> list[str]:
    """Leave out `SA1.WAV.wav`, which some copies of TIMIT have beside `SA1.WAV`."""
    there = {path.lower() for path in paths}
    return [path for path in paths if (single := str(_single_suffix(path))) == path or single.lower() not in there]


def _hold_out(utterances: Sequence[Utterance], split_of: Mapping[str, str]) -> list[Utterance]:
    absent = sorted(split_of.keys() - {utterance.speaker for utterance in utterances})
    if absent:
        raise ValueError(f"no recordings of speaker {absent[0]!r}, who is to be held out")
    return [replace(utterance, split=split_of.get(utterance.speaker, utterance.split)) for utterance in utterances]


def _core_test(utterances: Sequence[Utterance]) -> list[Utterance]:
    test = {utterance.speaker for utterance in utterances if utterance.split == "test"}
    if not test.issuperset(TIMIT_CORE + TIMIT_DEV):
        return list(utterances)
    split_of = dict.fromkeys(TIMIT_CORE, "test") | dict.fromkeys(TIMIT_DEV, "dev")
    return [
        Utterance(u.id, split_of[u.speaker] if u.split == "test" else u.split, u.speaker, u.path)
        for u in utterances
        if u.split != "test" or u.speaker in split_of
    ]
