"""How utterances are divided into train, dev and test; every rule is a pure function of the store and the config."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from typing import Literal

import numpy as np

from downstream.config import DataConfig
from utility.seeds import numpy_generator, text_order, text_seed
from utility.text import short

PARTS = ("train", "dev", "test")
CPC_SEED, CPC_SHARE = 1337, 0.9  # of S3PRL's dev cut
Indices = Sequence[int] | np.ndarray  # of utterances, by their number in a store


@dataclass(frozen=True)
class Division:
    """How a task wants a corpus divided: the rule of `data.split: auto`, and whether the speakers are the classes, of
    whom none may be new in dev or test."""

    rule: Literal["utterance", "speaker"]
    known_speakers: bool = False


@dataclass(frozen=True)
class Utterances:
    """The utterances that a run may use: ids, speakers, and the part each was listed for ("train", "dev", "test").

    `strata` names what each is one of when `data.label_fraction` takes a share of each; None takes one of all. `order`
    is the list of the training utterances, as its file has them (`data.split: cpc`); it may have more than these."""

    ids: Sequence[str]
    speakers: Sequence[str]
    listed: Sequence[str]
    strata: Sequence[str] | None = None
    order: Sequence[str] = ()


@dataclass(frozen=True)
class Parts:
    """Disjoint indices into `Utterances`, the rule that made them, and how many utterances it left out, by reason."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    rule: str
    left_out: dict[str, int]

    def all(self) -> np.ndarray:
        """The utterances of all parts."""
        return np.concatenate([self.train, self.dev, self.test])


def divide(utterances: Utterances, division: Division, config: DataConfig) -> Parts:
    """Keep the parts that have lists of their own, cut the others from the training list.

    `utterance`: each speaker gives a share of its utterances to every part. `speaker`: whole speakers go to one part,
    drawn until it has its share of the utterances. `cpc`: dev is cut from the training list as S3PRL does it
    (`cpc_cut`), whatever else is there of it. `given`: nothing is cut. `auto`: `given` where all lists are there,
    else the rule of `division`. Raises ValueError where a part stays empty or a speaker that must be known is not."""
    listed = {part: [i for i, name in enumerate(utterances.listed) if name == part] for part in PARTS}
    missing = [part for part in ("dev", "test") if not listed[part]]
    rule = _rule(division, config, missing)
    if not listed["train"]:
        raise ValueError("data.train: no utterance to train on")
    left_out: dict[str, int] = {}
    parts = {part: listed[part] for part in PARTS if part not in missing}
    if rule == "utterance":
        parts, left_out = _by_utterance(utterances, parts, missing, division, config)
    if rule == "speaker":
        parts = _by_speaker(utterances, parts, missing, config)
    if rule == "cpc":
        parts |= _by_list(utterances, parts["train"])
    train, dev, test = (np.array(sorted(parts[part]), dtype=np.int64) for part in PARTS)
    divided = Parts(train, dev, test, rule, left_out)
    if division.known_speakers:
        _check_speakers(utterances, divided)
    return replace(divided, train=_fraction(utterances, divided.train, config.label_fraction))


def _rule(division: Division, config: DataConfig, missing: Sequence[str]) -> str:
    rule = config.split
    if rule == "auto":
        rule = division.rule if missing else "given"
    if rule == "given" and missing:
        raise ValueError(f"data.split is 'given', but data.{missing[0]} lists no utterance")
    if rule != "given" and not missing:
        raise ValueError(
            f"data.split {short(rule)} has nothing to cut: data.dev and data.test are both listed; use 'given'"
        )
    if rule == "cpc" and missing != ["dev"]:
        raise ValueError("data.split 'cpc' cuts dev from the list of data.train: leave data.dev empty, list data.test")
    if rule == "speaker" and division.known_speakers:
        raise ValueError(
            "data.split 'speaker' would test on speakers never trained on, which are the classes: use 'utterance'"
        )
    for part, chosen in (("dev", config.dev_speakers), ("test", config.test_speakers)):
        if chosen and (rule != "speaker" or part not in missing):
            raise ValueError(f"data.{part}_speakers goes with data.split 'speaker' and an empty data.{part}")
    return rule


def _by_utterance(
    utterances: Utterances, parts: dict[str, list[int]], missing: Sequence[str], division: Division, config: DataConfig
) -> tuple[dict[str, list[int]], dict[str, int]]:
    shares = {"dev": config.dev_share, "test": config.test_share}
    speakers = _group(utterances, parts["train"])
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
    speakers = _group(utterances, parts["train"])
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
        raise ValueError(f"{len(speakers)} speakers are too few for disjoint train, {wanted}; try data.split=utterance")
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


def _group(utterances: Utterances, indices: Sequence[int]) -> dict[str, list[int]]:
    """Utterances by speaker, in the order of their ids, so that the order of the store does not matter."""
    groups: dict[str, list[int]] = {}
    for index in sorted(indices, key=lambda i: utterances.ids[i]):
        groups.setdefault(utterances.speakers[index], []).append(index)
    return groups


def _check_speakers(utterances: Utterances, parts: Parts) -> None:
    known = {utterances.speakers[i] for i in parts.train}
    for part, indices in (("dev", parts.dev), ("test", parts.test)):
        unknown = sorted({utterances.speakers[i] for i in indices} - known)
        if unknown:
            raise ValueError(
                f"{len(unknown)} speakers of the {part} part are not in train, {short(unknown[0])} for one"
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
