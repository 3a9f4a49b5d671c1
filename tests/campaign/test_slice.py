"""A small slice of the campaigns, and that their judges can fail: a command that misbehaves is caught."""

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign import disk, extraction, faults, kills, shared_memory, table
from tests.campaign.jobs import Bench, Job, References, Result, do_job
from tests.campaign.scenarios import BY_NAME, Scenario, scenario
from tests.campaign.verdicts import UNFINISHED, compare, complaint
from tests.campaign.world import build_world
from tests.campaign.zygote import ENVIRONMENT, PROJECT, Outcome, Zygote

pytestmark = pytest.mark.slow
SEED = 3
QUICK = ("any_jobs2", "train_w0", "extract_audio", "probe_baseline", "alignment_again", "lengths")
BEGINNING = "import os, sys, time, pathlib\nout = pathlib.Path('out')\n"
MISBEHAVING = {  # what it is: (script, what the judge of kills must say)
    "changes bits": ("out.write_bytes(os.urandom(9)); time.sleep(0.2)", "other bits"),
    "leaves a file": (
        "pathlib.Path(f'.out.{os.getpid()}-ab12cd34.tmp').touch(); time.sleep(0.2); out.touch()",
        "left temporary files",
    ),
    "goes on wrongly": (
        "old = out.read_text() if out.exists() else ''\nout.write_text(old + 'a'); time.sleep(0.2)",
        "other bits",
    ),
    "prints a traceback": (
        "began = pathlib.Path('begun').exists()\npathlib.Path('begun').touch(); time.sleep(0.2)\n1 / (not began)",
        "traceback",
    ),
    "leaves shared memory": (
        "pathlib.Path(f'/dev/shm/torture_{os.getpid()}').touch(); time.sleep(0.2); out.touch()",
        "left shared memory",
    ),
    "has workers that print tracebacks": (
        "parent = os.getpid()\nif not os.fork():\n    time.sleep(0.4)\n"
        "    if os.getppid() != parent: print('Traceback (most recent call last):', file=sys.stderr)\n"
        "    os._exit(0)\nos.wait(); out.touch()",
        "traceback",
    ),
    "says two lines": (
        "began = pathlib.Path('begun').exists()\npathlib.Path('begun').touch(); time.sleep(0.2)\n"
        "if began: print('one', file=sys.stderr); print('two', file=sys.stderr); sys.exit(2)",
        "2 lines",
    ),
}
FULL = {  # what it is: (script, what the judge of full disks must say)
    "prints a traceback": ("out.write_bytes(bytes(1 << 16))", "traceback"),
    "takes half a file for a whole one": (
        "try:\n    out.exists() or out.write_bytes(b'a' * (1 << 16))\nexcept OSError: pass",
        "other bits",
    ),
    "leaves half a file": (
        "half = pathlib.Path('.out.1-ab12cd34.tmp')\ntry:\n    half.write_bytes(b'a' * (1 << 16)); half.replace(out)\n"
        "except OSError: print('x.py: /out: no room', file=sys.stderr); sys.exit(2)",
        "left files",
    ),
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as one:
        yield one


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_world(tmp_path_factory.mktemp("torture") / "world", SEED)


@pytest.fixture
def bench(zygote: Zygote, world: Path, tmp_path: Path) -> Bench:
    folder = tmp_path / "bench"
    folder.mkdir()
    return Bench(zygote, folder, world)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    return References(tmp_path_factory.mktemp("undisturbed"))


def script(folder: Path, body: str) -> Scenario:
    """A command of one's own."""
    path = folder / "x.py"
    path.write_text(BEGINNING + body + "\n")
    return scenario("own", str(path))


@pytest.mark.parametrize("name", QUICK)
def test_killed_commands_go_on_to_the_same_bits(name, bench, references):
    result = kills.chain(bench, random.Random(SEED), BY_NAME[name], references)
    assert not result.counts["other bits"], (result.failures, bench.typed)
    assert not result.counts["other trouble"], (result.failures, bench.typed)


@pytest.mark.parametrize("what", MISBEHAVING)
def test_the_judge_of_kills_catches_a_command_that(what, bench, tmp_path):
    body, said = MISBEHAVING[what]
    result = kills.chain(bench, random.Random(1), script(tmp_path, body), References(tmp_path / "undisturbed"))
    for path in Path("/dev/shm").glob("torture_*"):
        path.unlink()
    assert result.counts["kills"] > 0
    assert said in {failure.what for failure in result.failures}


INTERRUPTED = "Traceback (most recent call last):\n  File {place}\nKeyboardInterrupt\n"
SIGNALLED = {  # what it is: (outcome of a command of 2 s that was sent SIGINT after 1 s, what the judge says)
    "obeyed": (Outcome(130, "", "x.py: interrupted\n", 1.1, 0, False, killed=True), set()),
    "came too late": (Outcome(0, "", "", 1.2, 0, False, killed=True), set()),
    "lost": (Outcome(0, "", "", 4.0, 0, False, killed=True), {"signal lost"}),
    "met Python": (Outcome(1, "", INTERRUPTED.format(place="runpy.py"), 1.1, 0, False, killed=True), set()),
    "a traceback": (
        Outcome(1, "", INTERRUPTED.format(place="/x/utility/command.py"), 1.1, 0, False, killed=True),
        {"traceback"},
    ),
    "dropped": (Outcome(0, "", INTERRUPTED.format(place="runpy.py"), 1.1, 0, False, killed=True), {"traceback"}),
}


@pytest.mark.parametrize("what", SIGNALLED)
def test_the_judge_of_signals_tells_one_that_was(what):
    outcome, said = SIGNALLED[what]
    assert {failure.what for failure in kills._of_killed(outcome, signal.SIGINT, 2.0, 1.0)} == said


@pytest.mark.parametrize("name", ["libri_jobs2", "extract_store", "alignment", "apc"])
def test_full_disks_are_survived(name, bench, references):
    result = disk.fill(bench, random.Random(SEED), BY_NAME[name], references, disk.can_mount())
    assert not result.counts["other bits"], (result.failures, bench.typed)
    assert not result.counts["left files"], (result.failures, bench.typed)
    assert not result.counts["traceback or hang"], (result.failures, bench.typed)


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("what", FULL)
def test_the_judge_of_disks_catches_a_command_that(what, mounted, bench, tmp_path):
    if mounted and not disk.can_mount():
        pytest.skip("no tmpfs can be mounted here")
    body, said = FULL[what]
    own, rng = script(tmp_path, body), random.Random(4)
    rng.random = lambda: 0.0  # type: ignore[method-assign]  # bytes run out, not files
    result = disk.fill(bench, rng, own, References(tmp_path / "undisturbed"), mounted)
    assert said in {failure.what for failure in result.failures}, result.failures


def test_shared_memory_is_left_where_nobody_has_it_open():
    before = shared_memory.held()
    names = [f"torture_{word}_{os.getpid()}" for word in ("left", "open")]
    paths = [shared_memory.ROOM / name for name in names]
    try:
        for path in paths:
            path.touch()
        with paths[1].open():
            left = shared_memory.left_since(before)
    finally:
        for path in paths:
            path.unlink()
    assert names[0] in left
    assert names[1] not in left


def test_what_fails_is_kept_with_the_command_that_repeats_it(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.campaign.jobs.HOME", tmp_path / "kept")
    own, references = script(tmp_path, MISBEHAVING["changes bits"][0]), References(tmp_path / "undisturbed")
    job = Job("kills/own/0", lambda bench, rng: kills.chain(bench, rng, own, references))
    do_job(job, bench.zygote, bench.world, SEED)
    (kept,) = (tmp_path / "kept").iterdir()
    text = (kept / "command.txt").read_text()
    assert text.startswith(f"python -m tests.campaign --seed {SEED} --job kills/own/0\n")
    assert "other bits" in text
    assert (kept / "outputs/here/out").is_file()
    assert (kept / "world/config/train.yaml").is_file()


def test_the_same_seed_gives_the_same_world(tmp_path):
    first, second = build_world(tmp_path / "a", 5), build_world(tmp_path / "b", 5)
    assert compare(first, second).same
    assert not compare(first, build_world(tmp_path / "c", 6)).same


def test_runs_add_up(tmp_path):
    rows = table.add_up([Result("a", {"kills": 2}), Result("b", {"kills": 1}), Result("a", {"kills": 3})])
    for version, seed in (("one", 0), ("two", 1)):
        table.write_down("kills", seed, rows, version, tmp_path)
    assert table.written_down("kills", None, tmp_path)["a"]["kills"] == 10
    assert table.written_down("kills", "one", tmp_path)["a"]["kills"] == 5
    assert table.markdown("kills", rows, ("kills",)).splitlines()[-1] == "| **all** | 6 |"


@pytest.mark.parametrize(
    "words",
    [
        ["runner_mockingjay.py", "--tain"],
        ["preprocess/preprocess_any.py", "--data_path={w}/flat", "--name=out", "--n_jobs=2"],
        ["runner_mockingjay.py", "--info", "{w}/ckpt/base/best.ckpt"],
    ],
)
def test_a_forked_command_is_that_of_a_process(words, bench):
    words = [word.replace("{w}", str(bench.world)) for word in words]
    forked, real = bench.place("forked"), bench.place("real")
    mine = bench.run(words, forked)
    command = [sys.executable, str(PROJECT / words[0]), *words[1:]]
    theirs = subprocess.run(command, cwd=real, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    assert (mine.code, mine.stderr) == (theirs.returncode, theirs.stderr)
    assert mine.stdout.split(" x real")[0][:40] == theirs.stdout.split(" x real")[0][:40]
    assert compare(forked, real).same


def test_names_of_temporary_files_are_known():
    for name in (".a.ckpt.12-3eb91c8e.tmp", "data/.a.o8msu9ts/x", ".phones.old.e6c299ix", "a/.demo.unfinished.x/y"):
        assert UNFINISHED.search(name), name
    for name in ("data/out/all.npy", "best.ckpt", ".hidden", "data/.a/x"):
        assert not UNFINISHED.search(name), name


def test_an_outcome_is_judged_by_what_it_says(bench):
    outcome = bench.run(["runner_mockingjay.py"], bench.place("here"))
    assert outcome.code == 2
    assert complaint(outcome) is None


def test_all_campaigns_name_their_jobs_by_the_seed_alone(references):
    for module in (kills, disk, faults, extraction):
        names = [[job.name for job in itertools.islice(module.jobs(references), 9)] for _ in range(2)]
        assert names[0] == names[1]
        assert len(set(names[0])) == 9
