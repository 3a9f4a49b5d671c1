"""The built-in corpus: synthesised English of many speakers in LibriSpeech's layout, with exact phone times."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import DEFAULT_SEED, Command, Parser, seed


def arguments(argv: Sequence[str]) -> Command:
    """Parse the command line."""
    parser = Parser(prog="demo_corpus.py", description=__doc__)
    parser.add_argument("--output_path", type=Path, default=Path("data/demo_corpus"), help="the folder to make")
    parser.add_argument("--minutes", type=float, default=30.0, help="speech in all")
    parser.add_argument(
        "--speakers", type=int, default=40, help="speakers in all; a tenth each are kept for dev and test"
    )
    parser.add_argument("--seed", type=seed, default=DEFAULT_SEED, help="the same seed gives the same bytes")
    parser.add_argument("--n_jobs", type=int, default=-1, help="processes; -1 takes one per core")
    parser.add_boolean("--dry_run", help="print what would be made, and end")
    command = parser.read(argv)
    minutes, speakers, n_jobs = (command.values[name] for name in ("minutes", "speakers", "n_jobs"))
    if not 0 < minutes < 1e5:
        raise ValueError(f"--minutes must lie between 0 and 100000, got {minutes}")
    if not 3 <= speakers <= 9000:
        raise ValueError(f"--speakers must lie between 3 (one per split) and 9000, got {speakers}")
    if n_jobs < 1 and n_jobs != -1:
        raise ValueError(f"--n_jobs must be at least 1, or -1 for all cores, got {n_jobs}")
    return command


def main(argv: Sequence[str]) -> int:
    """Make the corpus, or find it made; a folder of the same name that is something else is a `ValueError`."""
    command = arguments(argv)

    from preprocess.demo.corpus import CorpusFlags, make  # heavy, and wanted only now

    return make(command.fill(CorpusFlags))


if __name__ == "__main__":
    run(main)
