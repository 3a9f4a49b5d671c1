"""Any folder of audio, or a CSV or TSV manifest, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.corpora import AUDIO_EXTENSIONS, folder, manifest
from preprocess.options import add_extension, extract, feature_parser, features_of
from utility.command import run


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings have no features, which errors.csv lists with the reason; else 0."""
    parser = feature_parser(
        prog="preprocess_any.py",
        description=f"{__doc__} Folders named train, dev, test and the like are splits;\nwithout them all "
        "is one split, `all`. A manifest has a column path (relative to it) and, where known, id, speaker, split.",
        example="python preprocess/preprocess_any.py --data_path=corpora/an4 --name=an4_fbank80 --id_from=stem",
        data_path=None,
        feature_type="fbank",
        delta=False,
    )
    add_extension(parser, AUDIO_EXTENSIONS)
    parser.add_argument(
        "--speaker_from",
        default="parent",
        metavar="RULE",
        help="parent (the folder a file lies in), none, or a regular expression, its (group) in the path the speaker",
    )
    parser.add_argument(
        "--id_from", choices=("path", "stem"), default="path", help="ids from the whole path, or from unique file names"
    )
    args = parser.parse_args(argv)
    features = features_of(parser, args)
    path = args.data_path.expanduser()
    if path.is_file():
        corpus = manifest(path, args.splits, args.id_from)
    else:
        corpus = folder(path, args.splits, args.audio_extension or AUDIO_EXTENSIONS, args.speaker_from, args.id_from)
    return extract(corpus, "NewData", features, args)


if __name__ == "__main__":
    run(main)
