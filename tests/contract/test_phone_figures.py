"""Phones on figures: boundaries at their times on every panel, labels that can be read, axes that stay as they are."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation

from mockingjay.figures.attention import attention_figure
from mockingjay.figures.codes import Codes, codes_figure
from mockingjay.figures.phones import Phones
from mockingjay.figures.spectrograms import Reconstruction, alterations_figure, reconstruction_figure
from mockingjay.figures.states import hidden_states_figures
from utility.audio.feature_config import FeatureConfig
from utility.labels.alignment import Alignment, write_alignment
from utility.plot import Clock
from utility.store.info import StoreInfo

MEL = FeatureConfig(deltas=0)
INFO = StoreInfo(row_shape=[80], frame_shift=MEL.frame_shift, features=MEL)
FRAMES = 120  # 1.5 s
TIMES = [0.0, 0.21, 0.48, 0.9, 1.2]  # and nothing to 1.3, where one more begins
PHONES = Phones(np.array([*TIMES[:-1], 1.3]), np.array([*TIMES[1:], 9.0]), ["sil", "AH", "T", "x$_$", "AE"])
BOUNDARIES = [*TIMES, 1.3, (FRAMES - 0.5) * MEL.frame_shift]  # the last phone ends with the axis


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def reconstructed(phones: Phones | None):
    values = noise(FRAMES, 80)
    shown = Reconstruction(values, values, values, np.arange(FRAMES)[:, None] // 10 % 4 == np.zeros((1, 80)))
    return reconstruction_figure(shown, INFO, INFO, "a", phones)


def altered(phones: Phones | None):
    return alterations_figure(
        dict.fromkeys(["original", "time"], torch.from_numpy(noise(FRAMES, 80))), INFO, "a", phones
    )


def coded(phones: Phones | None):
    codes = np.arange(2 * FRAMES).reshape(FRAMES, 2) % 7
    return codes_figure(Codes(noise(FRAMES, 80), codes, codes, np.arange(FRAMES) % 20 < 9, 1), INFO, "a", phones)


def held(phones: Phones | None):
    return hidden_states_figures({"a": noise(FRAMES, 16)}, noise(FRAMES, 80), INFO, phones)[0]


KINDS = {"reconstruction": (reconstructed, 4), "alterations": (altered, 2), "codes": (coded, 3), "states": (held, 2)}


def panels(figure):
    return [ax for ax in figure.axes if ax.images]


def boundaries(ax, axis: int = 0) -> np.ndarray:
    """Where lines of phones cross the axis (0: x, 1: y), as those of each colour have it."""
    drawn = [np.array(one.get_segments()) for one in ax.collections if isinstance(one, LineCollection)]
    fixed = [lines for lines in drawn if np.ptp(lines[:, :, axis]) > 0 and not np.ptp(lines[:, :, axis], 1).any()]
    assert fixed
    assert all(np.array_equal(lines[:, 0, axis], fixed[0][:, 0, axis]) for lines in fixed)
    return fixed[0][:, 0, axis]


def labels(ax) -> list[Annotation]:
    return [text for text in ax.texts if isinstance(text, Annotation)]


def alone(texts: list[Annotation]) -> bool:
    """Whether none overlaps another, as they are saved."""
    boxes = [text.get_window_extent() for text in texts]
    return not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def many(count: int, seconds: float) -> Phones:
    """Random phones of random lengths, labels of one to four letters."""
    rng = np.random.default_rng(1)
    edges = np.r_[0, np.cumsum(rng.gamma(2, 1, count))]
    edges *= seconds / edges[-1]
    return Phones(edges[:-1], edges[1:], ["THUS"[: 1 + i] for i in rng.integers(0, 4, count)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_boundaries_cross_every_panel_at_their_times_and_labels_stand_above_the_first(kind):
    make, count = KINDS[kind]
    figure, plain = make(PHONES), make(None)
    figure.draw_without_rendering()
    assert len(panels(figure)) == count
    for ax, other in zip(panels(figure), panels(plain)):
        assert boundaries(ax) == pytest.approx(BOUNDARIES)
        lines = np.array(ax.collections[-1].get_segments())
        assert (lines[:, :, 1] == [0, 1]).all()  # from the bottom to the top
        assert (ax.get_xlim(), ax.get_ylim()) == (other.get_xlim(), other.get_ylim())
        assert ax.get_title("left") == other.get_title("left")
    top, *rest = panels(figure)
    assert [text.get_text() for text in labels(top)] == PHONES.labels
    middles = [0.105, 0.345, 0.69, 1.05, (1.3 + BOUNDARIES[-1]) / 2]
    assert [text.xy[0] for text in labels(top)] == pytest.approx(middles)
    assert not any(labels(ax) for ax in rest)
    bottom, title = top.get_window_extent().y1, top._left_title.get_window_extent().y0
    assert all(bottom < text.get_window_extent().y0 < text.get_window_extent().y1 < title for text in labels(top))


@pytest.mark.parametrize("kind", ["alterations", "states"])
def test_labels_without_room_are_left_out(kind):
    """They were written over each other."""
    phones = many(90, 1.4)
    figure = KINDS[kind][0](phones)
    figure.draw_without_rendering()
    (top, *_), shown = panels(figure), labels(panels(figure)[0])
    assert 30 < len(shown) < 90
    assert alone(shown)
    by_middle = dict(zip(phones.middles.round(9), phones.labels))
    assert all(by_middle[round(text.xy[0], 9)] == text.get_text() for text in shown)
    assert len({text.xyann for text in shown}) == 2  # a second row takes what the first has no room for
    title = top._left_title.get_window_extent().y0
    assert all(text.get_window_extent().y1 < title for text in shown)
    assert boundaries(top) == pytest.approx(phones.between(*top.get_xlim()).boundaries)


@pytest.mark.slow
@pytest.mark.parametrize("heads", [1, 4])
def test_attention_has_boundaries_on_both_axes_and_labels_on_the_outer_edges(heads):
    maps = np.random.default_rng(0).dirichlet(np.ones(40), (heads, 40))
    figure = attention_figure(maps, Clock(0.0375, 0.0125), "layer 1", PHONES)
    figure.draw_without_rendering()
    shown = panels(figure)
    assert len(shown) == heads + 1
    left, right = 0.0125 - 0.0375 / 2, 0.0125 + 39.5 * 0.0375
    for ax in shown:
        for axis in (0, 1):
            assert boundaries(ax, axis) == pytest.approx([*TIMES, 1.3, right])
        assert ax.get_xlim() == pytest.approx((left, right))
        assert ax.get_ylim() == pytest.approx((right, left))
    columns = max(ax.get_subplotspec().colspan.start for ax in shown) + 1
    for index, ax in enumerate(shown):
        above = [text for text in labels(ax) if text.get_va() == "bottom"]
        beside = [text for text in labels(ax) if text.get_va() == "center"]
        assert bool(above) == (index < columns)
        assert bool(beside) == (index % columns == columns - 1 or index == len(shown) - 1)
        assert alone(labels(ax))
        for texts, axis in ((above, 0), (beside, 1)):
            assert not texts or [text.get_text() for text in texts] == PHONES.labels
            assert [text.xy[axis] for text in texts] == pytest.approx(PHONES.between(left, right).middles[: len(texts)])


@pytest.mark.slow
def test_many_phones_do_not_hide_the_attention():
    """Lines across a map where boundaries are nearer than they are wide: nothing else was to be seen."""
    maps = np.random.default_rng(0).dirichlet(np.ones(40), (1, 40))
    phones = many(150, 1.4)
    figure = attention_figure(maps, Clock(0.0375), "layer 1", phones)
    figure.draw_without_rendering()
    for ax in panels(figure):
        for axis in (0, 1):
            assert boundaries(ax, axis) == pytest.approx(phones.boundaries)
        assert all((np.array(one.get_segments()).max(axis=1) >= 1).any() for one in ax.collections)
        ends = [np.array(one.get_segments())[:, :, 1 - axis] for axis, one in enumerate(ax.collections)]
        assert all((across.min() == 1.0) and across.max() < 1.1 for across in ends)  # outside the map
        assert alone(labels(ax))
    assert 10 < len(labels(panels(figure)[0])) < 150


@pytest.mark.slow
def test_labels_beside_attention_have_room():
    """Of the columns of labels the widest decides: the colours' bar and the next panel stand beyond it."""
    maps = np.random.default_rng(0).dirichlet(np.ones(40), (2, 40))
    phones = Phones(np.arange(9) * 0.16, np.arange(1, 10) * 0.16, ["T", "a-quite-long-label", *["S"] * 7])
    figure = attention_figure(maps, Clock(0.0375), "layer 1", phones)
    figure.draw_without_rendering()
    bar = figure.axes[-1].get_window_extent().x0
    assert not figure.axes[-1].images
    beside = [text for ax in panels(figure) for text in labels(ax) if text.get_va() == "center"]
    assert "a-quite-l..." in {text.get_text() for text in beside}
    assert all(text.get_window_extent().x1 < bar for text in beside)


def test_phones_of_an_alignment_are_those_of_the_utterance(tmp_path):
    write_alignment(tmp_path / "phones", [("a", [(0.0, 0.5, "x"), (0.6, 0.9, "y")]), ("b", [(0.0, 1.0, "y")])])
    alignment = Alignment(tmp_path / "phones")
    phones = Phones.of(alignment, "a", 0.85)  # up to 0.1 s after the audio, as everywhere
    assert (phones.starts.tolist(), phones.ends.tolist(), list(phones.labels)) == ([0, 0.6], [0.5, 0.9], ["x", "y"])
    assert phones.boundaries.tolist() == [0, 0.5, 0.6, 0.9]
    cut = phones.between(0.25, 0.75)
    assert (cut.starts.tolist(), cut.ends.tolist(), list(cut.labels)) == ([0.25, 0.6], [0.5, 0.75], ["x", "y"])
    with pytest.raises(ValueError, match=r"a: the alignment ends at 0.900 s, but the audio at 0.790 s"):
        Phones.of(alignment, "a", 0.79)
    with pytest.raises(ValueError, match="no alignment of utterance 'c'"):
        Phones.of(alignment, "c", 1.0)
    (tmp_path / "phones/labels.txt").write_text("x\n")
    with pytest.raises(ValueError, match=r"labels.txt: 1 labels, fewer than segments.npy uses for b"):
        Phones.of(Alignment(tmp_path / "phones"), "b", 1.0)
