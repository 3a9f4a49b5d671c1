"""Finished probes, and the states of an upstream as it is at the moment, as probing runs read them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analysis.collect import Subject, batches_of, states_of
from downstream.config import DataConfig, DownstreamConfig, OnlineFile
from downstream.corpus import LabelledCorpus
from downstream.layers import ProbedLayers
from downstream.opened import Opened, Stored
from downstream.setting import ONLINE
from mockingjay.upstreams.base import Upstream
from mockingjay.upstreams.baseline import Baseline
from utility.audio.online_config import OnlineConfig
from utility.config import as_dict, build, resolve
from utility.runs import read_json
from utility.temporary_array import TemporaryArray
from utility.text import short

RESULT, BEST = "result.json", "best.ckpt"
BATCH_SECONDS = 40.0  # of audio that goes through an upstream at once


@dataclass(frozen=True)
class FinishedProbe:
    """A run of run_downstream.py: its folder, and what it says of itself."""

    folder: Path
    task: str
    upstream: str  # the fingerprint
    seed: int
    config: DownstreamConfig
    online: OnlineConfig | None

    @classmethod
    def read(cls, path: str, key: str) -> "FinishedProbe":
        """The run in a folder that `key` of the config names; ValueError for what is none, or was tuned."""
        folder = Path(path).expanduser()
        folder = folder.parent if folder.name == RESULT else folder
        if not (folder / RESULT).is_file() or not (folder / BEST).is_file():
            raise ValueError(f"{key}: {path} holds no finished probe: name a folder that run_downstream.py wrote")
        content = read_json(folder / RESULT)
        try:
            assert content["kind"] == "probe"
            task, seed = str(content["task"]), int(content["seed"])
            fingerprint = str(content["fingerprints"]["upstream"]["fingerprint"])
            values = content["config"]
        except (KeyError, TypeError, ValueError, AssertionError):
            raise ValueError(
                f"{key}: {folder / RESULT} is not of a probe, or of an older version: probe again"
            ) from None
        config = build(DownstreamConfig, values)
        if config.upstream.fine_tune:
            raise ValueError(f"{key}: {path} tuned its upstream (fine_tune): name a probe of a frozen one")
        file = folder / ONLINE
        return cls(
            folder, task, fingerprint, seed, config, resolve(OnlineFile, file).online if file.is_file() else None
        )

    @property
    def digest(self) -> str:
        """Changes with the probe's weights and with what it was trained on."""
        told = json.dumps([self.task, self.upstream, self.seed, as_dict(self.config)]).encode()
        return hashlib.sha256(told + (self.folder / BEST).read_bytes()).hexdigest()[:16]


class Kept:
    """States of some utterances of a corpus, in a temporary file."""

    def __init__(self, ids: Sequence[str], lengths: np.ndarray):
        self.ids, self.lengths = ids, lengths
        self._starts: dict[int, int] = {}
        self._frames = 0
        self._rows: TemporaryArray | None = None

    def add(self, index: int, states: np.ndarray) -> None:
        """Those [T, ...] of utterance `index`; ValueError for what the type does not hold."""
        if not np.isfinite(states).all():
            raise ValueError(f"utterance {short(self.ids[index])}: its states end {states.dtype}: probe in float32")
        self._rows = TemporaryArray(states.dtype.type, states.shape[1:]) if self._rows is None else self._rows
        self._rows.append(states)
        self._starts[index] = self._frames
        self._frames += len(states)

    def read(self, index: int, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` of utterance `index`, float32."""
        assert self._rows is not None, "what is read was computed"
        first = self._starts[index]
        return self._rows.read(first + start, first + stop).astype(np.float32)


class StatesNow(Opened):
    """Corpora and labels as every probing run opens them, and the states of one upstream as it is at the moment: of the
    utterances of `parts`, in a temporary file. They are not stored: what is cut of it changes from score to score."""

    def __init__(self, upstream: Upstream, parts: Sequence[str]):
        super().__init__(upstream)
        self.parts = parts
        self._subject: Subject | None = None

    def stored(
        self, upstream: Upstream, corpus: LabelledCorpus, layers: ProbedLayers, config: DataConfig, quiet: bool
    ) -> Stored:
        """The states that a probe reads, in the numbers that stored ones have."""
        chosen = np.concatenate([np.asarray(getattr(corpus.parts, part), np.int64) for part in self.parts])
        durations = np.nan_to_num(corpus.utterances.durations, nan=1.0)
        dtype = np.dtype("float32" if isinstance(upstream, Baseline) else config.cache_dtype)
        if self._subject is None or self._subject.corpus is not corpus.store:
            self._subject = Subject("the upstream", upstream, corpus.store)
        kept = Kept(corpus.utterances.ids, corpus.utterances.lengths)
        batches = batches_of(chosen.tolist(), durations, BATCH_SECONDS)
        for number, states in states_of(self._subject, batches, layers.labels):
            kept.add(number, _combined(layers, [states[label] for label in layers.labels]).astype(dtype))
        return Stored(kept)


def _combined(layers: ProbedLayers, states: Sequence[np.ndarray]) -> np.ndarray:
    """What a probe reads of the states of its labels, each [T, H]: one [T, H], or all to be weighed [T, n, H]."""
    given = layers.combine([torch.from_numpy(state)[None] for state in states])
    return (given if isinstance(given, Tensor) else torch.stack(list(given), 2))[0].numpy()
