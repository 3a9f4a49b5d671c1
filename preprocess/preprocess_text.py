"""Transcripts of any usual form -> one folder of normalised texts under data/, an id and a text a line."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Command, Parser, folder_name
from utility.labels.names import TARGETS, TEXT_FORMATS

FEWEST_TOKENS = 4
USED_BY = {  # flags that need another one
    "order": ("--arpa FILE",),
    "fit_splits": ("--arpa FILE", "--target"),
    "n_tokens": ("--target word", "--target subword"),
    "lexicon": ("--target phoneme",),
    "unknown_words": ("--target phoneme",),
}


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
    _add_targets(parser)
    parser.add_boolean("--dry_run", help="print what would be made of which files, and end")
    command = parser.read(argv)
    typed, values = command.typed, command.values
    for name, makers in USED_BY.items():
        if name in typed and not any(_asks(values, maker) for maker in makers):
            raise ValueError(f"{typed[name]} would change nothing: it goes with {' or '.join(makers)}")
    if values["n_tokens"] < FEWEST_TOKENS:
        raise ValueError(f"--n_tokens {values['n_tokens']}: expected at least {FEWEST_TOKENS}, of which 3 are no words")
    if values["target"] == "phoneme" and values["lexicon"] is None:
        raise ValueError("--target phoneme needs --lexicon FILE, the pronunciations of the words")
    return command


def _add_targets(parser: Parser) -> None:
    parser.add_argument("--target", choices=TARGETS, help="write texts as numbers of these units, too")
    about = "the largest vocabulary, of subwords (sentencepiece) and words"
    parser.add_argument("--n_tokens", type=int, default=5000, metavar="N", help=about)
    parser.add_argument(
        "--lexicon", type=Path, metavar="FILE", help="of --target phoneme: lines of WORD PHONE PHONE ..."
    )
    about = "of --target phoneme: a text with a word that the lexicon lacks"
    parser.add_argument("--unknown_words", choices=("error", "leave_out"), default="error", help=about)


def _asks(values: Mapping[str, Any], maker: str) -> bool:
    """Whether the flag `maker`, as `--target word`, is what was asked for."""
    name, _, value = maker.removeprefix("--").partition(" ")
    return values[name] is not None and value in ("", "FILE", values[name])


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some texts could not be used, which errors.csv lists with the reason; else 0."""
    command = arguments(argv)

    from preprocess.parts.text_targets import TargetFlags
    from preprocess.parts.texts import TextFlags, make_texts  # heavy, and wanted only now

    target = command.fill(TargetFlags) if command.values["target"] else None
    return make_texts(command.fill(TextFlags, target=target))


if __name__ == "__main__":
    run(main)
