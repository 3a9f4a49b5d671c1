"""Campaigns of kills, hostile inputs, full disks, faults and load against every command (`make torture`).

Each runs for its share of the minutes. What fails is kept in result/torture with the command that repeats it; a table
of this run, and of all runs so far, is printed at the end. Exit code 1 says that something failed."""

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign import disk, extraction, faults, kills, load, table
from tests.campaign.jobs import HOME, Job, References, Result, do_job, do_jobs
from tests.campaign.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.campaign.world import build_world
from tests.campaign.zygote import Zygote

CAMPAIGNS: dict[str, tuple[tuple[str, ...], Callable[[References, tuple[Scenario, ...]], Iterator[Job]]]] = {
    "kills": (kills.COLUMNS, kills.jobs),
    "disk": (disk.COLUMNS, disk.jobs),
    "faults": (faults.COLUMNS, faults.jobs),
    "extraction": (extraction.COLUMNS, extraction.jobs),
    "load": (load.COLUMNS, load.jobs),
}


def main() -> int:
    """Run what the command line says."""
    flags = _flags()
    campaigns = [name for name in flags.only.split(",") if name] or list(CAMPAIGNS)
    unknown = [name for name in campaigns if name not in CAMPAIGNS]
    if unknown:
        raise SystemExit(f"unknown campaign {unknown[0]}: there are {', '.join(CAMPAIGNS)}")
    chosen = tuple(BY_NAME[name] for name in flags.scenarios.split(",") if name) or SCENARIOS
    with tempfile.TemporaryDirectory(prefix="torture-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        world = build_world(folder / "world", flags.seed)
        references = References(folder / "undisturbed")
        zygotes = [stack.enter_context(Zygote()) for _ in range(1 if flags.job else flags.jobs)]
        if flags.job:
            return _repeat(flags.job, zygotes[0], references, world, flags.seed)
        failed = 0
        for campaign in campaigns:
            columns, make = CAMPAIGNS[campaign]
            share = 60 * flags.minutes / len(campaigns)
            done = do_jobs(make(references, chosen), zygotes, world, flags.seed, share, flags.count)
            failed += _report(campaign, columns, [result for _, result in done], flags.seed)
    return int(failed > 0)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for all campaigns together")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn; runs of other seeds add up")
    parser.add_argument("--only", default="", help=f"some of {','.join(CAMPAIGNS)}")
    parser.add_argument("--count", type=int, help="most jobs of each campaign")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--scenarios", default="", help="names, comma-separated; without them all")
    parser.add_argument("--job", default="", help="repeat one job, named as in a command.txt")
    return parser.parse_args()


def _repeat(name: str, zygote: Zygote, references: References, world: Path, seed: int) -> int:
    campaign, row, _ = name.split("/", 2)
    chosen = (BY_NAME[row],) if row in BY_NAME else SCENARIOS
    job = next(job for job in CAMPAIGNS[campaign][1](references, chosen) if job.name == name)
    result = do_job(job, zygote, world, seed)
    for failure in result.failures:
        print(f"{failure.what}: {failure.said}")
    print(f"{name}: {dict(result.counts)}")
    return int(bool(result.failures))


def _report(campaign: str, columns: tuple[str, ...], results: list[Result], seed: int) -> int:
    """Print the tables of a campaign and write its counts down; the number of failures."""
    version, rows = table.commit(), table.add_up(results)
    table.write_down(campaign, seed, rows, version)
    print(table.markdown(campaign, dict(sorted(rows.items())), columns))
    for name, kind in ((f"this commit ({version})", version), ("all commits", None)):
        print(f"{campaign}, {name}: {_sums(table.written_down(campaign, kind), columns)}")
    failures = [(result.row, failure) for result in results for failure in result.failures]
    for (row, what), count in sorted(Counter((row, failure.what) for row, failure in failures).items()):
        print(f"{row}: {what}: {count}")
    if failures:
        print(f"kept in {HOME}")
    print(flush=True)
    return len(failures)


def _sums(rows: table.Counts, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{sum(counts[column] for counts in rows.values())} {column}" for column in columns)


if __name__ == "__main__":
    sys.exit(main())
