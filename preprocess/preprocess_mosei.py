"""CMU-MOSEI or CMU-MOSI, recordings and labels that you have, to a feature store and a table of labels."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.options import feature_parser, making
from utility.arrays import number
from utility.command import run
from utility.text import short

BOUNDS = {"mosei": (1.0, 20.0, 0.1), "mosi": (0.0, 0.0, 0.0)}  # of seconds, and of |sentiment|; 0 is none


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some segments have no features, which errors.csv lists with the reason; else 0."""
    parser = feature_parser(
        prog="preprocess_mosei.py",
        description=f"{__doc__}\nA table has columns of these names: file (or filename, video), start, end (seconds), "
        "id (or key; else made of\nfile and index), sentiment (or label), split, any others. A .csd needs h5py.",
        example="python preprocess/preprocess_mosei.py --data_path=MOSEI/WAV_16000 --labels=CMU_MOSEI_Labels.csv",
        data_path=None,
        feature_type="mel",
        delta=True,
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the labels: a CSV or TSV table, or a .csd")
    parser.add_argument("--corpus", choices=tuple(BOUNDS), default="mosei", help="which of the two, for the defaults")
    about = "as the table's column says, or as the legacy Mockingjay drew (default: standard where there is a column)"
    parser.add_argument("--split", choices=("standard", "legacy"), help=f"train, dev and test: {about}")
    about = "a table of columns video and split, for labels that have no split"
    parser.add_argument("--parts", type=Path, metavar="FILE", help=about)
    parser.add_boolean("--segmented", help="recordings are segments (VIDEO_INDEX.wav), not whole videos (VIDEO.wav)")
    for flag, unit, what in (
        ("--min_seconds", "SECONDS", "shorter segments are left out (MOSEI: 1)"),
        ("--max_seconds", "SECONDS", "longer segments are left out (MOSEI: 20); 0 is no bound"),
        ("--min_abs", "VALUE", "segments with a sentiment nearer to 0 are left out (MOSEI: 0.1)"),
    ):
        parser.add_argument(flag, type=_bound, metavar=unit, help=what)
    command = parser.read(argv)
    values = command.values
    flags = making(command, values["corpus"], usual_delta=True)
    if values["data_path"] is None or values["labels"] is None:
        raise ValueError("which corpus? --data_path FOLDER of recordings, and --labels FILE")
    if values["parts"] and values["split"] == "legacy":
        raise ValueError("--split legacy draws the parts itself: leave out --parts")
    names = ("min_seconds", "max_seconds", "min_abs")
    bounds = {
        name: usual if values[name] is None else values[name] for name, usual in zip(names, BOUNDS[values["corpus"]])
    }
    if 0 < bounds["max_seconds"] < bounds["min_seconds"]:
        told = f"--min_seconds {bounds['min_seconds']:g} and --max_seconds {bounds['max_seconds']:g}"
        raise ValueError(f"{told} leave nothing")

    from preprocess.parts.mosei import Choice, mosei  # heavy, and wanted only now
    from preprocess.parts.stores import extract

    parts = values["parts"] and values["parts"].expanduser()
    choice = command.fill(Choice, rule=values["split"], parts=parts, typed_abs="min_abs" in command.typed, **bounds)
    root, labels = (values[name].expanduser() for name in ("data_path", "labels"))
    corpus, table = mosei(root, labels, choice, flags.splits)
    return extract(corpus, flags, table)


def _bound(text: str) -> float:
    try:
        value = number(text)
    except ValueError:
        value = -1.0
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number, 0 for no bound, got {short(text)}")
    return value


if __name__ == "__main__":
    run(main)
