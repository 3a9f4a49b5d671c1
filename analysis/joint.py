"""Two upstreams over the same utterances, frame beside frame: moments of the layers of one with those of the other."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.collect import States, Subject, batches_of, states_of
from analysis.collectors import paired
from analysis.gather import Gathered
from analysis.material import digest
from analysis.moment_files import load_moments, save_moments
from analysis.moments import Layout, Moments
from utility.files import temporary

TRIALS, MAP = "trials.npz", "map.npz"


def named(number: int, label: str) -> str:
    """A layer of the first (0) or second (1) upstream as a view."""
    return f"{number}/{label}"


class Joint:
    """Moments of two upstreams side by side: of layers of one number in the sets of the folds, of all pairs in one."""

    def __init__(self, first: Gathered, second: Gathered, sample: int):
        self.both, self.sample, self.material = (first, second), sample, first.material
        self.layers = first.subject.upstream.layers, second.subject.upstream.layers
        self.pairs = tuple((named(0, a), named(1, b)) for a, b in zip(*self.layers))
        widths = [gathered.subject.upstream.hidden_size for gathered in self.both]
        numbers = [len(some) for some in self.layers]
        each = sum(n * w * w for n, w in zip(numbers, widths)) + len(self.pairs) * widths[0] * widths[1]
        places = self.material.frame_utterances(sample)
        fitting = self.material.groups_that_fit(8 * each, "two upstreams")
        self.places, self.division = places, self.material.divided("frames", sample, places, None, fitting)
        self.widths = {
            named(k, label): width for k, (some, width) in enumerate(zip(self.layers, widths)) for label in some
        }

    def folder(self) -> Path:
        """Where the moments lie, by what they are made of."""
        config = self.material.config.sampling
        content = digest([one.key for one in self.both], self.places, self.division.set_of_unit, config.every)
        return self.both[0].cache / f"joint_{content}"

    def moments(self) -> tuple[Moments, Moments]:
        """The moments by fold, and those of all pairs; collected where they are not there."""
        folder = self.folder()
        if not folder.is_dir():
            with temporary(folder) as new:
                new.mkdir()
                for moments, name in zip(self._collected(), (TRIALS, MAP)):
                    save_moments(moments, new / name)
                os.rename(new, folder)
        return load_moments(folder / TRIALS), load_moments(folder / MAP)

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
            blocks = np.split(aligned[name], len(labels), axis=1)
            views |= {named(number, label): block for label, block in zip(labels, blocks)}
        return views


def pairs_of(subjects: Sequence[Subject]) -> list[tuple[int, int]]:
    """The first upstream beside each other one."""
    return [(0, other) for other in range(1, len(subjects))]
