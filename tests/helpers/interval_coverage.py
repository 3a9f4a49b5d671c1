"""How often the intervals of scores hold the truth, on simulated speakers; `python -m tests.helpers.interval_coverage`.

A speaker has a skill (logit-normal around 70 %, or around 95 %) and a log-normal number of utterances, so that the most
talkative of ten has about ten times those of the least. Skill and number may go together. The truth is the score of
infinitely many speakers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit, logit

from downstream.intervals import Predicted, difference, sureness
from downstream.outcomes import Summed, percentage

SPEAKERS = (4, 5, 10, 20, 40)
TRUTH = 200_000  # speakers


@dataclass(frozen=True)
class World:
    """Where speakers come from: their mean skill, its spread, that of their sizes, and how skill goes with size."""

    skill: float = 0.7
    spread: float = 0.5
    sizes: float = 0.7
    together: float = 0.0

    def speakers(self, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Utterances [count] and skill [count] of each."""
        talkative, own = generator.normal(size=(2, count))
        skilled = self.together * talkative + np.sqrt(1 - self.together**2) * own
        skills = expit(logit(self.skill) + self.spread * skilled)
        return np.maximum(np.rint(12 * np.exp(self.sizes * talkative)), 1).astype(int), skills

    def predicted(self, count: int, generator: np.random.Generator) -> tuple[Predicted, Predicted]:
        """What two equally good systems make of the same speakers."""
        sizes, skills = self.speakers(count, generator)
        speakers = np.repeat(np.arange(count), sizes).astype(str)
        ids = [str(number) for number in range(len(speakers))]
        skills = np.repeat(skills, sizes)
        each = []
        for _ in range(2):
            hits = generator.random(len(ids)) < skills
            sums = np.stack([hits, np.ones(len(ids))], 1).astype(float)
            each.append(Predicted(Summed(ids, sums, percentage), speakers.tolist(), dict.fromkeys(ids, 0)))
        return each[0], each[1]

    @cache  # noqa: B019
    def truth(self) -> float:
        """The accuracy over infinitely many speakers."""
        sizes, skills = self.speakers(TRUTH, np.random.default_rng(1))
        return float(100 * sizes @ skills / sizes.sum())


WORLDS = {
    "sizes of one kind": World(sizes=0.0),
    "unequal sizes": World(),
    "very unequal sizes": World(sizes=1.2),
    "who says more is better": World(together=0.5),
    "who says more is worse": World(together=-0.5),
    "accuracy of 95 %": World(skill=0.95),
}
DIFFERENCE = "difference of two systems, unequal sizes"


def coverage(world: World, speakers: int, trials: int, paired: bool = False) -> float:
    """In percent, how often the 95 % interval of a score, or of the difference of two systems, holds the truth.

    A part on which nobody errs has no interval, and counts as one that does not hold it."""
    generator = np.random.default_rng(speakers)
    held = 0
    for _ in range(trials):
        one, other = world.predicted(speakers, generator)
        sure = sureness(difference(one, other)) if paired else sureness(one, (0.0, 100.0))
        held += sure.interval is not None and sure.interval.covers(0.0 if paired else world.truth())
    return 100 * held / trials


def table(trials: int) -> list[str]:
    """The rows of the table in docs/tasks.md."""
    rows: dict[str, Callable[[int], float]] = {}
    for name, world in WORLDS.items():
        rows[name] = lambda count, world=world: coverage(world, count, trials)  # type: ignore[misc]
    rows[DIFFERENCE] = lambda count: coverage(World(), count, trials, paired=True)
    lines = [f"| speakers | {' | '.join(map(str, SPEAKERS))} |", f"| --- |{' ---: |' * len(SPEAKERS)}"]
    return lines + [
        f"| {name} | {' | '.join(f'{row(count):.1f}' for count in SPEAKERS)} |" for name, row in rows.items()
    ]


if __name__ == "__main__":
    print("\n".join(table(1000)))
