"""The originals' APC features, `.blogmel` text or prepared `.pt` folders, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Parser, folder_name

DESCRIPTION = f"""{__doc__}
train-clean-360-hires-norm.blogmel (or .blogmel.xz, or a folder of that name) is split train-clean-360."""


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog="preprocess_apc.py",
        description=DESCRIPTION,
        epilog="example:\n  python preprocess/preprocess_apc.py --data_path librispeech_data/ --name apc_mel80",
    )
    parser.add_argument(
        "--data_path", "--librispeech_from_kaldi", type=Path, nargs="+", required=True, metavar="PATH",
        help=".blogmel files, folders of .pt files with lengths.pkl, or folders that hold such",
    )  # fmt: skip
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the store's folder appears")
    parser.add_argument("--name", type=folder_name, help="the store's folder (default: made of the size, as apc_mel80)")
    parser.add_argument("--splits", nargs="+", default=[], metavar="SPLIT", help="which splits (default: all)")
    parser.add_argument(
        "--frame_shift", type=float, default=0.01, metavar="SECONDS", help="from frame to frame, which no file says"
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="numbers on disk")
    parser.add_boolean("--dry_run", help="print what would be made of which files, and end")
    return parser


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some utterances have no features, which errors.csv lists with the reason; else 0."""
    command = make_parser().read(argv)

    from preprocess.parts.apc_store import Importing, import_apc  # heavy, and wanted only now

    return import_apc(command.fill(Importing))


if __name__ == "__main__":
    run(main)
