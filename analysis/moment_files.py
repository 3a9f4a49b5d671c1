"""Moments on disk: one archive of plain arrays, written whole or not at all."""

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from analysis.moments import Layout, Moments, ProductSums, ViewSums
from utility.files import replacing

FORMAT = 2


def save_moments(moments: Moments, path: Path) -> None:
    """Write moments as .npz without pickles. OSError where that fails; an older file stays then."""
    names = list(moments.layout.widths)
    arrays = {
        "format": np.array(FORMAT),
        "names": np.array(names),
        "widths": np.array(list(moments.layout.widths.values())),
        "pairs": np.array([[names.index(x), names.index(y)] for x, y in moments.layout.pairs], np.int64).reshape(-1, 2),
        "counts": moments.counts,
    }
    for i, name in enumerate(names):
        arrays |= {f"view{i}/{key}": value for key, value in vars(moments.views[name]).items()}
        if moments.shifts:
            arrays[f"view{i}/shift"] = moments.shifts[name]
    for i, sums in enumerate(moments.products.values()):
        arrays |= {f"pair{i}/{key}": value for key, value in vars(sums).items()}
    with replacing(path) as new, new.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_moments(path: Path, views: Collection[str] | None = None) -> Moments:
    """Read moments back, of some views alone where they are named: of the others nothing is held.

    FileNotFoundError where there is no file, ValueError where it is none, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _read(archive, views)
    except (ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile, AttributeError):
        raise ValueError(f"{path}: no moments of this program, or damaged: delete it, and it is made again") from None


def _read(archive: np.lib.npyio.NpzFile, chosen: Collection[str] | None) -> Moments:
    if archive["format"] != FORMAT:
        raise ValueError
    names = [str(name) for name in archive["names"]]
    pairs = tuple((names[x], names[y]) for x, y in archive["pairs"])
    counts, widths = archive["counts"], dict(zip(names, archive["widths"].tolist(), strict=True))
    products = Layout(widths, pairs, len(counts)).products
    kept = [name for name in names if chosen is None or name in chosen]
    some = tuple(pair for pair in pairs if pair[0] in kept and pair[1] in kept)
    moments = Moments(Layout({name: widths[name] for name in kept}, some, len(counts)))
    moments.counts = counts
    for i, name in enumerate(names):
        if name not in kept:
            continue
        empty = moments.views[name]
        moments.views[name] = ViewSums(
            **{key: _like(archive[f"view{i}/{key}"], old) for key, old in vars(empty).items()}
        )
        if f"view{i}/shift" in archive:
            moments.shifts[name] = _like(archive[f"view{i}/shift"], empty.values[0])
    for i, pair in enumerate(products):
        if pair not in moments.products:
            continue
        zero = moments.products[pair]
        read = {key: _like(archive[f"pair{i}/{key}"], old) for key, old in vars(zero).items()}
        moments.products[pair] = ProductSums(**read)
    return moments


def _like(array: np.ndarray, expected: np.ndarray) -> np.ndarray:
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise ValueError
    return array
