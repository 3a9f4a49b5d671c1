"""What the paper found in Mockingjay's heads, of heads that are made by hand: it holds, and it does not."""

import numpy as np
import pytest

from analysis.attention.findings import findings
from analysis.attention.offsets import Offsets

CATEGORIES = [["diagonal", "vertical"], ["global", "global"]]
CURVES = {  # loss and accuracy after no, two and all four heads
    "diagonality": ([1.0, 1.5, 1.6], [70.0, 50.0, 40.0]),
    "verticality": ([1.0, 1.2, 1.6], [70.0, 65.0, 40.0]),
    "globalness": ([1.0, 1.01, 1.6], [70.0, 71.0, 40.0]),
}
DIAGONAL, VERTICAL, RAISED, SPARED, SHIFTED, CONCENTRATED = range(6)


def content(curves=CURVES, offset=((3, -16), (5, 0)), concentration=(0.2, 3.0, 0.5, 0.1), steps=(0, 2, 4)) -> dict:
    heads = [
        {"name": name, "steps": list(steps), "figures": {"reconstruction L1": loss, "phone accuracy": accuracy}}
        for name, (loss, accuracy) in curves.items()
    ]
    shown = {"values": [[0.0, value, None] for value in concentration]}
    return {
        "heads": {"category": CATEGORIES, "offset": [list(row) for row in offset]},
        "pruning": {"heads": heads},
        "maps": {"concentration, phones": shown},
    }


def holds(number: int, **changes) -> bool | None:
    return findings(content(**changes))[number]["holds"]


def swapped(one: str, other: str) -> dict:
    names = {one: other, other: one}
    return {names.get(name, name): figures for name, figures in CURVES.items()}


def test_cutting_diagonal_heads_costs_most():
    assert holds(DIAGONAL)
    assert not holds(DIAGONAL, curves=swapped("diagonality", "globalness"))
    half = CURVES | {"diagonality": (CURVES["diagonality"][0], [70.0, 69.0, 40.0])}
    assert not holds(DIAGONAL, curves=half)  # of the loss alone


def test_cutting_vertical_heads_costs_more_than_global_ones():
    assert holds(VERTICAL)
    assert not holds(VERTICAL, curves=swapped("verticality", "globalness"))
    costs = findings(content())[VERTICAL]["figures"]["phone accuracy"]
    assert costs["vertical"] == pytest.approx(5 / 70)
    assert costs["global"] == pytest.approx(-1 / 70)


def test_cutting_global_or_vertical_heads_can_raise_accuracy():
    assert holds(RAISED)
    assert not holds(RAISED, curves=CURVES | {"globalness": (CURVES["globalness"][0], [70.0, 69.0, 40.0])})


def test_more_than_half_of_the_heads_can_go():
    assert not holds(SPARED)
    assert holds(SPARED, steps=(0, 3, 4))
    assert findings(content())[SPARED]["figures"] == {"reconstruction L1": 0.5, "phone accuracy": 0.5}


def test_no_diagonal_head_looks_at_its_own_frame_most():
    assert holds(SHIFTED)  # the head at 0 is a global one
    assert not holds(SHIFTED, offset=((0, 1), (1, 1)))


def test_vertical_heads_concentrate_on_some_phones():
    assert holds(CONCENTRATED)
    assert holds(CONCENTRATED, concentration=(0.2, -0.9, 0.5, 0.1))  # neglect is concentration, too
    assert not holds(CONCENTRATED, concentration=(0.2, 0.1, 0.5, 0.1))


def test_what_was_not_measured_neither_holds_nor_fails():
    bare = {"heads": content()["heads"], "maps": {}}
    assert [one["holds"] for one in findings(bare)] == [None, None, None, None, True, None]


@pytest.mark.parametrize("rows", [1, 3, 30])
def test_the_offset_of_a_head_is_where_its_mean_attention_is_greatest(rows):
    frames, offsets = 30, Offsets(reach=4)
    maps = np.full((1, 4, frames, frames), 0.1 / frames)
    for head, shift in enumerate((0, 2, -3)):
        queries = np.arange(max(-shift, 0), min(frames, frames - shift))
        maps[0, head, queries, queries + shift] += 0.9
    blocks = (maps[:, :, first : first + rows] for first in range(0, frames, rows))
    passed = np.concatenate(list(offsets.passing(blocks)), axis=2)
    np.testing.assert_array_equal(passed, maps)
    assert offsets.greatest().tolist() == [[0, 2, -3, 0]]  # of equal ones the nearest
    with pytest.raises(ValueError, match="no utterance was looked at"):
        Offsets().greatest()
