"""What experiments want of an upstream, collected in one pass and kept by content: a pass is never made twice."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.boundaries import DISTANCES
from analysis.collect import Collector, Subject, batches_of, collect
from analysis.collectors import MEL, SPEAKER, Curves, FrameMoments, FrameViews, PooledTokens, Statistics, TokenFrames
from analysis.filterbank import BANDS, filterbank, original_filterbank
from analysis.filterbank import RATE as MEL_RATE
from analysis.folds import Division
from analysis.frame_rows import HOP, Beside, FrameRows, Rows
from analysis.material import FRAMES, Material, digest
from analysis.moment_files import load_moments
from analysis.moments import Moments
from analysis.packed import packed_size
from mockingjay.inputs import source_fingerprint
from utility.audio.waveform import read_audio
from utility.config import as_dict
from utility.files import remove_leftovers, temporary

MAPS, CURVES, BASE, FRAME_ROWS = "maps", "curves", "base", "frame_rows"
MAP_SETS = 20  # groups that are left out for the intervals of a map


@dataclass(frozen=True)
class Want:
    """What an experiment wants: `tokens` or `token_frames` of a set, `frames` beside `views`, `maps`, `curves`, or
    `frame_rows`: all frames themselves (beside MEL, or nothing)."""

    kind: str
    name: str = ""
    labels: tuple[str, ...] = ()
    views: frozenset[str] = frozenset()  # of frames: mel, speaker, base


def merged(wants: Sequence[Want]) -> list[Want]:
    """One of each kind and name, with the labels and views of all."""
    made: dict[tuple[str, str], Want] = {}
    for want in wants:
        key = want.kind, want.name
        old = made.get(key, Want(*key))
        labels = tuple(dict.fromkeys((*old.labels, *want.labels)))
        made[key] = Want(*key, labels, old.views | want.views)
    return list(made.values())


class Gathered:
    """What was collected of one upstream, read one layer at a time."""

    def __init__(
        self, subject: Subject, material: Material, sets: Mapping[tuple[str, int], int], cache: Path, quiet: bool
    ):
        self.subject, self.material, self.sets, self.cache, self.quiet = subject, material, sets, cache, quiet
        source = source_fingerprint(subject.upstream, subject.corpus, cache)
        self.key = digest(subject.upstream.fingerprint, source)
        self.folders: dict[tuple[str, str, int], Path] = {}
        self.wanted: dict[tuple[str, str, int], Want] = {}
        self._moments: tuple[tuple[Path, str], Moments] | None = None  # those that were read last

    def gather(self, wants: Mapping[int, Sequence[Want]]) -> None:
        """Collect what is not there of each sample's wants, in one pass, and a second one for distance curves."""
        self.cache.mkdir(parents=True, exist_ok=True)
        for folder in (self.cache, *sorted((self.cache / "scores").glob("*"))):
            remove_leftovers(folder)
        missing: list[tuple[Want, int, Path]] = []
        for sample, some in wants.items():
            for want in map(self._with_base, merged(some)):
                folder = self.cache / f"{want.kind}_{want.name or 'all'}_{self._digest(want, sample)}"
                key = want.kind, want.name, sample
                self.folders[key], self.wanted[key] = folder, want
                if not folder.is_dir() and folder not in [other for *_, other in missing]:
                    missing.append((want, sample, folder))
        if missing:
            self._collect(missing)

    def _with_base(self, want: Want) -> Want:
        """With the base layer, where --layer leaves it out and another stands beside it."""
        if BASE not in want.views or self.base() in want.labels:
            return want
        return replace(want, labels=(self.base(), *want.labels))

    def _digest(self, want: Want, sample: int) -> str:
        material, config = self.material, self.material.config
        parts: list[object] = [self.key, want.labels, sorted(want.views)]
        if want.kind in ("tokens", "token_frames"):
            drawn = material.drawn(want.name, sample)
            parts += [drawn.tokens.ids, drawn.tokens.classes, drawn.tokens.table, drawn.durations, drawn.cut]
        elif want.kind == FRAMES:
            division = self.division(sample)
            cca = config.cca
            parts += [material.frame_utterances(sample), division.set_of_unit, config.sampling.every]
            parts += [cca.filterbank, cca.base_layer, material.utterances.speakers, material.utterances.durations]
        elif want.kind == FRAME_ROWS:
            parts += [material.frame_utterances(sample), config.cca.filterbank if want.name == MEL else ""]
        elif want.kind == MAPS:
            parts += [material.frame_utterances(sample), self.sets[MAPS, sample], config.sampling.every]
        else:
            parts += [material.utterances.ids, material.utterances.durations]
        return digest(*parts)

    def _collect(self, missing: Sequence[tuple[Want, int, Path]]) -> None:
        config, here = self.material.config, self.material.utterances
        durations = np.zeros(len(self.subject.corpus.ids))
        durations[here.numbers] = here.durations
        batches = batches_of(here.numbers.tolist(), durations, config.data.batch_seconds)
        with ExitStack() as stack:
            made = [(want, sample, stack.enter_context(temporary(folder)), folder) for want, sample, folder in missing]
            collectors: list[Collector] = []
            curves: list[tuple[Statistics, Path]] = []
            for want, sample, new, _ in made:
                new.mkdir()
                if want.kind == CURVES:
                    curves.append((Statistics(want.labels, here.numbers.tolist()), new))
                else:
                    collectors.append(self._collector(want, sample, new))
            first = [*collectors, *(statistics for statistics, _ in curves)]
            collect(self.subject, batches, first, self.quiet)
            second = [Curves(new, self.subject, statistics) for statistics, new in curves]
            if second:
                collect(self.subject, batches, second, self.quiet)
            for collector in (*collectors, *second):
                collector.finish()  # type: ignore[attr-defined]
            for _, _, new, folder in made:
                os.rename(new, folder)

    def _collector(self, want: Want, sample: int, new: Path) -> PooledTokens | TokenFrames | FrameMoments | FrameRows:
        if want.kind == FRAMES:
            return FrameMoments(new, self.subject, want.labels, self._views(want, sample))
        if want.kind == MAPS:
            return FrameMoments(new, self.subject, want.labels, self._map_views(sample))
        if want.kind == FRAME_ROWS:
            return FrameRows(new, self.subject, want.labels, self._frame_numbers(sample), self._beside(want))
        kind = PooledTokens if want.kind == "tokens" else TokenFrames
        return kind(new, self.subject, want.labels, self.material.drawn(want.name, sample))

    def _frame_numbers(self, sample: int) -> list[int]:
        """The corpus' numbers of the utterances of frame experiments."""
        return self.material.utterances.numbers[self.material.frame_utterances(sample)].tolist()

    def _beside(self, want: Want) -> Beside | None:
        if want.name != MEL:
            return None
        as_original = self.subject.upstream.takes != "features" and self.material.config.cca.filterbank == "original"
        return Beside(*self.mel_view(), as_original)

    def _views(self, want: Want, sample: int) -> FrameViews:
        places = self.material.frame_utterances(sample)
        here, division = self.material.utterances, self.division(sample)
        numbers = here.numbers[places].tolist()
        names = sorted(set(here.speakers))
        mel, width = self.mel_view() if MEL in want.views else (None, 0)
        with_speakers = SPEAKER in want.views
        return FrameViews(
            sets=dict(zip(numbers, division.set_of_unit.tolist())),
            num_sets=division.num_sets,
            every=self.material.config.sampling.every,
            mel=mel,
            mel_width=width,
            speakers={n: names.index(here.speakers[p]) for n, p in zip(numbers, places)} if with_speakers else None,
            num_speakers=len(names) if with_speakers else 0,
            base=self.base() if BASE in want.views else None,
        )

    def _map_views(self, sample: int) -> FrameViews:
        places, groups = self.material.frame_utterances(sample), self.sets[MAPS, sample]
        numbers = self.material.utterances.numbers[places].tolist()
        sets = self.material.generator("maps", sample).permutation(len(numbers)) % groups
        every = self.material.config.sampling.every
        return FrameViews(sets=dict(zip(numbers, sets.tolist())), num_sets=groups, every=every, maps=True)

    def map_moments(self, sample: int) -> Moments:
        """The moments of every two layers."""
        return load_moments(self.folders[MAPS, "", sample] / "0.npz")

    def base(self) -> str:
        """The label of cca_intra's base layer; ValueError where the upstream has none such."""
        return base_layer(self.subject, self.material)

    def mel_view(self) -> tuple[Callable[[int], tuple[np.ndarray, np.ndarray]], int]:
        """The acoustic view of each utterance, and its width: the static features of a store, or a filterbank."""
        subject, kind = self.subject, self.material.config.cca.filterbank
        corpus = subject.corpus
        if subject.upstream.takes == "features" or kind == "store":
            if len(corpus.info.row_shape) != 1:
                raise ValueError(f"{subject.name}: its store holds several layers a frame, no features for cca_mel")
            features = corpus.info.features
            width = corpus.info.row_shape[0] // (1 if features is None else 1 + features.deltas)

            def stored(index: int) -> tuple[np.ndarray, np.ndarray]:
                frames = corpus[index][:, :width]
                return frames, corpus.info.frame_times(len(frames))

            if not np.isfinite(corpus.info.frame_shift):
                raise ValueError(f"{subject.name}: its store does not say when a frame is: make the features again")
            return stored, width

        def heard(index: int) -> tuple[np.ndarray, np.ndarray]:
            wave = read_audio(corpus.audio_paths[index], MEL_RATE, span=corpus.spans[index])
            if kind == "original":
                bands = original_filterbank(wave)
                return bands, HOP * np.arange(len(bands))
            return filterbank(wave)

        return heard, BANDS

    def division(self, sample: int) -> Division:
        """The folds of the utterances of frame experiments."""
        places, trials = self.material.frame_utterances(sample), self.material.config.cca.trials
        return self.material.divided(FRAMES, sample, places, None, self.sets[FRAMES, sample] - 1 - trials)

    def tokens(self, name: str, sample: int, label: str) -> np.ndarray:
        """Means of tokens [N, width] of a layer, on disk."""
        return np.load(self.folders["tokens", name, sample] / f"{label}.npy", mmap_mode="r")

    def token_frames(self, name: str, sample: int, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Frames of all tokens [F, width] of a layer, and how many each has [N]."""
        folder = self.folders["token_frames", name, sample]
        return np.load(folder / f"{label}.npy", mmap_mode="r"), np.load(folder / f"{label}.lengths.npy")

    def frame_rows(self, sample: int, label: str, beside: str = "") -> Rows:
        """The frames of a layer, on disk; beside MEL those that have a partner there."""
        return Rows.read(self.folders[FRAME_ROWS, beside, sample], label)

    def moments(self, sample: int, label: str) -> Moments:
        """The moments of a layer's frames beside all views that are no other layer but the base: one layer at a
        time."""
        folder, want = self.folders[FRAMES, "", sample], self.wanted[FRAMES, "", sample]
        clocks: list[tuple[float, float]] = []
        for one in want.labels:
            if self.subject.clock(one) not in clocks:
                clocks.append(self.subject.clock(one))
        path = folder / f"{clocks.index(self.subject.clock(label))}.npz"
        if self._moments is None or self._moments[0] != (path, label):
            base = {self.base()} if BASE in want.views else set()
            self._moments = (path, label), load_moments(path, {label, MEL, SPEAKER} | base)
        return self._moments[1]

    def curves(self, label: str) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
        """Distance curves of a layer, for each distance one per utterance, and the times of their frames."""
        folder, frames = self.folders[CURVES, "", 0], self.subject.frames(label)[self.material.utterances.numbers]
        ends = np.cumsum(np.maximum(frames - 1, 0))[:-1]
        curves = [np.split(np.load(folder / f"{label}.{name}.npy"), ends) for name in DISTANCES]
        return curves, [self.subject.times(label, int(count)) for count in frames]

    def scores(self, name: str, sample: int, resamples: int) -> Path:
        """Where the scores of an experiment lie: by what they are made of."""
        keys = sorted(str(folder.name) for (_, _, number), folder in self.folders.items() if number in (sample, 0))
        about = {key: value for key, value in as_dict(self.material.config).items() if key != "data"}
        content = digest(name, keys, about, self.material.files(), self.material.seed, sample, resamples)
        return self.cache / "scores" / f"{name}_{content}"


def base_layer(subject: Subject, material: Material) -> str:
    """The label of cca_intra's base layer; ValueError where the upstream has none such."""
    text, upstream = material.config.cca.base_layer, subject.upstream
    if text.isdecimal() and int(text) < len(upstream.layers):
        return upstream.layers[int(text)]
    if text in subject.labels:
        return text
    raise ValueError(f"cca.base_layer={text}: {subject.name} has {', '.join(subject.labels)}: name one of these")


def sets_that_fit(
    material: Material, wants: Sequence[tuple[Subject, Mapping[int, Sequence[Want]]]]
) -> dict[tuple[str, int], int]:
    """How many sets the sums of frames, and of a map, have in each sample: those of the folds, and more groups of the
    bootstrap in an eighth of the memory.

    All upstreams have the same, that of the widest, so that their scores are of the same groups. ValueError where the
    memory does not hold the fewest."""
    cca = material.config.cca
    fewest, most = {FRAMES: 1 + 2 * cca.trials, MAPS: 1}, {FRAMES: 1 + cca.trials + cca.groups, MAPS: MAP_SETS}
    sets: dict[tuple[str, int], int] = {}
    for subject, by_sample in wants:
        sizes = {
            (want.kind, sample): _set_bytes(subject, material, want)
            for sample, some in by_sample.items()
            for want in merged(some)
            if want.kind in (FRAMES, MAPS)
        }
        spare = int(cca.memory_mib * 2**20) - sum(fewest[kind] * size for (kind, _), size in sizes.items())
        if spare < 0:
            samples = f" for {len(by_sample)} samples" if len(by_sample) > 1 else ""
            raise ValueError(
                f"sums of frames of {subject.name} take {cca.memory_mib - spare / 2**20:.2f} MiB{samples}, and "
                f"cca.memory_mib={cca.memory_mib:g} allows less: raise it, or look at fewer layers (--layer)"
            )
        for key, size in sizes.items():
            fitting = min(
                most[key[0]], fewest[key[0]] + more_sets(cca.memory_mib / len(sizes), spare // len(sizes), size)
            )
            sets[key] = min(sets.get(key, fitting), fitting)
    return sets


def more_sets(memory_mib: float, spare: int, size: int) -> int:
    """Sets of `size` bytes for the bootstrap beside those of the folds: an eighth of the memory, or what is spare."""
    return min(spare, int(memory_mib * 2**17)) // size


def _set_bytes(subject: Subject, material: Material, want: Want) -> int:
    """The bytes of one set of the sums of frames or of a map. ValueError for a base layer that is not there."""
    widths = [subject.upstream.width(label) for label in want.labels]
    if want.kind == MAPS:
        pairs = sum(a * b for i, a in enumerate(widths) for b in widths[i + 1 :])
        return 8 * (pairs + sum(map(packed_size, widths)))
    extra = BANDS * (MEL in want.views) + len(set(material.utterances.speakers)) * (SPEAKER in want.views)
    numbers = sum(packed_size(w) + w * extra for w in widths)
    if BASE in want.views:
        base = subject.upstream.width(base_layer(subject, material))
        numbers += sum(w * base for w in widths)
    return 8 * numbers
