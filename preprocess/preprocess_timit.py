"""TIMIT, the published corpus or its NLTK sample, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.corpora import TIMIT_EXTENSIONS, timit
from preprocess.parts.options import add_extension, extract, feature_parser, features_of
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
    args = parser.parse_args(argv)
    features = features_of(parser, args)
    extensions = args.audio_extension or TIMIT_EXTENSIONS
    held_out = {name.upper(): "dev" for name in args.dev_speakers} | {
        name.upper(): "test" for name in args.test_speakers
    }
    corpus = timit(args.data_path.expanduser(), args.splits, extensions, args.drop_sa, args.complete_test, held_out)
    return extract(corpus, "timit", features, args)


if __name__ == "__main__":
    run(main)
