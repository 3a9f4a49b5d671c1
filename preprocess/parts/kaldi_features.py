"""Matrices made by Kaldi, written as a feature store."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from preprocess.parts.kaldi import split_folders
from preprocess.parts.kaldi_agreement import check_agreement
from preprocess.parts.kaldi_cmvn import Cmvn, Normaliser
from preprocess.parts.kaldi_matrices import (
    RECIPES,
    MatrixSource,
    of_archives,
    of_directory,
    of_recipe,
    speaker_of,
)
from utility.audio.feature_config import FeatureConfig
from utility.files import check_folder
from utility.kaldi.data_dir import read_speakers
from utility.store.files import Failure, Row, check_split_name
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter

DEFAULT_KIND = "kaldi"


@dataclass(frozen=True, kw_only=True)
class Importing:
    """Which matrices become which store; one of `feats`, `ark` and `recipe` says where they are.

    `features` says that they are what is computed here, with so many `deltas`; None: they are `kind`, of others."""

    feats: bool
    data_dir: Sequence[Path]
    root: Path | None
    allow_commands: bool
    ark: Sequence[Path] | None
    utt2spk: Path | None
    recipe: Literal["libri", "timit", "voxceleb"] | None
    kaldi_root: Path | None
    split: Sequence[str]
    apply_cmvn: Cmvn
    norm_vars: bool
    cmvn_file: Path | None
    kind: str | None
    features: Literal["kaldi_fbank", "kaldi_mfcc"] | None
    deltas: Literal[0, 1, 2]
    frame_shift: float
    frame_offset: float
    output_path: Path
    name: str | None
    dtype: Literal["float32", "float16"]
    dry_run: bool

    @cached_property
    def whose(self) -> str:
        """What the matrices are, as one word."""
        return self.kind or (RECIPES[self.recipe].kind if self.recipe else DEFAULT_KIND)

    def sources(self) -> Iterator[MatrixSource]:
        """The matrices split by split; ValueError for what is missing or malformed."""
        if self.recipe is not None:
            assert self.kaldi_root is not None, "the command line asks for it"
            yield from of_recipe(self.recipe, self.kaldi_root.expanduser(), self.split, self.allow_commands)
        elif self.ark is not None:
            speakers = read_speakers(self.utt2spk.expanduser()) if self.utt2spk else {}
            yield of_archives(self.split[0], [path.expanduser() for path in self.ark], speakers)
        else:
            folders = split_folders([path.expanduser() for path in self.data_dir], self.split)
            for split, folder in folders.items():
                yield of_directory(split, folder, self.root, self.allow_commands)

    def info(self, dim: int, origin: Path) -> StoreInfo:
        """What the store will say of itself; ValueError where --features has another width."""
        made_by: dict[str, Any] = {"imported": "kaldi", "kind": self.features or self.whose}
        if self.apply_cmvn != "none":
            made_by |= {"cmvn": self.apply_cmvn, "norm_vars": self.norm_vars}
        made_by["imported_from"] = str(origin.absolute())
        if self.features is None:
            stated = f"{self.whose} made by Kaldi, {dim} values a frame"
            return StoreInfo(
                dtype=self.dtype,
                row_shape=[dim],
                frame_shift=self.frame_shift,
                frame_offset=self.frame_offset,
                stated=stated,
                made_by=made_by,
            )
        cmvn = self.apply_cmvn
        assert cmvn != "speaker", "the command line refuses it"
        features = FeatureConfig(kind=self.features, deltas=self.deltas, cmvn=cmvn)
        if features.dim != dim:
            raise ValueError(f"{origin}: {dim} values a frame; --features {self.features} has {features.dim}")
        shift = features.frame_shift
        return StoreInfo(dtype=self.dtype, row_shape=[dim], frame_shift=shift, features=features, made_by=made_by)


def import_matrices(flags: Importing) -> int:
    """Write the store; 1 when some utterances have no features, which errors.csv lists with the reason."""
    sources = list(flags.sources())
    for source in sources:
        check_split_name(source.split)
    dim = _common_dim(sources)
    default = RECIPES[flags.recipe].name if flags.recipe else f"kaldi_{flags.features or flags.whose}{dim}"
    root = flags.output_path.expanduser() / (flags.name or default)
    check_folder(root)
    info = flags.info(dim, sources[0].named)
    cmvn = flags.cmvn_file and flags.cmvn_file.expanduser()
    normalisers = [Normaliser(source, flags.apply_cmvn, flags.norm_vars, cmvn) for source in sources]
    if info.features is not None:
        folders = [path.expanduser() for path in flags.data_dir]
        for source, normaliser, folder in zip(sources, normalisers, folders):
            print(check_agreement(source, normaliser, info.features, folder, flags.root))
    if flags.dry_run:
        return _print_plan(sources, dim, root, info.frame_shift)
    failures = [
        failure
        for source, normaliser in zip(sources, normalisers)
        for failure in _import(source, normaliser, root, info, dim)
    ]
    if failures:
        reason = f"{failures[0].path}: {failures[0].reason}"
        print(f"{len(failures)} not used, see {root / 'errors.csv'}; the first: {reason}", file=sys.stderr)
    return 1 if failures else 0


def _common_dim(sources: Sequence[MatrixSource]) -> int:
    """The width that most matrices have; ValueError where splits differ in it, or have no matrices."""
    dims = []
    for source in sources:
        widths = Counter(shape[1] for shape in source.shapes.values() if len(shape) == 2 and shape[0])
        if not widths:
            first = next((f", the first: {reason}" for reason in source.broken.values()), "")
            raise ValueError(f"{source.named}: no matrix in it that can be read{first}")
        dims.append(widths.most_common(1)[0][0])
        if dims[-1] != dims[0]:
            raise ValueError(f"{source.named} has {dims[-1]} values a frame, {sources[0].named} has {dims[0]}")
    return dims[0]


def _reason(source: MatrixSource, key: str, dim: int) -> str:
    """Why a matrix cannot be used; empty where it can."""
    if key in source.broken:
        return source.broken[key]
    shape = source.shapes[key]
    if len(shape) != 2:
        return f"{shape[0]} numbers in a row, not a matrix"
    if not shape[0]:
        return "an empty matrix"
    return "" if shape[1] == dim else f"{shape[1]} values a frame, where the others have {dim}"


def _print_plan(sources: Sequence[MatrixSource], dim: int, root: Path, frame_shift: float) -> int:
    """What `--dry_run` prints."""
    print("data:")
    for source in sources:
        keys = [*source.shapes, *source.broken]
        used = [source.shapes[key][0] for key in keys if not _reason(source, key, dim)]
        size = f"{len(used)} utterances, {sum(used) * frame_shift / 3600:.2f} hours, {sum(used)} frames of {dim}"
        print(f"  {source.split}: {size}, {len(keys) - len(used)} not usable")
    print(f"dry run: nothing is written; the output would go to {root}")
    return 0


def _import(source: MatrixSource, normalise: Normaliser, root: Path, info: StoreInfo, dim: int) -> list[Failure]:
    """Write one split, in the alphabetical order of its ids."""
    reasons = {key: _reason(source, key, dim) for key in sorted([*source.shapes, *source.broken])}
    rows = [
        Row(key, 0 if reason else source.shapes[key][0], 0, speaker_of(source, key), key)
        for key, reason in reasons.items()
    ]
    writer = StoreWriter.open(root, source.split, rows, info)
    row_of = {rows[i].id: i for i in writer.pending()}
    for key in [key for key in row_of if reasons[key]]:
        writer.fail(row_of.pop(key), reasons[key])
    for key, values in tqdm(source.values(row_of), source.split, len(row_of), unit="utt", disable=None):
        try:
            if isinstance(values, ValueError):
                raise values
            writer.write(row_of[key], normalise(key, values))
        except ValueError as error:
            writer.fail(row_of[key], str(error).rpartition(f"{writer.files}: ")[2])
    writer.finish()
    failures = writer.failures()
    lost = {failure.path for failure in failures}
    kept = [row.length for row in rows if row.source not in lost]
    print(f"{root / source.split}: {len(kept)} utterances, {sum(kept)} frames of {dim}, {len(lost)} failed")
    return failures
