"""Recordings, in folders through preprocess_any.py, and file by file where a whole folder stops."""

import csv
import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.campaign.attempts import Place, changes, generator, keep, lay_out
from tests.campaign.families.base import Input
from tests.campaign.judge import ACCEPTED, CLEAN, LONGEST_LINE, Expected, is_failure, judged, tree
from tests.campaign.mutations.audio import Damaged, Seed, damaged, seeds
from tests.campaign.zygote import Zygote

IN_FOLDER = 20
RATE = 16_000
LONGEST = 50  # times the seconds of the sound recording: a header of 1 kHz makes 44.1 kHz 44 times longer
ENDINGS = ("wav", "flac", "mp3", "ogg", "opus", "sph", "aif", "aiff", "au", "caf", "w64")
FEATURES = ("fbank", "mel", "mfcc", "linear", "kaldi_fbank")
UNTOLD = "FLAC"  # a cut one is known when it is decoded: its header is whole, and says nothing of the file's size
STOPS = "stops the job"


@functools.cache
def recordings() -> Sequence[Seed]:
    """The sound recordings."""
    return seeds(np.random.default_rng(0))


def folder_of(seed: int, number: int) -> list[Damaged]:
    """The recordings of one folder."""
    rng = generator(seed, "audio", number)
    sound = recordings()
    return [damaged(sound[int(rng.integers(len(sound)))], k, rng) for k in range(IN_FOLDER)]


def input_of(files: Sequence[Damaged], number: int) -> Input:
    """The command that reads them: features of five kinds, or lengths alone."""
    data = {f"in/{file.name}": file.data for file in files}
    words: tuple[str, ...] = ("preprocess/generate_len_for_bucket.py",)
    if number % 6 < len(FEATURES):
        words = ("preprocess/preprocess_any.py", "--feature_type", FEATURES[number % 6])
    words = (*words, "--name", "out", "--n_jobs", "1", "--data_path", "in", "--audio_extension", *ENDINGS)
    return Input(words, "; ".join(file.how for file in files), data)


def run_folder(zygote: Zygote, place: Place, seed: int, number: int) -> list[list[str]]:
    """Run a folder; the columns of every file of it. Where the command as a whole went wrong each file runs alone."""
    files, name = folder_of(seed, number), f"audio-{number}"
    verdicts = _attempt(zygote, place, files, number, name)
    if verdicts is not None:
        return verdicts
    alone = [_attempt(zygote, place, [file], number, f"{name}-{_stem(file)}") for file in files]
    singles = [columns[0] for columns in alone if columns]
    if not any(map(is_failure, singles)):  # it takes several files to go wrong: the first stands for all
        singles[0] = [STOPS]
    return singles


def _stem(file: Damaged) -> str:
    return file.name.partition(".")[0]


def _attempt(zygote: Zygote, place: Place, files: Sequence[Damaged], number: int, name: str) -> list[list[str]] | None:
    """The columns of each file; None where the command as a whole went wrong, for more than one file."""
    made = input_of(files, number)
    folder = place.scratch / name
    here = lay_out(folder, place.world, made)
    try:
        before = tree(folder)
        outcome = zygote.run(made.words, here)
        after = tree(folder)
        columns, changed = judged(outcome, before, after, Expected()), changes(before, after)
        if outcome.code not in (0, 1) or is_failure(columns):
            columns = [*(columns if is_failure(columns) else []), STOPS]
            keep(place.kept(name), made, outcome, columns, changed)
            return [columns] if len(files) == 1 else None
        verdicts = [_of_file(file, here / "data/out") for file in files]
        for file, verdict in zip(files, verdicts):
            if is_failure(verdict):
                kept = place.kept(f"audio-{number}-{_stem(file)}")
                keep(kept, input_of([file], number), outcome, verdict, changed)
        return verdicts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_file(file: Damaged, store: Path) -> list[str]:
    """What became of one recording: refused with a reason, or taken, and then finite and of a plausible length."""
    is_header_alone = not list(store.glob("*.npy"))
    refused = {Path(row["path"]).name: row["reason"] for row in _rows(store / "errors.csv")}
    tables = [path for path in store.glob("*.csv") if path.name != "errors.csv"]
    taken = {Path(row["path"]).name: row for path in tables for row in _rows(path)}
    if file.name in refused:
        return ["long line"] if len(refused[file.name]) > LONGEST_LINE else [CLEAN]
    if file.name not in taken:
        return ["odd values"]  # lost without a word
    if file.lacking and not (is_header_alone and file.how.startswith(UNTOLD)):
        return ["damaged accepted"]
    row = taken[file.name]
    seconds = int(row["num_samples"]) / float(row.get("rate") or RATE)
    return [ACCEPTED] if 0 < seconds <= LONGEST * file.seconds and _finite(store, row) else ["odd values"]


def _finite(store: Path, row: Mapping[str, str]) -> bool:
    arrays = list(store.glob("*.npy"))
    if not arrays or "offset" not in row:
        return True
    first = int(row["offset"])
    frames = np.load(arrays[0], mmap_mode="r")[first : first + int(row["length"])]  # [T, D]
    return bool(np.isfinite(frames).all())


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
