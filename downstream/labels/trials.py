"""Who speaks in the training utterances, and the trials of dev and test: what verification learns and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from downstream.config import DataConfig
from downstream.labels.base import check_classes
from downstream.labels.speakers import NameLabels
from downstream.sources import Corpus
from downstream.splits import Indices, Parts
from downstream.utterances import FramedUtterances
from utility.labels.trials import Caps, PartTrials, TrialParts, Trials, made_trials, read_trials
from utility.text import short

SHORTEST = 2.0  # seconds: shorter utterances do not train


def read_trial_lists(config: DataConfig, corpus: Corpus) -> TrialParts | None:
    """The trials of `data.trials` and `data.dev_trials`; None without."""
    if config.trials is None:
        return None
    files = {"test": config.trials, "dev": config.dev_trials}
    ids, paths, leave_out = corpus.ids, corpus.paths_in_table, config.unaligned == "leave_out"
    return TrialParts(
        {part: read_trials(file, ids, paths, leave_out) for part, file in files.items() if file is not None}
    )


class TrialLabels(NameLabels):
    """The speaker of each training utterance, as an index into `classes`, and the `trials` of dev and test.

    `long_enough` [U] says which utterances train, `too_short` of the training part do not; `shift` is that of the
    frames in seconds."""

    def __init__(
        self, utterances: FramedUtterances, classes: Sequence[str], parts: Parts, trials: Mapping[str, Trials]
    ):
        super().__init__(utterances.speakers, utterances.lengths, classes, parts.train)
        self.shift = utterances.info.frame_shift
        seconds = np.where(np.isnan(utterances.durations), utterances.lengths * self.shift, utterances.durations)
        self.long_enough = ~(seconds < SHORTEST)
        self.too_short = int((~self.long_enough[parts.train]).sum())
        ids, speakers = utterances.ids, utterances.speakers
        self.trials = {part: PartTrials.of(own, ids, speakers, getattr(parts, part)) for part, own in trials.items()}

    def long_ones(self, chosen: Indices) -> np.ndarray:
        """Those of the chosen utterances that train an x-vector."""
        chosen = np.asarray(chosen, np.int64)
        return chosen[self.long_enough[chosen]]


@dataclass(frozen=True)
class TrialSource:
    """Speakers, and trials in the place of answers."""

    task: str
    utterances: FramedUtterances
    config: DataConfig
    trains: bool
    usable: np.ndarray
    left_out: dict[str, int]
    strata: None = None

    def read(self, parts: Parts) -> TrialLabels:
        """ValueError where a speaker is in two parts: the trials would be of speakers that are known."""
        tables, speakers = dict(self._trials().tables), self.utterances.speakers
        train = {speakers[index] for index in parts.train.tolist()}
        for part, table in tables.items():
            self._check_new(part, table, train)
        if "dev" not in tables:
            tables["dev"] = self._made(parts.dev)
            self._check_new("dev", tables["dev"], train)
        self._check_apart(parts)
        tables = {part: self._within(table, getattr(parts, part)) for part, table in tables.items()}
        classes = sorted(train)
        if self.trains:
            check_classes(self.task, classes)
        labels = TrialLabels(self.utterances, classes, parts, tables)
        if self.trains and labels.too_short == len(parts.train):
            raise ValueError(
                f"{self.task}: no training utterance has {SHORTEST:g} s, the least that trains an x-vector"
            )
        return labels

    def _trials(self) -> TrialParts:
        assert self.utterances.trials is not None, "the task has asked for them"
        return self.utterances.trials

    def _check_new(self, part: str, trials: Trials, train: set[str]) -> None:
        ids, speakers = self.utterances.ids, self.utterances.speakers
        for number in trials.utterances().tolist():
            if speakers[number] in train:
                raise ValueError(
                    f"{trials.at(number)}: speaker {short(speakers[number])} of {short(ids[number])} is in train, "
                    f"trials are of others: take the speaker out of data.train, or leave data.{part} empty"
                )

    def _check_apart(self, parts: Parts) -> None:
        """Dev may not choose by the speakers of test."""
        speakers = self.utterances.speakers
        both = {speakers[i] for i in parts.dev.tolist()} & {speakers[i] for i in parts.test.tolist()}
        if both:
            raise ValueError(f"{self.task}: speaker {short(min(both))} is in both dev and test: take it out of one")

    def _within(self, trials: Trials, chosen: np.ndarray) -> Trials:
        """Without the trials of utterances that have no frame; ValueError for one, unless it is to be left out."""
        kept = np.isin(trials.first, chosen) & np.isin(trials.second, chosen)
        if kept.all():
            return trials
        pair = (trials.first[~kept][0], trials.second[~kept][0])
        lost = next(int(number) for number in pair if number not in chosen)
        if self.config.unaligned == "error":
            raise ValueError(
                f"{trials.at(lost)}: utterance {short(self.utterances.ids[lost])} is too short for a frame of the "
                "upstream; data.unaligned=leave_out goes on without its trials"
            )
        names = ("first", "second", "target", "lines")
        rest = {name: getattr(trials, name)[kept] for name in names}
        left = replace(trials, **rest, left_out=trials.left_out + int((~kept).sum()))
        left.check_both_kinds()
        return left

    def _made(self, chosen: np.ndarray) -> Trials:
        """The pairs of the dev speakers, by the rule of `made_trials`."""
        own: dict[str, list[str]] = {}
        numbers = {}
        for index in chosen.tolist():
            own.setdefault(self.utterances.speakers[index], []).append(self.utterances.ids[index])
            numbers[self.utterances.ids[index]] = index
        pairs = list(made_trials(own, Caps()))
        target = np.array([target for target, _, _ in pairs], bool)
        if target.all() or not target.any():
            raise ValueError(
                f"{self.task}: the {len(chosen)} utterances of the {len(own)} dev speakers give no trials of both "
                "kinds: a larger data.dev_share, data.dev_speakers or data.dev_trials gives some"
            )
        first, second = (np.array([numbers[pair[side]] for pair in pairs], np.int64) for side in (1, 2))
        return Trials("pairs of dev speakers", first, second, target, np.zeros(len(pairs), np.int64))


def trial_labels(task: str, utterances: FramedUtterances, config: DataConfig, trains: bool) -> TrialSource:
    """Trials of the corpus; ValueError for what is missing, or would change nothing beside them."""
    if config.trials is None:
        raise ValueError(
            f"{task}: data.trials is not set: name a list of trials, label id id a line (preprocess/make_trials.py)"
        )
    if config.labels is not None:
        raise ValueError(f"{task}: data.labels has no use beside trials, whose speakers the corpus knows: leave it out")
    if config.fold is not None:
        raise ValueError(f"{task}: data.trials say what is tested: leave --folds (data.fold) out")
    if config.split in ("utterance", "cpc"):
        raise ValueError(f"{task}: data.split {short(config.split)} would put dev speakers into train: use 'speaker'")
    assert utterances.trials is not None, "they are read with the corpus"
    placed = utterances.trials
    usable = np.array([number for number, part in enumerate(placed.listed) if part], np.int64)
    return TrialSource(task, utterances, config, trains, usable, dict(placed.left_out))
