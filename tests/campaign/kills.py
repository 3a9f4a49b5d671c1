"""SIGKILL at uniform moments, several in a row, to the parent alone or to the whole group; then the command again.

The outputs must be those of an undisturbed run, to the last bit, and nothing else may lie there."""

import itertools
import random
from collections.abc import Iterator, Sequence

from tests.campaign.jobs import Bench, Failure, Job, References, Result, go_on, prepare_before
from tests.campaign.scenarios import SCENARIOS, Scenario
from tests.campaign.verdicts import compare, complaint
from tests.campaign.zygote import Outcome

COLUMNS = ("chains", "kills", "other bits", "other trouble", "left temporary files")
PARENT_ALONE = 0.4
MOST_KILLS = 4
WORKERS_MAY_TAKE = 8.0  # seconds after their parent: DataLoader's look every 5 s whether it lives


def jobs(references: References, scenarios: Sequence[Scenario] = SCENARIOS) -> Iterator[Job]:
    """Chains of kills without end, one of each scenario in turn."""
    for number in itertools.count():
        for scenario in scenarios:

            def work(bench: Bench, rng: random.Random, scenario: Scenario = scenario) -> Result:
                return chain(bench, rng, scenario, references)

            yield Job(f"kills/{scenario.name}/{number}", work)


def chain(bench: Bench, rng: random.Random, scenario: Scenario, references: References) -> Result:
    """Kill and go on, one to four times for each command of the scenario, then run it to its end."""
    wanted, durations = references.of(scenario, bench)
    place, kills, failures = bench.place("here"), 0, []
    prepare_before(scenario, bench, place)
    for number, seconds in enumerate(durations):
        for _ in range(rng.randint(1, MOST_KILLS)):
            moment, whom = rng.uniform(0.04, seconds), "parent" if rng.random() < PARENT_ALONE else "group"
            note = f"the {whom} killed after {moment:.3f} s"
            outcome = go_on(bench, scenario, number, place, note, kill_after=moment, kill=whom)
            kills += outcome.killed
            if not outcome.killed and outcome.code not in (-9, 0):
                failures.append(_trouble(outcome, "a run after a kill"))
            if outcome.workers_seconds > WORKERS_MAY_TAKE:
                failures.append(Failure("workers stay", f"{outcome.workers_seconds:.1f} s after their parent"))
        outcome = go_on(bench, scenario, number, place)
        if outcome.code or complaint(outcome):
            failures.append(_trouble(outcome, "the last run"))
    verdict = compare(place, wanted)
    if not verdict.same:
        failures.append(Failure("other bits", str(verdict)))
    if verdict.leftovers:
        failures.append(Failure("left temporary files", str(verdict)))
    found = [failure.what for failure in failures]
    other_bits, left = found.count("other bits"), found.count("left temporary files")
    values = (1, kills, other_bits, len(found) - other_bits - left, len(verdict.leftovers))
    return Result(scenario.name, dict(zip(COLUMNS, values)), tuple(failures))


def _trouble(outcome: Outcome, which: str) -> Failure:
    said = f"{which} ends with exit {outcome.code}: {(outcome.stderr or outcome.stdout)[-1500:]}"
    return Failure(complaint(outcome) or f"exit {outcome.code}", said)
