"""TIMIT, the published corpus or its NLTK sample, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.names import TIMIT_EXTENSIONS
from preprocess.parts.options import add_extension, feature_parser, making
from utility.command import run


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings have no features, which errors.csv lists with the reason; else 0."""
    parser = feature_parser(
        prog="preprocess_timit.py",
        description=__doc__,
        example="python preprocess/preprocess_timit.py --data_path=corpora/TIMIT --feature_type=mfcc --delta_delta",
        data_path="data/timit",
        feature_type="mel",
        delta=True,
    )
    add_extension(parser, TIMIT_EXTENSIONS)
    parser.add_boolean("--drop_sa", default=False, help="leave out SA1 and SA2, which every speaker reads")
    parser.add_boolean(
        "--complete_test",
        default=False,
        help="test is all of TEST; else it is the 24 speakers of the core set and dev the usual 50, if all are there",
    )
    for part in ("dev", "test"):
        told = f"speakers that make up {part} instead, as the sample has no {part} set"
        parser.add_argument(f"--{part}_speakers", nargs="+", default=[], metavar="SPK", help=told)
    command = parser.read(argv)
    flags, values = making(command, "timit", usual_delta=True), command.values
    held_out = {name.upper(): part for part in ("dev", "test") for name in values[f"{part}_speakers"]}

    from preprocess.parts.stores import extract
    from preprocess.parts.timit import timit  # heavy, and wanted only now

    root, extensions = values["data_path"].expanduser(), values["audio_extension"] or TIMIT_EXTENSIONS
    corpus = timit(root, flags.splits, extensions, values["drop_sa"], values["complete_test"], held_out)
    return extract(corpus, flags)


if __name__ == "__main__":
    run(main)
