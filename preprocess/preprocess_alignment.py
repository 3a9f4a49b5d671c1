"""Alignment files of any usual form -> one alignment under data/: labelled segments that any feature can use."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Command, Parser, folder_name
from utility.labels.names import FORMATS, TIERS
from utility.labels.phone_sets import PHONE_SETS


def arguments(argv: Sequence[str]) -> Command:
    """Parse the command line."""
    parser = Parser(prog="preprocess_alignment.py", description=__doc__)
    parser.add_argument("--data_path", type=Path, required=True, help="a file, or a folder searched for files")
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
    parser.add_boolean("--dry_run", help="print what would be made of which files, and end")
    command = parser.read(argv)
    if command.values["tier"] == "words" and command.values["phone_set"] != "as_is":
        raise ValueError(f"--phone_set={command.values['phone_set']} needs --tier=phones")
    return command


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some file or utterance could not be used, which errors.csv lists with the reason; else 0."""
    command = arguments(argv)

    from preprocess.parts.alignments import Aligning, align  # heavy, and wanted only now

    return align(command.fill(Aligning))


if __name__ == "__main__":
    run(main)
