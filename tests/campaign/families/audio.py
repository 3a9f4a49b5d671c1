"""Recordings, in folders through preprocess_any.py, and file by file where a whole folder stops."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.campaign.families.base import Input
from tests.campaign.judge import ACCEPTED, CLEAN, Expected, judged, tree
from tests.campaign.mutations.audio import KINDS, Damaged, Seed, damaged
from tests.campaign.zygote import Zygote

if TYPE_CHECKING:
    from tests.campaign.fuzz import Place, Tally

IN_FOLDER = 20
RATE = 16_000
LONGEST = 50  # times the seconds of the sound recording: a header of 1 kHz makes 44.1 kHz 44 times longer
ENDINGS = ("wav", "flac", "mp3", "ogg", "opus", "sph", "aif", "aiff", "au", "caf", "w64")
FEATURES = ("fbank", "mel", "mfcc", "linear", "kaldi_fbank")


def recordings(world: Path) -> list[Seed]:
    """The sound recordings of the world."""
    from tests.campaign.mutations.audio import seeds

    kinds = [f"{form} {subtype}" for form, subtype, _ in KINDS * 2]
    made = seeds(np.random.default_rng(0))
    assert [seed.kind for seed in made] == kinds
    return made


_SEEDS: list[Seed] = []


def folder_of(seed: int, number: int, world: Path) -> list[Damaged]:
    """The recordings of one folder."""
    from tests.campaign.fuzz import generator

    if not _SEEDS:
        _SEEDS.extend(recordings(world))
    rng = generator(seed, "audio", number)
    return [damaged(_SEEDS[rng.integers(len(_SEEDS))], k, rng) for k in range(IN_FOLDER)]


def input_of(files: Sequence[Damaged], number: int) -> Input:
    """The command that reads them: features of five kinds, or lengths alone."""
    data = {f"in/{file.name}": file.data for file in files}
    if number % 6 == 5:
        words: tuple[str, ...] = ("preprocess/generate_len_for_bucket.py", "--name", "out", "--n_jobs", "1")
    else:
        words = (
            "preprocess/preprocess_any.py",
            "--name",
            "out",
            "--n_jobs",
            "1",
            "--feature_type",
            FEATURES[number % 6],
        )
    what = "; ".join(file.how for file in files)
    return Input((*words, "--data_path", "in", "--audio_extension", *ENDINGS), what, data)


def run_folder(zygote: Zygote, place: "Place", seed: int, number: int, tally: "Tally") -> None:
    """Run a folder and judge every file of it; where the command did not end well, each file alone."""
    files = folder_of(seed, number, place.world)
    verdicts = _attempt(zygote, place, files, number, f"audio-{number}")
    if verdicts is not None:
        for columns in verdicts:
            tally.add("audio", columns)
        return
    alone_fails = False
    for file in files:
        alone = _attempt(zygote, place, [file], number, f"audio-{number}-{file.name.partition('.')[0]}")
        columns = alone[0] if alone else ["stops the job"]
        alone_fails |= alone is None or not {CLEAN, ACCEPTED} & set(columns)
        tally.add("audio", columns)
    if not alone_fails:
        tally.add("audio folder", ["stops the job"])


def _attempt(
    zygote: Zygote, place: "Place", files: Sequence[Damaged], number: int, name: str
) -> list[list[str]] | None:
    """The columns of each file; None where the command as a whole went wrong (of one file: kept)."""
    from tests.campaign.fuzz import keep, lay_out

    made = input_of(files, number)
    folder = place.scratch / name
    here = lay_out(folder, place.world, made)
    try:
        before = tree(folder)
        outcome = zygote.run(made.words, here)
        columns = judged(outcome, before, tree(folder), Expected())
        if outcome.code not in (0, 1) or not {CLEAN, ACCEPTED} & set(columns):
            wrong = columns if not {CLEAN, ACCEPTED} & set(columns) else []
            keep(place.kept / f"fuzz-{name}", here, made, outcome, [*wrong, "stops the job"])
            return [[*wrong, "stops the job"]] if len(files) == 1 else None
        verdicts = [_of_file(file, here / "data/out") for file in files]
        for file, verdict in zip(files, verdicts):
            if not {CLEAN, ACCEPTED} & set(verdict):
                single = input_of([file], number)
                keep(place.kept / f"fuzz-{name}-{file.name.partition('.')[0]}", here, single, outcome, verdict)
        return verdicts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_file(file: Damaged, store: Path) -> list[str]:
    """What became of one recording: refused with a reason, or taken, and then finite and of a plausible length."""
    refused = {Path(row["path"]).name: row["reason"] for row in _rows(store / "errors.csv")}
    taken = {
        Path(row["path"]).name: row for path in store.glob("*.csv") if path.name != "errors.csv" for row in _rows(path)
    }
    if file.name in refused:
        return ["long line"] if len(refused[file.name]) > 300 else [CLEAN] if refused[file.name] else ["odd values"]
    if file.name not in taken:
        return ["lost without a word"]
    if file.lacking:
        return ["damaged accepted"]
    row = taken[file.name]
    seconds = int(row["num_samples"]) / float(row.get("rate") or RATE)
    if seconds > LONGEST * file.seconds:
        return ["odd values"]
    frames = _frames(store, row)
    return [ACCEPTED] if frames is None or np.isfinite(frames).all() else ["odd values"]


def _frames(store: Path, row: dict[str, str]) -> np.ndarray | None:
    arrays = list(store.glob("*.npy"))
    if not arrays or "offset" not in row:
        return None
    first = int(row["offset"])
    return np.load(arrays[0], mmap_mode="r")[first : first + int(row["length"])]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
