"""What several runs of a sweep share, so that corpora, labels and upstreams are opened once."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from downstream.config import DataConfig
from downstream.corpus import LabelledCorpus, fold_names, open_corpus
from downstream.examples import Frames
from downstream.labels.table import read_rows
from downstream.labels.trials import read_trial_lists
from downstream.layers import ProbedLayers
from downstream.setting import Setting
from downstream.sources import (
    Corpus,
    Sources,
    are_recordings,
    listed_paths,
    open_recordings,
    open_stores,
    unstated_features,
)
from downstream.tasks.base import Task
from downstream.utterances import FramedUtterances, check_readable
from mockingjay.checkpoint import check_features
from mockingjay.inputs import Inputs
from mockingjay.states import Layers, StateCache
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.baseline import Baseline
from mockingjay.upstreams.selection import LayerSelection
from mockingjay.upstreams.spec import YAMLS
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict
from utility.labels.table import LabelRows
from utility.labels.trials import TrialParts
from utility.loader import Source
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.text import short


@dataclass(frozen=True)
class Stored:
    """Stored hidden states, and the seconds that computing them took; None where they were there already."""

    frames: Source
    seconds: float | None = None


class Opened:
    """Corpora by their paths, labels by task, data section and frames, and of the last upstream its stored states.

    With `given` all runs are of this upstream, which is open already."""

    def __init__(self, given: Upstream | None = None) -> None:
        self._given = given
        self._sources: dict[tuple, Sources] = {}
        self._samples: dict[tuple, np.ndarray] = {}
        self._rows: dict[tuple, LabelRows | None] = {}
        self._trials: dict[tuple, TrialParts | None] = {}
        self._corpora: dict[tuple, LabelledCorpus] = {}
        self._upstream: tuple[tuple, Upstream] | None = None
        self._frames: dict[tuple, Frames] = {}
        self.together: tuple[int, ...] = ()  # layers that runs to come read one by one: they are computed at once

    def upstream(self, setting: Setting) -> tuple[Upstream, Sources]:
        """The upstream of a run and what it takes: stores, or recordings as features or as waveforms.

        With another upstream the last frozen one is let go, so that many seeds do not fill the memory."""
        data = setting.config.data
        paths = tuple(listed_paths(data))
        online, name = setting.online, short(str(setting.upstream))
        if not are_recordings(paths):
            if online is not None:
                raise ValueError(f"--online_config: {paths[0]} is a store, whose features are made: leave the flag out")
            stores = self._opened(paths, data)
            return self._loaded(setting, stores.whole.info), stores
        if online is not None:
            recordings = self._opened(paths, data, online.input)
            upstream = self._loaded(setting, recordings.whole.info)
            if upstream.takes == "waveform":
                raise ValueError(f"--online_config would change nothing: upstream {name} takes waveforms, not features")
            return upstream, recordings
        spec = setting.upstream
        if spec.kind == "baseline" or (spec.fresh and spec.source.endswith(YAMLS)):
            raise ValueError(unstated_features(name))
        upstream = self._loaded(setting, None)
        if upstream.takes == "waveform":
            return upstream, self._opened(paths, data, None, upstream.sample_rate)
        if upstream.feature_config is None:
            raise ValueError(unstated_features(name))
        return upstream, self._opened(paths, data, upstream.feature_config)

    def _opened(
        self,
        paths: tuple[str, ...],
        data: DataConfig,
        features: FeatureConfig | None = None,
        sample_rate: int | None = None,
    ) -> Sources:
        """Stores, or with features or a rate recordings."""
        key = paths, data.unaligned, features and json.dumps(as_dict(features)), sample_rate
        if key not in self._sources:
            if features is None and sample_rate is None:
                self._sources[key] = open_stores(paths, data.unaligned)
            else:
                self._sources[key] = open_recordings(paths, features, sample_rate, data.unaligned)
        return self._sources[key]

    def _loaded(self, setting: Setting, info: StoreInfo | None) -> Upstream:
        """The upstream; one that is tuned will change, and is not shared."""
        if self._given is not None:
            name = short(setting.upstream.label)
            check_features(
                None if info is None else info.features, self._given.feature_config, "the data of the probe", name
            )
            return self._given
        drawn = setting.upstream.kind in ("random", "own", "s3prl")
        seed = setting.seed if drawn else 0
        told = info and json.dumps(as_dict(info))
        key = setting.upstream, told, seed, setting.device, json.dumps(setting.assume and dict(setting.assume))
        if self._upstream is not None and self._upstream[0] == key and not setting.config.upstream.fine_tune:
            return self._upstream[1]
        upstream = load_upstream(setting.upstream, None, info, seed, setting.device, setting.assume)
        if not setting.config.upstream.fine_tune:
            self._upstream = key, upstream
        return upstream

    def utterances(self, upstream: Upstream, sources: Sources, label: str) -> FramedUtterances:
        """The utterances with the frames of the states `label`; ValueError where a recording cannot be used."""
        corpus, rate = sources.whole, upstream.sample_rate
        if upstream.takes == "features":
            framed = FramedUtterances.of(corpus)
            if framed.recorded:
                check_readable(upstream, corpus, corpus.num_samples)
            return framed
        key = tuple(corpus.names), rate
        if key not in self._samples:
            samples = Inputs(upstream, corpus, label).sizes
            check_readable(upstream, corpus, samples)
            self._samples[key] = samples
        return FramedUtterances.heard(upstream, corpus, label, self._samples[key])

    def waveforms(self, upstream: Upstream, corpus: Corpus) -> Callable[[int], np.ndarray]:
        """What reads a recording whole at the upstream's rate, by its number."""
        samples = self._samples[tuple(corpus.names), upstream.sample_rate]
        return Inputs(upstream, corpus, None, samples).read

    def corpus(self, task: Task, config: DataConfig, sources: Sources, framed: FramedUtterances) -> LabelledCorpus:
        """The labelled and divided corpus of a data section; with another fold those of the last one are let go."""
        key = config.fold, task.name, json.dumps(as_dict(config)), framed.key
        if key not in self._corpora:
            self._corpora = {other: kept for other, kept in self._corpora.items() if other[0] == config.fold}
            self._corpora[key] = open_corpus(task, config, sources, self._with_rows(config, framed))
        return self._corpora[key]

    def folds(self, task: Task, config: DataConfig, sources: Sources, framed: FramedUtterances) -> list[str]:
        """The folds of a data section, by name."""
        return fold_names(task, config, sources, self._with_rows(config, framed))

    def _with_rows(self, config: DataConfig, framed: FramedUtterances) -> FramedUtterances:
        """The utterances with what a table of labels and trials say of them; both are read once for all seeds."""
        columns = tuple(config.label_columns), config.split_column, config.group_column
        key = config.labels, columns, tuple(map(str, framed.corpus.paths))
        if key not in self._rows:
            self._rows[key] = read_rows(config, framed.corpus)
        lists = config.trials, config.dev_trials, config.unaligned, tuple(map(str, framed.corpus.paths))
        if lists not in self._trials:
            self._trials[lists] = read_trial_lists(config, framed.corpus)
        return replace(framed, rows=self._rows[key], trials=self._trials[lists])

    def stored(
        self, upstream: Upstream, corpus: LabelledCorpus, layers: ProbedLayers, config: DataConfig, quiet: bool
    ) -> Stored:
        """The stored hidden states of a frozen upstream, which are made here where they are missing."""
        which, framed = layers.selection.which, corpus.utterances
        dtype = "float32" if isinstance(upstream, Baseline) else config.cache_dtype  # features stay what they are
        splits = _with_frames(corpus.sources, framed)
        made_by = upstream.fingerprint, tuple(split.names[0] for split in splits)
        key = *made_by, which, config.cache, dtype
        if key in self._frames:
            return Stored(self._frames[key])
        self._frames = {other: frames for other, frames in self._frames.items() if other[:2] == made_by}
        start = time.perf_counter()
        computed: list[Store] = []
        cache = StateCache(upstream, splits, config.cache, dtype, quiet)
        source, place = self._source(cache, which)
        pick = None if place is None else lambda states: states[:, place]
        frames = Frames(cache.stores(source, computed.append), pick, framed.ids)
        seconds = time.perf_counter() - start
        _check_all(frames, framed)
        self._frames[key] = frames
        if computed and not quiet:
            words = layers.in_words() if place is None else ", ".join(LayerSelection(source).labels(upstream))
            print(_cost(words, computed, seconds), file=sys.stderr)
        return Stored(frames, seconds if computed else None)

    def _source(self, cache: StateCache, which: Layers) -> tuple[Layers, int | None]:
        """The selection that is read for `which`, and the place of the layer in it; None where it is itself.

        One pass serves many layers: one is read from all of them where these are kept, and from those of a sweep."""
        if not isinstance(which, int) or cache.holds(which):
            return which, None
        if cache.holds("all"):
            return "all", which
        if which not in self.together:
            return which, None
        return LayerSelection(self.together).canonical(cache.upstream).which, self.together.index(which)


def _with_frames(sources: Sources, framed: FramedUtterances) -> list[Corpus]:
    """The splits of which some utterance has a frame."""
    ends = np.cumsum([len(split) for split in sources.splits])
    return [split for split, part in zip(sources.splits, np.split(framed.lengths, ends)) if part.any()]


def _check_all(frames: Frames, framed: FramedUtterances) -> None:
    """Raise ValueError where recordings turned out to be broken only when they were decoded."""
    missing = np.flatnonzero(frames.lengths != framed.lengths)
    if len(missing):
        name, why = short(framed.ids[int(missing[0])]), frames.stores[0].paths[0].parent / "errors.csv"
        raise ValueError(f"{len(missing)} recordings cannot be used, {name} for one, see {why}: mend or remove them")


def _cost(words: str, computed: Sequence[Store], seconds: float) -> str:
    """What computing states took, in a line."""
    frames = int(sum(store.lengths.sum() for store in computed))
    sound = sum(float(store.lengths.sum()) * store.info.frame_shift for store in computed)
    heard = f"{sound:.0f} s of sound, {sound / seconds:.0f} times real time" if sound > 0 else "of unknown duration"
    return f"hidden states {words}: {frames} frames ({heard}) computed in {seconds:.1f} s"
