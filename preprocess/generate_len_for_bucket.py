"""Any folder of audio, or a manifest, to tables of lengths: what training straight from audio reads."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.options import add_recordings, corpus_parser, recordings
from utility.command import run
from utility.flags import folder_name


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings cannot be used, which errors.csv lists with the reason; else 0."""
    parser = corpus_parser(
        prog="generate_len_for_bucket.py",
        description=f"{__doc__}\nOnly headers are read. Folders with the word train, dev, test or the like in their "
        "names are splits; without them all is one split, `all`.",
        example="python preprocess/generate_len_for_bucket.py --data_path=corpora/LibriSpeech --splits dev-clean",
        data_path="data/LibriSpeech",
    )
    parser.add_argument("--name", type=folder_name, default="len_for_bucket", help="the folder of the tables")
    add_recordings(parser)
    command = parser.read(argv)
    flags = recordings(command)
    root, n_jobs = command.values["output_path"].expanduser() / command.values["name"], command.values["n_jobs"]

    from preprocess.parts.lengths import write_tables  # heavy, and wanted only now

    return write_tables(flags, root, n_jobs, command.values["dry_run"])


if __name__ == "__main__":
    run(main)
