"""No utterance lies on two sides of a division; every seed divides in its own way, and the same way twice."""

import numpy as np
import pytest

from analysis.folds import balanced_folds, divide, draw_pairs, labelled_folds, original_folds


def tokens(seed: int = 0, utterances: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 1,200 tokens, and the utterance of each."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 12, 1200).astype(str), np.array(
        [f"u{n}" for n in generator.integers(utterances, size=1200)]
    )


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("resampled", [0, 50])
def test_no_utterance_lies_in_two_folds(labelled, resampled):
    """A12: frames and tokens of one utterance stood on both sides, so held-out scores flattered."""
    labels, utterances = tokens()
    division = divide(utterances, np.random.default_rng(1), labels=labels if labelled else None, resampled=resampled)
    for name in np.unique(utterances):
        assert len(set(division.fold_of_unit[utterances == name])) == 1
        assert len(set(division.set_of_unit[utterances == name])) == 1
    assert set(division.fold_of_unit) == set(range(10))
    sizes = np.bincount(division.fold_of_unit)
    assert sizes.max() < 1.6 * sizes.min()
    if labelled:
        for label in np.unique(labels):
            share = np.bincount(division.fold_of_unit[labels == label], minlength=10)
            assert share.min() > 0


def test_three_trials_share_no_fold_and_need_seven_sets():
    labels, utterances = tokens()
    division = divide(utterances, np.random.default_rng(2), labels=labels, resampled=0)
    assert division.num_sets == 7
    assert len(division.trials) == 3
    held = [number for trial in division.trials for number in (*trial.dev, *trial.test)]
    assert len(set(held)) == len(held) == 6
    for trial in division.trials:
        assert sorted((*trial.train, *trial.dev, *trial.test)) == list(range(7))
        in_train = np.isin(division.set_of_unit, trial.train)
        folds = set(division.fold_of_unit[in_train])
        assert len(folds) == 8
        assert not folds & set(division.fold_of_unit[~in_train])


def test_test_folds_fall_into_fifty_groups_of_the_bootstrap():
    utterances = np.repeat([f"u{n}" for n in range(500)], 3)
    division = divide(utterances, np.random.default_rng(0))
    groups = [len(trial.test) for trial in division.trials]
    assert groups == [17, 17, 17]
    assert division.num_sets == 51 + 3 + 1
    for trial in division.trials:
        assert len(set(division.fold_of_unit[np.isin(division.set_of_unit, trial.test)])) == 1
    few = divide([f"s{n}" for n in range(24)], np.random.default_rng(0))
    assert all(2 <= len(trial.test) <= 3 for trial in few.trials)  # no more groups than there are speakers


def test_seeds_divide_and_repeat():
    labels, utterances = tokens()
    for labelled in (None, labels):
        one, same, other = (divide(utterances, np.random.default_rng(seed), labels=labelled) for seed in (0, 0, 1))
        assert np.array_equal(one.set_of_unit, same.set_of_unit)
        assert one.trials == same.trials
        assert not np.array_equal(one.fold_of_unit, other.fold_of_unit)


def test_long_utterances_are_balanced():
    sizes = np.random.default_rng(0).integers(50, 2000, 300)
    held = np.bincount(balanced_folds(sizes, 10, np.random.default_rng(1)), sizes)
    assert held.max() - held.min() <= 2000
    division = divide([str(n) for n in range(300)], np.random.default_rng(1), sizes=sizes)
    held = np.bincount(division.fold_of_unit, sizes)
    assert held.max() - held.min() <= 2000


def test_rare_labels_are_divided_all_the_same():
    labels = np.repeat([f"w{n}" for n in range(60)], 5)
    folds = labelled_folds(labels, np.arange(300) // 5, 10, np.random.default_rng(0))
    assert np.bincount(folds).tolist() == [30] * 10


def test_original_division_gives_each_part_an_equal_share_of_each_label():
    labels = np.repeat(["a", "b", "c"], [47, 30, 9])
    folds = original_folds(86, np.random.default_rng(0), labels)
    for label, least in (("a", 4), ("b", 3), ("c", 0)):
        counts = np.bincount(folds[labels == label], minlength=10)
        assert counts.min() >= least
        assert counts.sum() == (labels == label).sum()
    whole = np.bincount(original_folds(1007, np.random.default_rng(0)), minlength=10)
    assert whole.min() >= 100
    assert not np.array_equal(original_folds(86, np.random.default_rng(1), labels), folds)


def test_pairs_are_disjoint_and_limited():
    pairs = draw_pairs(np.random.default_rng(0), trials=5)
    assert sorted(pairs.ravel()) == list(range(10))
    with pytest.raises(ValueError, match="6 trials of 10 folds"):
        draw_pairs(np.random.default_rng(0), trials=6)
    with pytest.raises(ValueError, match="1 trials of 2 folds"):
        draw_pairs(np.random.default_rng(0), folds=2, trials=1)


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(ValueError, match="10 folds need as many groups: 3 given; divide by smaller groups"):
        divide(["a", "b", "c"] * 100, np.random.default_rng(0))
