"""What every campaign is made of: jobs that a seed determines, done side by side within a budget, failures kept."""

import itertools
import random
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.scenarios import Scenario, split
from tests.campaign.verdicts import complaint
from tests.campaign.zygote import PROJECT, Outcome, Zygote

HOME = PROJECT / "result" / "torture"
PATIENCE = 120  # seconds for a command that takes one; the machine may be busy


@dataclass(frozen=True)
class Failure:
    """Something that must not be: `what` in a few words, `said` what was expected and what was seen."""

    what: str
    said: str


@dataclass(frozen=True)
class Result:
    """What a job adds to the row `row` of its campaign's table, and what failed."""

    row: str
    counts: Mapping[str, int]
    failures: tuple[Failure, ...] = ()


@dataclass
class Bench:
    """Where a job works: an empty `folder` of its own, the `world`, and what it typed so far."""

    zygote: Zygote
    folder: Path
    world: Path
    typed: list[str] = field(default_factory=list)

    def run(self, words: Sequence[str], cwd: Path, note: str = "", **options: object) -> Outcome:
        """A command in the folder `cwd`; it is written down with the `note`."""
        options = {"timeout": PATIENCE, **options}
        outcome = self.zygote.run(words, cwd, **options)  # type: ignore[arg-type]
        lines = (outcome.stdout + outcome.stderr).strip().splitlines()
        end = f"exit {outcome.code} after {outcome.seconds:.2f} s{': ' + lines[-1][:300] if lines else ''}"
        self.typed.append(f"cd {shlex.quote(str(cwd))} && python {shlex.join(words)}   # {note or 'to its end'}; {end}")
        return outcome

    def place(self, name: str) -> Path:
        """A new empty folder."""
        path = self.folder / name
        path.mkdir()
        return path


@dataclass(frozen=True)
class Job:
    """`name` (campaign/row/number) and the seed of the run determine what `work` does."""

    name: str
    work: Callable[[Bench, random.Random], Result]


class References:
    """What scenarios leave undisturbed, and how long they take: made when first asked for, once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.locks: dict[str, threading.Lock] = {}
        self.made: dict[str, tuple[Path, tuple[float, ...]]] = {}

    def of(self, scenario: Scenario, bench: Bench) -> tuple[Path, tuple[float, ...]]:
        """The folder of the outputs, and seconds of each command."""
        with self.locks.setdefault(scenario.name, threading.Lock()):
            if scenario.name not in self.made:
                place = self.folder / scenario.name
                place.mkdir(parents=True)
                prepare_before(scenario, bench, place)
                outcomes = []
                for number in range(len(scenario.commands)):
                    outcomes.append(
                        bench.zygote.run(
                            scenario.words(number, bench.world), place, prepare=scenario.prepare, timeout=PATIENCE
                        )
                    )
                    if outcomes[-1].code or complaint(outcomes[-1]):
                        raise RuntimeError(f"{scenario.name} fails undisturbed: {outcomes[-1]}")
                self.made[scenario.name] = place, tuple(outcome.seconds for outcome in outcomes)
            return self.made[scenario.name]


def prepare_before(scenario: Scenario, bench: Bench, place: Path) -> None:
    """What was there before the first command."""
    for command in scenario.before:
        outcome = bench.zygote.run(split(command, bench.world), place, prepare=scenario.prepare, timeout=PATIENCE)
        if outcome.code:
            raise RuntimeError(f"{scenario.name}: {outcome}")


def go_on(bench: Bench, scenario: Scenario, number: int, place: Path, note: str = "", **options: object) -> Outcome:
    """A command of a scenario as a user types it again: with `--resume`, or without where that finds no run."""
    words = scenario.words(number, bench.world)
    options = {"prepare": scenario.prepare, **options}
    if not scenario.resumes or not any(place.iterdir()):
        return bench.run(words, place, note, **options)
    outcome = bench.run([*words, "--resume"], place, note, **options)
    return bench.run(words, place, note, **options) if outcome.code == 2 and not complaint(outcome) else outcome


def do_jobs(
    jobs: Iterator[Job], zygotes: Sequence[Zygote], world: Path, seed: int, seconds: float, most: int | None = None
) -> list[tuple[Job, Result]]:
    """Do jobs until the time or their number is spent, as many at once as there are zygotes; what fails is kept."""
    ends, lock, done = time.monotonic() + seconds, threading.Lock(), []
    limited, errors = itertools.islice(jobs, most), []

    def work(zygote: Zygote) -> None:
        try:
            while time.monotonic() < ends and not errors:
                with lock:
                    job = next(limited, None)
                if job is None:
                    return
                result = do_job(job, zygote, world, seed)
                with lock:
                    done.append((job, result))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(zygote,)) for zygote in zygotes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return done


def do_job(job: Job, zygote: Zygote, world: Path, seed: int) -> Result:
    """One job in a folder of its own, which is kept where something failed."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    folder.chmod(0o755)
    bench = Bench(zygote, folder, world)
    try:
        result = job.work(bench, random.Random(f"{seed}/{job.name}"))
        if result.failures:
            keep(job, bench, result, seed)
        return result
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def keep(job: Job, bench: Bench, result: Result, seed: int, home: Path | None = None) -> Path:
    """Copy what a failure needs to result/torture/<campaign>-<number>: inputs, outputs, what was typed and expected."""
    home = home or HOME
    home.mkdir(parents=True, exist_ok=True)
    campaign = job.name.partition("/")[0]
    for number in itertools.count():
        kept = home / f"{campaign}-{number}"
        try:
            kept.mkdir()
            break
        except FileExistsError:
            continue
    subprocess.run(["cp", "-a", str(bench.folder), str(kept / "outputs")], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["cp", "-a", str(bench.world), str(kept / "world")], check=False, stderr=subprocess.DEVNULL)
    again = f"python -m tests.campaign --seed {seed} --job {shlex.quote(job.name)}"
    said = "\n".join(f"# {failure.what}: {failure.said}" for failure in result.failures)
    typed = "\n".join(bench.typed)
    (kept / "command.txt").write_text(
        f"{again}\n\n{said}\n\n# What was typed; {bench.world} is world, {bench.folder} is outputs.\n{typed}\n",
        encoding="utf-8",
    )
    return kept
