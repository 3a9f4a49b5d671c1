"""Kaldi's data directories -> utterances, one split for each directory."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import joblib

from preprocess.parts.corpora import Corpus, Utterance, make_corpus
from preprocess.parts.kaldi_recordings import Unpacking, recording_file, unpack
from preprocess.parts.text_formats import read_texts
from preprocess.parts.texts import collect
from utility.audio.headers import scan
from utility.audio.waveform import span_samples
from utility.kaldi.data_dir import DataDir, duration_warning, read_data_dir, read_durations
from utility.kaldi.scp_entries import Located
from utility.labels.normalisation import Normalisation
from utility.labels.texts import TextInfo
from utility.labels.texts import write_texts as store_texts
from utility.store.files import split_name


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """Where recordings go that are no files by themselves, and who may make them: commands run only where allowed.

    `run_commands` False (a dry run): they are allowed, but not run now."""

    folder: Path
    allow_commands: bool = False
    run_commands: bool = True
    threads: int = -1


def split_folders(folders: Sequence[Path], splits: Sequence[str] = ()) -> dict[str, Path]:
    """Directories by the names of their splits: `splits`, one for each, else their own with `-` for `_`.

    ValueError for two of one name, and for another number of names."""
    if splits and len(splits) != len(folders):
        raise ValueError(f"--split has {len(splits)} names for {len(folders)} directories: give one for each")
    names = splits or [split_name(folder.resolve().name.replace("_", "-")) for folder in folders]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"two directories would be split {twice}: name them by --split, one for each directory")
    return dict(zip(names, folders))


def kaldi(folders: Mapping[str, Path], unpacked: Unpacked, root: Path | None = None) -> Corpus:
    """Data directories by split as one corpus; audio is mixed down unless a command takes a channel.

    Paths in wav.scp are relative to `root` if given; else to the working directory or, where nothing is there, to the
    directory. Recordings that are no files by themselves become files in the folder of `unpacked`; what cannot be made
    is `broken`. Raises ValueError with file and line for what is malformed, and for commands that are not allowed."""
    utterances: list[Utterance] = []
    notes: list[str] = []
    wanted: dict[Path, Unpacking] = {}
    directories = {split: read_data_dir(path) for split, path in folders.items()}
    base = Path(os.path.commonpath([path.resolve() for path in folders.values()]))
    paths = {}
    for split, directory in directories.items():
        paths[split] = _recording_paths(directory, base, unpacked, root, wanted)
        utterances += [
            Utterance(key, split, directory.speakers.get(key, ""), paths[split][part.recording], part.start, part.stop)
            for key, part in directory.utterances.items()
        ]
        notes += _notes(split, directory)
    corpus = make_corpus(base, utterances, (), "utterances", len(utterances), notes)
    broken = unpack(wanted.values(), joblib.effective_n_jobs(unpacked.threads), unpacked.run_commands)
    for split, directory in directories.items():
        notes += _durations(directory, {key: base / path for key, path in paths[split].items()})
    return replace(corpus, notes=tuple(notes), broken=broken)


def _recording_paths(
    directory: DataDir, base: Path, unpacked: Unpacked, root: Path | None, wanted: dict[Path, Unpacking]
) -> dict[str, str]:
    """Paths of recordings, below `base` where they are there; `wanted` gets those that are to be made."""
    scp = directory.path / "wav.scp"
    located = Located(scp, root)
    used = {part.recording for part in directory.utterances.values()}
    paths = {}
    for key, entry in directory.recordings.items():
        try:
            file = recording_file(entry.value, located, unpacked.folder, unpacked.allow_commands)
        except ValueError as error:
            raise ValueError(f"{scp}:{entry.number}: {error}") from None
        if key not in used:
            continue
        if isinstance(file, Unpacking):
            wanted[file.target] = file
            paths[key] = str(file.target.absolute())
        else:
            path = file.absolute()
            paths[key] = path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
    return paths


def _notes(split: str, directory: DataDir) -> Iterator[str]:
    """What the user should know of a directory."""
    if directory.path.resolve().name != split:
        yield f"{directory.path}: split {split}"
    unused = len(directory.recordings) - len({part.recording for part in directory.utterances.values()})
    if unused:
        yield f"{directory.path / 'segments'}: nothing is taken of {unused} recordings of wav.scp"
    for name in directory.unsorted:
        yield f"{directory.path / name}: not sorted as LC_ALL=C sort does it, Kaldi itself would refuse it"
    for warning in directory.warnings:
        yield f"warning: {warning}"


def _durations(directory: DataDir, files: Mapping[str, Path]) -> Iterator[str]:
    """Warnings of durations that are not those of the audio."""
    names = ("utt2dur", "reco2dur")
    stated = {name: read_durations(directory.path / name) for name in names}
    if not any(stated.values()):
        return
    headers = {key: header for key, header in zip(files, scan(list(files.values()))) if not header.reason}
    found: dict[str, dict[str, float]] = {"utt2dur": {}, "reco2dur": {}}
    for key, header in headers.items():
        found["reco2dur"][key] = header.num_samples / header.rate
    for key, part in directory.utterances.items():
        if part.recording not in headers:
            continue
        header = headers[part.recording]
        try:
            first, last = span_samples(header.num_samples, header.rate, (part.start, part.stop))
        except ValueError:  # errors.csv will say why
            continue
        found["utt2dur"][key] = (last - first) / header.rate
    for name in names:
        warning = duration_warning(directory.path / name, stated[name], found[name])
        if warning:
            yield f"warning: {warning}"


def text_files(folders: Mapping[str, Path]) -> list[Path]:
    """The files `text` of the directories; ValueError where none has one."""
    files = [path / "text" for path in folders.values() if (path / "text").is_file()]
    if not files:
        raise ValueError(f"{next(iter(folders.values()))}: --text, but no directory has a file text")
    return files


def write_texts(files: Sequence[Path], root: Path) -> str:
    """Write the texts of data directories as one folder; what to tell of it. ValueError where none can be used."""
    normalise = Normalisation()
    found = collect(itertools.chain.from_iterable(read_texts("kaldi", [file]) for file in files), normalise)
    if not found.texts:
        raise ValueError(f"{files[0]}: no text that can be used")
    info = TextInfo(format="kaldi", normalisation=normalise, left_out=len(found.errors))
    store_texts(root, found.texts, info)
    left = ""
    if found.errors:
        file, line, _, reason = found.errors[0]
        left = f", {len(found.errors)} left out, the first: {file}:{line}: {reason}"
    return f"{root}: {len(found.texts)} texts{left}"
