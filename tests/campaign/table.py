"""The table at the end: of this run, and of all runs that are written down in result/torture/runs.jsonl."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.campaign.jobs import HOME, Result
from tests.campaign.zygote import PROJECT

Counts = dict[str, Counter[str]]  # row -> column -> number


def add_up(results: Iterable[Result]) -> Counts:
    """The counts of each row."""
    rows: Counts = {}
    for result in results:
        rows.setdefault(result.row, Counter()).update(result.counts)
    return rows


def markdown(title: str, rows: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> str:
    """A table with a line of sums."""
    total = {column: sum(counts.get(column, 0) for counts in rows.values()) for column in columns}
    lines = [f"| {title} | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for name, counts in [*rows.items(), ("**all**", total)]:
        lines.append(f"| {name} | {' | '.join(str(counts.get(column, 0)) for column in columns)} |")
    return "\n".join(lines)


def commit() -> str:
    """What is tested: the commit, with a + where files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain") else "")


def write_down(campaign: str, seed: int, rows: Counts, version: str, home: Path = HOME) -> None:
    """Add a run to runs.jsonl."""
    home.mkdir(parents=True, exist_ok=True)
    record = {"commit": version, "seed": seed, "campaign": campaign, "counts": rows}
    with (home / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def written_down(campaign: str, version: str | None = None, home: Path = HOME) -> Counts:
    """The sums over all runs of a campaign, or over those of one commit."""
    rows: Counts = {}
    path = home / "runs.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        record = json.loads(line)
        if record["campaign"] == campaign and version in (None, record["commit"]):
            for row, counts in record["counts"].items():
                rows.setdefault(row, Counter()).update(counts)
    return rows
