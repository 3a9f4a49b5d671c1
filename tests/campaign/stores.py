"""Stores that change under what was made from them, and a corpus of very many recordings."""

import os
import random
import shutil
import struct
from pathlib import Path

import numpy as np

from tests.campaign.jobs import Bench, Failure
from tests.campaign.scenarios import EXTRACT, PHONES, PROBE, split
from tests.campaign.verdicts import compare, complaint
from tests.campaign.world import PARTS, RATE
from tests.campaign.zygote import Outcome

MANY = 20_000  # recordings
FOLDERS = 100
SAMPLES = 1200
CHANGES = ("in place", "another file", "an older file")
USES = ("--extract again", "--extract after a kill", "a probe with a cache", "a probe after a kill")


def other_frames(bench: Bench, rng: random.Random, number: int) -> list[Failure]:
    """A store gets other frames under the same table: what is made from it is made again, or refused in one line."""
    change, use = CHANGES[number % len(CHANGES)], USES[number // len(CHANGES) % len(USES)]
    store, place = bench.folder / "mel", bench.place("here")
    shutil.copytree(bench.world / "data/mel", store)
    before, after, part = _words(bench, store, use)
    kill = {"kill_after": rng.uniform(0.1, 0.4)} if use.endswith("kill") else {}
    bench.run(before, place, "killed" if kill else "", **kill)
    for name in PARTS:
        _change(store / f"{name}.npy", change, rng.randrange(1 << 30))
    bench.typed.append(f"# the frames of {store} change: {change}")
    outcome, fresh = bench.run(after, place), bench.place("fresh")
    if what := complaint(outcome):
        return [Failure(what, outcome.stderr[-1500:])]
    if outcome.code == 2:
        return []
    other = bench.run([word for word in after if word != "--resume=auto"], fresh, "elsewhere, undisturbed")
    if other.code:
        return [Failure(f"exit {other.code}", f"undisturbed: {other.stderr[-1500:]}")]
    verdict = compare(place / part, fresh / part)
    return [] if verdict.same else [Failure("wrong outputs", f"{use}, frames changed {change}: {verdict}")]


def _words(bench: Bench, store: Path, use: str) -> tuple[list[str], list[str], str]:
    """What is typed before and after the change, and where the outputs are that must be those of the new frames."""
    if use.startswith("--extract"):
        command = [*split(f"{EXTRACT}/mel/best.ckpt --layer all --input", bench.world), str(store / "train")]
        return command, command, "states"
    probe = split(f"{PROBE} {PHONES} --weighted_sum", bench.world)
    probe += [f"data.{part}=[{store / part}]" for part in PARTS]
    if use.endswith("kill"):
        return probe, [*probe, "--resume=auto"], "exp"
    return probe, [word if word != "run" else "other" for word in probe], "exp/other"


def _change(path: Path, change: str, seed: int) -> None:
    """Other numbers in the array file `path`, of the same shape."""
    frames = np.load(path)
    noise = np.random.default_rng(seed).standard_normal(frames.shape).astype(frames.dtype)
    if change == "in place":
        array = np.load(path, mmap_mode="r+")
        array[:] = noise
        array.flush()
        return
    new = path.with_suffix(".new.npy")
    np.save(new, noise)
    new.replace(path)
    if change == "an older file":
        os.utime(path, (1e9, 1e9))


def many_files(bench: Bench) -> tuple[list[Failure], list[Outcome]]:
    """A store and a table of lengths of very many tiny recordings: neither memory nor time runs away."""
    rng, place = np.random.default_rng(0), bench.place("here")
    header = b"RIFF" + struct.pack("<I", 36 + 2 * SAMPLES) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16
    ) + b"data" + struct.pack("<I", 2 * SAMPLES)  # fmt: skip
    for number in range(MANY):
        folder = bench.folder / "many" / f"s{number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        samples = rng.integers(-9000, 9000, SAMPLES, dtype=np.int16)
        (folder / f"u{number}.wav").write_bytes(header + samples.tobytes())
    corpus = str(bench.folder / "many")
    store = ["preprocess/preprocess_any.py", "--data_path", corpus, "--name", "out", "--n_jobs", "2"]
    lengths = ["preprocess/generate_len_for_bucket.py", "--data_path", corpus, "--n_jobs", "2"]
    outcomes = [bench.run(words, place, timeout=300) for words in (store, store, lengths)]
    failures = [
        Failure(complaint(outcome) or f"exit {outcome.code}", (outcome.stderr or outcome.stdout)[-1500:])
        for outcome in outcomes
        if outcome.code or complaint(outcome)
    ]
    rows = [len(path.read_text().splitlines()) - 1 for path in place.rglob("*.csv") if path.name != "errors.csv"]
    if not failures and set(rows) != {MANY}:
        failures.append(Failure("wrong outputs", f"tables of {rows} rows for {MANY} recordings"))
    shutil.rmtree(bench.folder / "many")
    return failures, outcomes
