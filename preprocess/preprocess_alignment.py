"""Alignment files of any usual form -> one alignment under data/: labelled segments that any feature can use."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Command, Parser, folder_name
from utility.labels.names import FORMATS, ORDERS, TIERS
from utility.labels.phone_sets import PHONE_SETS
from utility.text import short


def arguments(argv: Sequence[str]) -> Command:
    """Parse the command line."""
    parser = Parser(prog="preprocess_alignment.py", description=__doc__)
    parser.add_argument(
        "--data_path",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="files, or folders searched for files",
    )
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the alignment's folder appears")
    parser.add_argument(
        "--name", type=folder_name, help="the alignment's folder (default: <folder of data_path>_<tier>)"
    )
    parser.add_argument("--format", choices=("auto", *FORMATS), default="auto", help="form of the files")
    parser.add_argument("--tier", choices=TIERS, default="phones", help="which labels of TextGrid and TIMIT")
    parser.add_argument(
        "--phone_set",
        choices=tuple(PHONE_SETS),
        default="as_is",
        help="arpabet39 strips stress and merges silence marks; timit48 and timit39 fold TIMIT's 61 symbols",
    )
    parser.add_argument(
        "--exclude", type=Path, metavar="FILE", help="leave out utterances: the first word of each line"
    )
    parser.add_argument(
        "--order",
        choices=ORDERS,
        default=ORDERS[0],
        help="of the labels, whose numbers are the classes; first: as they come",
    )
    parser.add_argument("--phones", type=Path, metavar="FILE", help="kaldi: phones.txt, lines PHONE id")
    parser.add_argument("--frame_shift", type=seconds, metavar="SECONDS", help="kaldi: between frames (default: 0.01)")
    parser.add_boolean("--dry_run", help="print what would be made of which files, and end")
    command = parser.read(argv)
    if command.values["tier"] == "words" and command.values["phone_set"] != "as_is":
        raise ValueError(f"--phone_set={command.values['phone_set']} needs --tier=phones")
    kaldi = command.values["format"] == "kaldi"
    for name in ("phones", "frame_shift"):
        if name in command.typed and not kaldi:
            raise ValueError(f"--{name} goes with --format=kaldi, whose files hold numbers of phones")
    if kaldi and command.values["phones"] is None:
        raise ValueError("--format=kaldi needs --phones phones.txt, which says what the numbers stand for")
    if kaldi and command.values["tier"] == "words":
        raise ValueError("--tier=words: Kaldi's archives have phones; words are in a CTM file (--format=ctm)")
    return command


def seconds(text: str) -> float:
    """A time between frames."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not 1e-4 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"expected seconds from 0.0001 to 1, got {short(text)}")
    return float(text)


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some file or utterance could not be used, which errors.csv lists with the reason; else 0."""
    command = arguments(argv)

    from preprocess.parts.alignments import Aligning, align  # heavy, and wanted only now

    return align(command.fill(Aligning))


if __name__ == "__main__":
    run(main)
