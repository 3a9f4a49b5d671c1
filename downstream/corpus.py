"""The utterances of a run: opened, checked against their labels, and divided; before any work is done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from downstream.config import DataConfig
from downstream.labels import Labels
from downstream.splits import PARTS, Parts, Utterances, divide
from downstream.tasks.base import Task
from utility.store.reading import Store


@dataclass(frozen=True)
class Stores:
    """The listed splits one by one, and as one store of all their utterances."""

    whole: Store
    splits: Sequence[Store]


@dataclass(frozen=True)
class LabelledCorpus:
    """Stores, their division (indices into the whole store), and the labels of the parts."""

    stores: Stores
    parts: Parts
    labels: Labels

    @property
    def store(self) -> Store:
        """All utterances."""
        return self.stores.whole

    def describe(self) -> dict:
        """The split rule, and for each part its utterances, speakers, frames, labelled frames and hours."""
        content: dict = {"rule": self.parts.rule, "left_out": self.parts.left_out}
        for part in PARTS:
            chosen = getattr(self.parts, part)
            frames = int(self.store.lengths[chosen].sum())
            content[part] = {
                "utterances": len(chosen),
                "speakers": len({self.store.speakers[i] for i in chosen}),
                "frames": frames,
                "labelled_frames": self.labels.labelled(chosen),
                "hours": round(frames * self.store.info.frame_shift / 3600, 4),
            }
        return content


def listed_paths(config: DataConfig) -> list[str]:
    """The splits of all parts, in the order train, dev, test; ValueError where there is none to train on."""
    if not config.train:
        raise ValueError("data.train is empty: list the splits to train on, as data.train=[data/<store>/<split>]")
    return [*config.train, *config.dev, *config.test]


def open_stores(paths: Sequence[str]) -> Stores:
    """Open every split once."""
    return Stores(*Store.with_splits(paths))


def open_corpus(task: Task, config: DataConfig, stores: Stores) -> LabelledCorpus:
    """Label and divide stores; a ValueError for what does not fit the task says how many utterances and names one."""
    store = stores.whole
    lists = [part for part in PARTS for _ in getattr(config, part)]
    listed = [part for part, split in zip(lists, stores.splits, strict=True) for _ in range(len(split))]
    source = task.labels(store, config)
    usable = source.usable
    utterances = Utterances(
        [store.ids[i] for i in usable],
        [store.speakers[i] for i in usable],
        [listed[i] for i in usable],
        source.strata,
    )
    parts = divide(utterances, task.division, config)
    parts = replace(
        parts,
        train=usable[parts.train],
        dev=usable[parts.dev],
        test=usable[parts.test],
        left_out={**source.left_out, **parts.left_out},
    )
    labels = source.read(parts)
    for part in PARTS:
        if not labels.labelled(getattr(parts, part)):
            raise ValueError(f"{task.name}: no frame of the {part} part has a label")
    return LabelledCorpus(stores, parts, labels)
