"""A split of a store as a data directory of Kaldi: features, speakers and their statistics, as its scripts want."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from utility.files import check_folder, naming, remove_leftovers, replace_file, replace_folder, temporary
from utility.kaldi.archives import check_key, write_ark
from utility.labels.texts import Texts
from utility.store.reading import Store
from utility.store.statistics import chunks
from utility.temporary_array import TemporaryArray
from utility.text import short

Compress = Literal["none", "speech", "two_byte"]
FILES = (
    "feats.ark", "feats.scp", "cmvn.ark", "cmvn.scp", "utt2spk", "spk2utt", "utt2num_frames", "frame_shift", "text",
    "pytorch_kaldi.cfg",
)  # fmt: skip
CONFIG = """\
# Of PyTorch-Kaldi: a block for the cfg of an experiment. What stands in <> is made by Kaldi alone.
[dataset1]
data_name = {name}
fea = fea_name={features}
\tfea_lst={folder}/feats.scp
\tfea_opts={options}
\tcw_left=0
\tcw_right=0
lab = lab_name=lab_cd
\tlab_folder=<the folder of ali.*.gz and final.mdl>
\tlab_opts=ali-to-pdf
\tlab_count_file=auto
\tlab_data_folder={folder}/
\tlab_graph=<the folder of the graph>
n_chunks = 5
"""
APPLY = "apply-cmvn --utt2spk=ark:{folder}/utt2spk ark:{folder}/cmvn.ark ark:- ark:- |"


@dataclass(frozen=True)
class DirectoryOptions:
    """How a data directory is written."""

    compress: Compress = "none"
    relative: bool = False  # paths in the scp files from their folder, not from the root: it can be moved
    prefix_speaker: bool = False  # ids are speaker-utterance, as Kaldi wants them
    text: Path | None = None  # a folder of texts


class Named(Protocol):
    """Utterances of a corpus."""

    @property
    def paths(self) -> list[Path]: ...

    @property
    def ids(self) -> list[str]: ...

    @property
    def speakers(self) -> list[str]: ...


def check_names(corpus: Named) -> None:
    """Raise ValueError for utterances and speakers that Kaldi's lines cannot hold."""
    _Names(corpus, prefix_speaker=False)


def write_directory(store: Store, folder: Path, how: DirectoryOptions) -> list[str]:
    """Write the one split of a store to `folder`, whole or not at all; gives what is to be told as warnings.

    An older export there is replaced. ValueError for rows of several layers, for names that Kaldi's lines cannot hold,
    for utterances without a text, and for a folder that holds something else."""
    if len(store.info.row_shape) != 1:
        raise ValueError(f"{store.paths[0]} holds {store.info.row_shape} per frame: Kaldi takes one vector, one layer")
    names = _Names(store, how.prefix_speaker)
    texts = None if how.text is None else _texts(how.text, store)
    folder = Path(os.path.abspath(folder))
    check_folder(folder)
    others = {path.name for path in folder.iterdir()} - {*FILES} if folder.exists() else set()
    if others:
        raise ValueError(f"{folder}: holds {short(min(others))}, which is no part of an export: choose another place")
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent, folder.name)
    with temporary(folder) as new:
        new.mkdir()
        with naming(folder):
            _write(store, names, new, folder, how)
            if texts is not None:
                _write_lines(new / "text", (f"{names.keys[i]} {texts[store.ids[i]]}" for i in names.order))
        replace_folder(new, folder)
    return [text for text in (names.out_of_order(), _other_frames(store)) if text]


class _Names:
    """Keys and speakers of utterances, and the order of the keys: that of their bytes, which Kaldi calls C."""

    def __init__(self, store: Named, prefix_speaker: bool):
        known = store.speakers
        self.keys = [f"{who}-{name}" if prefix_speaker and who else name for name, who in zip(store.ids, known)]
        self.speakers = [who or key for who, key in zip(known, self.keys)]
        path, taken = store.paths[0], set(known)
        for what, names in (("utterance", self.keys), ("speaker", self.speakers)):
            for name in names:
                try:
                    check_key(name)
                except ValueError as error:
                    raise ValueError(f"{path}: {what} {short(name)} has no place in Kaldi's files: {error}") from None
        twice = next((key for key, count in Counter(self.keys).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"{path}: two utterances would be called {short(twice)}: leave out --prefix_speaker")
        alone = next((key for key, who in zip(self.keys, known) if not who and key in taken), None)
        if alone is not None:
            raise ValueError(f"{path}: utterance {short(alone)} has no speaker, and the name of one: rename it")
        self.order = sorted(range(len(self.keys)), key=self.keys.__getitem__)  # by code points: the bytes' order too

    @cached_property
    def by_speaker(self) -> dict[str, list[str]]:
        """The keys of each speaker, all in C order."""
        found: dict[str, list[str]] = {}
        for i in self.order:
            found.setdefault(self.speakers[i], []).append(self.keys[i])
        return {who: found[who] for who in sorted(found)}

    def out_of_order(self) -> str:
        """What Kaldi would complain of; empty where it would not."""
        pairs = zip(self.order, self.order[1:])
        wrong = next(((a, b) for a, b in pairs if self.speakers[a] > self.speakers[b]), None)
        if wrong is None:
            return ""
        (key, who), (other, next_) = ((short(self.keys[i]), short(self.speakers[i])) for i in wrong)
        return (
            f"Kaldi wants utterances and speakers in one order: {key} of {who} comes before {other} of {next_}; "
            "--prefix_speaker puts the speaker before each id"
        )


def _write(store: Store, names: _Names, new: Path, folder: Path, how: DirectoryOptions) -> None:
    sums = _SpeakerSums(store, names)
    write_ark(new / "feats.ark", sums.rows(), form="float" if how.compress == "none" else how.compress)
    write_ark(new / "cmvn.ark", sums.statistics(), form="double")
    for name in ("feats", "cmvn"):
        _point(new / f"{name}.scp", new / f"{name}.ark", f"{name}.ark" if how.relative else f"{folder}/{name}.ark")
    _write_lines(new / "utt2spk", (f"{names.keys[i]} {names.speakers[i]}" for i in names.order))
    _write_lines(new / "spk2utt", (f"{who} {' '.join(keys)}" for who, keys in names.by_speaker.items()))
    _write_lines(new / "utt2num_frames", (f"{names.keys[i]} {store.lengths[i]}" for i in names.order))
    if store.info.frame_shift > 0:  # NaN: nobody knows
        _write_lines(new / "frame_shift", iter([f"{store.info.frame_shift:.10g}"]))
    raw = store.info.kind == "features" and store.info.features is not None and store.info.features.cmvn == "none"
    values = {
        "name": folder.name,
        "features": re.sub(r"\W", "_", store.paths[0].absolute().parent.name),
        "folder": folder,
        "options": APPLY.format(folder=folder) if raw else "",
    }
    replace_file(new / "pytorch_kaldi.cfg", CONFIG.format(**values).encode())


class _SpeakerSums:
    """Kaldi's statistics of speakers, [2, D + 1]: sums and count, squares and 0. Those of a speaker whose last
    utterance was read wait in a temporary file, so that memory grows neither with utterances nor with speakers."""

    def __init__(self, store: Store, names: _Names):
        self.store, self.names = store, names
        self.left = {who: len(keys) for who, keys in names.by_speaker.items()}
        self.open: dict[str, np.ndarray] = {}
        self.done: dict[str, int] = {}
        self.kept = TemporaryArray(np.float64, (2, store.info.row_shape[0] + 1))

    def rows(self) -> Iterator[tuple[str, np.ndarray]]:
        """Keys and frames of all utterances, added up on their way."""
        for i in self.names.order:
            frames, who = self.store[i], self.names.speakers[i]
            total = self.open.setdefault(who, np.zeros(self.kept.row_shape))
            for start, stop in chunks(0, len(frames)):
                part = frames[start:stop].astype(np.float64)
                total[0, :-1] += part.sum(0)
                total[1, :-1] += np.einsum("td,td->d", part, part)
                total[0, -1] += len(part)
            self.left[who] -= 1
            if not self.left[who]:
                self.done[who] = len(self.done)
                self.kept.append(self.open.pop(who)[None])
            yield self.names.keys[i], frames

    def statistics(self) -> Iterator[tuple[str, np.ndarray]]:
        """Speakers and their statistics."""
        return ((who, self.kept.read(at, at + 1)[0]) for who, at in ((who, self.done[who]) for who in self.left))


def _point(scp: Path, written: Path, place: str) -> None:
    """Let an scp point to where its archive will be."""
    pairs = (line.split(" ", 1) for line in scp.read_text("utf-8").split("\n")[:-1])
    _write_lines(scp, (f"{key} {place}{where.removeprefix(str(written))}" for key, where in pairs))


def _write_lines(file: Path, lines: Iterator[str]) -> None:
    replace_file(file, "".join(f"{line}\n" for line in lines).encode())


def _texts(root: Path, store: Store) -> Texts:
    """A folder of texts that has one of every utterance of a store."""
    texts = Texts(root)
    missing = [key for key in store.ids if key not in texts]
    if missing:
        raise ValueError(
            f"{root} has no text of {len(missing)} of {len(store.ids)} utterances of {store.paths[0]}, "
            f"{short(min(missing))} for one"
        )
    return texts


def _other_frames(store: Store) -> str:
    """How frames differ from those of Kaldi, which its alignments have; empty where they are equal or nobody knows."""
    rate = store.info.sample_rate
    if rate is None:
        return ""
    window, hop, samples = int(0.025 * rate), int(0.01 * rate), store.num_samples
    theirs = np.where(samples >= window, 1 + (samples - window) // hop, 0)
    other = np.flatnonzero((samples > 0) & (theirs != store.lengths))
    if not len(other):
        return ""
    first = other[0]
    return (
        f"{len(other)} of {len(store)} utterances have other numbers of frames than Kaldi gives their recordings, "
        f"{short(store.ids[first])} {store.lengths[first]} instead of {theirs[first]}: its alignments do not fit them"
    )
