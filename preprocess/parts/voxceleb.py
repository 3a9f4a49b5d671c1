"""VoxCeleb on disk -> utterances, divided for speaker identification by a list."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from preprocess.parts.corpora import Corpus, Utterance, corpus_root
from preprocess.parts.label_table import PARTS, Labelled, Labels, labelled, numbered_lines
from utility.text import cut, short
from utility.utterance_ids import utterance_ids

LIST = "iden_split.txt"
PLACES = ("", "wav/", "dev/wav/", "test/wav/")  # where the paths of the list begin
PART_OF = PARTS | {"1": "train", "2": "dev", "3": "test"}


def voxceleb(root: Path, list_file: Path | None, splits: Sequence[str] = ()) -> tuple[Corpus, Labels]:
    """The recordings of a list of lines `part path` (1 train, 2 dev, 3 test; `id10001/1zcIwhmdeo4/00001.wav`).

    They lie in `root`, or in its `wav`, `dev/wav` or `test/wav`; the speaker is the first folder of the path. Without
    a list `root/iden_split.txt` is one."""
    root = corpus_root(root, ())
    file = list_file or root / LIST
    if not file.is_file():
        raise ValueError(f"{file}: no such list; --list FILE names one of lines `part path`")
    places = [place for place in PLACES if (root / place).is_dir()]
    entries = list(_entries(file))
    if not any((root / place / path).is_file() for _, path in entries for place in places):
        example = f", e.g. {cut(entries[0][1])}" if entries else ""
        raise ValueError(f"{root}: none of the {len(entries)} recordings of {file} is here{example}")
    keys = utterance_ids([path for _, path in entries], "path")
    return labelled(root, ("speaker",), _pairs(root, places, entries, keys), splits, f"recordings of {file}")


def _entries(file: Path) -> Iterator[tuple[str, str]]:
    """Part and path of every line; ValueError, with the line, for others and for a path that is there twice."""
    seen: set[str] = set()
    for number, line in numbered_lines(file):
        part, _, path = line.strip().partition(" ")
        split, path = PART_OF.get(part.lower()), path.strip()
        if split is None or path.count("/") < 1:
            told = "expected 1, 2 or 3 (or train, dev, test), a blank and SPEAKER/VIDEO/NUMBER.wav"
            raise ValueError(f"{file}: line {number} is {short(line.strip())}, {told}")
        if path in seen:
            raise ValueError(f"{file}: line {number}: {cut(path)} is there already")
        seen.add(path)
        yield split, PurePosixPath(path).as_posix()


def _pairs(
    root: Path, places: Sequence[str], entries: Sequence[tuple[str, str]], keys: Sequence[str]
) -> Iterator[Labelled]:
    for (split, path), key in zip(entries, keys):
        place = next((place for place in places if (root / place / path).is_file()), "")
        speaker = path.split("/")[0]
        yield Utterance(key, split, speaker, f"{place}{path}"), (speaker,)
