"""Full disks: a command in a place that is too small for its outputs, then room, then the command again.

The place is a file system in memory of so many bytes, or of so many files, so that every write and every new file is
refused in turn. Where none can be mounted, files are limited in size instead (RLIMIT_FSIZE), and the table says so.
The command must end in one line and leave nothing half-written; resumed, its outputs must be those of an undisturbed
run."""

import itertools
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign.jobs import Bench, Failure, Job, References, Result, go_on, prepare_before
from tests.campaign.scenarios import SCENARIOS, Scenario
from tests.campaign.verdicts import UNFINISHED, compare, complaint
from tests.campaign.zygote import Outcome

COLUMNS = (
    "full disks",
    "of them file limits",
    "ended well",
    "other bits",
    "traceback or hang",
    "unclear",
    "left files",
)
NAMELESS = re.compile(r"^[\w.]+\.py: No space left on device$", re.MULTILINE)
PAGE = 4096
ROOM = 1 << 30


def can_mount() -> bool:
    """Whether a file system in memory can be mounted here, and one of fewer files too."""
    with tempfile.TemporaryDirectory() as folder:
        if not _mount(Path(folder), "size=64k,nr_inodes=20"):
            return False
        changed = _mount(Path(folder), "remount,size=128k,nr_inodes=30")
        return subprocess.run(["umount", folder], check=False).returncode == 0 and changed


def _mount(place: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def jobs(references: References, scenarios: Sequence[Scenario] = SCENARIOS) -> Iterator[Job]:
    """Disks without end, one for each scenario in turn."""
    mounts = can_mount()
    for number in itertools.count():
        for scenario in scenarios:

            def work(bench: Bench, rng: random.Random, scenario: Scenario = scenario) -> Result:
                return fill(bench, rng, scenario, references, mounts)

            yield Job(f"disk/{scenario.name}/{number}", work)


def fill(bench: Bench, rng: random.Random, scenario: Scenario, references: References, mounts: bool) -> Result:
    """One disk: full, then wide."""
    wanted, _ = references.of(scenario, bench)
    place = bench.place("here")
    files = list(wanted.rglob("*"))
    sizes = [-(-path.stat().st_size // PAGE) for path in files if path.is_file()]
    if not mounts:
        largest = max(path.stat().st_size for path in files if path.is_file())
        options, limit = "", {"FSIZE": rng.randrange(1, largest)}
    elif rng.random() < 0.75:
        options, limit = f"size={PAGE * rng.randint(1, max(sum(sizes), 2))}", {}
    else:
        options, limit = f"nr_inodes={rng.randint(2, len(files) + 2)}", {}
    if mounts and not _mount(place, f"size={ROOM}"):
        raise OSError(f"{place}: tmpfs cannot be mounted any more")
    try:
        prepare_before(scenario, bench, place)
        if mounts:
            _mount(place, f"remount,{options}")  # not below what lies there already
        first = [go_on(bench, scenario, n, place, f"with {options or limit}", limits=limit) for n in _numbers(scenario)]
        left = [name.relative_to(place).as_posix() for name in place.rglob("*")]
        if mounts and not _mount(place, f"remount,size={ROOM},nr_inodes=100000"):
            raise OSError(f"{place}: no room can be made")
        last = [go_on(bench, scenario, n, place, "with room again") for n in _numbers(scenario)]
        return _judge(scenario, first, last, left, compare(place, wanted), bool(limit))
    finally:
        if mounts:
            _keep_outputs(place, bench)


def _numbers(scenario: Scenario) -> range:
    return range(len(scenario.commands))


def _keep_outputs(place: Path, bench: Bench) -> None:
    """What lay on the disk, in a folder that stays."""
    subprocess.run(["cp", "-a", str(place), str(bench.folder / "disk")], check=False)
    subprocess.run(["umount", str(place)], check=False)


def _judge(
    scenario: Scenario, first: list[Outcome], last: list[Outcome], left: list[str], verdict: object, limited: bool
) -> Result:
    failures = []
    for outcome in first:
        said = (outcome.stderr or outcome.stdout)[-1500:]
        if (what := complaint(outcome)) or outcome.code not in (0, 2):
            failures.append(Failure(what or f"exit {outcome.code}", f"on the full disk: {said}"))
        elif outcome.code == 2 and NAMELESS.search(outcome.stderr):
            failures.append(Failure("names no file", said))
    half = [name for name in left if UNFINISHED.search(name)]
    if half:
        failures.append(Failure("left files", f"after the full disk: {', '.join(half)}"))
    for outcome in last:
        if outcome.code or complaint(outcome):
            failures.append(Failure("does not go on", f"exit {outcome.code}: {outcome.stderr[-1500:]}"))
    if not verdict.same or verdict.leftovers:  # type: ignore[attr-defined]
        failures.append(Failure("other bits", str(verdict)))
    kinds = [failure.what for failure in failures]
    bits, files = kinds.count("other bits") + kinds.count("does not go on"), kinds.count("left files")
    loud = sum(kind in ("traceback", "hang") or kind.startswith("signal") for kind in kinds)
    values = (1, limited, not failures, bits, loud, len(kinds) - bits - files - loud, files)
    return Result(scenario.name, dict(zip(COLUMNS, map(int, values))), tuple(failures))
