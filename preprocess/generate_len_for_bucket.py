"""Any folder of audio, or a manifest, to tables of lengths: what training straight from audio reads."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.parts.corpora import Corpus
from preprocess.parts.options import add_recordings, corpus_parser, recordings, say_notes
from utility.audio.headers import scan
from utility.command import run
from utility.files import check_folder, replace_file
from utility.store.files import Failure, SplitFiles, table_bytes, write_errors

COLUMNS = ("id", "path", "speaker", "duration", "rate", "num_samples")  # duration in seconds, the rest as in the file


def main(argv: Sequence[str]) -> int:
    """Returns 1 when some recordings cannot be used, which errors.csv lists with the reason; else 0."""
    parser = corpus_parser(
        prog="generate_len_for_bucket.py",
        description=f"{__doc__}\nOnly headers are read. Folders with the word train, dev, test or the like in their "
        "names are splits; without them all is one split, `all`.",
        example="python preprocess/generate_len_for_bucket.py --data_path=corpora/LibriSpeech --splits dev-clean",
        data_path="data/LibriSpeech",
    )
    parser.add_argument("--name", default="len_for_bucket", help="the folder of the tables")
    add_recordings(parser)
    args = parser.parse_args(argv)
    corpus = recordings(parser, args)
    root = args.output_path.expanduser() / args.name
    check_folder(root)
    splits = [SplitFiles(root, split) for split in corpus.splits]
    if splits[0].info.exists():
        raise ValueError(f"{root} is a feature store: choose another --name")
    say_notes(corpus, args.splits)
    failures = [failure for files in splits for failure in write_lengths(corpus, files, args.n_jobs)]
    if failures:
        first = f"{failures[0].path}: {failures[0].reason}"
        print(f"{len(failures)} not used, see {root / 'errors.csv'}; the first: {first}", file=sys.stderr)
    return 1 if failures else 0


def write_lengths(corpus: Corpus, files: SplitFiles, n_jobs: int) -> list[Failure]:
    """Write the table of one split, and what is wrong with the recordings that it leaves out."""
    utterances = corpus.of(files.split)
    headers = scan([corpus.root / utterance.path for utterance in utterances], files.split, n_jobs)
    rows, failures, seconds = [], [], 0.0
    for utterance, (num_samples, rate, reason) in zip(utterances, headers):
        if reason:
            failures.append(Failure(utterance.path, reason))
            continue
        path, duration = (corpus.root / utterance.path).as_posix(), num_samples / rate
        rows.append((utterance.id, path, utterance.speaker, f"{duration:.6f}", rate, num_samples))
        seconds += duration
    replace_file(files.table, table_bytes(COLUMNS, rows))
    write_errors(files, failures)
    print(f"{files.table}: {len(rows)} recordings, {seconds / 3600:.2f} hours, {len(failures)} failed", flush=True)
    return failures


if __name__ == "__main__":
    run(main)
