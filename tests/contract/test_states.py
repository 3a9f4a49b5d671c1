"""Cached representations: used again for the same frames, never for others."""

from pathlib import Path

import numpy as np

from mockingjay.states import cached
from mockingjay.upstreams.baseline import Baseline
from tests.helpers.speech import write_store
from utility.store.reading import Store


def test_representations_of_frames_that_were_replaced_are_not_used(tmp_path):
    """A store made again with other sound of the same lengths got the representations of the old one."""

    def states(root: Path) -> Store:
        store = Store([root / "train"])
        return cached(Baseline(store.info), [store], 0, tmp_path / "cache", "float32", quiet=True)[0]

    lengths = {"a-1": 20, "b-2": 31}
    first = write_store(tmp_path / "store/train", lengths, seed=1)
    before = states(first.parent)
    assert states(first.parent).paths == before.paths
    for file in first.parent.iterdir():
        file.unlink()
    second = write_store(tmp_path / "store/train", lengths, seed=2)
    assert second == first
    after = states(second.parent)
    assert after.paths != before.paths
    assert np.array_equal(after[0], Store([second])[0])
    assert not np.array_equal(after[0], before[0])
