"""LibriSpeech, or any corpus in its layout, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.options import add_extension, feature_parser, making
from utility.audio.extensions import recording_extensions
from utility.command import run


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings have no features, which errors.csv lists with the reason; else 0."""
    parser = feature_parser(
        prog="preprocess_libri.py",
        description=__doc__,
        example="python preprocess/preprocess_libri.py --data_path=corpora/LibriSpeech --splits dev-clean test-clean",
        data_path="data/LibriSpeech",
        feature_type="mel",
        delta=True,
    )
    add_extension(parser, recording_extensions())
    command = parser.read(argv)
    flags, values = making(command, "libri", usual_delta=True), command.values

    from preprocess.parts.corpora import librispeech  # heavy, and wanted only now
    from preprocess.parts.stores import extract

    extensions = values["audio_extension"] or recording_extensions()
    return extract(librispeech(values["data_path"].expanduser(), flags.splits, extensions), flags)


if __name__ == "__main__":
    run(main)
