"""What an utterance is called: one rule for recordings and for files of labels, so that they meet by id."""

import re
from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath
from typing import Literal

IdRule = Literal["auto", "path", "stem"]
ID_RULES: tuple[IdRule, ...] = ("auto", "path", "stem")
TIMIT = re.compile(r"(?:^|/)dr[1-8][-/][fm][a-z]{2,3}\d/s[aix]\d+\.[^/]*$", re.IGNORECASE)


def utterance_ids(paths: Sequence[str], rule: IdRule = "auto") -> list[str]:
    """Ids of the files of a corpus by their paths below it, with forward slashes.

    `stem` is the file name without suffix; `path` the whole path without suffix, its parts joined by "_", and with
    suffix and slashes where two of these are alike. `auto` is TIMIT's own rule for its layout (`timit_id`), else the
    file name where no two files of the corpus share it, else the path."""
    stems = [PurePosixPath(path).stem for path in paths]
    if rule == "stem":
        return stems
    if rule == "auto":
        ids = [timit_id(PurePosixPath(path)) for path in paths] if all(map(TIMIT.search, paths)) else stems
        if len(set(ids)) == len(ids):
            return ids
    joined = [PurePosixPath(path).with_suffix("").as_posix().strip("/").replace("/", "_") for path in paths]
    return joined if len(set(joined)) == len(joined) else list(paths)


def timit_id(file: PurePath) -> str:
    """`FVMH0_SI836` for `TRAIN/DR1/FVMH0/SI836.PHN` and for `dr1-fvmh0/si836.phn`."""
    speaker = re.sub(r"^dr\d+-", "", file.parent.name, flags=re.IGNORECASE)
    return f"{speaker}_{file.stem}".upper()
