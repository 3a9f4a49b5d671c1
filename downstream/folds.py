"""Folds: one group after the other is the test part; pure functions of ids, groups and the config."""

from collections.abc import Sequence

from downstream.config import DataConfig
from utility.seeds import text_order
from utility.text import cut, short


def fold_names(ids: Sequence[str], groups: Sequence[str], what: str) -> list[str]:
    """The groups of the utterances, sorted; ValueError for an utterance without one, and for fewer than 3.

    `what` the groups are is said in messages."""
    names = sorted(set(groups))
    if "" in names:
        first = short(ids[list(groups).index("")])
        raise ValueError(f"folds need the speaker of every utterance, {first} has none: set data.group_column")
    if len(names) < 3:
        raise ValueError(f"folds need at least 3 {what}, there are {len(names)} ({', '.join(map(short, names))})")
    return names


def check_fold(config: DataConfig, missing: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError for what would be ignored beside `data.fold`, and where it is none of the groups `names`.

    `missing` are the parts that are not listed."""
    given = [part for part in ("dev", "test") if part not in missing]
    if given:
        what = f"data.{given[0]} is listed" if config.split_column is None else "data.split_column divides"
        raise ValueError(f"a fold is cut from data.train, but {what}: leave it out")
    for key in ("dev_speakers", "test_speakers"):
        if getattr(config, key):
            raise ValueError(f"data.{key} would change nothing: a fold is its test part, data.dev_groups are for dev")
    if config.split != "auto":
        raise ValueError(f"data.split {short(config.split)} would change nothing beside a fold: leave it out")
    if config.fold not in names:
        raise ValueError(f"data.fold: no utterance of {short(config.fold)}; there are {cut(', '.join(names))}")
    if config.dev_groups > len(names) - 2:
        raise ValueError(f"data.dev_groups={config.dev_groups} leaves none of {len(names)} groups to train on")


def fold_parts(ids: Sequence[str], groups: Sequence[str], config: DataConfig) -> dict[str, list[int]]:
    """Numbers of the utterances of each part. Test is the group `data.fold`. Dev are the next `data.dev_groups` groups
    in the order of their names, after the last the first again; without these it is the first `data.dev_share` of all
    other utterances in the order of SHA-256 of their ids."""
    test = [i for i, name in enumerate(groups) if name == config.fold]
    rest = [i for i, name in enumerate(groups) if name != config.fold]
    if config.dev_groups:
        names = sorted(set(groups))
        at = names.index(str(config.fold))
        near = {names[(at + step) % len(names)] for step in range(1, config.dev_groups + 1)}
        dev = {i for i in rest if groups[i] in near}
    else:
        order = sorted(rest, key=lambda i: text_order(ids[i]))
        dev = set(order[: min(max(1, round(config.dev_share * len(rest))), len(rest) - 1)])
    return {"train": [i for i in rest if i not in dev], "dev": sorted(dev), "test": test}
