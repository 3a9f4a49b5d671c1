"""Kaldi's data directories, or matrices made by Kaldi, to a feature store."""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.options import feature_parser, making
from utility.command import run
from utility.flags import Command, Parser, folder_name
from utility.text import short

MATRICES = ("--feats", "--ark", "--recipe")  # any of them: matrices come in, nothing is computed
NEEDED = {  # flags that only some of these use
    "data_dir": ("--feats",),
    "root": ("--feats",),
    "allow_commands": ("--feats", "--recipe"),
    "features": ("--feats",),
    "kaldi_root": ("--recipe",),
    "utt2spk": ("--ark",),
}
RECIPES = ("libri", "timit", "voxceleb")
PROG = "preprocess_kaldi.py"


def recordings_parser() -> Parser:
    """The command line for recordings."""
    parser = feature_parser(
        prog=PROG,
        description=f"{__doc__} A directory is a split, and has wav.scp; segments and\nutt2spk are read where they are "
        f"there. For matrices see {PROG} --feats --help.",
        example="python preprocess/preprocess_kaldi.py --data_dir data/train data/dev --name=mine_fbank80",
        data_path=None,
        feature_type="fbank",
        delta=False,
        one=False,
    )
    _add_directories(parser)
    parser.add_argument("--text", type=folder_name, metavar="NAME", help="the directories' text as a text folder, too")
    return parser


def matrices_parser() -> Parser:
    """The command line for matrices."""
    parser = Parser(
        prog=PROG,
        description="Matrices made by Kaldi to a feature store: feats.scp of data directories, archives, or the files "
        f"that a recipe leaves.\nFor recordings see {PROG} --help.",
        epilog=f"example:\n  python preprocess/{PROG} --feats --data_dir data/train --kind fmllr --name mine_fmllr",
    )
    _add_directories(parser)
    parser.add_boolean("--feats", help="the matrices in feats.scp of each --data_dir")
    parser.add_argument("--ark", type=Path, nargs="+", metavar="FILE", help="archives (.ark, .gz), all of one --split")
    parser.add_argument("--recipe", choices=RECIPES, help="what Kaldi's recipe leaves below --kaldi_root")
    parser.add_argument("--kaldi_root", type=Path, metavar="DIR", help="where Kaldi is installed")
    parser.add_argument(
        "--apply_cmvn", choices=("none", "utterance", "speaker"), default="none",
        help="take off the mean by the statistics in cmvn.scp, of each speaker of utt2spk or of each utterance",
    )  # fmt: skip
    parser.add_boolean("--norm_vars", help="divide by the deviation, too")
    parser.add_argument("--cmvn_file", type=Path, metavar="FILE", help="statistics, .scp or .ark, instead of cmvn.scp")
    parser.add_argument("--utt2spk", type=Path, metavar="FILE", help="speakers, of archives")
    about = "what they are, as fmllr: a checkpoint made on them takes no others (default: that of the recipe, or kaldi)"
    parser.add_argument("--kind", metavar="NAME", help=about)
    parser.add_argument(
        "--features", choices=("kaldi_fbank", "kaldi_mfcc"),
        help="say that they are what is computed here; 20 utterances of --data_dir are computed again and compared",
    )  # fmt: skip
    parser.add_argument("--deltas", type=int, choices=(0, 1, 2), default=0, help="of --features: derivatives in them")
    parser.add_argument("--frame_shift", type=float, default=0.01, metavar="SECONDS", help="from frame to frame")
    parser.add_argument("--frame_offset", type=float, default=0.0125, metavar="SECONDS", help="to the first centre")
    parser.add_argument("--output_path", type=Path, default=Path("data"), help="where the store's folder appears")
    parser.add_argument("--name", type=folder_name, help="the store's folder (default: of the recipe, or the kind)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="numbers on disk")
    parser.add_boolean("--dry_run", help="print what would be made of which files, and end")
    return parser


def _add_directories(parser: Parser) -> None:
    parser.add_argument("--data_dir", type=Path, nargs="+", default=[], metavar="DIR", help="Kaldi's data directories")
    about = "the splits, one name for each directory (default: the directories' names, - for _)"
    parser.add_argument("--split", nargs="+", default=[], metavar="NAME", help=about)
    about = "relative paths start here (default: at the working directory; what is not there, beside the list)"
    parser.add_argument("--root", type=Path, metavar="DIR", help=about)
    parser.add_boolean("--allow_commands", help="run the shell commands in the lists: only if you trust them")


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some utterances have no features, which errors.csv lists with the reason; else 0."""
    if any(word.partition("=")[0] in MATRICES for word in argv):
        command = matrices_parser().read(argv)
        _check(command)

        from preprocess.parts.kaldi_features import Importing, import_matrices  # heavy, and wanted only now

        return import_matrices(command.fill(Importing))
    return _extracted(recordings_parser().read(argv))


def _check(command: Command) -> None:
    """ValueError for flags of matrices that do not go together."""
    values, typed = command.values, command.typed
    chosen = [name for name in MATRICES if values[name.removeprefix("--")]]
    if len(chosen) != 1:
        raise ValueError(
            f"one of {', '.join(MATRICES)} says where the matrices are, got {' and '.join(chosen) or 'none'}"
        )
    for name, takers in NEEDED.items():
        if name in typed and chosen[0] not in takers:
            raise ValueError(f"{chosen[0]} would not use {typed[name]}: it goes with {' or '.join(takers)}")
    if chosen[0] == "--feats" and not values["data_dir"]:
        raise ValueError("--feats needs --data_dir, the directories with feats.scp")
    if chosen[0] == "--ark" and len(values["split"]) != 1:
        raise ValueError("--ark needs --split NAME, one name for all archives")
    if chosen[0] == "--recipe" and values["kaldi_root"] is None:
        raise ValueError("--recipe needs --kaldi_root DIR, the folder that has egs/")
    for name in ("norm_vars", "cmvn_file"):
        if values[name] and values["apply_cmvn"] == "none":
            raise ValueError(f"{typed[name]} needs --apply_cmvn speaker, or utterance")
    if not (0 < values["frame_shift"] < 10 and 0 <= values["frame_offset"] < 10):
        raise ValueError("--frame_shift is above 0 s, --frame_offset 0 s or more, both below 10 s")
    if values["kind"] is not None and not re.fullmatch(r"\w[\w.+-]*", values["kind"]):
        raise ValueError(f"--kind {short(values['kind'])}: one word of letters, digits, '-', '_', '.' and '+'")
    if values["features"] is None and "deltas" in typed:
        raise ValueError(f"{typed['deltas']} is of --features, which says what the matrices are")
    if values["features"] is not None:
        _check_features(command)


def _check_features(command: Command) -> None:
    """ValueError for what --features says already, and for normalisation that is not computed here."""
    for name in ("kind", "frame_shift", "frame_offset"):
        if name in command.typed:
            raise ValueError(f"--features says it already: leave out {command.typed[name]}")
    how, whole = command.values["apply_cmvn"], command.values["norm_vars"]
    if (how, whole) not in (("none", False), ("utterance", True)):
        raise ValueError("--features takes no --apply_cmvn, or --apply_cmvn utterance --norm_vars, as computed here")


def _extracted(command: Command) -> int:
    """Features of the recordings of data directories."""
    values = command.values
    if not values["data_dir"]:
        raise ValueError("which corpus? --data_dir, or for matrices --ark or --recipe")
    flags = making(command, "kaldi", usual_delta=False, splits=())

    from preprocess.parts.kaldi import (
        Unpacked,
        kaldi,
        split_folders,
        text_files,
        write_texts,
    )  # heavy, and wanted only now
    from preprocess.parts.stores import extract, features_of, store_root

    folders = split_folders([path.expanduser() for path in values["data_dir"]], values["split"])
    folder = store_root(flags, features_of(flags)).absolute() / "unpacked"
    allowed = values["allow_commands"]
    texts = text_files(folders) if values["text"] else []
    if flags.dry_run:
        with tempfile.TemporaryDirectory() as other:
            unpacked = Unpacked(folder=Path(other), allow_commands=allowed, run_commands=False, threads=flags.n_jobs)
            return extract(kaldi(folders, unpacked, values["root"]), flags)
    corpus = kaldi(folders, Unpacked(folder=folder, allow_commands=allowed, threads=flags.n_jobs), values["root"])
    if texts:
        print(write_texts(texts, flags.output_path / values["text"]))
    return extract(corpus, flags)


if __name__ == "__main__":
    run(main)
