"""Extraction from audio, again and again: whole, in shards, killed and gone on with. All must be one file."""

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign.jobs import Bench, Failure, Job, References, Result
from tests.campaign.scenarios import EXTRACT, Scenario, split
from tests.campaign.verdicts import complaint

COLUMNS = ("rounds", "whole runs", "in shards", "killed runs", "different files", "other trouble")
COMMAND = f"{EXTRACT}/base/best.ckpt --input {{w}}/libri --layer all"
WHOLE = 10
KILLED = (None,) * 4


def jobs(references: References, scenarios: Sequence[Scenario] = ()) -> Iterator[Job]:
    """Rounds without end."""
    for number in itertools.count():
        yield Job(f"extraction/libri/{number}", one_round)


def one_round(bench: Bench, rng: random.Random) -> Result:
    """Ten whole runs, shards, and killed runs that are gone on with."""
    words, digests, failures = split(COMMAND, bench.world), set(), []
    plans: list[list[list[str]] | None] = [[[]] for _ in range(WHOLE)]
    plans += [[["--shard", f"{part}/{of}"] for part in order] for of in (2, 3) for order in _orders(of)]
    seconds, kills = 0.5, 0
    for number, plan in enumerate([*plans, *KILLED]):
        place = bench.place(f"run{number}")
        if plan is None:
            for _ in range(rng.randint(1, 3)):
                outcome = bench.run(words, place, "killed", kill_after=rng.uniform(0.06, seconds))
                kills += outcome.killed
        for more in plan or [[]]:
            outcome = bench.run([*words, *more], place)
            if outcome.code or complaint(outcome):
                failures.append(Failure("other trouble", outcome.stderr[-1500:]))
            seconds = outcome.seconds if plan == [[]] else seconds
        digests.add(_digest(place / "states"))
    if len(digests) != 1:
        failures.append(Failure("different files", f"{len(digests)} different folders of states"))
    trouble = len(failures) - (len(digests) != 1)
    values = (1, WHOLE, len(plans) - WHOLE, kills, len(digests) - 1, trouble)
    return Result("libri", dict(zip(COLUMNS, values)), tuple(failures))


def _orders(count: int) -> list[list[int]]:
    """The parts first to last, and last to first."""
    parts = list(range(1, count + 1))
    return [parts, parts[::-1]]


def _digest(folder: Path) -> str:
    """Of the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return total.hexdigest()
