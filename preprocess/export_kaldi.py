"""Splits of a store as Kaldi's data directories, or as the `.blogmel` files that APC's program reads."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import Parser

DESCRIPTION = f"""{__doc__}
A directory holds feats.scp, cmvn.scp, utt2spk, spk2utt, utt2num_frames and a block for PyTorch-Kaldi. Features and
representations of one layer are written as they are read: normalised as features.yaml says."""


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog="export_kaldi.py",
        description=DESCRIPTION,
        epilog="example:\n  python preprocess/export_kaldi.py --store data/mine/train --prefix_speaker",
    )
    parser.add_argument(
        "--store", type=Path, nargs="+", required=True, metavar="PATH", help="store/split, or a store: all its splits"
    )
    about = "where a folder for each split appears (default: the store's folder and -kaldi, or -blogmel)"
    parser.add_argument("--output_path", type=Path, metavar="DIR", help=about)
    about = "kaldi: data directories; blogmel: text files SPLIT-hires-norm.blogmel"
    parser.add_argument("--format", choices=("kaldi", "blogmel"), default="kaldi", help=about)
    about = "paths in scp files from their folder on, so that it can be moved (default: absolute)"
    parser.add_boolean("--relative", help=about)
    parser.add_boolean("--prefix_speaker", help="call utterances speaker-utterance, as Kaldi wants them")
    parser.add_argument("--text", type=Path, metavar="DIR", help="a folder by preprocess_text.py: the texts of all")
    about = "Kaldi's compression of features; it loses digits, speech more of them"
    parser.add_argument("--compress", choices=("none", "speech", "two_byte"), default="none", help=about)
    parser.add_boolean("--dry_run", help="print what would be written, and end")
    return parser


def main(argv: Sequence[str]) -> int:
    """Write every split; 0."""
    command = make_parser().read(argv)
    if command.values["format"] == "blogmel":
        for name in ("relative", "prefix_speaker", "text", "compress"):
            if name in command.typed:
                raise ValueError(f"--format blogmel would not use {command.typed[name]}: leave it out")

    from preprocess.parts.kaldi_export import Exporting, export  # heavy, and wanted only now

    return export(command.fill(Exporting))


if __name__ == "__main__":
    run(main)
