"""Which samples train a projection, which choose its regularisation, which are scored: folds, pairs of them, and sets.

Ten folds, three disjoint pairs (dev, test) of them; the other eight train. Whole utterances or speakers go to one fold:
the original puts frames of one utterance into all ten, and neighbouring frames are nearly equal, so nothing is held
out.

Three trials need seven sets of moments, not ten: six single folds, and all the rest."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import heapify, heapreplace

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 10
TRIALS = 3
GROUPS = 50  # resampled by the bootstrap, in all test folds together

Sets = tuple[int, ...]  # numbers of sets of samples


@dataclass(frozen=True)
class Trial:
    """Numbers of the sets that train, choose and are scored; each of the test sets is a group of the bootstrap.

    `division` tells one division from another, so that only scores of the same samples are compared."""

    train: Sets
    dev: Sets
    test: Sets
    division: str


@dataclass(frozen=True)
class Division:
    """The set of each unit (utterance or token), and the trials over these sets."""

    fold_of_unit: np.ndarray  # [units] int64
    set_of_unit: np.ndarray  # [units] int64
    num_sets: int
    trials: tuple[Trial, ...]


def divide(
    groups: Sequence[str] | np.ndarray,
    generator: np.random.Generator,
    *,
    labels: Sequence[str] | np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    folds: int = FOLDS,
    trials: int = TRIALS,
    resampled: int = GROUPS,
) -> Division:
    """Divide units [n] into sets so that no group (utterance, speaker) lies in two folds.

    `labels` [n] are balanced over folds as far as groups allow; `sizes` [n] are frames per unit, which are balanced
    where there are no labels. `resampled` is the number of groups of the bootstrap, 0 for none: then a test fold is one
    set. For folds by sample, which leak, give every unit a group of its own.

    ValueError for fewer groups than folds, or more trials than disjoint pairs."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{folds} folds need as many groups: {len(names)} given; divide by smaller groups (cca.group)")
    if labels is None:
        fold_of_group = balanced_folds(_sizes(numbers, len(names), sizes), folds, generator)
        fold_of_unit = fold_of_group[numbers]
    else:
        fold_of_unit = labelled_folds(labels, numbers, folds, generator)
    pairs = draw_pairs(generator, folds, trials)
    set_of_unit, parts = _sets(fold_of_unit, numbers, pairs, resampled, generator)
    digest = sha256(set_of_unit.tobytes() + "\n".join(map(str, groups)).encode()).hexdigest()[:16]
    used = int(set_of_unit.max()) + 1
    return Division(fold_of_unit, set_of_unit, used, tuple(Trial(*sets, digest) for sets in parts))


def balanced_folds(sizes: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Groups of these sizes [G] dealt in random order, each to the fold that holds least: fold of each group [G]."""
    fold_of_group = np.zeros(len(sizes), np.int64)
    heap = [(0.0, int(fold)) for fold in generator.permutation(folds)]
    heapify(heap)
    for group in generator.permutation(len(sizes)):
        held, fold = heap[0]
        fold_of_group[group] = fold
        heapreplace(heap, (held + float(sizes[group]), fold))
    return fold_of_group


def labelled_folds(
    labels: Sequence[str] | np.ndarray, groups: np.ndarray, folds: int, generator: np.random.Generator
) -> np.ndarray:
    """Folds of tokens [n], balanced over labels, no group in two of them (scikit-learn's StratifiedGroupKFold).

    Where every label is rarer than there are folds nothing can be balanced: groups are dealt by their sizes."""
    numbers = np.unique(np.asarray(labels), return_inverse=True)[1]
    if np.bincount(numbers).max() < folds:
        return balanced_folds(_sizes(groups, int(groups.max()) + 1, None), folds, generator)[groups]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(generator.integers(2**31)))
    fold_of_unit = np.zeros(len(numbers), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(numbers, numbers, groups)):
            fold_of_unit[held_out] = fold
    return fold_of_unit


def original_folds(
    count: int, generator: np.random.Generator, labels: Sequence[str] | np.ndarray | None = None, folds: int = FOLDS
) -> np.ndarray:
    """The original's parts of `count` samples, [count]: within each label (all samples where None) ⌊n / folds⌋ drawn
    for each part, and what remains to random parts. Utterances are divided (the leak A12): for comparison only."""
    numbers = np.zeros(count, np.int64) if labels is None else np.unique(np.asarray(labels), return_inverse=True)[1]
    fold_of_sample = np.zeros(count, np.int64)
    for label in range(int(numbers.max()) + 1):
        samples = generator.permutation(np.flatnonzero(numbers == label))
        dealt = len(samples) // folds * folds
        fold_of_sample[samples[:dealt]] = np.arange(dealt) % folds
        fold_of_sample[samples[dealt:]] = generator.integers(folds, size=len(samples) - dealt)
    return fold_of_sample


def draw_pairs(generator: np.random.Generator, folds: int = FOLDS, trials: int = TRIALS) -> np.ndarray:
    """Disjoint pairs (dev fold, test fold), [trials, 2]. ValueError for more than folds / 2 of them, or none that
    train."""
    if not 1 <= trials <= folds // 2 or folds < 3:
        raise ValueError(f"{trials} trials of {folds} folds: each takes two folds of its own, and a third must train")
    return generator.permutation(folds)[: 2 * trials].reshape(trials, 2)


def _sizes(numbers: np.ndarray, groups: int, sizes: np.ndarray | None) -> np.ndarray:
    return np.bincount(numbers, sizes, minlength=groups)


def _sets(
    fold_of_unit: np.ndarray, groups: np.ndarray, pairs: np.ndarray, resampled: int, generator: np.random.Generator
) -> tuple[np.ndarray, list[tuple[Sets, Sets, Sets]]]:
    """The set of each unit: 0 for all folds that only train, one for each dev fold, one or several for each test
    fold."""
    if (empty := np.setdiff1d(pairs, fold_of_unit)).size:
        raise ValueError(f"fold {empty[0]} of {len(np.unique(fold_of_unit))} has no samples: use fewer folds")
    set_of_unit, used = np.zeros(len(fold_of_unit), np.int64), 1
    dev_sets, test_sets = [], []
    for dev, test in pairs:
        set_of_unit[fold_of_unit == dev] = used
        dev_sets.append((used,))
        inside = np.flatnonzero(fold_of_unit == test)
        names, numbers = np.unique(groups[inside], return_inverse=True)
        parts = max(1, min(len(names), round(resampled / len(pairs))))
        set_of_unit[inside] = used + 1 + (generator.permutation(len(names)) % parts)[numbers]
        test_sets.append(tuple(range(used + 1, used + 1 + parts)))
        used += 1 + parts
    held = [set(dev) | set(test) for dev, test in zip(dev_sets, test_sets)]
    trains = [tuple(number for number in range(used) if number not in out) for out in held]
    return set_of_unit, list(zip(trains, dev_sets, test_sets))
