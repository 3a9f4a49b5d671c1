"""Labels from a table of the user's (`data.labels`): which utterances have one, and of which class each is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from downstream.config import DataConfig
from downstream.label_modes import MODE_CLASSES, number_class, strongest
from downstream.labels.base import check_classes
from downstream.labels.speakers import NameLabels, SpeakerSource, speakers
from downstream.sources import Corpus
from downstream.splits import PARTS, Parts
from downstream.utterances import FramedUtterances
from utility.arrays import number
from utility.labels.table import LabelRows, match_rows
from utility.text import cut, short

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "val": "dev", "validation": "dev"}
SPLITS |= {"test": "test", "eval": "test"}


def read_rows(config: DataConfig, corpus: Corpus) -> LabelRows | None:
    """The rows of `data.labels` for a corpus; None without such a table."""
    if config.labels is None:
        return None
    wanted = [*config.label_columns, config.split_column, config.group_column]
    columns = list(dict.fromkeys(name for name in wanted if name is not None))
    return match_rows(config.labels, columns, corpus.ids, corpus.paths_in_table)


def listed_parts(config: DataConfig, rows: LabelRows) -> Sequence[str | None]:
    """The part that `data.split_column` gives each utterance; None for a value that is no part's name."""
    assert config.split_column is not None, "there is a column"
    values = rows.values[config.split_column]
    names = {value: SPLITS.get(value.lower()) for value in set(values)}
    parts = [names[value] for value in values]
    if not any(parts):
        seen = cut(", ".join(sorted({value for value, line in zip(values, rows.lines.tolist()) if line})))
        raise ValueError(
            f"{config.labels}: column {config.split_column} has no part of the division: expected train, dev "
            f"(valid, val, validation) and test (eval), got {seen}"
        )
    return parts


def groups_of(config: DataConfig, rows: LabelRows, chosen: Sequence[int]) -> list[str]:
    """What `data.group_column` says of the chosen utterances; ValueError where it says nothing."""
    assert config.group_column is not None, "there is a column"
    values = rows.values[config.group_column]
    for index in chosen:
        if not values[index]:
            raise ValueError(f"{rows.at(index)}: {config.group_column} is empty: a group is needed (data.group_column)")
    return [values[index] for index in chosen]


@dataclass(frozen=True)
class TableSource:
    """A class for each utterance, by a table; `names` [U] are the labels, empty where an utterance has none.

    `listed` are the classes that the config or a mode knows beforehand."""

    task: str
    utterances: FramedUtterances
    rows: LabelRows
    names: Sequence[str]
    usable: np.ndarray
    left_out: dict[str, int]
    listed: Sequence[str]

    @property
    def strata(self) -> list[str]:
        """The label of each usable utterance."""
        return [self.names[index] for index in self.usable.tolist()]

    def read(self, parts: Parts) -> NameLabels:
        """The classes are those listed, else those of the training part; ValueError where dev or test has another."""
        found = {self.names[index] for index in parts.train.tolist()}
        classes = list(self.listed) or in_order(found)
        known = set(classes)
        for part in PARTS[1:]:
            for index in getattr(parts, part).tolist():
                if self.names[index] not in known:
                    raise ValueError(
                        f"{self.task}: label {short(self.names[index])} of the {part} part ({self.rows.at(index)}) is "
                        "not in train; data.classes lists the classes that are used"
                    )
        check_classes(self.task, classes if len(found) > 1 else sorted(found))
        return NameLabels(self.names, self.utterances.lengths, classes, parts.all())


def in_order(labels: set[str]) -> list[str]:
    """Numbers by value where every label is one, else by code point."""
    try:
        return sorted(labels, key=lambda label: (number(label), label))
    except ValueError:
        return sorted(labels)


def table_classes(task: str, utterances: FramedUtterances, config: DataConfig) -> TableSource:
    """The classes in the table of the utterances; ValueError names the line where a label cannot be used."""
    rows, columns = _rows(utterances), config.label_columns
    if config.label_kind == "number":
        raise ValueError(
            f"{task}: data.label_kind number: no task takes numbers yet; data.label_mode makes classes of them"
        )
    if not columns:
        raise ValueError(f"{task}: data.label_column is not set: name the column of {rows.file} with the labels")
    if len(columns) > 1 and config.label_mode != "emotion":
        raise ValueError(f"{task}: data.label_column lists {len(columns)} columns, a task takes one: choose it")
    raw = [_renamed(config, rows, name) for name in columns]
    listed = config.classes or _classes_of(config)
    allowed, names, usable = set(listed), [""] * len(utterances), []
    there, left_out = with_row(task, utterances, config)
    for index in there:
        texts = [column[index] for column in raw]
        if not all(texts):
            if config.unaligned == "error":
                empty = columns[texts.index("")]
                raise ValueError(f"{rows.at(index)}: {empty} is empty; data.unaligned=leave_out goes on without such")
            left_out.add("without a label")
        elif (label := _class(config, rows, index, texts)) is None:
            left_out.add(f"label 0, which {config.label_mode} drops")
        elif allowed and label not in allowed:
            left_out.add("label not in data.classes")
        else:
            names[index] = label
            usable.append(index)
    _check_some(task, usable, left_out)
    return TableSource(task, utterances, rows, names, np.array(usable, np.int64), left_out, listed)


def table_speakers(task: str, utterances: FramedUtterances, config: DataConfig) -> SpeakerSource:
    """The speaker column of the corpus, of the utterances that the table has."""
    source = speakers(task, utterances, config)
    usable, left_out = with_row(task, utterances, config)
    return replace(
        source, usable=np.array(usable, np.int64), strata=[source.strata[i] for i in usable], left_out=left_out
    )


def _rows(utterances: FramedUtterances) -> LabelRows:
    assert utterances.rows is not None, "there is a table"
    return utterances.rows


def with_row(task: str, utterances: FramedUtterances, config: DataConfig) -> tuple[list[int], "Counted"]:
    """The utterances that the table has, in a part of the division if it says the parts."""
    rows, left_out = _rows(utterances), Counted()
    missing = np.flatnonzero(rows.lines == 0).tolist()
    if missing and config.unaligned == "error":
        raise ValueError(
            f"{rows.file} lacks {len(missing)} of the {len(utterances)} utterances, "
            f"{short(utterances.ids[missing[0]])} for one; data.unaligned=leave_out goes on without them"
        )
    if missing:
        left_out["not in the table of labels"] = len(missing)
    if rows.spare:
        left_out["rows of the table without an utterance"] = rows.spare
    there = np.flatnonzero(rows.lines).tolist()
    if config.split_column is not None:
        parts = listed_parts(config, rows)
        chosen = [index for index in there if parts[index] is not None]
        if len(chosen) < len(there):
            left_out[f"{config.split_column} is no part"] = len(there) - len(chosen)
        there = chosen
    _check_some(task, there, left_out)
    return there, left_out


def _check_some(task: str, usable: Sequence[int], left_out: Mapping[str, int]) -> None:
    if not usable:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
        raise ValueError(f"{task}: no utterance has a label that is used; left out, {reasons}")


class Counted(dict[str, int]):
    """How many utterances are left out, by reason."""

    def add(self, reason: str) -> None:
        """One more."""
        self[reason] = self.get(reason, 0) + 1


def _renamed(config: DataConfig, rows: LabelRows, column: str) -> Sequence[str]:
    """The values of a column under `data.label_map`; ValueError for a name of the map that no utterance has."""
    values = rows.values[column]
    if not config.label_map:
        return values
    unknown = sorted(set(config.label_map) - set(values))
    if unknown:
        seen = cut(", ".join(sorted(set(values) - {""})))
        raise ValueError(f"data.label_map: no utterance has {column} {short(unknown[0])}; {config.labels} has {seen}")
    return [config.label_map.get(value, value) for value in values]


def _classes_of(config: DataConfig) -> Sequence[str]:
    """The classes that a mode of the labels has; without one they are not known beforehand."""
    if config.label_mode is None:
        return ()
    return config.label_columns if config.label_mode == "emotion" else MODE_CLASSES[config.label_mode]


def _class(config: DataConfig, rows: LabelRows, index: int, texts: Sequence[str]) -> str | None:
    """The class of an utterance; None where the mode drops it."""
    mode = config.label_mode
    if mode is None:
        return texts[0]
    try:
        values = [number(text) for text in texts]
        return strongest(config.label_columns, values) if mode == "emotion" else number_class(mode, values[0])
    except ValueError as error:
        shown = short(texts[0] if len(texts) == 1 else list(texts))
        raise ValueError(f"{rows.at(index)}: {', '.join(config.label_columns)} is {shown}: {error}") from None
