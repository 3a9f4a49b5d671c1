"""How utterances are divided into train, dev and test; every rule is a pure function of the store and the config."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from typing import Literal

import numpy as np

from downstream.config import DataConfig
from downstream.folds import check_fold, fold_names, fold_parts
from utility.seeds import numpy_generator, text_order, text_seed
from utility.text import short

PARTS = ("train", "dev", "test")
CPC_SEED, CPC_SHARE = 1337, 0.9  # of S3PRL's dev cut
Indices = Sequence[int] | np.ndarray  # of utterances, by their number in a store


@dataclass(frozen=True)
class Division:
    """How a task wants a corpus divided: the rule of `data.split: auto`, whether the speakers are the classes, of whom
    none may be new in dev or test, and whether utterances of unknown speakers are divided one by one."""

    rule: Literal["utterance", "speaker"]
    known_speakers: bool = False
    unknown_speakers: bool = False


@dataclass(frozen=True)
class Utterances:
    """The utterances that a run may use: ids, speakers, and the part each was listed for ("train", "dev", "test").

    `strata` names what each is one of when `data.label_fraction` takes a share of each; None takes one of all. `groups`
    are what a division keeps together, where these are not the speakers. `order`
    is the list of the training utterances, as its file has them (`data.split: cpc`); it may have more than these."""

    ids: Sequence[str]
    speakers: Sequence[str]
    listed: Sequence[str]
    strata: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    order: Sequence[str] = ()

    @property
    def together(self) -> Sequence[str]:
        """What a division keeps together: groups, else speakers."""
        return self.speakers if self.groups is None else self.groups


@dataclass(frozen=True)
class Parts:
    """Disjoint indices into `Utterances`, the rule that made them, and how many utterances it left out, by reason.

    `warning` is what is doubtful about the division."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    rule: str
    left_out: dict[str, int]
    warning: str | None = None

    def all(self) -> np.ndarray:
        """The utterances of all parts."""
        return np.concatenate([self.train, self.dev, self.test])


def divide(utterances: Utterances, division: Division, config: DataConfig) -> Parts:
    """Keep the parts that have lists of their own, cut the others from the training list.

    `utterance`: each speaker gives a share of its utterances to every part. `speaker`: whole speakers, or groups, go to
    one part, drawn until it has its share of the utterances. `cpc`: dev is cut from the training list as S3PRL does
    it (`cpc_cut`), whatever else is there of it. `given`: nothing is cut. `auto`: `given` where all lists
    are there, else the rule of `division`. `data.fold` see `fold_parts`. Raises ValueError where a part stays empty, a
    speaker that must be known is not, or a group is in two parts."""
    listed = {part: [i for i, name in enumerate(utterances.listed) if name == part] for part in PARTS}
    missing = [part for part in ("dev", "test") if not listed[part]]
    if not listed["train"]:
        raise ValueError("data.train: no utterance to train on")
    rule, warning = _rule(utterances, division, config, missing), None
    if rule == "speaker" and config.split == "auto" and division.unknown_speakers and not any(utterances.together):
        rule, warning = "utterance", "speakers are unknown: utterances are divided one by one, and some of one speaker "
        warning += "may be in train and test; data.group_column keeps a column's groups together"
    left_out: dict[str, int] = {}
    parts = {part: listed[part] for part in PARTS if part not in missing}
    if rule == "utterance":
        parts, left_out = _by_utterance(utterances, parts, missing, division, config)
    if rule == "speaker":
        parts = _by_speaker(utterances, parts, missing, config)
    if rule == "fold":
        parts = fold_parts(utterances.ids, utterances.together, config)
    if rule == "cpc":
        parts |= _by_list(utterances, parts["train"])
    train, dev, test = (np.array(sorted(parts[part]), dtype=np.int64) for part in PARTS)
    divided = Parts(train, dev, test, rule, left_out, warning)
    if utterances.groups is not None:
        _check_groups(utterances.groups, divided)
    if division.known_speakers:
        _check_speakers(utterances, divided)
    if division.known_speakers:
        _check_fraction(utterances, divided.train, config.label_fraction)
    return replace(divided, train=_fraction(utterances, divided.train, config.label_fraction))


def group_names(utterances: Utterances, division: Division) -> list[str]:
    """The groups, or speakers, that are the folds; ValueError where there are none."""
    if utterances.groups is None and division.known_speakers:
        raise ValueError("folds would test on speakers never trained on, which are the classes: set data.group_column")
    return fold_names(utterances.ids, utterances.together, _what(utterances))


def _what(utterances: Utterances) -> str:
    return "speakers" if utterances.groups is None else "groups"


def _rule(utterances: Utterances, division: Division, config: DataConfig, missing: Sequence[str]) -> str:
    rule, grouped = config.split, utterances.groups is not None
    if config.fold is not None:
        check_fold(config, missing, group_names(utterances, division))
        return "fold"
    if config.dev_groups:
        raise ValueError(f"data.dev_groups={config.dev_groups} would change nothing: it goes with --folds or data.fold")
    if rule == "auto":
        rule = ("speaker" if grouped else division.rule) if missing else "given"
    if rule == "given" and missing:
        where = (
            f"data.{missing[0]} lists no" if config.split_column is None else f"data.split_column has no {missing[0]}"
        )
        raise ValueError(f"data.split is 'given', but {where} utterance")
    if rule != "given" and not missing:
        what = "data.dev and data.test are both listed" if config.split_column is None else "data.split_column divides"
        raise ValueError(f"data.split {short(rule)} has nothing to cut: {what}; use 'given'")
    if rule == "cpc" and missing != ["dev"]:
        raise ValueError("data.split 'cpc' cuts dev from the list of data.train: leave data.dev empty, list data.test")
    if rule == "speaker" and division.known_speakers and not grouped:
        raise ValueError(
            "data.split 'speaker' would test on speakers never trained on, which are the classes: use 'utterance'"
        )
    if rule == "utterance" and grouped:
        raise ValueError("data.split 'utterance' would cut through the groups of data.group_column: leave one out")
    for part, chosen in (("dev", config.dev_speakers), ("test", config.test_speakers)):
        if chosen and (rule != "speaker" or part not in missing):
            raise ValueError(f"data.{part}_speakers goes with data.split 'speaker' and an empty data.{part}")
    return rule


def _check_groups(groups: Sequence[str], parts: Parts) -> None:
    """Raise ValueError where a group is in two parts, but for the dev share of a fold."""
    pairs = [("train", "test"), ("dev", "test"), *([("train", "dev")] if parts.rule != "fold" else [])]
    for one, other in pairs:
        both = {groups[i] for i in getattr(parts, one)} & {groups[i] for i in getattr(parts, other)}
        if both:
            raise ValueError(f"group {short(min(both))} (data.group_column) is in both {one} and {other}")


def _by_utterance(
    utterances: Utterances, parts: dict[str, list[int]], missing: Sequence[str], division: Division, config: DataConfig
) -> tuple[dict[str, list[int]], dict[str, int]]:
    shares = {"dev": config.dev_share, "test": config.test_share}
    speakers = _group(utterances, parts["train"], utterances.speakers)
    cut: dict[str, list[int]] = {"train": [], **{part: [] for part in missing}}
    left_out: dict[str, int] = {}
    for speaker, own in speakers.items():
        if division.known_speakers and len(own) < config.min_utterances:
            reason = f"speakers with fewer than {config.min_utterances} utterances"
            left_out[reason] = left_out.get(reason, 0) + len(own)
            continue
        if len(own) <= len(missing):
            cut["train"] += own
            continue
        order = numpy_generator(config.split_seed, text_seed(speaker)).permutation(len(own))
        rest = [own[i] for i in order]
        for part in missing:
            count = min(max(1, round(len(own) * shares[part])), (len(own) - 1) // len(missing))
            cut[part] += rest[:count]
            rest = rest[count:]
        cut["train"] += rest
    for part, indices in cut.items():
        if not indices:
            raise ValueError(
                f"the {part} part is empty: {len(speakers)} speakers, of whom each needs at least "
                f"{max(config.min_utterances, len(missing) + 1)} utterances (data.min_utterances) to be in all parts"
            )
    return {**parts, **cut}, left_out


def _by_speaker(
    utterances: Utterances, parts: dict[str, list[int]], missing: Sequence[str], config: DataConfig
) -> dict[str, list[int]]:
    speakers = _group(utterances, parts["train"], utterances.together)
    shares = {"dev": config.dev_share, "test": config.test_share}
    chosen = {"dev": set(config.dev_speakers), "test": set(config.test_speakers)}
    for part, names in chosen.items():
        unknown = sorted(names - speakers.keys())
        if unknown:
            raise ValueError(f"data.{part}_speakers: no utterance of speaker {short(unknown[0])} in data.train")
    both = sorted(chosen["dev"] & chosen["test"])
    if both:
        raise ValueError(f"speaker {short(both[0])} is in both data.dev_speakers and data.test_speakers")
    free = sorted(
        speakers.keys() - chosen["dev"] - chosen["test"], key=lambda name: text_order(name, config.split_seed)
    )
    total = len(parts["train"])
    for part in missing:
        if free and not chosen[part]:
            chosen[part] = _draw({name: len(speakers[name]) for name in free}, shares[part] * total)
            free = [name for name in free if name not in chosen[part]]
    if not free or not all(chosen[part] for part in missing):
        wanted = ", ".join(missing)
        raise ValueError(
            f"{len(speakers)} {_what(utterances)} are too few for disjoint train, {wanted}; try data.split=utterance"
        )
    cut = {part: [i for name in chosen[part] for i in speakers[name]] for part in missing}
    return {**parts, **cut, "train": [i for name in free for i in speakers[name]]}


def _draw(sizes: dict[str, int], room: float) -> set[str]:
    """Speakers in their order, each taken if its utterances still fit into `room`; the smallest one if none fits."""
    taken: set[str] = set()
    for name, size in sizes.items():
        if size <= room:
            taken.add(name)
            room -= size
    return taken or {min(sizes, key=sizes.__getitem__)}


def cpc_cut(order: Sequence[str]) -> tuple[list[str], list[str]]:
    """S3PRL's train and dev utterances of a list, in its order: shuffled with a seed, the first nine tenths train."""
    ids = list(order)
    Random(CPC_SEED).shuffle(ids)
    train = int(len(ids) * CPC_SHARE)
    return ids[:train], ids[train:]


def _by_list(utterances: Utterances, listed: Sequence[int]) -> dict[str, list[int]]:
    """Train and dev by `cpc_cut`; what the corpus lacks is taken out after the cut, so that it moves nobody."""
    if not utterances.order:
        raise ValueError(
            "data.split 'cpc' cuts a list of utterances: name one, as data.train=[data/NAME/SPLIT@train_split.txt]"
        )
    index = {utterances.ids[i]: i for i in listed}
    parts = zip(("train", "dev"), cpc_cut(utterances.order))
    cut = {part: [index[key] for key in ids if key in index] for part, ids in parts}
    for part, indices in cut.items():
        if not indices:
            raise ValueError(f"the {part} part is empty: data.split 'cpc' found none of it in data.train")
    return cut


def _group(utterances: Utterances, indices: Sequence[int], names: Sequence[str]) -> dict[str, list[int]]:
    """Utterances by their names (speakers, groups), in the order of their ids: that of the store does not matter."""
    groups: dict[str, list[int]] = {}
    for index in sorted(indices, key=lambda i: utterances.ids[i]):
        groups.setdefault(names[index], []).append(index)
    return groups


def _check_speakers(utterances: Utterances, parts: Parts) -> None:
    known = {utterances.speakers[i] for i in parts.train}
    for part, indices in (("dev", parts.dev), ("test", parts.test)):
        unknown = sorted({utterances.speakers[i] for i in indices} - known)
        if unknown:
            raise ValueError(
                f"{len(unknown)} speakers of the {part} part are not in train, {short(unknown[0])} for one"
            )


def _check_fraction(utterances: Utterances, train: np.ndarray, fraction: float) -> None:
    """Raise ValueError where a share is less than an utterance of each speaker, who keeps one all the same."""
    speakers = len({utterances.speakers[i] for i in train})
    if round(fraction * len(train), 6) < speakers:
        raise ValueError(
            f"data.label_fraction={fraction:g} of {len(train)} training utterances is less than one for each of the "
            f"{speakers} speakers, who are the classes: the least is {ceil(1e4 * speakers / len(train)) / 1e4:g}"
        )


def _fraction(utterances: Utterances, train: np.ndarray, fraction: float) -> np.ndarray:
    """The first share of the training utterances in the order of SHA-256 of their ids, whatever the seed.

    The share is taken within each stratum. A smaller fraction is part of every larger one."""
    if fraction == 1:
        return train
    groups: dict[str, list[int]] = {}
    for index in train.tolist():
        groups.setdefault("" if utterances.strata is None else utterances.strata[index], []).append(index)
    kept: list[int] = []
    for group in groups.values():
        group.sort(key=lambda i: text_order(utterances.ids[i]))
        kept += group[: ceil(fraction * len(group))]
    return np.array(sorted(kept), dtype=np.int64)
