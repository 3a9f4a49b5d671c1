"""Any folder of audio, or a CSV or TSV manifest, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.options import add_recordings, feature_parser, making, recordings
from utility.command import run


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings have no features, which errors.csv lists with the reason; else 0."""
    parser = feature_parser(
        prog="preprocess_any.py",
        description=f"{__doc__} Folders with the word train, dev, test or the like in\ntheir names are splits; without "
        "them all is one split, `all`. A manifest has a column path (relative to it) and,\nwhere known, id, speaker, "
        "split; with start and end (seconds) a row is a part of a recording.",
        example="python preprocess/preprocess_any.py --data_path=corpora/an4 --name=an4_fbank80",
        data_path=None,
        feature_type="fbank",
        delta=False,
    )
    add_recordings(parser, parts=True)
    command = parser.read(argv)
    flags, corpus = making(command, "NewData", usual_delta=False), recordings(command)

    from preprocess.parts.stores import extract, find_recordings  # heavy, and wanted only now

    return extract(find_recordings(corpus), flags)


if __name__ == "__main__":
    run(main)
