"""Stores written for other programs: Kaldi's data directories and APC's text files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocess.parts.apc_files import write_blogmel
from utility.store.kaldi_directory import Compress, DirectoryOptions, write_directory
from utility.store.reading import Store, is_split, splits_in


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """Which splits are written, where and how; `output_path` None is beside their store."""

    store: Sequence[Path]
    output_path: Path | None
    format: Literal["kaldi", "blogmel"]
    relative: bool
    prefix_speaker: bool
    text: Path | None
    compress: Compress
    dry_run: bool


def export(flags: Exporting) -> int:
    """Write every split and say what came out; ValueError before any is written where one cannot be opened."""
    stores: dict[Path, Store] = {}
    for store in (Store([split]) for path in flags.store for split in _splits(path.expanduser())):
        path = store.paths[0]
        place = (flags.output_path or path.parent.with_name(f"{path.parent.name}-{flags.format}")).expanduser()
        if place / path.name in stores:
            raise ValueError(f"--store names two splits that would be {place / path.name}: export them one by one")
        stores[place / path.name] = store
    for place, store in stores.items():
        if flags.format == "blogmel":
            place = _text_file(store, place)
        if not flags.dry_run:
            _write(store, place, flags)
        width = store.info.row_shape[0]
        print(f"{place}: {len(store)} utterances, {store.lengths.sum()} frames of {width}")
    if flags.dry_run:
        print("dry run: nothing is written")
    return 0


def _write(store: Store, place: Path, flags: Exporting) -> None:
    if flags.format == "blogmel":
        order = sorted(range(len(store)), key=store.ids.__getitem__)
        write_blogmel(place, ((store.ids[i], store[i]) for i in order))
        return
    how = DirectoryOptions(flags.compress, flags.relative, flags.prefix_speaker, flags.text)
    for warning in write_directory(store, place, how):
        print(f"warning: {warning}", file=sys.stderr)


def _splits(path: Path) -> list[Path]:
    """The split, or all those of a store."""
    if not is_split(path) and (names := splits_in(path)):
        return [path / name for name in names]
    return [path]


def _text_file(store: Store, place: Path) -> Path:
    if len(store.info.row_shape) != 1:
        raise ValueError(f"{store.paths[0]} holds {store.info.row_shape} per frame: a text file takes one vector")
    return place.with_name(f"{place.name}-hires-norm.blogmel")
