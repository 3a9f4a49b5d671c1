"""Fuzz: mutated files and words through the commands, each judged, every failure kept with what repeats it.

    python -m tests.campaign.fuzz --seed 0 --inputs 10000 --jobs 2 --output result/torture
    python -m tests.campaign.fuzz --repeat result/torture/fuzz-configs-17

Input k of family f of seed s is the same on every machine."""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.campaign.families import audio, checkpoints, configs, labels, stores
from tests.campaign.families.base import Family, Input
from tests.campaign.fuzz_world import build_world
from tests.campaign.judge import ACCEPTED, CLEAN, COLUMNS, HUGE, judged, tree
from tests.campaign.zygote import PROJECT, Outcome, Zygote

FAMILIES: dict[str, tuple[int, Family]] = {  # name: (share in 1000, its inputs)
    "yaml": (140, configs.configs), "words": (100, configs.command_words), "alignment": (90, labels.alignment_files),
    "alignment_folder": (40, labels.alignment_folders), "store": (60, stores.stores), "table": (50, stores.tables),
    "kaldi": (40, stores.kaldi), "apc": (40, stores.apc), "bits": (50, checkpoints.bits), "checkpoint": (60, checkpoints.structure),
    "foreign": (40, checkpoints.foreign), "pickle": (40, checkpoints.pickles), "export": (35, checkpoints.exports),
    "probe": (35, checkpoints.probes),
}  # fmt: skip
AUDIO, AUDIO_SHARE = "audio", 180
EVENTS = 40  # characters of a message by which failures are gathered


@dataclass
class Tally:
    """What was counted, by family and column, and the failures in words."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, family: str, columns: Sequence[str]) -> None:
        with self.lock:
            self.counts[family].update(["inputs", *columns])

    def table(self) -> str:
        """The counts in markdown, a row for each family and one for all."""
        names = ("inputs", *COLUMNS)
        total: Counter[str] = sum(self.counts.values(), Counter())
        rows = [(name, self.counts[name]) for name in self.counts] + [("**all**", total)]
        lines = ["| campaign | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
        lines += [f"| {name} | " + " | ".join(str(counts[column]) for column in names) + " |" for name, counts in rows]
        return "\n".join(lines)


@dataclass(frozen=True)
class Place:
    """Where a campaign works: the sound files, scratch folders, and where failures are kept."""

    world: Path
    scratch: Path
    kept: Path


def run_fuzz(
    kept: Path, seed: int, inputs: int, jobs: int = 2, minutes: float = float("inf"), only: Sequence[str] = ()
) -> Tally:
    """Run `inputs` inputs in all, by the families' shares; the failures go below `kept`."""
    tally, end = Tally(), time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place = Place(build_world(Path(folder) / "world"), Path(folder), kept)
        kept.mkdir(parents=True, exist_ok=True)
        work = _plan(inputs, only)
        threads = [threading.Thread(target=_work, args=(work, place, seed, tally, end)) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tally


def _plan(inputs: int, only: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Families and numbers, all families advancing together, so that a budget that ends early has some of each."""
    shares = {name: share for name, (share, _) in FAMILIES.items()} | {AUDIO: AUDIO_SHARE}
    shares = {name: share for name, share in shares.items() if not only or name in only}
    counts = {name: round(inputs * share / sum(shares.values())) for name, share in shares.items()}
    counts |= {AUDIO: -(-counts[AUDIO] // audio.IN_FOLDER)} if AUDIO in counts else {}
    order = sorted(((k + 0.5) / count, name, k) for name, count in counts.items() for k in range(count))
    return _Shared([(name, k) for _, name, k in order])


class _Shared:
    """A list whose next item goes to whichever thread asks first."""

    def __init__(self, items: Sequence[tuple[str, int]]):
        self.items, self.lock = iter(items), threading.Lock()

    def __iter__(self) -> "_Shared":
        return self

    def __next__(self) -> tuple[str, int]:
        with self.lock:
            return next(self.items)


def _work(work: Iterator[tuple[str, int]], place: Place, seed: int, tally: Tally, end: float) -> None:
    with Zygote() as zygote:
        for family, number in work:
            if time.monotonic() > end:
                return
            try:
                if family == AUDIO:
                    audio.run_folder(zygote, place, seed, number, tally)
                else:
                    made = FAMILIES[family][1](place.world, generator(seed, family, number))
                    tally.add(family, attempt(zygote, place, made, f"{family}-{number}"))
            except Exception:  # of the campaign itself; it is counted, and seen
                print(f"{family}-{number}: the campaign failed", traceback.format_exc(), file=sys.stderr)
                tally.add(family, ["campaign failed"])


def generator(seed: int, family: str, number: int) -> np.random.Generator:
    """The draws of one input."""
    return np.random.default_rng([seed, zlib.crc32(family.encode()), number])


def attempt(zygote: Zygote, place: Place, made: Input, name: str) -> list[str]:
    """Run one input and judge it; a failure is kept under its `name`."""
    folder = place.scratch / name
    here = lay_out(folder, place.world, made)
    try:
        before = tree(folder)
        outcome = zygote.run(made.words, here)
        columns = judged(outcome, before, tree(folder), made.expected)
        if columns == [ACCEPTED] and made.same and not _same(here / made.same[0], place.world / made.same[1]):
            columns = ["other weights"]
        if not {CLEAN, ACCEPTED} & set(columns):
            keep(place.kept / f"fuzz-{name}", here, made, outcome, columns)
        return columns
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lay_out(folder: Path, world: Path, made: Input) -> Path:
    """The working folder of an input, some folders below `folder`, so that `..` stays in it."""
    here = folder / "a" / "b" / "here"
    here.mkdir(parents=True)
    if made.own_world:
        shutil.copytree(world, here / "world")
    else:
        (here / "world").symlink_to(world)
    for name, data in made.files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    for name in made.pipes:
        os.mkfifo(here / name)
    return here


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def keep(folder: Path, here: Path, made: Input, outcome: Outcome, columns: Sequence[str]) -> None:
    """Keep a failure: its files, the command, what was wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in made.files.items():
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_bytes(data)
    pipes = "".join(f"mkfifo {shlex.quote(name)}\n" for name in made.pipes)
    command = shlex.join(["python", f"$PROJECT/{made.words[0]}", *made.words[1:]]).replace("'$PROJECT", "$PROJECT'", 1)
    (folder / "command.txt").write_text(
        f"# in a copy of files/, beside a link `world` to what tests.campaign.fuzz --world DIR makes\n{pipes}{command}\n"
        f"# or: python -m tests.campaign.fuzz --repeat {folder}\n",
        errors="surrogateescape",
    )
    words = [word.encode("utf-8", "surrogateescape").decode("latin-1") for word in made.words]
    about = {
        "columns": list(columns), "what": made.what, "words": words, "pipes": made.pipes, "own_world": made.own_world,
        "lacking": made.expected.lacking, "huge": made.expected.huge, "same": made.same, "code": outcome.code,
        "seconds": round(outcome.seconds, 2), "peak_rss": outcome.peak_rss,
    }  # fmt: skip
    (folder / "outcome.json").write_text(json.dumps(about, indent=1) + "\n")
    (folder / "stderr.txt").write_text(outcome.stderr, errors="surrogateescape")
    (folder / "stdout.txt").write_text(outcome.stdout[-5000:], errors="surrogateescape")
    left = [name for name in tree(here) if not name.startswith("world/") and name not in made.files]
    (folder / "left.txt").write_text("\n".join(sorted(left)) + "\n", errors="surrogateescape")


def repeat(folder: Path) -> list[str]:
    """Run a kept failure again and judge it."""
    from tests.campaign.judge import Expected

    about = json.loads((folder / "outcome.json").read_text())
    words = tuple(word.encode("latin-1").decode("utf-8", "surrogateescape") for word in about["words"])
    files = {str(p.relative_to(folder / "files")): p.read_bytes() for p in (folder / "files").rglob("*") if p.is_file()}
    same = tuple(about["same"]) if about["same"] else None
    expected = Expected(about["lacking"], about["huge"])
    made = Input(words, about["what"], files, expected, same, tuple(about["pipes"]), about["own_world"])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, Zygote() as zygote:
        place = Place(build_world(Path(scratch) / "world"), Path(scratch), Path(scratch) / "kept")
        columns = attempt(zygote, place, made, folder.name)
        kept = place.kept / f"fuzz-{folder.name}" / "stderr.txt"
        print(kept.read_text() if kept.exists() else "", end="")
    return columns


def gathered(kept: Path) -> str:
    """The kept failures, alike ones together: how many, which column, the last line of stderr, the first's name."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in sorted(kept.glob("fuzz-*/outcome.json")):
        about = json.loads(path.read_text())
        lines = [line for line in (path.parent / "stderr.txt").read_text(errors="replace").splitlines() if line.strip()]
        family = path.parent.name.split("-")[1]
        last = _plain(lines[-1]) if lines else f"exit {about['code']}"
        groups[family, ", ".join(about["columns"]), last].append(f"{path.parent.name} [{about['what']}]")
    rows = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1])))
    return "\n".join(
        f"{len(names):4} {family}: {columns}: {last}\n       {names[0][:150]}"
        for (family, columns, last), names in rows
    )


def _plain(line: str) -> str:
    """A message without what differs from input to input."""
    return "".join("#" if letter.isdigit() else letter for letter in line[:110])


def summary(tally: Tally, seconds: float, settings: Mapping[str, object]) -> str:
    """The table, with what was run."""
    total = sum(counts["inputs"] for counts in tally.counts.values())
    huge = sum(counts[HUGE] for counts in tally.counts.values())
    said = f"{total} inputs in {seconds / 60:.1f} minutes ({settings}); {huge} legal but huge settings took too long or too much"
    return f"{tally.table()}\n\n{said}\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--only", nargs="+", default=[], choices=[*FAMILIES, AUDIO])
    parser.add_argument("--output", type=Path, default=PROJECT / "result" / "torture")
    parser.add_argument("--repeat", type=Path, metavar="FAILURE", help="run a kept failure again")
    parser.add_argument("--world", type=Path, metavar="DIR", help="make the sound files there, and end")
    told = parser.parse_args()
    if told.world:
        print(build_world(told.world))
    elif told.repeat:
        print(", ".join(repeat(told.repeat)))
    else:
        start = time.monotonic()
        tally = run_fuzz(told.output, told.seed, told.inputs, told.jobs, told.minutes, told.only)
        print(gathered(told.output))
        print(summary(tally, time.monotonic() - start, {"seed": told.seed}))


if __name__ == "__main__":
    main()
