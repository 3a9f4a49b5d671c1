"""Trials of speaker verification from a table of utterances: pairs of one speaker and of two, `label id id` a line."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Parser

DESCRIPTION = f"""{__doc__}
Of all pairs of a speaker those are taken that come first in the order of SHA-256 of "id id": so many of its own
utterances, with speakers of its sex, and with others. Where tables have no sex they are with any other speaker."""


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog="make_trials.py",
        description=DESCRIPTION,
        epilog="example:\n  python preprocess/make_trials.py --data_path corpora/an4/utterances.tsv --first 7 "
        "--output data/an4_trials.txt",
    )
    about = "store/split, or a CSV or TSV table with the columns id, speaker and, where known, sex"
    parser.add_argument("--data_path", type=Path, nargs="+", required=True, metavar="PATH", help=about)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the list of trials")
    parser.add_argument("--speakers", type=Path, metavar="FILE", help="only these speakers, one a line (default: all)")
    about = "only the first N speakers, of each sex, in the order of SHA-256 of their names"
    parser.add_argument("--first", type=int, metavar="N", help=about)
    parser.add_argument("--sex_column", metavar="NAME", help="of the tables (default: sex or gender, if all have it)")
    parser.add_argument("--same", type=int, default=40, metavar="N", help="pairs of each speaker's own utterances")
    parser.add_argument("--same_sex", type=int, default=40, metavar="N", help="pairs with other speakers of its sex")
    parser.add_argument("--other_sex", type=int, default=20, metavar="N", help="pairs with speakers of the other sex")
    parser.add_boolean("--dry_run", help="print what would be written, and end")
    return parser


def main(argv: Sequence[str]) -> int:
    """Write the list; 0."""
    command = make_parser().read(argv)
    if command.values["first"] is not None and command.values["speakers"] is not None:
        raise ValueError("--first and --speakers both say which speakers: leave one out")
    for name in ("first", "same", "same_sex", "other_sex"):
        value, least = command.values[name], 0 if name in ("same_sex", "other_sex") else 1
        if value is not None and value < least:
            raise ValueError(f"--{name} {value}: expected at least {least}")

    from preprocess.parts.trial_lists import TrialFlags, write_trials  # heavy, and wanted only now

    return write_trials(command.fill(TrialFlags))


if __name__ == "__main__":
    run(main)
