"""Read all that a Kaldi archive or scp holds: no command of the project does that alone."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np

from utility.command import run
from utility.kaldi.archives import read_ark, read_scp


def main(argv: Sequence[str]) -> None:
    """Print the key, the shape and the sum of everything in the file `argv[0]`."""
    path = Path(argv[0])
    if path.suffix == ".scp":
        matrices = read_scp(path)
        print(matrices.lengths.tolist())
        items: Iterable[tuple[str, np.ndarray]] = ((key, matrices[key]) for key in matrices.keys)
    else:
        items = read_ark(path)
    for key, values in items:
        with np.errstate(all="ignore"):  # what the numbers are is no matter of the reader
            print(repr(key), values.shape, values.sum())


if __name__ == "__main__":
    run(main)
