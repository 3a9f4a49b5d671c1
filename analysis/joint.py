"""Two upstreams over the same utterances, frame beside frame: moments of the layers of one with those of the other."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.collect import States, batches_of, states_of
from analysis.collectors import paired
from analysis.gather import Gathered
from analysis.material import digest
from analysis.moment_files import load_moments, save_moments
from analysis.moments import Layout, Moments
from utility.config import as_dict
from utility.files import temporary

TRIALS, MAP = "trials.npz", "map.npz"


def named(number: int, label: str) -> str:
    """A layer of the first (0) or second (1) upstream as a view."""
    return f"{number}/{label}"


class Joint:
    """Moments of two upstreams side by side: of layers of one number in the sets of the folds, of all pairs in one."""

    def __init__(self, first: Gathered, second: Gathered, layers: tuple[Sequence[str], Sequence[str]], sample: int):
        self.both, self.layers, self.sample, self.material = (first, second), layers, sample, first.material
        self.pairs = tuple((named(0, a), named(1, b)) for a, b in zip(*self.layers))
        self.widths = {
            named(k, label): gathered.subject.upstream.width(label)
            for k, (gathered, some) in enumerate(zip(self.both, self.layers))
            for label in some
        }
        each = sum(w * w for w in self.widths.values()) + sum(self.widths[a] * self.widths[b] for a, b in self.pairs)
        places = self.material.frame_utterances(sample)
        fitting = self.material.groups_that_fit(8 * each, "two upstreams")
        self.places, self.division = places, self.material.divided("frames", sample, places, None, fitting)

    def scores(self, resamples: int) -> Path:
        """Where the scores of its pairs lie, by what they are made of."""
        material = self.material
        about = {key: value for key, value in as_dict(material.config).items() if key != "data"}
        content = digest(self.folder().name, self.layers, about, material.seed, self.sample, resamples)
        return self.both[0].cache / "scores" / f"cca_inter_{content}"

    def folder(self) -> Path:
        """Where the moments lie, by what they are made of."""
        config = self.material.config.sampling
        made_of = [one.key for one in self.both], self.layers, self.places, self.division.set_of_unit
        content = digest(*made_of, config.every)
        return self.both[0].cache / f"joint_{content}"

    def by_fold(self) -> Moments:
        """The moments of layers of one number, in the sets of the folds."""
        return load_moments(self._made() / TRIALS)

    def of_all_pairs(self) -> Moments:
        """The moments of every layer of the first with every one of the second, in one set."""
        return load_moments(self._made() / MAP)

    def _made(self) -> Path:
        """The folder of the moments; they are collected where they are not there."""
        folder = self.folder()
        if not folder.is_dir():
            with temporary(folder) as new:
                new.mkdir()
                for moments, name in zip(self._collected(), (TRIALS, MAP)):
                    save_moments(moments, new / name)
                os.rename(new, folder)
        return folder

    def _collected(self) -> tuple[Moments, Moments]:
        here, every = self.material.utterances, self.material.config.sampling.every
        everything = tuple((named(0, a), named(1, b)) for a in self.layers[0] for b in self.layers[1])
        by_fold = Moments(Layout(self.widths, self.pairs, self.division.num_sets))
        whole = Moments(Layout(self.widths, everything, 1))
        durations = np.zeros(len(self.both[0].subject.corpus.ids))
        durations[here.numbers] = here.durations
        numbers = here.numbers[self.places].tolist()
        sets = dict(zip(numbers, self.division.set_of_unit.tolist()))
        batches = batches_of(numbers, durations, self.material.config.data.batch_seconds)
        runs = [states_of(one.subject, batches, labels) for one, labels in zip(self.both, self.layers)]
        second = dict[int, States]()
        for index, states in runs[0]:
            while index not in second:  # a long recording comes later in one of them
                number, other = next(runs[1])
                second[number] = other
            views = {name: block[::every] for name, block in self._side_by_side(states, second.pop(index)).items()}
            if len(next(iter(views.values()))):
                by_fold.add(views, sets[index])
                whole.add(views, 0)
        return by_fold, whole

    def _side_by_side(self, one: States, other: States) -> dict[str, np.ndarray]:
        """Both upstreams' states at the slower one's frames."""
        given = zip((one, other), self.layers)
        joined = [np.concatenate([some[label] for label in labels], 1) for some, labels in given]  # [T, layers x width]
        times = [
            gathered.subject.times(labels[0], len(block))
            for gathered, labels, block in zip(self.both, self.layers, joined)
        ]
        aligned = paired({"first": joined[0]}, times[0], joined[1], times[1], "second")
        views: dict[str, np.ndarray] = {}
        for number, (name, labels) in enumerate(zip(("first", "second"), self.layers)):
            ends = np.cumsum([self.widths[named(number, label)] for label in labels])
            blocks = np.split(aligned[name], ends[:-1], axis=1)
            views |= {named(number, label): block for label, block in zip(labels, blocks)}
        return views


def samples_of(joint: Joint, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames of the layers of a pair, [n, p] and [n, q], at the slower one's times, of what is on disk."""
    labels = [some[number] for some in joint.layers]
    rows = [one.frame_rows(joint.sample, label) for one, label in zip(joint.both, labels)]
    every, parts = joint.material.config.sampling.every, []
    for place in range(len(rows[0].counts)):
        states = [some.of(place) for some in rows]
        times = [one.subject.times(label, len(x)) for one, label, x in zip(joint.both, labels, states)]
        views = paired({"first": states[0]}, times[0], states[1], times[1], "second")
        parts.append([views[name][::every] for name in ("first", "second")])
    first, second = (np.concatenate(some) for some in zip(*parts))
    return first, second
