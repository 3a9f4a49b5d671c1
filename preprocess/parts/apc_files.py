"""The originals' APC features on disk: `.blogmel` text, read and written, and folders of `.pt` tensors."""

import lzma
import pickle
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from utility.files import replacing
from utility.text import short
from utility.torch_files import read_torch

TEXT = re.compile(r"(.+?)(-hires-norm)?\.blogmel(\.xz)?")
FOLDER_ENDING = re.compile(r"-hires-norm[.-]blogmel$")
LENGTHS = "lengths.pkl"
LONGEST = 1 << 40  # frames of an utterance
ROOM = 1 << 20  # values that a store may get room for though no file has them: that is known when they are read
LONGEST_LINE = 1 << 20  # characters of a text file; an xz file of nothing but zeros unpacks to anything
LONGEST_UTTERANCE = 1 << 28  # characters


class BrokenUtterance(ValueError):
    """An utterance that cannot be used; the message says why."""


@dataclass(frozen=True)
class ApcUtterance:
    """An utterance: its id, its frames, and the file that holds it; one without frames has a reason."""

    id: str
    length: int
    path: Path
    reason: str = "no frames"


class Blogmel:
    """A text file of utterances: a line with the id, a line of numbers per frame, a line with a dot (xz or plain)."""

    def __init__(self, path: Path):
        match = TEXT.fullmatch(path.name)
        assert match is not None, path
        self.path, self.split = path, match[1]
        self.dim = 0
        self.entries = self._scan()

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, np.ndarray | BrokenUtterance]]:
        """Frames float32 [T, dim] of the wanted ids, in the order of the file."""
        names = set(wanted)
        for name, first, lines in self._utterances():
            if name in names:
                try:
                    yield name, np.loadtxt(lines, np.float32, comments=None, ndmin=2)
                except ValueError as error:
                    yield name, BrokenUtterance(f"frames from line {first} on: {' '.join(str(error).split())}")

    def _scan(self) -> list[ApcUtterance]:
        entries = {}
        for name, first, lines in self._utterances():
            if name in entries:
                raise ValueError(f"{self.path}: line {first - 1}: utterance {short(name)} is there twice")
            self.dim = self.dim or (len(lines[0].split()) if lines else 0)
            for number, line in enumerate(lines, first):
                if len(line.split()) != self.dim:
                    raise ValueError(f"{self.path}: line {number}: {len(line.split())} numbers, expected {self.dim}")
            entries[name] = ApcUtterance(name, len(lines), self.path)
        if not entries:
            raise ValueError(f"{self.path}: no utterances")
        return list(entries.values())

    def _utterances(self) -> Iterator[tuple[str, int, list[str]]]:
        """Id, number of the first frame's line, and the lines of the frames."""
        try:
            with self._open() as file:
                yield from self._parse(file)
        except UnicodeDecodeError:
            raise ValueError(f"{self.path}: not text") from None
        except (lzma.LZMAError, EOFError):
            raise ValueError(f"{self.path}: not an xz file, or cut off") from None

    def _open(self) -> TextIO:
        return (
            lzma.open(self.path, "rt", encoding="utf-8")
            if self.path.suffix == ".xz"
            else self.path.open("rt", encoding="utf-8")
        )

    def _parse(self, file: TextIO) -> Iterator[tuple[str, int, list[str]]]:
        name, first = None, 0
        lines: list[str] = []
        size = 0
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
            size = 0 if name is None else size + len(line) + sys.getsizeof("")
            if len(line) == LONGEST_LINE or size > LONGEST_UTTERANCE:
                raise ValueError(f"{self.path}: line {number}: longer than any line, or utterance, of features")
            line = line.strip()
            if name is None:
                if len(line.split()) != 1 or line == ".":
                    raise ValueError(f"{self.path}: line {number}: {short(line)}, expected an utterance id")
                name, first, lines = line, number + 1, []
            elif line == ".":
                yield name, first, lines
                name = None
            else:
                lines.append(line)
        if name is not None:
            raise ValueError(f"{self.path}: ends within utterance {short(name)}: no line with a dot")


def write_blogmel(path: Path, utterances: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write ids and frames [T, dim] as such a text file, 6 digits of each number, whole or not at all.

    ValueError for an id that its lines cannot hold, or that comes twice."""
    seen = set()
    with replacing(path) as new, new.open("w", encoding="utf-8", newline="\n") as file:
        for name, frames in utterances:
            if name == "." or len(name.split()) != 1 or name.split()[0] != name or name in seen:
                why = "comes twice" if name in seen else "is a dot, empty, or has white space: a line is to hold it"
                raise ValueError(f"{path}: utterance {short(name)} {why}")
            seen.add(name)
            row = " ".join(["%.6g"] * frames.shape[1])
            lines = (row % tuple(values) for values in frames.tolist())
            file.write("\n".join([name, *lines, ".\n"]))


class TensorFolder:
    """A folder of `<utterance>.pt`, each [padded T, dim], with the true lengths in `lengths.pkl`."""

    def __init__(self, path: Path):
        self.path, self.split = path, FOLDER_ENDING.sub("", path.name)
        lengths = _read_lengths(path / LENGTHS)
        self.entries = [ApcUtterance(name.removesuffix(".pt"), length, path / name) for name, length in lengths.items()]
        self.dim = self._width()
        self.entries = [self._believed(entry) for entry in self.entries]

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, np.ndarray | BrokenUtterance]]:
        """Frames float32 [T, dim] of the wanted ids, without their padding."""
        names = set(wanted)
        for entry in self.entries:
            if entry.id in names:
                try:
                    yield entry.id, self._frames(entry)
                except BrokenUtterance as error:
                    yield entry.id, error

    def _frames(self, entry: ApcUtterance) -> np.ndarray:
        tensor = _read_tensor(entry.path)
        if len(tensor) < entry.length:
            raise BrokenUtterance(f"{len(tensor)} frames, {LENGTHS} says {entry.length}")
        return tensor[: entry.length].numpy()

    def _believed(self, entry: ApcUtterance) -> ApcUtterance:
        """The entry, without frames where its file cannot hold so many: the store would get room for all of them."""
        size = entry.path.stat().st_size if entry.path.is_file() else 0
        if entry.length * self.dim <= size + ROOM:
            return entry
        return replace(entry, length=0, reason=f"{LENGTHS} claims {entry.length} frames in {size} bytes")

    def _width(self) -> int:
        for entry in self.entries:
            try:
                return _read_tensor(entry.path).shape[1]
            except BrokenUtterance:
                continue
        raise ValueError(f"{self.path}: none of the {len(self.entries)} files that {LENGTHS} names can be read")


ApcSource = Blogmel | TensorFolder


def find_sources(paths: Sequence[Path]) -> list[ApcSource]:
    """What the paths name, or hold where they are folders; ValueError where there is none, or two of a split."""
    sources: dict[str, ApcSource] = {}
    for path in paths:
        for file in _source_paths(path):
            source = TensorFolder(file) if file.is_dir() else Blogmel(file)
            if source.split in sources:
                raise ValueError(
                    f"{file} and {sources[source.split].path} are both split {short(source.split)}: name one"
                )
            sources[source.split] = source
    return [sources[split] for split in sorted(sources)]


def _source_paths(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    inside = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
    sources = [
        inner for inner in inside if (inner / LENGTHS).is_file() or (inner.is_file() and TEXT.fullmatch(inner.name))
    ]
    if not sources:
        raise ValueError(
            f"{path}: neither <split>-hires-norm.blogmel (or .xz) nor a folder of .pt files with {LENGTHS}"
        )
    return sources


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> None:
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _read_lengths(path: Path) -> dict[str, int]:
    """`{"<utterance>.pt": frames}`; only plain values are read, nothing in the file is executed."""
    try:
        with path.open("rb") as file:
            lengths = _Plain(file).load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: not a table of lengths: {error}") from None
    except (EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, MemoryError, OverflowError):
        raise ValueError(f"{path}: not a table of lengths, or damaged") from None
    if not isinstance(lengths, dict) or not lengths:
        raise ValueError(f"{path}: holds no table of lengths")
    for name, length in lengths.items():
        if (
            not isinstance(name, str)
            or not re.fullmatch(r"[^/\\]+\.pt", name)
            or type(length) is not int
            or not 0 <= length <= LONGEST
        ):
            huge = isinstance(length, int) and abs(length) > LONGEST
            shown = f"{repr(name)[:100]}: {'a huge number' if huge else repr(length)[:100]}"
            raise ValueError(f"{path}: {shown}, expected <utterance>.pt and its number of frames")
    return lengths


def _read_tensor(path: Path) -> torch.Tensor:
    """[padded T, dim] float32; nothing in the file is executed."""
    try:
        with path.open("rb") as file:
            tensor = read_torch(file, path)
    except FileNotFoundError:
        raise BrokenUtterance("file is missing") from None
    except ValueError:
        raise BrokenUtterance("not a tensor file, or damaged") from None
    plain = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and not tensor.is_meta
    if not plain or tensor.ndim != 2 or not tensor.is_floating_point():
        raise BrokenUtterance("not a tensor of frames [T, dim]")
    return tensor.detach().float()
