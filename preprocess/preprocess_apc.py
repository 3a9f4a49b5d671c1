"""The originals' APC features, `.blogmel` text or prepared `.pt` folders, to a feature store."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from tqdm import tqdm

from preprocess.parts.apc_files import BrokenUtterance, Source, find_sources
from utility.command import Parser, run
from utility.files import check_folder
from utility.store.files import Failure, Row, check_split_name
from utility.store.info import StoreInfo
from utility.store.originals import LIBRISPEECH_ID
from utility.store.writing import StoreWriter

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
    parser.add_argument("--name", help="the store's folder (default: made of the size, as apc_mel80)")
    parser.add_argument("--splits", nargs="+", default=[], metavar="SPLIT", help="which splits (default: all)")
    parser.add_argument(
        "--frame_shift", type=float, default=0.01, metavar="SECONDS", help="from frame to frame, which no file says"
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="numbers on disk")
    return parser


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some utterances have no features, which errors.csv lists with the reason; else 0."""
    args = make_parser().parse_args(argv)
    sources = find_sources([path.expanduser() for path in args.data_path])
    unknown = set(args.splits) - {source.split for source in sources}
    if unknown:
        raise ValueError(f"no split {min(unknown)}; there are {', '.join(source.split for source in sources)}")
    sources = [source for source in sources if not args.splits or source.split in args.splits]
    first = sources[0]
    for source in sources:
        check_split_name(source.split)
        if source.dim != first.dim:
            raise ValueError(f"{source.path} has {source.dim} numbers per frame, {first.path} has {first.dim}")
    root = args.output_path.expanduser() / (args.name or f"apc_mel{first.dim}")
    check_folder(root)
    info = StoreInfo(
        dtype=args.dtype, row_shape=[first.dim], frame_shift=args.frame_shift, made_by={"imported": "APC log mel"}
    )
    failures = [failure for source in sources for failure in _import(source, root, info)]
    if failures:
        reason = f"{failures[0].path}: {failures[0].reason}"
        print(f"{len(failures)} not used, see {root / 'errors.csv'}; the first: {reason}", file=sys.stderr)
    return 1 if failures else 0


def _import(source: Source, root: Path, info: StoreInfo) -> list[Failure]:
    """Write one split, in the alphabetical order of its ids."""
    rows = [_row(entry.id, entry.length) for entry in sorted(source.entries, key=lambda entry: entry.id)]
    writer = StoreWriter.open(root, source.split, rows, info)
    place = {rows[i].id: i for i in writer.pending()}
    for name in [name for name, i in place.items() if not rows[i].length]:
        writer.fail(place.pop(name), "no frames")
    found = tqdm(source.read(list(place)), source.split, len(place), unit="utt", disable=None)
    for name, frames in found:
        _store(writer, place[name], frames)
    writer.finish()
    failures = writer.failures()
    lost = {failure.path for failure in failures}
    kept = [row.length for row in rows if row.path not in lost]
    print(f"{root / source.split}: {len(kept)} utterances, {sum(kept)} frames of {source.dim}, {len(lost)} failed")
    return failures


def _row(name: str, length: int) -> Row:
    speaker = LIBRISPEECH_ID.fullmatch(name)
    return Row(name, length, 0, speaker[1] if speaker else "", name)


def _store(writer: StoreWriter, row: int, frames: np.ndarray | BrokenUtterance) -> None:
    try:
        if isinstance(frames, BrokenUtterance):
            raise frames
        writer.write(row, frames)
    except ValueError as error:
        writer.fail(row, str(error).rpartition(f"{writer.files}: ")[2])


if __name__ == "__main__":
    run(main)
