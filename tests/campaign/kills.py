"""SIGKILL at uniform moments, several in a row, to the parent alone or to the whole group; then the command again.

The outputs must be those of an undisturbed run, to the last bit, and nothing else may lie there."""

import itertools
import random
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.campaign.jobs import Bench, Failure, Job, References, Result, go_on, prepare_before
from tests.campaign.scenarios import SCENARIOS, Scenario
from tests.campaign.shared_memory import held, left_since
from tests.campaign.verdicts import Verdict, compare, complaint
from tests.campaign.zygote import Outcome

COLUMNS = ("chains", "kills", "other bits", "other trouble", "left temporary files")
PARENT_ALONE = 0.4
MOST_KILLS = 4
FIRST_MOMENT = (0.12, 0.04)  # seconds; before 0.12 s Python itself answers a signal
WORKERS_MAY_TAKE = 3.0  # seconds after their parent
TOLD = 128 + signal.SIGTERM  # the exit code of a training that has saved where it stands
STEP = re.compile(r"-\d+\.ckpt$")
IGNORED = 1.0  # seconds; a run that goes on for longer after a signal has not heard it


def jobs(references: References, scenarios: Sequence[Scenario] = SCENARIOS) -> Iterator[Job]:
    """Chains of kills without end, one of each scenario in turn."""
    return _jobs("kills", (signal.SIGKILL,), references, scenarios)


def signal_jobs(references: References, scenarios: Sequence[Scenario] = SCENARIOS) -> Iterator[Job]:
    """The same with SIGINT and SIGTERM, at which a command has something to say."""
    return _jobs("signals", (signal.SIGINT, signal.SIGTERM), references, scenarios)


def _jobs(
    campaign: str, signals: Sequence[int], references: References, scenarios: Sequence[Scenario]
) -> Iterator[Job]:
    for number in itertools.count():
        for scenario in scenarios:

            def work(bench: Bench, rng: random.Random, scenario: Scenario = scenario) -> Result:
                return chain(bench, rng, scenario, references, signals)

            yield Job(f"{campaign}/{scenario.name}/{number}", work)


def chain(
    bench: Bench,
    rng: random.Random,
    scenario: Scenario,
    references: References,
    signals: Sequence[int] = (signal.SIGKILL,),
) -> Result:
    """Kill and go on, one to four times for each command of the scenario, then run it to its end."""
    wanted, durations = references.of(scenario, bench)
    shared = held()
    place, kills, told, failures = bench.place("here"), 0, False, []
    prepare_before(scenario, bench, place)
    for number, seconds in enumerate(durations):
        for _ in range(rng.randint(1, MOST_KILLS)):
            by, whom = rng.choice(signals), "parent" if rng.random() < PARENT_ALONE else "group"
            moment = rng.uniform(FIRST_MOMENT[by == signal.SIGKILL], max(seconds, 0.2))
            note = f"signal {int(by)} to the {whom} after {moment:.3f} s"
            outcome = go_on(bench, scenario, number, place, note, kill_after=moment, kill=whom, kill_signal=by)
            kills += outcome.killed
            told |= outcome.code == TOLD
            failures += _of_killed(outcome, by, seconds, moment)
        outcome = go_on(bench, scenario, number, place)
        if outcome.code or complaint(outcome):
            failures.append(_trouble(outcome, "the last run"))
    verdict = compare(place, wanted)
    verdict = _without_steps(verdict) if told else verdict
    if not verdict.same:
        failures.append(Failure("other bits", str(verdict)))
    if verdict.leftovers:
        failures.append(Failure("left temporary files", str(verdict)))
    if names := left_since(shared):
        failures.append(Failure("left shared memory", ", ".join(names)))
    found = [failure.what for failure in failures]
    other_bits, left = found.count("other bits"), found.count("left temporary files")
    values = (1, kills, other_bits, len(found) - other_bits - left, len(verdict.leftovers))
    return Result(scenario.name, dict(zip(COLUMNS, values)), tuple(failures))


def _without_steps(verdict: Verdict) -> Verdict:
    """Without the checkpoints of steps: a run that was told to end has saved one of its own, among those it keeps."""
    missing, extra = (
        tuple(name for name in names if not STEP.search(name)) for names in (verdict.missing, verdict.extra)
    )
    return replace(verdict, missing=missing, extra=extra)


def _of_python(outcome: Outcome) -> bool:
    """Whether Ctrl-C came before the script had reached its first function: then Python itself answers."""
    lines = outcome.stderr.splitlines()
    return outcome.code == 1 and lines[-1:] == ["KeyboardInterrupt"] and "utility/command.py" not in outcome.stderr


def _of_killed(outcome: Outcome, by: int, whole: float, moment: float) -> list[Failure]:
    """What is wrong with a run that was to be killed at a `moment` of its `whole` duration, both in seconds.

    After SIGKILL nothing may be said any more."""
    failures = []
    if outcome.workers_seconds > WORKERS_MAY_TAKE:
        failures.append(Failure("workers stay", f"{outcome.workers_seconds:.1f} s after their parent"))
    if by == signal.SIGKILL:
        if not outcome.killed and outcome.code not in (-9, 0):
            failures.append(_trouble(outcome, "a run after a kill"))
        elif outcome.killed and "Traceback" in outcome.stderr:
            failures.append(_trouble(outcome, "the workers of a killed run"))
        return failures
    if by == signal.SIGINT and _of_python(outcome):
        return failures
    if outcome.code not in (0, 128 + by, -by) or "Traceback" in outcome.stderr:
        failures.append(_trouble(outcome, f"a run at signal {by}"))
    elif outcome.killed and outcome.code == 0 and outcome.seconds - moment > IGNORED + whole / 2:
        failures.append(Failure("signal lost", f"the run went on for {outcome.seconds - moment:.1f} s after {by}"))
    return failures


def _trouble(outcome: Outcome, which: str) -> Failure:
    said = f"{which} ends with exit {outcome.code}: {(outcome.stderr or outcome.stdout)[-1500:]}"
    return Failure(complaint(outcome) or f"exit {outcome.code}", said)
