"""TIMIT, the published corpus or its NLTK sample, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.names import TIMIT_EXTENSIONS
from preprocess.parts.options import add_extension, add_timit, feature_parser, held_out, making
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
    add_timit(parser)
    command = parser.read(argv)
    flags, values = making(command, "timit", usual_delta=True), command.values

    from preprocess.parts.stores import extract
    from preprocess.parts.timit import timit  # heavy, and wanted only now

    root, extensions = values["data_path"].expanduser(), values["audio_extension"] or TIMIT_EXTENSIONS
    corpus = timit(root, flags.splits, extensions, values["drop_sa"], values["complete_test"], held_out(values))
    return extract(corpus, flags)


if __name__ == "__main__":
    run(main)
