"""Matrices made by Kaldi, split by split: which files hold them, their shapes, their values."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utility.kaldi.archives import Matrices, ark_shapes, in_words, read_ark, read_scp
from utility.kaldi.data_dir import read_speakers
from utility.store.files import split_name
from utility.store.originals import LIBRISPEECH_ID
from utility.text import cut, short

Values = Iterator[tuple[str, "np.ndarray | ValueError"]]
SHARE = re.compile(r"feats_fmllr_.+\.([0-9]+)\.ark")  # of TIMIT's archives: one of several


@dataclass(frozen=True)
class MatrixSource:
    """The matrices of one split. `broken` has the reason of each key that cannot be read.

    `values` reads those of some keys, in the order in which they lie on disk. `statistics` is where cumulated
    statistics for CMVN would be, `root` what relative paths in it start from."""

    split: str
    named: Path
    shapes: Mapping[str, tuple[int, ...]]
    broken: Mapping[str, str]
    values: Callable[[Collection[str]], Values]
    speakers: Mapping[str, str]
    statistics: Path | None = None
    root: Path | None = None


@dataclass(frozen=True)
class Recipe:
    """What one of Kaldi's recipes leaves, and what the originals called the store of it."""

    folder: str  # below Kaldi's root; relative paths in its lists start here
    files: str  # a pattern below it, whose `*` is a set and whose `#` is the same name again
    about: str  # where utt2spk and cmvn.scp of a set lie
    name: str
    kind: str


RECIPES = {
    "libri": Recipe("egs/librispeech/s5", "fmllr_cmvn/*/fmllr_cmvn.ark", "fmllr_cmvn/*", "libri_fmllr_cmvn", "fmllr"),
    "timit": Recipe(
        "egs/timit/s5",
        "data-fmllr-tri3/*/data/feats_fmllr_#.[0-9]*.ark",
        "data-fmllr-tri3/*",
        "timit_fmllr_cmvn",
        "fmllr",
    ),
    "voxceleb": Recipe("egs/voxceleb/v1", "data/*/feats.scp", "data/*", "voxceleb_mfcc_kaldi", "mfcc"),
}


def of_directory(split: str, folder: Path, root: Path | None, allow_commands: bool) -> MatrixSource:
    """feats.scp of a data directory; ValueError where there is none, and for lines that are malformed."""
    scp = folder / "feats.scp"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    if not scp.is_file():
        raise ValueError(f"{folder}: it has no feats.scp; for its recordings leave out --feats")
    matrices = read_scp(scp, root, allow_commands)
    broken: dict[str, str] = {}
    shapes = matrices.shapes(broken.__setitem__)
    speakers = read_speakers(folder / "utt2spk")
    return MatrixSource(split, scp, shapes, broken, _of_scp(matrices), speakers, folder / "cmvn.scp", root)


def _of_scp(matrices: Matrices) -> Callable[[Collection[str]], Values]:
    def values(wanted: Collection[str]) -> Values:
        for key in matrices.in_files():
            if key in wanted:
                try:
                    yield key, matrices[key]
                except (OSError, ValueError) as error:
                    yield key, ValueError(in_words(error))

    return values


def of_archives(
    split: str,
    files: Sequence[Path],
    speakers: Mapping[str, str],
    statistics: Path | None = None,
    root: Path | None = None,
) -> MatrixSource:
    """Archives, packed ones too; ValueError for what is broken in them, and for a key that is in two."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        for key, shape in ark_shapes(file):
            if key in shapes:
                raise ValueError(f"{file}: key {short(key)} is in another archive, too")
            shapes[key] = shape

    def values(wanted: Collection[str]) -> Values:
        for file in files:
            yield from ((key, value) for key, value in read_ark(file) if key in wanted)

    return MatrixSource(split, files[0], shapes, {}, values, speakers, statistics, root)


def of_recipe(name: str, kaldi_root: Path, splits: Sequence[str], allow_commands: bool) -> Iterator[MatrixSource]:
    """What a recipe left below Kaldi's root, set by set; ValueError where nothing is there, or no such split."""
    recipe = RECIPES[name]
    base = kaldi_root / recipe.folder
    sets = _sets(base, recipe)
    if not sets:
        raise ValueError(f"{base / recipe.files.replace('#', '*')}: no such files, and --recipe {name} takes those")
    unknown = sorted(set(splits) - set(sets))
    if unknown:
        raise ValueError(f"{base}: no split {unknown[0]}; it has {cut(', '.join(sets))}")
    for split, (folder, files) in sets.items():
        if splits and split not in splits:
            continue
        about = base / recipe.about.replace("*", folder)
        if files[0].suffix == ".scp":
            yield of_directory(split, about, base, allow_commands)
            continue
        source = of_archives(split, files, read_speakers(about / "utt2spk"), about / "cmvn.scp", base)
        if name == "timit" and not source.speakers:
            speakers = {key: key.partition("_")[0] for key in source.shapes}
            source = MatrixSource(**{**vars(source), "speakers": speakers})
        yield source


def _sets(base: Path, recipe: Recipe) -> dict[str, tuple[str, list[Path]]]:
    """The folder and the files of each set that is there, by the name of its split."""
    at = recipe.files.split("/").index("*")
    sets: dict[str, tuple[str, list[Path]]] = {}
    for folder in sorted(path.name for path in base.glob("/".join(recipe.files.split("/")[: at + 1]))):
        files = sorted(base.glob(recipe.files.replace("*", folder, 1).replace("#", folder)), key=_share)
        numbers = [_share(file)[0] for file in files if SHARE.fullmatch(file.name)]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"{files[0].parent}: archives are missing, their numbers are {numbers}")
        if files:
            sets[split_name(folder.replace("_", "-"))] = folder, files
    return sets


def _share(file: Path) -> tuple[int, str]:
    match = SHARE.fullmatch(file.name)
    return (int(match[1]) if match else 0), file.name


def speaker_of(source: MatrixSource, key: str) -> str:
    """The speaker of an utterance: as stated, else known of LibriSpeech's ids alone; empty where unknown."""
    if key in source.speakers:
        return source.speakers[key]
    match = LIBRISPEECH_ID.fullmatch(key)
    return match[1] if match else ""
