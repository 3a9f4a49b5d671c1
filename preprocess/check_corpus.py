"""A corpus before anything is computed: hours, speakers, lengths, rates, labels, what is broken or missing."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.options import add_corpus, add_recordings, add_timit, recordings
from utility.command import run
from utility.flags import Command, Parser

LAYOUTS = ("any", "libri", "timit")
OF_ANY = ("train", "dev", "test", "clip", "speaker_from", "id_from")
OF_FOLDERS = ("data_path", "splits", "layout", "audio_extension", *OF_ANY)  # what --data_dir would not use
OF_TIMIT = ("drop_sa", "complete_test", "dev_speakers", "test_speakers")
FIGURES = (".png", ".svg")


def arguments(argv: Sequence[str]) -> Command:
    """Parse the command line."""
    parser = Parser(
        prog="check_corpus.py",
        description=f"{__doc__}\nHeaders are read, samples with --read alone. Nothing is written but --output and "
        "--figure. Exit code\n1: some recordings are broken.",
        epilog="example:\n  python preprocess/check_corpus.py --data_path corpora/LibriSpeech --layout libri",
    )
    add_corpus(parser, None)
    parser.add_argument(
        "--layout", choices=LAYOUTS, default="any", help="of which script (preprocess_...) its rules are"
    )
    about = "instead of --data_path: Kaldi's data directories, each a split; their commands are never run"
    parser.add_argument("--data_dir", type=Path, nargs="+", default=[], metavar="DIR", help=about)
    parser.add_argument("--root", type=Path, metavar="DIR", help="of --data_dir: relative paths in wav.scp start here")
    add_recordings(parser, parts=True)
    add_timit(parser)
    parser.add_boolean("--read", help="decode every recording, too: finds clipped, silent and damaged ones")
    parser.add_argument("--labels", type=Path, metavar="TABLE", help="count the labels of this table (CSV or TSV), too")
    parser.add_argument("--label_column", metavar="NAME", help="which of its columns")
    parser.add_argument(
        "--text", type=Path, metavar="DIR", help="a folder of texts (preprocess_text.py): which lack one"
    )
    parser.add_argument(
        "--alignment", type=Path, metavar="DIR", help="an alignment (preprocess_alignment.py), likewise"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything that was seen, as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw lengths, speakers, labels (.png or .svg)")
    command = parser.read(argv)
    values, typed = command.values, command.typed
    foreign = [*(OF_TIMIT if values["layout"] != "timit" else ()), *(OF_ANY if values["layout"] != "any" else ())]
    for name in foreign:
        if name in typed:
            raise ValueError(f"--layout {values['layout']} would not use {typed[name]}: leave it out")
    for name in OF_FOLDERS if values["data_dir"] else ("root",):
        if name in typed:
            kind = "--data_dir" if values["data_dir"] else "what is no --data_dir"
            raise ValueError(f"{kind} would not use {typed[name]}: leave it out")
    if (values["labels"] is None) != (values["label_column"] is None):
        raise ValueError("--labels TABLE and --label_column NAME go together")
    if values["figure"] is not None and values["figure"].suffix not in FIGURES:
        raise ValueError(f"--figure {values['figure']}: expected a name that ends in .png or .svg")
    return command


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings are broken, else 0."""
    command = arguments(argv)
    flags = None if command.values["data_dir"] else recordings(command)

    from preprocess.parts.corpus_check import CheckFlags, check, find_corpus  # heavy, and wanted only now

    with tempfile.TemporaryDirectory() as unpacked:
        return check(find_corpus(flags, command.values, Path(unpacked)), command.fill(CheckFlags))


if __name__ == "__main__":
    run(main)
