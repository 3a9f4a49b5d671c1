"""Tables of lengths: what training straight from audio reads. Only headers are read."""

import sys
from pathlib import Path

from preprocess.parts.corpora import Corpus
from preprocess.parts.options import RecordingFlags
from preprocess.parts.stores import find_recordings, list_unread, say_notes
from utility.audio.headers import scan
from utility.files import check_folder, remove_leftovers, replace_file
from utility.store.files import Failure, SplitFiles, write_errors
from utility.tables import table_bytes

LENGTH_COLUMNS = ("id", "path", "speaker", "duration", "rate", "num_samples")  # seconds; the rest as in the file


def write_tables(flags: RecordingFlags, root: Path, n_jobs: int, dry_run: bool) -> int:
    """Write a table for each split; 1 when some recordings cannot be used, which errors.csv lists with the reason."""
    corpus = find_recordings(flags)
    check_folder(root)
    splits = [SplitFiles(root, split) for split in corpus.splits]
    if splits[0].info.exists():
        raise ValueError(f"{root} is a feature store: choose another --name")
    say_notes(corpus, flags.splits)
    failures = [failure for files in splits for failure in _write(corpus, files, n_jobs, dry_run)]
    if dry_run:
        print(f"dry run: nothing is written; the output would go to {root}")
        return 1 if failures else 0
    list_unread(corpus, root)
    remove_leftovers(root)
    if failures:
        first = f"{failures[0].path}: {failures[0].reason}"
        print(f"{len(failures)} not used, see {root / 'errors.csv'}; the first: {first}", file=sys.stderr)
    return 1 if failures else 0


def _write(corpus: Corpus, files: SplitFiles, n_jobs: int, dry_run: bool) -> list[Failure]:
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
    if not dry_run:
        replace_file(files.table, table_bytes(LENGTH_COLUMNS, rows))
        write_errors(files, failures)
    print(f"{files.table}: {len(rows)} recordings, {seconds / 3600:.2f} hours, {len(failures)} failed", flush=True)
    return failures
