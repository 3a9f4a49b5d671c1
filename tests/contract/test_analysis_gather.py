"""How the memory of an analysis is divided among sums: the limit holds for all samples and kinds together."""

from types import SimpleNamespace

import pytest

from analysis.config import AnalysisConfig
from analysis.gather import MAPS, Want, sets_that_fit
from analysis.material import FRAMES
from utility.config import resolve

WIDTH, LAYERS = 64, ("T0", "T1", "T2")
TRIANGLE = WIDTH * (WIDTH + 1) // 2  # of the products of a layer with itself
FRAMES_SET = 8 * len(LAYERS) * TRIANGLE
MAPS_SET = 8 * (len(LAYERS) * TRIANGLE + 3 * WIDTH * WIDTH)
BOTH = (Want(FRAMES, "", LAYERS), Want(MAPS, "", LAYERS))


def sets(mib: float, samples: int, *widths: int) -> dict:
    """The sets of upstreams of these widths."""
    config = resolve(AnalysisConfig, None, [f"cca.memory_mib={mib}"])
    material = SimpleNamespace(config=config, utterances=SimpleNamespace(speakers=("a", "b")))
    wants = dict.fromkeys(range(samples), BOTH)
    subjects = [
        (SimpleNamespace(name=f"of {width}", upstream=SimpleNamespace(width=lambda _, width=width: width)), wants)
        for width in widths
    ]
    return sets_that_fit(material, subjects)


def bytes_of(made: dict) -> int:
    return sum(count * (FRAMES_SET if kind == FRAMES else MAPS_SET) for (kind, _), count in made.items())


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("mib", [4, 8])
def test_all_sums_together_fit_the_memory_and_groups_an_eighth_of_it(samples, mib):
    made = sets(mib, samples, WIDTH)
    assert made.keys() == {(kind, sample) for kind in (FRAMES, MAPS) for sample in range(samples)}
    fewest = bytes_of({(kind, sample): 7 if kind == FRAMES else 1 for kind, sample in made})
    assert bytes_of(made) <= mib * 2**20
    assert bytes_of(made) - fewest <= mib * 2**17
    assert any(made[FRAMES, sample] > 7 for sample in range(samples)), "more groups are there"


def test_where_memory_is_enough_all_groups_are_resampled():
    assert sets(2048, 1, WIDTH) == {(FRAMES, 0): 1 + 3 + 50, (MAPS, 0): 20}


def test_all_upstreams_have_the_groups_of_the_widest():
    assert sets(2, 1, 16, WIDTH) == sets(2, 1, WIDTH) == sets(2, 1, WIDTH, 16) != sets(2, 1, 16)


def test_too_little_memory_says_how_much_is_needed():
    needed = (3 * 7 * FRAMES_SET + 3 * MAPS_SET) / 2**20
    with pytest.raises(ValueError, match=rf"of 64 take {needed:.2f} MiB for 3 samples, .*memory_mib=1 allows less"):
        sets(1, 3, WIDTH)
