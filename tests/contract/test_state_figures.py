"""Figures of hidden states: like units are neighbours, and one utterance's pictures can be compared."""

import numpy as np
import pytest

from mockingjay.figures.states import MOST_TURNED, hidden_states_figures, standardised, unit_order
from utility.audio.feature_config import FeatureConfig
from utility.store.info import StoreInfo

MEL = FeatureConfig(deltas=1)
INFO = StoreInfo(row_shape=[MEL.dim], frame_shift=MEL.frame_shift, features=MEL)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def drawn(figure) -> np.ndarray:
    """What the lower panel shows, [T, H]."""
    return figure.axes[1].images[0].get_array().T.data


def figures(states: dict[str, np.ndarray], info: StoreInfo = INFO):
    frames = len(next(iter(states.values())))
    return hidden_states_figures(states, noise(frames, info.row_shape[0], seed=9), info)


def test_units_of_one_course_stand_beside_each_other_whatever_their_level_and_scale():
    """Units were drawn by number: a picture of 768 of them was noise."""
    courses = noise(80, 40)
    twins = {3: 31, 5: 20, 12: 39}
    for one, other in twins.items():
        courses[:, other] = 30 + 7 * courses[:, one]
    order, constant = unit_order(standardised(courses))
    assert sorted(order) == list(range(40))
    assert constant == 0
    place = {unit: position for position, unit in enumerate(order.tolist())}
    assert all(abs(place[one] - place[other]) == 1 for one, other in twins.items())
    assert abs(place[3] - place[5]) > 1


def test_branches_are_turned_to_where_neighbours_are_nearest():
    """Units that follow one another: a tree whose branches are left as they come puts some far from the next."""
    delays = np.linspace(0, 2, 24)
    courses = np.sin(np.linspace(0, 9, 200)[:, None] - delays).astype(np.float32)
    shuffled = np.random.default_rng(2).permutation(24)
    order, _ = unit_order(standardised(courses[:, shuffled]))
    assert np.abs(np.diff(shuffled[order])).tolist() == [1] * 23


def test_constant_units_stand_on_top_and_are_counted():
    """They have no correlation with anything: a division by 0 would have spoilt the distances of all."""
    states = noise(50, 10)
    states[:, 2] = 0
    states[:, 7] = 1234.5 + 1e-4 * noise(50)  # what float32 cannot tell from a constant
    (figure,) = figures({"a": states})
    figure.draw_without_rendering()
    shown = drawn(figure)
    assert np.isfinite(shown).all()
    assert (shown[:, -2:] == 0).all()
    assert (np.abs(shown[:, :-2]).max(0) > 1).all()
    assert figure.axes[1].get_title("left") == "10 hidden units, like courses side by side; 2 constant, on top"


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "units"), [(1, 4), (2, 3), (9, 1), (9, 2), (30, 3)])
def test_few_frames_and_few_units_can_be_drawn(frames, units):
    for states in (noise(frames, units), np.zeros((frames, units), np.float32)):
        (figure,) = figures({"a": states})
        figure.draw_without_rendering()
        assert drawn(figure).shape == (frames, units)
        assert np.isfinite(drawn(figure)).all()


def test_very_many_units_have_an_order_too():
    courses = noise(20, MOST_TURNED + 1)
    courses[:, 0] = courses[:, -1]
    order, _ = unit_order(standardised(courses))
    assert sorted(order) == list(range(MOST_TURNED + 1))
    assert abs(int(np.flatnonzero(order == 0)[0] - np.flatnonzero(order == MOST_TURNED)[0])) == 1


def test_pictures_of_one_utterance_can_be_compared():
    """One order of units, one scale of colours, one time axis: a row is the same unit in all of them."""
    first, last = noise(60, 30), noise(60, 30, seed=1)
    last[:, 4] = 500  # constant in one of them alone
    states = {"first": first, "last": last, "weighted": (first + last) / 2}
    three = figures(states)
    assert [figure.get_suptitle() for figure in three] == list(states)
    order, constant = unit_order(np.concatenate([standardised(values) for values in states.values()]))
    assert constant == 0
    for figure, values in zip(three, states.values()):
        expected = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
        assert np.allclose(drawn(figure), expected[:, order], atol=1e-4)
    for ax in (figure.axes[1] for figure in three):
        norm = ax.images[0].norm
        assert (norm.vmin, norm.vmax) == (-3, 3)
        assert ax.get_xlim() == three[0].axes[1].get_xlim()


@pytest.mark.parametrize("kind", ["mel", "kaldi_fbank"])
def test_the_input_stands_above_on_the_same_time_axis(kind):
    config = FeatureConfig(kind=kind)
    info = StoreInfo(row_shape=[config.dim], frame_shift=config.frame_shift, features=config)
    (figure,) = figures({"u: layer 3": noise(30, 12)}, info)
    heard, states = figure.axes[:2]
    assert heard.images[0].get_array().shape == (80, 30)  # without deltas
    assert heard.get_ylabel() == "frequency (Hz, mel scale)"
    assert heard.get_shared_x_axes().joined(heard, states)
    edges = (config.frame_offset - config.frame_shift / 2, config.frame_offset + 29.5 * config.frame_shift)
    assert heard.images[0].get_extent()[:2] == pytest.approx(edges)
    assert states.images[0].get_extent() == pytest.approx((*edges, -0.5, 11.5))
    assert (states.get_xlabel(), states.get_ylabel()) == ("time (s)", "hidden unit")
    assert not len(states.get_yticks())  # they would be taken for numbers of units
    assert figure.get_suptitle() == "u: layer 3"
    assert [ax.get_ylabel() for ax in figure.axes[2:]] == [
        "log energy\n(standard deviations)",
        "deviation from the unit's mean\n(standard deviations of the unit)",
    ]
