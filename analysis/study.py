"""Several experiments on several upstreams: needs are checked, each upstream runs once, every score is kept at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.collect import Subject
from analysis.config import AnalysisConfig
from analysis.experiments import BETWEEN, MAKERS, UNITS, WEIGHTS, Described, Experiment, labels_for, missing_need
from analysis.experiments_boundaries import WordBoundaries
from analysis.experiments_maps import BetweenUpstreams, LayerMap, map_content
from analysis.experiments_models import MODEL_EXPERIMENTS, Look, ModelExperiment
from analysis.experiments_units import CodedSpeech, Units
from analysis.experiments_weights import weights_content
from analysis.gather import Gathered, Want, sets_that_fit
from analysis.joint import Joint
from analysis.material import Material, Utterances, digest
from analysis.scores import LayerScore, kept
from utility.runs import read_json, write_json

NOBODY = Utterances(np.zeros(0, np.int64), (), (), np.zeros(0), 0.0, 0)
CONTROL = "control"  # the label of a curve that is of no upstream


@dataclass(frozen=True)
class Plan:
    """What is run, and how sure it shall be."""

    names: tuple[str, ...]
    everything: bool  # all: what cannot be run is skipped with its reason, else it is an error
    samples: int
    resamples: int  # of the bootstrap; 0: no intervals
    layer: str | None
    seed: int
    cache: Path
    quiet: bool


@dataclass
class Outcome:
    """What came out of it: scores by experiment, curve and layer, one for each sample."""

    scores: dict[str, dict[str, dict[str, list[LayerScore]]]] = field(default_factory=dict)
    chance: dict[str, float | None] = field(default_factory=dict)
    ceiling: dict[str, float | None] = field(default_factory=dict)
    maps: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # by experiment and name
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)  # experiments whose content is made already
    skipped: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, Sequence[Described]] = field(default_factory=dict)  # one for each sample
    # The original's lines of every utterance, by curve, layer and sample: made when they are written.
    intervals: dict[tuple[str, str, int], Callable[[], Mapping[str, Sequence[str]]]] = field(default_factory=dict)


class Study:
    """The experiments of a plan; making one checks all that can be checked before an upstream runs."""

    def __init__(self, subjects: Sequence[Subject], config: AnalysisConfig, plan: Plan, say: Callable[[str], None]):
        self.subjects, self.plan, self.say = subjects, plan, say
        self.units = None if subjects else self._alone(config)
        self.utterances = Utterances.of(subjects) if self.units is None else self.units.utterances
        self.material = Material(self.utterances, config, plan.seed)
        self.outcome = Outcome()
        self.labels: dict[tuple[str, str], tuple[str, ...]] = {}
        self.experiments: dict[str, list[Experiment]] = {}
        self.between: list[BetweenUpstreams] = []
        self.models: dict[str, tuple[list[Subject], dict[str, str], str]] = {}
        for name in plan.names:
            self._prepare(name)
        self.sets = sets_that_fit(self.material, [(subject, self._wants(subject)) for subject in subjects])
        if not (self.experiments or self.between or self.models or self.outcome.contents):
            raise ValueError(f"no experiment can be run: {'; '.join(map(': '.join, self.outcome.skipped.items()))}")

    def _alone(self, config: AnalysisConfig) -> Units:
        """The codes that are looked at where there is no upstream."""
        missing = missing_need(UNITS, config, NOBODY, ())
        try:
            if missing is not None:
                raise ValueError(missing)
            return Units(config, self.plan.seed)
        except ValueError as error:
            raise ValueError(f"{UNITS}: {error}") from None

    def _prepare(self, name: str) -> None:
        missing = missing_need(name, self.material.config, self.utterances, self.subjects)
        for subject in self.subjects:
            self.labels[name, subject.name] = labels_for(name, subject, self.plan.layer)
        try:
            if missing is not None:
                raise ValueError(missing)
            if name == WEIGHTS:
                self.outcome.contents[name] = weights_content(self.material.config.probes, {})
                return
            if name == UNITS:
                self.units = self.units or Units(self.material.config, self.plan.seed)
                if shared := {subject.name for subject in self.subjects} & set(self.units.names):
                    raise ValueError(f"codes and an upstream are called {min(shared)}: write units.store=[NAME=STORE]")
                self.outcome.contents[name] = {}
                return
            if name in MODEL_EXPERIMENTS:
                self.models[name] = self._checked(MODEL_EXPERIMENTS[name])
                return
            if name == BETWEEN:
                between = [BetweenUpstreams(self.material, sample) for sample in range(self.plan.samples)]
                for subject in self.subjects:
                    between[0].check(subject, self.labels[name, subject.name])
                self.between = between
                return
            made = [MAKERS[name](self.material, sample) for sample in range(self.plan.samples)]
            for experiment in made:
                for subject in self.subjects:
                    experiment.check(subject, self.labels[name, subject.name])
        except ValueError as error:
            if not self.plan.everything:
                raise ValueError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
            self.outcome.skipped[name] = str(error)
            return
        self.experiments[name] = self.outcome.experiments[name] = made

    def _checked(self, experiment: ModelExperiment) -> tuple[list[Subject], dict[str, str], str]:
        """The upstreams that it is for, why it is not for the others, and what they share; ValueError where it is for
        none."""
        fitting, others = [], {}
        for subject in self.subjects:
            try:
                experiment.check(subject)
                fitting.append(subject)
            except ValueError as error:
                others[subject.name] = str(error)
        if not fitting:
            raise ValueError("; ".join(f"{name}: {reason}" for name, reason in others.items()))
        return fitting, others, experiment.shared(fitting, self.material.config)

    def run(self) -> Outcome:
        """All scores, upstream after upstream."""
        outcome = self.outcome
        every: list[Gathered] = []
        for number, subject in enumerate(self.subjects):
            gathered = Gathered(subject, self.material, self.sets, self.plan.cache, self.plan.quiet)
            self.say(f"{subject.name}: states of its layers")
            gathered.gather(self._wants(subject))
            for name, experiments in list(self.experiments.items()):
                if self._works(name, partial(self._score, name, experiments, gathered)) and number == 0:
                    self._works(name, partial(self._limits, name, experiments, gathered))
            every.append(gathered)
        if self.between:
            self._works(BETWEEN, partial(self._compare, every))
        for name in self.models:
            self._works(name, partial(self._look, name, every))
        if self.units is not None:
            self._works(UNITS, self._count_units)
        if WEIGHTS in outcome.contents:
            outcome.contents[WEIGHTS] = weights_content(self.material.config.probes, self._norms())
        return outcome

    def _works(self, name: str, work: Callable[[], None]) -> bool:
        """Whether an experiment could be done; with all one that could not is skipped, else that is an error."""
        try:
            work()
        except ValueError as error:
            if not self.plan.everything:
                raise ValueError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
            self.outcome.skipped[name] = str(error)
            self.experiments.pop(name, None)
            self.outcome.experiments.pop(name, None)
            self.outcome.scores.pop(name, None)
            self.outcome.contents.pop(name, None)
            return False
        return True

    @property
    def coded(self) -> list[CodedSpeech]:
        """The codes that are looked at."""
        return [] if self.units is None else self.units.curves

    def all_wants(self) -> dict[int, list[Want]]:
        """What is wanted of all upstreams together, by sample."""
        wants: dict[int, list[Want]] = {}
        for subject in self.subjects:
            for sample, some in self._wants(subject).items():
                wants.setdefault(sample, []).extend(some)
        return wants

    def _wants(self, subject: Subject) -> dict[int, list[Want]]:
        wants: dict[int, list[Want]] = {}
        for name, experiments in self.experiments.items():
            for sample, experiment in enumerate(experiments):
                wants.setdefault(sample, []).extend(experiment.wants(self.labels[name, subject.name]))
        for sample, between in enumerate(self.between):
            wants.setdefault(sample, []).extend(between.wants(self.labels[BETWEEN, subject.name]))
        return wants

    def _score(self, name: str, experiments: Sequence[Experiment], gathered: Gathered) -> None:
        subject, resamples = gathered.subject, self.plan.resamples
        rows = self.outcome.scores.setdefault(name, {}).setdefault(subject.name, {})
        for sample, experiment in enumerate(experiments):
            folder = gathered.scores(name, sample, resamples)
            for label in self.labels[name, subject.name]:

                def make(label: str = label, experiment: Experiment = experiment) -> LayerScore:
                    self.say(f"{name} {subject.name} {label}")
                    return experiment.score(gathered, label, resamples)

                found = kept(folder / f"{label}.json", make)
                rows.setdefault(label, []).append(found)
                if isinstance(experiment, WordBoundaries):
                    lines = partial(experiment.intervals, gathered, label, found)
                    self.outcome.intervals[subject.name, label, sample] = lines

        if isinstance(experiments[0], LayerMap):
            for name_of_map, made in experiments[0].maps(gathered).items():
                content = map_content(made, "layer", "layer", self.material.config.cca.map)
                self.outcome.maps.setdefault(name, {})[name_of_map] = content

    def _compare(self, every: Sequence[Gathered]) -> None:
        """The first upstream beside each of the others."""
        first, resamples = every[0], self.plan.resamples
        for second in every[1:]:
            names = first.subject.name, second.subject.name
            pair = first, second, (self.labels[BETWEEN, names[0]], self.labels[BETWEEN, names[1]])
            curve = " and ".join(names)
            rows = self.outcome.scores.setdefault(BETWEEN, {}).setdefault(curve, {})
            for experiment in self.between:
                for label, score in experiment.scores(Joint(*pair, experiment.sample), resamples, self.say).items():
                    rows.setdefault(label, []).append(score)
            found = self.between[0].map(Joint(*pair, 0), resamples)
            axes = f"layer of {names[0]}", f"layer of {names[1]}"
            content = map_content(found, *axes, self.material.config.cca.map)
            self.outcome.maps.setdefault(BETWEEN, {})[curve] = content
        self.outcome.experiments[BETWEEN] = list(self.between)
        self.outcome.chance[BETWEEN], self.outcome.ceiling[BETWEEN] = 0.0, 1.0

    def _count_units(self) -> None:
        assert self.units is not None, "it was checked"
        self.outcome.contents[UNITS] = self.units.content(self.plan.resamples, self.plan.cache, self.say)

    def _norms(self) -> dict[str, list[float]]:
        """The mean norms of the layers of every upstream, where its shape was looked at."""
        curves = self.outcome.scores.get("shape", {})
        return {name: [float(one[0].detail["norm"]) for one in rows.values()] for name, rows in curves.items()}

    def _look(self, name: str, every: Sequence[Gathered]) -> None:
        """An experiment that runs upstreams itself; what it says of one is kept like a score."""
        fitting, others, shared = self.models[name]
        contents = {}
        for gathered in every:
            if gathered.subject not in fitting:
                continue
            subject, samples = gathered.subject, self.plan.samples
            key = digest(gathered.key, self.material.aligned(), samples, shared, subject.probed.key)
            path = gathered.scores(name, 0, self.plan.resamples) / f"{key}.json"
            if not path.is_file():
                self.say(f"{name} {subject.name}")
                look = Look(subject, self.material, samples, self.plan.resamples, shared)
                write_json(path, MODEL_EXPERIMENTS[name].of_one(look))
            contents[subject.name] = read_json(path)
        self.outcome.contents[name] = MODEL_EXPERIMENTS[name].joined(contents, shared) | {"not_of": others}

    def _limits(self, name: str, experiments: Sequence[Experiment], gathered: Gathered) -> None:
        """Chance, on the last layer of the first upstream where it must be computed; the ceiling; and controls that
        need no upstream."""
        last = self.labels[name, gathered.subject.name][-1]
        chances, ceilings = [], []
        for sample, experiment in enumerate(experiments):
            path = gathered.scores(name, sample, self.plan.resamples) / ".chance.json"
            if not path.is_file():
                self.say(f"{name} chance")
                write_json(path, {"chance": experiment.chance(gathered, last)})
            chances.append(read_json(path)["chance"])
            ceilings.append(experiment.ceiling())
            for curve, score in experiment.controls(self.plan.resamples).items():
                rows = self.outcome.scores[name].setdefault(curve, {})
                rows.setdefault(CONTROL, []).append(score)
        self.outcome.chance[name], self.outcome.ceiling[name] = _mean(chances), _mean(ceilings)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
