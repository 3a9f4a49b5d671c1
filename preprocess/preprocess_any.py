"""Any folder of audio, or a CSV or TSV manifest, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.layouts import add_layouts, layout_flags
from preprocess.parts.options import add_recordings, feature_parser, making, recordings
from utility.command import run


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings have no features, which errors.csv lists with the reason; else 0."""
    parser = feature_parser(
        prog="preprocess_any.py",
        description=f"{__doc__} Folders with the word train, dev, test or the like in\ntheir names are splits; without "
        "them all is one split, `all`. A manifest has a column path (relative to it) and,\nwhere known, id, speaker, "
        "split; with start and end (seconds) a row is a part of a recording.\n"
        "--layout is for corpora that bring labels, which labels.csv then holds.",
        example="python preprocess/preprocess_any.py --data_path=corpora/an4 --name=an4_fbank80",
        data_path=None,
        feature_type="fbank",
        delta=False,
    )
    add_recordings(parser, parts=True)
    add_layouts(parser)
    command = parser.read(argv)
    layout = layout_flags(command)
    flags = making(command, layout.layout if layout else "NewData", usual_delta=False)
    named = None if layout else recordings(command)

    from preprocess.parts.stores import extract, find_labelled, find_recordings  # heavy, and wanted only now

    if layout:
        corpus, labels = find_labelled(layout)
        return extract(corpus, flags, labels)
    assert named is not None, "either a layout or recordings"
    return extract(find_recordings(named), flags)


if __name__ == "__main__":
    run(main)
