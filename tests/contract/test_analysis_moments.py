"""Moments of blocks in any order are those of all samples at once, and their memory does not grow."""

import numpy as np
import pytest
import torch

from analysis.moment_files import load_moments, save_moments
from analysis.moments import Layout, Moments, all_pairs, with_reference
from analysis.packed import add_product, add_square, packed, packed_size, squares_along, unpacked
from analysis.pair_moments import PairMoments

WIDTHS = {"T0": 7, "T1": 5, "mel": 4}


def samples(count: int = 400, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Views that depend on each other, with means of 1e4 deviations in one of them, and the set of each sample."""
    generator = np.random.default_rng(seed)
    common = generator.normal(size=(count, 4))
    views = {
        name: (common @ generator.normal(size=(4, width)) + generator.normal(size=(count, width))).astype(np.float32)
        for name, width in WIDTHS.items()
    }
    views["T1"] += np.float32(3e4)
    return views, generator.integers(0, 6, count)


def summed(views: dict[str, np.ndarray], sets: np.ndarray, order: np.ndarray, block: int) -> Moments:
    moments = Moments(Layout(WIDTHS, (("T0", "mel"), ("T1", "mel"), ("T0", "T1")), 6))
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        moments.add({name: view[rows] for name, view in views.items()}, sets[rows])
    return moments


def assert_same(one: PairMoments, other: PairMoments, limit: float = 1e-10) -> None:
    assert one.count == other.count
    for (key, a), b in zip(vars(one).items(), vars(other).values()):
        scale = max(np.abs(b).max(), 1e-300)
        assert np.abs(np.asarray(a) - b).max() <= limit * scale, key


@pytest.mark.parametrize("block", [1, 37, 1000])
@pytest.mark.parametrize("chosen", [None, [2], [0, 1, 3, 4]])
def test_streaming_equals_batch(block, chosen):
    """Any order of blocks, any split; a mean of 1e4 deviations does not cancel digits."""
    views, sets = samples()
    moments = summed(views, sets, np.random.default_rng(block).permutation(len(sets)), block)
    rows = np.ones(len(sets), bool) if chosen is None else np.isin(sets, chosen)
    for x, y in (("T0", "mel"), ("mel", "T1"), ("T1", "T1")):
        pair = moments.pair(x, y, chosen)
        assert_same(pair, PairMoments.from_samples(views[x][rows], views[y][rows]))
        joint = np.cov(views[x][rows].astype(float), views[y][rows].astype(float), rowvar=False)
        width = WIDTHS[x]
        for own, expected in ((pair.xx, joint[:width, :width]), (pair.xy, joint[:width, width:])):
            assert np.abs(own - expected).max() <= 1e-10 * np.abs(joint).max()
        assert moments.counts.sum() == len(sets)


def test_one_set_number_for_a_whole_block():
    views, sets = samples()
    moments = Moments(with_reference({"T0": 7}, "mel", 4, 6))
    for number in range(6):
        moments.add({name: views[name][sets == number] for name in ("T0", "mel")}, number)
    assert_same(moments.pair("T0", "mel", [1, 5]), summed(views, sets, np.arange(400), 50).pair("T0", "mel", [1, 5]))


def test_merged_passes_equal_one_pass():
    """Each pass measures from its own first block."""
    views, sets = samples()
    views["T0"][200:] += 50
    whole = summed(views, sets, np.arange(400), 40)
    merged, second = summed(views, sets, np.arange(200), 40), summed(views, sets, np.arange(200, 400), 40)
    assert not np.allclose(merged.shifts["T0"], second.shifts["T0"], atol=1)
    merged.merge(second)
    empty = Moments(whole.layout)
    merged.merge(empty)
    empty.merge(merged)
    for moments in (merged, empty):
        for x, y in moments.layout.products:
            assert_same(moments.pair(x, y, [0, 3]), whole.pair(x, y, [0, 3]))
        assert np.array_equal(moments.counts, whole.counts)
        for name, view in moments.views.items():
            np.testing.assert_allclose(view.directions, whole.views[name].directions, rtol=1e-12)
            np.testing.assert_allclose(view.lengths, whole.views[name].lengths, rtol=1e-12)
            assert np.array_equal(view.nonzero, whole.views[name].nonzero)
    with pytest.raises(ValueError, match="another layout"):
        whole.merge(Moments(Layout(WIDTHS, (), 6)))


def test_a_set_named_twice_counts_twice():
    views, sets = samples()
    rows = np.concatenate([np.flatnonzero(sets == 2)] * 2 + [np.flatnonzero(sets == 4)])
    pair = summed(views, sets, np.arange(400), 50).pair("T0", "mel", [2, 4, 2])
    assert_same(pair, PairMoments.from_samples(views["T0"][rows], views["mel"][rows]))


def test_swapped_pair_is_the_pair_the_other_way():
    views, _ = samples()
    assert_same(
        PairMoments.from_samples(views["T0"], views["mel"]).swapped, PairMoments.from_samples(views["mel"], views["T0"])
    )


def arrays(moments: Moments) -> list[np.ndarray]:
    sums = [*moments.views.values(), *moments.products.values()]
    return [moments.counts, *moments.shifts.values(), *(array for one in sums for array in vars(one).values())]


def test_memory_is_stated_and_does_not_grow():
    views, sets = samples(300)
    moments = summed(views, sets, np.arange(300), 50)
    stated, held = moments.layout.bytes, sum(array.nbytes for array in arrays(moments))
    assert stated <= held <= stated + 8 * (6 + sum(WIDTHS.values()))  # counts and shifts
    summed_again = sum(array.nbytes for array in arrays(summed(*samples(3000), np.arange(3000), 50)))
    assert summed_again == held


def test_packed_products_are_the_products():
    """Of one and of several samples, of odd and even widths; twice, for sums grow."""
    generator = np.random.default_rng(0)
    for count, width, other in ((1, 1, 3), (1, 6, 1), (50, 7, 4), (50, 8, 8)):
        x, y = generator.normal(size=(count, width)), generator.normal(size=(count, other))
        square, product = np.zeros(packed_size(width)), np.zeros((width, other))
        for _ in range(2):
            add_square(square, x)
            add_product(product, x, y)
        assert np.abs(unpacked(square, width) - 2 * x.T @ x).max() < 1e-12
        assert np.abs(product - 2 * x.T @ y).max() < 1e-12
        assert np.array_equal(packed(unpacked(square, width)), square)
        directions = generator.normal(size=(width, 3))
        expected = np.einsum("pm,pq,qm->m", directions, 2 * x.T @ x, directions)
        assert np.abs(squares_along(square, directions) - expected).max() < 1e-9


def test_moments_of_some_views_alone_can_be_read(tmp_path):
    views, sets = samples()
    moments = summed(views, sets, np.arange(400), 50)
    save_moments(moments, tmp_path / "a.npz")
    back = load_moments(tmp_path / "a.npz", ("mel", "T1"))
    assert set(back.layout.widths) == {"T1", "mel"}
    assert set(back.products) == {("T1", "T1"), ("mel", "mel"), ("T1", "mel")}
    assert_same(back.pair("T1", "mel", [1, 2]), moments.pair("T1", "mel", [1, 2]), 0)
    with pytest.raises(ValueError, match="no products of T0 and mel"):
        back.sums("T0", "mel")


def test_maps_have_each_pair_once():
    layout = all_pairs({"T0": 3, "T1": 3, "T2": 3}, 1)
    assert layout.pairs == (("T0", "T1"), ("T0", "T2"), ("T1", "T2"))
    assert len(layout.products) == 6
    assert with_reference({"T0": 3, "T1": 3}, "T0", 3, 1).pairs == (("T1", "T0"),)


def test_saved_moments_come_back_to_the_bit(tmp_path):
    views, sets = samples()
    for moments in (summed(views, sets, np.arange(400), 50), Moments(all_pairs({"T0": 2, "T1": 3}, 2))):
        save_moments(moments, tmp_path / "a.npz")
        back = load_moments(tmp_path / "a.npz")
        assert back.layout == moments.layout
        for one, other in zip(arrays(back), arrays(moments), strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_damaged_moments_are_refused_in_one_line(tmp_path):
    path = tmp_path / "a.npz"
    views, sets = samples()
    save_moments(summed(views, sets, np.arange(400), 50), path)
    whole = path.read_bytes()
    other = dict(np.load(path))
    for change in ("cut", "flip", "empty", "text", "less", "shape", "pickle", "format"):
        match change:
            case "cut":
                path.write_bytes(whole[: len(whole) // 2])
            case "flip":
                middle = len(whole) // 2
                path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
            case "empty":
                path.write_bytes(b"")
            case "text":
                path.write_text("no archive")
            case "less":
                np.savez(path, **{key: value for key, value in other.items() if key != "pair0/product"})
            case "shape":
                np.savez(path, **other | {"view0/values": np.zeros((2, 2))})
            case "pickle":
                np.savez(path, **other | {"names": np.array(["T0", "T1", "mel"], object)}, allow_pickle=True)
            case "format":
                np.savez(path, **other | {"format": np.array(99)})
        with pytest.raises(ValueError, match=r"a\.npz: no moments of this program, or damaged: delete it") as refused:
            load_moments(path)
        assert "\n" not in str(refused.value)
    with pytest.raises(FileNotFoundError):
        load_moments(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mel": np.zeros((3, 5))}, "widths"),
        ({"mel": np.zeros((2, 4))}, "expected .n, width."),
        ({"mel": np.zeros(4)}, "expected .n, width."),
        ({"mel": np.full((3, 4), np.nan)}, "mel holds values that are not finite"),
        ({"T0": np.full((3, 7), np.inf)}, "T0 holds values that are not finite"),
        ({"T0": None}, "widths"),
        ({"sets": 2}, "set 2 ... 2: there are 2 sets"),
        ({"sets": np.array([0, -1, 1])}, "set -1"),
        ({"sets": np.array([0, 1])}, "2 set numbers"),
    ],
)
def test_samples_that_do_not_fit_are_refused_and_leave_the_sums(change, words):
    moments = Moments(with_reference({"T0": 7}, "mel", 4, 2))
    given = {"T0": np.ones((3, 7)), "mel": np.ones((3, 4)), "sets": 0} | change
    sets = given.pop("sets")
    with pytest.raises(ValueError, match=words):
        moments.add({name: view for name, view in given.items() if view is not None}, sets)
    assert not moments.counts.any()
    assert not any(array.any() for array in arrays(moments))


def test_questions_without_an_answer_are_refused():
    moments = Moments(Layout(WIDTHS, (("T0", "mel"),), 2))
    moments.add({name: np.ones((1, width)) for name, width in WIDTHS.items()}, 0)
    with pytest.raises(ValueError, match="no products of T1 and mel"):
        moments.pair("T1", "mel")
    with pytest.raises(ValueError, match="1 samples in the chosen sets"):
        moments.pair("T0", "mel")
    with pytest.raises(ValueError, match="one n"):
        PairMoments.from_samples(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="at least 2"):
        PairMoments.from_samples(np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="no layout"):
        Layout({"T0": 3}, (("T0", "mel"),), 1)
    moments.add({name: np.ones((0, width)) for name, width in WIDTHS.items()}, 0)
    assert moments.counts.sum() == 1


def test_a_packed_square_is_that_of_any_order_of_memory_and_in_place():
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((40, 7)))
    start = np.random.default_rng(1).standard_normal(packed_size(7))
    sums = start.copy()
    add_square(sums, x)
    np.testing.assert_allclose(unpacked(sums, 7), unpacked(start, 7) + x.T @ x, rtol=1e-12)
    with pytest.raises(AssertionError, match="LAPACK writes"):
        add_square(sums[:-1], x)


def test_sums_are_the_same_bits_by_any_number_of_threads(monkeypatch):
    generator = np.random.default_rng(0)
    views = {f"T{k}": generator.standard_normal((30, 6 + k)).astype(np.float32) for k in range(4)}
    sums = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        moments = Moments(all_pairs({name: view.shape[1] for name, view in views.items()}, sets=2))
        moments.add(views, np.arange(30) % 2)
        sums.append(moments)
    for pair, one in sums[0].products.items():
        assert np.array_equal(one.product, sums[1].products[pair].product)
        assert np.array_equal(one.x_norm_y, sums[1].products[pair].x_norm_y)
        assert one.product.any()
