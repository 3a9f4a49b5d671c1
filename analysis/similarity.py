"""How alike two views are on samples that the projection has not seen: the score of one layer, its interval,
differences.

    training sets   -> canonical directions for each epsilon        (analysis/cca)
    dev set         -> the epsilon
    test sets       -> the score, one for each trial; their mean counts

The score is of the test sets' covariances alone, so no sample is projected. Intervals resample groups of the test sets
with the directions fixed; the difference of two layers, or of two models, resamples both by the same draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from analysis.cca import CcaFit, Measure, correlation, prepare
from analysis.folds import Trial
from analysis.moments import Moments
from analysis.packed import squares_along
from utility.intervals import Difference, Interval, percentile_interval, resampled_counts

EPSILONS = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)  # the original tries nothing above 1e-9, so it tunes nothing
WANTED = 10  # training samples per dimension; fewer are warned of
RESAMPLES = 200


@dataclass(frozen=True)
class CcaSettings:
    """How a score is made. `scheme` "original" needs the samples themselves: analysis/original_cca."""

    measure: Measure = "pwcca"
    epsilons: tuple[float, ...] = EPSILONS  # relative to the largest variance of a view, the same for both
    scheme: Literal["standard", "original"] = "standard"

    def __post_init__(self) -> None:
        if not self.epsilons or min(self.epsilons) < 0:
            raise ValueError(f"cca.epsilons is {self.epsilons}: expected numbers of 0 or more")
        if self.measure not in get_args(Measure):
            raise ValueError(f"cca.measure is {self.measure!r}: expected one of {', '.join(get_args(Measure))}")


@dataclass(frozen=True)
class VariateSums:
    """Sums of canonical variates a, b over each group's samples: what correlations of any resample need."""

    count: np.ndarray  # [G]
    a: np.ndarray  # [G, m]
    b: np.ndarray  # [G, m]
    aa: np.ndarray  # [G, m]
    bb: np.ndarray  # [G, m]
    ab: np.ndarray  # [G, m]

    @classmethod
    def from_moments(cls, fit: CcaFit, moments: Moments, x: str, y: str, sets: Sequence[int]) -> "VariateSums":
        """Project the sums of some sets; each is a group."""
        groups = list(sets)
        return cls(
            moments.counts[groups].astype(np.float64),
            moments.views[x].values[groups] @ fit.x,
            moments.views[y].values[groups] @ fit.y,
            np.array([squares_along(moments.product(x, x, number), fit.x) for number in groups]),
            np.array([squares_along(moments.product(y, y, number), fit.y) for number in groups]),
            np.array([np.einsum("pm,pm->m", fit.x, moments.product(x, y, number) @ fit.y) for number in groups]),
        )

    @classmethod
    def from_samples(
        cls, fit: CcaFit, x: np.ndarray, y: np.ndarray, groups: np.ndarray, num_groups: int
    ) -> "VariateSums":
        """Project samples x [n, p] and y [n, q] of groups [n], numbered from 0: for a second pass over data, where
        moments of every group would not fit in memory. Blocks add up: see `plus`."""
        a = (np.asarray(x, np.float64) - fit.moments.mean_x) @ fit.x
        b = (np.asarray(y, np.float64) - fit.moments.mean_y) @ fit.y
        member = (np.arange(num_groups)[:, None] == np.asarray(groups)).astype(np.float64)  # [G, n]
        return cls(member.sum(1), member @ a, member @ b, member @ a**2, member @ b**2, member @ (a * b))

    def plus(self, other: "VariateSums") -> "VariateSums":
        """Sums of the same groups over more samples, projected by the same fit."""
        return VariateSums(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def correlations(self, counts: np.ndarray) -> np.ndarray:
        """Correlations of the directions in resamples that hold each group `counts` [R, G] times: [R, m]."""
        n = (counts @ self.count)[:, None]
        a, b = counts @ self.a, counts @ self.b
        return correlation(counts @ self.ab - a * b / n, counts @ self.aa - a**2 / n, counts @ self.bb - b**2 / n)


@dataclass(frozen=True)
class TrialScore:
    """One trial: what dev chose, the same measure on all three parts, and what resampling the test part needs."""

    score: float  # of the test sets
    train: float
    dev: float
    epsilon: float
    directions: int
    test_correlations: np.ndarray  # [m]
    pwcca_x: float  # of the test sets, by either view's weights
    pwcca_y: float
    fit: CcaFit
    test: VariateSums
    trial: Trial

    @property
    def pwcca_mean(self) -> float:
        """The mean of both weight directions, as in Pasad et al. 2021."""
        return (self.pwcca_x + self.pwcca_y) / 2


@dataclass(frozen=True)
class Similarity:
    """The held-out score of two views, the mean over trials; `notes` are warnings in words."""

    score: float
    measure: Measure
    samples: int
    trials: tuple[TrialScore, ...]
    notes: tuple[str, ...]

    @property
    def per_trial(self) -> tuple[float, ...]:
        return tuple(trial.score for trial in self.trials)

    def resampled(self, counts: Sequence[np.ndarray]) -> np.ndarray:
        """Scores [R] of resamples that hold the groups of trial k `counts[k]` [R, G] times."""
        scores = [
            trial.fit.score(trial.test.correlations(drawn), self.measure) for trial, drawn in zip(self.trials, counts)
        ]
        return np.mean(scores, axis=0)


def cross_validated_cca(
    moments: Moments, x: str, y: str, trials: Sequence[Trial], settings: CcaSettings | None = None
) -> Similarity:
    """The held-out similarity of two views of `moments`, by the mean over trials.

    ValueError for fewer training samples than D + 2, D the larger rank of the two views: the fit would be perfect
    whatever the views are. Below 10 D a note says so."""
    settings = settings or CcaSettings()
    if settings.scheme != "standard":
        raise ValueError("cca.scheme=original needs the samples, and moments hold none: see analysis/original_cca")
    scores = tuple(_trial(moments, x, y, trial, settings) for trial in trials)
    notes = [note for trial in scores for note in (*trial.fit.notes, *_sample_notes(trial.fit, x, y))]
    samples = int(moments.counts.sum())
    mean = float(np.mean([trial.score for trial in scores]))
    return Similarity(mean, settings.measure, samples, scores, tuple(dict.fromkeys(notes)))


def _trial(moments: Moments, x: str, y: str, trial: Trial, settings: CcaSettings) -> TrialScore:
    train, dev, test = (moments.pair(x, y, sets) for sets in (trial.train, trial.dev, trial.test))
    ready = prepare(train)
    widest = max(ready.x.rank, ready.y.rank)  # null directions overfit nothing
    if train.count < widest + 2:
        raise ValueError(
            f"{x} and {y}: {train.count} training samples for {widest} dimensions: any two views would look alike; "
            f"at least {widest + 2} samples are needed, better {WANTED * widest}"
        )
    best: CcaFit | None = None
    best_dev = -np.inf
    for epsilon in settings.epsilons:  # the first of equals wins
        fit = ready.fit(epsilon)
        score = float(fit.score(fit.correlations(dev), settings.measure))
        if best is None or score > best_dev:
            best, best_dev = fit, score
    assert best is not None
    correlations = best.correlations(test)
    return TrialScore(
        score=float(best.score(correlations, settings.measure)),
        train=float(best.score(best.correlations(train), settings.measure)),
        dev=best_dev,
        epsilon=best.epsilon[0],
        directions=best.directions,
        test_correlations=correlations,
        pwcca_x=float(best.score(correlations, "pwcca_x")),
        pwcca_y=float(best.score(correlations, "pwcca_y")),
        fit=best,
        test=VariateSums.from_moments(best, moments, x, y, trial.test),
        trial=trial,
    )


def _sample_notes(fit: CcaFit, x: str, y: str) -> list[str]:
    widest = max(fit.ranks)
    if fit.count >= WANTED * widest:
        return []
    per = fit.count / max(widest, 1)
    return [
        f"{x} and {y}: {fit.count} training samples for {widest} dimensions, {per:.1f} each: below {WANTED} the score "
        "of the training part is too high and that of the test part unsure"
    ]


def score_interval(
    similarity: Similarity, generator: np.random.Generator, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """The interval of a held-out score: groups of each test part are resampled, the directions stay.

    ValueError where a test part is one group only."""
    counts = [resampled_counts(len(trial.test.count), resamples, generator) for trial in similarity.trials]
    return percentile_interval(similarity.resampled(counts), sum(map(_groups, similarity.trials)), level)


def score_difference(
    one: Similarity,
    other: Similarity,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Difference:
    """The score of one layer or model minus that of another on the same samples, both resampled by the same draws.

    ValueError where the two were not scored on the same groups, or by another measure."""
    sides = [[(trial.trial, trial.test.count.tolist()) for trial in side.trials] for side in (one, other)]
    if sides[0] != sides[1] or one.measure != other.measure:
        raise ValueError("a paired difference needs the same test groups and the same measure on both sides")
    counts = [resampled_counts(len(trial.test.count), resamples, generator) for trial in one.trials]
    drawn = one.resampled(counts) - other.resampled(counts)
    return Difference(one.score - other.score, percentile_interval(drawn, sum(map(_groups, one.trials)), level))


def _groups(trial: TrialScore) -> int:
    return len(trial.test.count)


def one_hot(labels: Sequence[str] | np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels [n] as a view [n, classes] float32, 1 at each one's class. ValueError for a label that is no class, and
    for fewer than 2 classes."""
    columns = {name: column for column, name in enumerate(classes)}
    if len(columns) < 2:
        raise ValueError(f"{len(columns)} classes: a view of labels needs at least 2")
    if unknown := sorted({str(label) for label in labels} - columns.keys()):
        raise ValueError(f"label {unknown[0]!r} is none of the {len(columns)} classes")
    view = np.zeros((len(labels), len(columns)), np.float32)
    view[np.arange(len(labels)), [columns[str(label)] for label in labels]] = 1
    return view
