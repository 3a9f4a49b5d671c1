"""Places that refuse, company, inputs that change, loops, pipes, devices and odd names, through the commands.

A command may refuse in one line, or do the right thing; what it may not is hang, print a traceback, leave something
half-written or mix two inputs."""

import itertools
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaign import names, stores
from tests.campaign.jobs import Bench, Failure, Job, References, Result, go_on
from tests.campaign.scenarios import BY_NAME, SCENARIOS, Scenario, split
from tests.campaign.verdicts import compare, complaint, files_of
from tests.campaign.world import RATE, sound
from tests.campaign.zygote import Outcome, Zygote

COLUMNS = ("runs", "well", "traceback or hang", "wrong outputs", "unclear", "seconds of many files", "MB of many files")
NOBODY = 65534  # a user who may write only what is everybody's
ALONE = [scenario for scenario in SCENARIOS if len(scenario.commands) == 1]


def jobs(references: References, scenarios: Sequence[Scenario] = SCENARIOS) -> Iterator[Job]:
    """All kinds of faults in turn, each with another scenario every time."""
    alone = [scenario for scenario in scenarios if scenario in ALONE] or ALONE
    kinds: list[tuple[str, Callable[[Bench, random.Random, int], Result]]] = [
        ("company", lambda bench, rng, n: company(bench, rng, alone[n % len(alone)], references)),
        ("same_name", lambda bench, rng, n: same_name(bench, rng)),
        ("changed_corpus", lambda bench, rng, n: changed_corpus(bench, rng, n)),
        ("loops_and_devices", lambda bench, rng, n: loops_and_devices(bench, n)),
        ("odd_names", lambda bench, rng, n: names.odd_name(bench, n)),
        ("other_frames", lambda bench, rng, n: result("other_frames", 1, stores.other_frames(bench, rng, n))),
    ]
    if can_change_user():
        kinds.append(("read_only", lambda bench, rng, n: read_only(bench, alone[n % len(alone)])))
        kinds.append(("unwritable", lambda bench, rng, n: unreadable(bench, rng, alone[n % len(alone)], references)))
    yield Job("faults/many_files/0", lambda bench, rng: many_files(bench))
    for number in itertools.count():
        for name, work in kinds:

            def one(bench: Bench, rng: random.Random, work=work, number: int = number) -> Result:
                return work(bench, rng, number)

            yield Job(f"faults/{name}/{number}", one)


def can_change_user() -> bool:
    """Whether commands can be run as somebody who is refused."""
    mapped = [int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return os.geteuid() == 0 and max(mapped) > NOBODY


def result(row: str, runs: int, failures: Sequence[Failure]) -> Result:
    """The counts of a fault."""
    kinds = [failure.what for failure in failures]
    loud = sum(kind in ("traceback", "hang", "too much memory") or kind.startswith("signal") for kind in kinds)
    wrong = kinds.count("wrong outputs")
    well = max(runs - len(failures), 0)
    return Result(row, dict(zip(COLUMNS, (runs, well, loud, wrong, len(kinds) - loud - wrong))), tuple(failures))


def judged(outcome: Outcome, codes: Sequence[int] = (0, 1, 2)) -> list[Failure]:
    """What is wrong with a command's end, as failures."""
    what = complaint(outcome) or (None if outcome.code in codes else f"exit {outcome.code}")
    return [Failure(what, (outcome.stderr or outcome.stdout)[-1500:])] if what else []


def read_only(bench: Bench, scenario: Scenario) -> Result:
    """A folder in which nobody may write: one line, and nothing new."""
    place = bench.place("here")
    outcome = bench.run(
        scenario.words(0, bench.world), place, f"as user {NOBODY}", user=NOBODY, prepare=scenario.prepare,
        environment={"HOME": "/nonexistent", "NUMBA_CACHE_DIR": "/tmp"},
    )  # fmt: skip
    failures = judged(outcome, (2,))
    if any(place.iterdir()):
        failures.append(Failure("wrong outputs", f"new in a read-only folder: {', '.join(files_of(place))}"))
    return result("read_only", 1, failures)


def unreadable(bench: Bench, rng: random.Random, scenario: Scenario, references: References) -> Result:
    """One output file made unreadable or unwritable, the command repeated: one line, or the same outputs."""
    wanted, _ = references.of(scenario, bench)
    place = bench.folder / "here"
    shutil.copytree(wanted, place)
    paths = sorted(path for path in place.rglob("*") if path.is_file())
    chosen, mode = rng.choice(paths), rng.choice((0o000, 0o444))
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    chosen.chmod(mode)
    environment = {"HOME": "/nonexistent", "NUMBA_CACHE_DIR": "/tmp"}
    note = f"as user {NOBODY}, {chosen.relative_to(place)} of mode {mode:o}"
    outcome = go_on(bench, scenario, 0, place, note, user=NOBODY, environment=environment)
    failures = judged(outcome)
    if outcome.code == 2 and "damaged" in outcome.stderr:
        failures.append(Failure("called damaged", outcome.stderr))
    if outcome.code == 0 and not (verdict := compare(place, wanted)).same:
        failures.append(Failure("wrong outputs", str(verdict)))
    return result("unwritable", 1, failures)


def many_files(bench: Bench) -> Result:
    """The figures of very many recordings."""
    failures, outcomes = stores.many_files(bench)
    seconds = round(sum(outcome.seconds for outcome in outcomes))
    memory = max(outcome.peak_rss for outcome in outcomes) >> 20
    base = result("many_files", len(outcomes), failures)
    figures = {"seconds of many files": seconds, "MB of many files": memory}
    return Result(base.row, {**base.counts, **figures}, base.failures)


class Second:
    """One more zygote, for the second of two commands at once."""

    lock = threading.Lock()
    zygote: Zygote | None = None

    @classmethod
    def beside(cls, first: Callable[[], Outcome], second: Callable[[Zygote], Outcome]) -> tuple[Outcome, Outcome]:
        """What two commands gave that ran side by side."""
        with cls.lock:
            cls.zygote = cls.zygote or Zygote()
            kept: list[Outcome] = []
            thread = threading.Thread(target=lambda: kept.append(first()))
            thread.start()
            other = second(cls.zygote)
            thread.join()
            return kept[0], other

    @classmethod
    def close(cls) -> None:
        """End it."""
        if cls.zygote is not None:
            cls.zygote.close()
            cls.zygote = None


def company(bench: Bench, rng: random.Random, scenario: Scenario, references: References) -> Result:
    """The same command twice at once: right outputs, and a loser who says one line."""
    wanted, (seconds,) = references.of(scenario, bench)
    place, words = bench.place("here"), scenario.words(0, bench.world)
    for command in scenario.before:
        bench.run(split(command, bench.world), place)
    delay = rng.choice((0.0, 0.3, 0.7)) * seconds

    def late(zygote: Zygote) -> Outcome:
        threading.Event().wait(delay)
        bench.typed.append(f"# the same, {delay:.2f} s later, at the same time")
        return zygote.run(words, place, prepare=scenario.prepare, timeout=120)

    outcomes = Second.beside(lambda: bench.run(words, place, prepare=scenario.prepare), late)
    failures = [failure for outcome in outcomes for failure in judged(outcome, (0, 2))]
    if all(outcome.code for outcome in outcomes):
        failures.append(Failure("none of two ends well", "; ".join(outcome.stderr for outcome in outcomes)))
    verdict = compare(place, wanted)
    if not verdict.same or verdict.leftovers:
        failures.append(Failure("wrong outputs", str(verdict)))
    return result("company", 2, failures)


def same_name(bench: Bench, rng: random.Random) -> Result:
    """Two trainings of one name and different seeds at once: one of them is refused."""
    place, base = bench.place("here"), BY_NAME["train_w0"]
    words = [[*base.words(0, bench.world), "--seed", str(seed)] for seed in (1, 2)]
    delay = rng.uniform(0, 0.5)

    def late(zygote: Zygote) -> Outcome:
        threading.Event().wait(delay)
        bench.typed.append(f"# {delay:.2f} s later with --seed 2")
        return zygote.run(words[1], place, prepare=base.prepare, timeout=120)

    outcomes = Second.beside(lambda: bench.run(words[0], place, prepare=base.prepare), late)
    failures = [failure for outcome in outcomes for failure in judged(outcome, (0, 2))]
    if [outcome.code for outcome in outcomes].count(0) != 1:
        codes = " and ".join(str(outcome.code) for outcome in outcomes)
        failures.append(Failure("wrong outputs", f"two trainings of one name end with {codes}: one must be refused"))
    else:
        winner = [outcome.code for outcome in outcomes].index(0)
        alone = bench.place("alone")
        bench.run(words[winner], alone, prepare=base.prepare)
        if not (verdict := compare(place, alone)).same:
            failures.append(Failure("wrong outputs", str(verdict)))
    return result("same_name", 2, failures)


CHANGES = ("more", "fewer", "longer", "shorter", "other sound", "other name", "a folder instead", "empty")


def changed_corpus(bench: Bench, rng: random.Random, number: int) -> Result:
    """A recording changes after a kill: the command refuses, or its store is that of the changed corpus."""
    import soundfile

    change = CHANGES[number % len(CHANGES)]
    corpus, place = bench.folder / "flat", bench.place("here")
    shutil.copytree(bench.world / "flat", corpus)
    words = f"preprocess/preprocess_any.py --data_path {corpus} --name out --n_jobs 1".split()
    bench.run(words, place, "killed", kill_after=rng.uniform(0.08, 0.16))
    first, last = corpus / "s0/u0.wav", corpus / "s0/u4.flac"
    seconds = soundfile.info(first).duration
    if change == "more":
        soundfile.write(corpus / "s0/new.wav", sound([77], 0.3), RATE)
    elif change == "fewer":
        last.unlink()
    elif change == "other name":
        first.rename(first.with_name("renamed.wav"))
    elif change == "a folder instead":
        first.unlink()
        first.mkdir()
    elif change == "empty":
        first.write_bytes(b"")
    else:
        longer = {"longer": 0.1, "shorter": -0.1}.get(change, 0.0)
        soundfile.write(first, sound([77], seconds + longer), RATE)
    bench.typed.append(f"# the corpus changes: {change}")
    outcome = bench.run(words, place)
    failures = judged(outcome)
    if outcome.code != 2:
        fresh = bench.place("fresh")
        other = bench.run(words, fresh, "elsewhere, undisturbed")
        verdict = compare(place, fresh)
        if outcome.code != other.code or not verdict.same:
            failures.append(Failure("wrong outputs", f"{change}: exit {outcome.code}, not {other.code}; {verdict}"))
    return result("changed_corpus", 1, failures)


def _loops(root: Path) -> None:
    (root / "flat/s0/loop").symlink_to("..")


def _two_loops(root: Path) -> None:
    (root / "flat/s0/loop").symlink_to("..")
    (root / "flat/s1/loop").symlink_to("..")


def _pipe(root: Path) -> None:
    os.mkfifo(root / "flat/s0/pipe.wav")


def _device(root: Path) -> None:
    (root / "flat/s0/zero.wav").symlink_to("/dev/zero")


def _nowhere(root: Path) -> None:
    (root / "flat/s0/gone.wav").symlink_to("nowhere.wav")


def _itself(root: Path) -> None:
    (root / "flat/s0/itself.wav").symlink_to("itself.wav")


def _file_pipe(root: Path) -> None:
    os.mkfifo(root / "config.yaml")


def _file_device(root: Path) -> None:
    (root / "config.yaml").symlink_to("/dev/zero")


TREES = (_loops, _two_loops, _pipe, _device, _nowhere, _itself)
ON_TREES = (
    "preprocess/preprocess_any.py --data_path {f}/flat --name out --n_jobs 1",
    "preprocess/generate_len_for_bucket.py --data_path {f}/flat --n_jobs 1",
    "runner_mockingjay.py --extract --cpu --no-msg --output states --ckpt {w}/ckpt/base/best.ckpt --input {f}/flat",
)
FILES = (_file_pipe, _file_device)
ON_FILES = (
    "runner_mockingjay.py --train --cpu --no-msg --config {f}/config.yaml",
    "runner_mockingjay.py --info {f}/config.yaml",
    "run_downstream.py --cpu --run phone_linear --upstream baseline --config {f}/config.yaml",
    "preprocess/preprocess_alignment.py --data_path {f}/config.yaml --format ctm --name out",
    "preprocess/preprocess_apc.py --data_path {f}/config.yaml",
    "preprocess/preprocess_any.py --data_path {f}/config.yaml",
)


def loops_and_devices(bench: Bench, number: int) -> Result:
    """Links that lead back, pipes and devices: each recording once, no hang."""
    cases = [*itertools.product(TREES, ON_TREES), *itertools.product(FILES, ON_FILES)]
    disturb, command = cases[number % len(cases)]
    place = bench.place("here")
    shutil.copytree(bench.world / "flat", bench.folder / "flat")
    disturb(bench.folder)
    bench.typed.append(f"# in {bench.folder}: {disturb.__name__.strip('_')}")
    words = [word.replace("{f}", str(bench.folder)) for word in split(command, bench.world)]
    outcome = bench.run(words, place, timeout=20)
    failures = judged(outcome)
    tables = [path for path in place.rglob("*.csv") if path.name != "errors.csv"]
    many = [path for path in tables if len(path.read_text().splitlines()) > 1 + 5]
    if many:
        rows = len(many[0].read_text().splitlines()) - 1
        failures.append(Failure("wrong outputs", f"{rows} rows in {many[0].name} for 5 recordings"))
    return result("loops_and_devices", 1, failures)
