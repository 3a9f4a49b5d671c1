"""Fuzz: mutated files and words through the commands, each judged, every failure kept with what repeats it.

    python -m tests.campaign.fuzz --seed 0 --inputs 10000 --jobs 2 --output result/torture
    python -m tests.campaign.fuzz --repeat result/torture/fuzz-configs-17

Input k of family f of seed s is the same on every machine."""

import argparse
import json
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.attempts import Place, attempt, generator, repeat
from tests.campaign.families import audio, checkpoints, configs, labels, stores
from tests.campaign.families.base import Family
from tests.campaign.fuzz_world import build_world
from tests.campaign.judge import COLUMNS, HUGE
from tests.campaign.zygote import PROJECT, Zygote

FAMILIES: dict[str, tuple[int, Family]] = {  # name: (share in 1000, its inputs)
    "yaml": (140, configs.configs), "words": (100, configs.command_words), "alignment": (90, labels.alignment_files),
    "alignment_folder": (40, labels.alignment_folders), "store": (60, stores.stores), "table": (50, stores.tables),
    "kaldi": (40, stores.kaldi), "apc": (40, stores.apc), "bits": (50, checkpoints.bits), "checkpoint": (60,
    checkpoints.structure),
    "foreign": (40, checkpoints.foreign), "pickle": (40, checkpoints.pickles), "export": (35, checkpoints.exports),
    "probe": (35, checkpoints.probes),
}  # fmt: skip
AUDIO, AUDIO_SHARE = "audio", 180


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
                    for columns in audio.run_folder(zygote, place, seed, number):
                        tally.add(family, columns)
                else:
                    made = FAMILIES[family][1](place.world, generator(seed, family, number))
                    tally.add(family, attempt(zygote, place, made, f"{family}-{number}"))
            except Exception:  # of the campaign itself; it is counted, and seen
                print(f"{family}-{number}: the campaign failed", traceback.format_exc(), file=sys.stderr)
                tally.add(family, ["campaign failed"])


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
    said = f"{total} inputs in {seconds / 60:.1f} minutes ({settings})"
    said += f"; {huge} legal but huge settings took too long or too much memory, which is no failure"
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
