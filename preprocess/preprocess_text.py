"""Transcripts of any usual form -> one folder of normalised texts under data/, an id and a text a line."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Command, Parser, folder_name
from utility.labels.names import TEXT_FORMATS


def arguments(argv: Sequence[str]) -> Command:
    """Parse the command line."""
    parser = Parser(
        prog="preprocess_text.py",
        description=__doc__,
        epilog="example:\n  python preprocess/preprocess_text.py --data_path corpora/LibriSpeech --name libri_text",
    )
    parser.add_argument("--data_path", type=Path, required=True, help="a file, or a folder searched for files")
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the folder appears")
    parser.add_argument("--name", type=folder_name, help="the folder of texts (default: <data_path>_text)")
    parser.add_argument("--format", choices=("auto", *TEXT_FORMATS), default="auto", help="form of the files")
    parser.add_argument("--text_column", default="text", metavar="NAME", help="of a table: which column holds the text")
    parser.add_argument("--case", choices=("keep", "upper", "lower"), default="upper", help="of the letters")
    about = "only these stay, all others become blanks (default: letters, digits, apostrophes inside words)"
    parser.add_argument("--keep_characters", metavar="CHARACTERS", help=about)
    about = "refuse: a text with digits is an error row, for nothing reads them out"
    parser.add_argument("--digits", choices=("keep", "refuse"), default="keep", help=about)
    about = "splits of which n-grams and vocabularies are made, so that no test text is in them (default: all texts)"
    parser.add_argument("--fit_splits", nargs="+", default=[], metavar="SPLIT", help=about)
    parser.add_argument("--arpa", type=Path, metavar="FILE", help="write an n-gram model of the texts, too")
    parser.add_argument("--order", type=int, default=3, metavar="N", help="of the n-grams of --arpa")
    parser.add_boolean("--dry_run", help="print what would be made of which files, and end")
    command = parser.read(argv)
    if "order" in command.typed and command.values["arpa"] is None:
        raise ValueError("--order is of the n-grams of --arpa FILE: add that, or leave it out")
    if command.values["fit_splits"] and command.values["arpa"] is None:
        raise ValueError("--fit_splits is for --arpa FILE: add that, or leave it out")
    return command


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some texts could not be used, which errors.csv lists with the reason; else 0."""
    command = arguments(argv)

    from preprocess.parts.texts import TextFlags, make_texts  # heavy, and wanted only now

    return make_texts(command.fill(TextFlags))


if __name__ == "__main__":
    run(main)
