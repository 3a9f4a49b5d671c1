"""The utterances of a run: checked against their labels, and divided; before any work is done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from downstream.config import DataConfig
from downstream.labels.base import Labels, LabelSource
from downstream.labels.table import groups_of, listed_parts
from downstream.sources import Corpus, Sources
from downstream.splits import PARTS, Parts, Utterances, divide, group_names
from downstream.tasks.base import Task
from downstream.utterances import FramedUtterances

TOO_SHORT = "too short for a frame of the upstream"
NOT_THERE = "listed, but not there"


@dataclass(frozen=True)
class LabelledCorpus:
    """Utterances with the frames of their hidden states, their division (indices), and the labels of the parts."""

    sources: Sources
    utterances: FramedUtterances
    parts: Parts
    labels: Labels

    @property
    def store(self) -> Corpus:
        """All utterances: a store, or recordings."""
        return self.sources.whole

    def describe(self) -> dict:
        """The split rule, and for each part its utterances, speakers, frames, labelled frames and hours."""
        content: dict = {"rule": self.parts.rule, "left_out": self.parts.left_out}
        if lists := self.sources.lists():
            content["lists"] = {name: listed.about() for name, listed in lists.items()}
        known = {self.utterances.speakers[i] for i in self.parts.train}
        for part in PARTS:
            chosen = getattr(self.parts, part)
            speakers = {self.utterances.speakers[i] for i in chosen}
            frames = int(self.utterances.lengths[chosen].sum())
            content[part] = {
                "utterances": len(chosen),
                "speakers": len(speakers),
                "speakers_of_train": len(speakers & known),
                "frames": frames,
                "labelled_frames": self.labels.labelled(chosen),
                "hours": round(frames * self.utterances.info.frame_shift / 3600, 4),
            }
        return content


def open_corpus(task: Task, config: DataConfig, sources: Sources, framed: FramedUtterances) -> LabelledCorpus:
    """Label and divide utterances; a ValueError for what does not fit the task says how many and names one."""
    source, usable, utterances, left_out = _answered(task, config, sources, framed)
    parts = divide(utterances, task.division, config)
    parts = replace(
        parts,
        train=usable[parts.train],
        dev=usable[parts.dev],
        test=usable[parts.test],
        left_out={**left_out, **parts.left_out},
    )
    labels = source.read(parts)
    for part in PARTS:
        if not labels.labelled(getattr(parts, part)):
            raise ValueError(f"{task.name}: no frame of the {part} part has a label")
    return LabelledCorpus(sources, framed, parts, labels)


def fold_names(task: Task, config: DataConfig, sources: Sources, framed: FramedUtterances) -> list[str]:
    """The groups (or speakers) of the utterances that have an answer, each the test part of a fold."""
    return group_names(_answered(task, config, sources, framed)[2], task.division)


def _answered(
    task: Task, config: DataConfig, sources: Sources, framed: FramedUtterances
) -> tuple[LabelSource, np.ndarray, Utterances, dict[str, int]]:
    """Where the answers come from; the numbers of the utterances that have one and a frame; these as they are divided;
    how many are left out, by reason."""
    lists = [part for part in PARTS for _ in getattr(config, part)]
    listed = [part for part, split in zip(lists, sources.splits, strict=True) for _ in range(len(split))]
    if framed.trials is not None:
        placed = framed.trials.placed(listed, framed.ids, framed.speakers)
        framed, listed = replace(framed, trials=placed), list(placed.listed)
    source = task.labels(framed, config)
    long_enough = framed.lengths[source.usable] > 0
    usable, left_out = source.usable[long_enough], dict(source.left_out)
    if not long_enough.all():
        left_out[TOO_SHORT] = int((~long_enough).sum())
    if unlisted := sum(listed.missing for listed in sources.lists().values()):
        left_out[NOT_THERE] = unlisted
    chosen = usable.tolist()
    strata = source.strata  # once: it may be made when asked for
    strata = strata and [strata[i] for i in np.flatnonzero(long_enough).tolist()]
    groups = None
    if framed.rows is not None and config.split_column is not None:
        listed = [part or "" for part in listed_parts(config, framed.rows)]
    if framed.rows is not None and config.group_column is not None:
        groups = groups_of(config, framed.rows, chosen)
    named = strata if strata and task.division.known_speakers else [framed.speakers[i] for i in chosen]
    order = _training_list(sources, config)
    utterances = Utterances([framed.ids[i] for i in chosen], named, [listed[i] for i in chosen], strata, groups, order)
    return source, usable, utterances, left_out


def _training_list(sources: Sources, config: DataConfig) -> Sequence[str]:
    """The ids of the list of `data.train`, as its file has them; empty where that is not one split with a list."""
    listed = sources.splits[0].lists[0]
    return () if listed is None or len(config.train) != 1 else listed.ids
