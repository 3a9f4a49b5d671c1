"""The utterances of a run: opened, checked against alignment and speakers, and divided; before any work is done."""

from dataclasses import dataclass

import numpy as np

from downstream.config import DataConfig
from downstream.labels import Labels, PhoneLabels, SpeakerLabels
from downstream.splits import PARTS, Parts, Utterances, divide
from downstream.tasks.base import Task
from utility.labels.alignment import Alignment
from utility.store.reading import Store


@dataclass(frozen=True)
class Corpus:
    """A store, its division (indices into the store), the classes, and the labels of each part."""

    paths: list[str]
    store: Store
    parts: Parts
    classes: list[str]
    labels: dict[str, Labels]

    def describe(self) -> dict:
        """The split rule, and for each part its utterances, speakers, frames, labelled frames and hours."""
        found: dict = {"rule": self.parts.rule, "left_out": self.parts.left_out}
        for part in PARTS:
            chosen = getattr(self.parts, part)
            frames = int(self.store.lengths[chosen].sum())
            found[part] = {
                "utterances": len(chosen),
                "speakers": len({self.store.speakers[i] for i in chosen}),
                "frames": frames,
                "labelled_frames": int(self.labels[part].seen.sum()),
                "hours": round(frames * self.store.info.frame_shift / 3600, 4),
            }
        return found


def open_corpus(task: Task, config: DataConfig) -> Corpus:
    """Open the listed splits; a ValueError for what does not fit the task says how many utterances and names one."""
    if not config.train:
        raise ValueError("data.train is empty: list the splits to train on, as data.train=[data/<store>/<split>]")
    paths = [*config.train, *config.dev, *config.test]
    store = Store(paths)
    listed = [part for part in PARTS for path in getattr(config, part) for _ in range(len(Store(path)))]
    usable, left_out, alignment = np.arange(len(store)), {}, None
    if task.label == "phone":
        alignment = _alignment(task, config)
        usable, left_out = _aligned(store, alignment, config)
    else:
        nameless = [key for key, speaker in zip(store.ids, store.speakers) if not speaker]
        if nameless:
            raise ValueError(f"{task.name}: {len(nameless)} utterances have no speaker, {nameless[0]!r} for one")
    utterances = Utterances(
        [store.ids[i] for i in usable], [store.speakers[i] for i in usable], [listed[i] for i in usable]
    )
    parts = divide(utterances, task, config)
    chosen = {part: usable[getattr(parts, part)] for part in PARTS}
    classes = alignment.labels if alignment else sorted({store.speakers[i] for i in chosen["train"]})
    if len(classes) < 2:
        raise ValueError(f"{task.name}: needs at least 2 classes, found {len(classes)} ({', '.join(classes)})")
    labels = {
        part: PhoneLabels(store, alignment, indices) if alignment else SpeakerLabels(store, classes, indices)
        for part, indices in chosen.items()
    }
    for part, found in labels.items():
        if not found.seen.sum():
            raise ValueError(f"{task.name}: no frame of the {part} part has a label")
    return Corpus(
        paths, store, Parts(**chosen, rule=parts.rule, left_out={**left_out, **parts.left_out}), classes, labels
    )


def _alignment(task: Task, config: DataConfig) -> Alignment:
    if config.alignment is None:
        raise ValueError(f"{task.name}: data.alignment is not set: name a folder made by preprocess_alignment.py")
    return Alignment(config.alignment)


def _aligned(store: Store, alignment: Alignment, config: DataConfig) -> tuple[np.ndarray, dict[str, int]]:
    missing = [key for key in store.ids if key not in alignment]
    if len(missing) == len(store):
        raise ValueError(
            f"{config.alignment} has none of the {len(store)} utterances: its ids look like {alignment.ids[0]!r}, "
            f"the store's like {missing[0]!r}"
        )
    if missing and config.unaligned == "error":
        raise ValueError(
            f"{config.alignment} lacks {len(missing)} of the {len(store)} utterances, {missing[0]!r} for one; "
            f"data.unaligned=leave_out goes on without them"
        )
    usable = np.array([i for i, key in enumerate(store.ids) if key in alignment], dtype=np.int64)
    return usable, {"not in the alignment": len(missing)} if missing else {}
