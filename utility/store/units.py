"""Codes as text, the form that spoken language models take: `id c1 c2 ...`, with and without repeats."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from utility.files import replacing
from utility.kaldi.archives import check_key
from utility.store.reading import Store
from utility.text import short


def check_words(ids: Iterable[str]) -> None:
    """Raise ValueError for an id that is no single word, as the first of a line must be."""
    for name in ids:
        try:
            check_key(name)
        except ValueError as error:
            raise ValueError(f"utterance {short(name)} cannot begin a line: {error}") from None


def write_units(store: Store, path: Path) -> str:
    """Write `path`.txt, a line for each utterance, and `path`.merged.txt, where equal neighbours are one; says so.

    ValueError for several codebooks, and for ids that are no single word."""
    if store.info.row_shape != [1]:
        raise ValueError(f"{store.names[0]} has {store.info.row_shape[0]} codes per frame: units are of one")
    check_words(store.ids)
    plain, merged = path.with_name(f"{path.name}.txt"), path.with_name(f"{path.name}.merged.txt")
    kept = 0
    with replacing(plain) as new, replacing(merged) as shorter, ExitStack() as opened:
        every, once = (opened.enter_context(file.open("w", encoding="utf-8")) for file in (new, shorter))
        for index, name in enumerate(store.ids):
            codes = store[index][:, 0]
            runs = codes[np.concatenate([[True], codes[1:] != codes[:-1]])]
            kept += len(runs)
            every.write(f"{name} {' '.join(map(str, codes.tolist()))}\n")
            once.write(f"{name} {' '.join(map(str, runs.tolist()))}\n")
    return f"{len(store)} lines, {int(store.lengths.sum())} units in {plain}, {kept} without repeats in {merged}"
