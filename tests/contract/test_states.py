"""Cached representations: used again for the same frames, never for others."""

import os
from pathlib import Path

import numpy as np
import pytest

from mockingjay.representation import ExtractionOptions, represent
from mockingjay.states import StateCache
from mockingjay.upstreams.baseline import Baseline
from tests.helpers.files import contents
from tests.helpers.speech import MEL, wav, write_store
from utility.store.reading import Store
from utility.store.recordings import Recordings


def test_representations_of_frames_that_were_replaced_are_not_used(tmp_path):
    """A store made again with other sound of the same lengths got the representations of the old one."""

    def states(root: Path) -> Store:
        store = Store([root / "train"])
        return StateCache(Baseline(store.info), [store], tmp_path / "cache", "float32", quiet=True).stores(0)[0]

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


@pytest.mark.parametrize("shard", [(0, 2), (0, 1)], ids=["unfinished", "finished"])
def test_representations_of_recordings_that_were_replaced_are_not_continued(tmp_path, shard):  # M6
    """States of old and new sound of the same length came into one store."""
    for i in range(4):
        wav(tmp_path / f"in/{i}.wav", 4000, i)
    how = ExtractionOptions(quiet=True, batch_frames=50, shard=shard)

    def extract() -> bool:
        recordings = Recordings([tmp_path / "in"], MEL)
        return represent(Baseline(recordings.info), recordings, tmp_path / "out", "in", how)

    assert extract() == (shard == (0, 1))
    assert extract() == (shard == (0, 1))
    wav(tmp_path / "in/0.wav", 4000, 9)
    os.utime(tmp_path / "in/0.wav", (1, 1))
    with pytest.raises(ValueError, match="its input was another; choose another --output, or add --overwrite"):
        extract()


class Scaled(Baseline):
    """Features times a number."""

    factor = 1.0

    def encode(self, inputs, lengths, labels):
        return (inputs * self.factor,)


@pytest.mark.parametrize(
    ("factor", "harm", "reason"),
    [
        (np.inf, False, "not finite: the weights of model.ckpt or of its layers"),
        (1e6, False, "not finite in float16, which ends at 65504: take --dtype float32"),
        (1.0, True, "not finite, as its input is not: make that again"),
    ],
)
def test_states_that_no_store_takes_leave_nothing_and_name_their_cause(tmp_path, factor, harm, reason):  # L8
    """`row 0 of o/train: a value is not a finite float32` named neither, and a begun folder stayed."""
    store = Store([write_store(tmp_path / "store/train", {"a-1": 20, "b-2": 31})])
    if harm:
        with (tmp_path / "store/train.npy").open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(np.float32(np.nan).tobytes())
    upstream, how = Scaled(store.info), ExtractionOptions(dtype="float16", quiet=True, checkpoint="model.ckpt")
    upstream.factor = factor
    with pytest.raises(ValueError, match=f"utterance '[ab]-.': its hidden states are {reason}"):
        represent(upstream, store, tmp_path / "cache/out", "train", how)
    assert not (tmp_path / "cache").exists()
    upstream.factor = 1.0
    write_store(tmp_path / "other/dev", {"c-1": 20})
    if not harm:
        assert represent(upstream, store, tmp_path / "cache/out", "train", how)
        before = contents(tmp_path / "cache/out")
        upstream.factor = factor
        with pytest.raises(ValueError, match="its hidden states are"):
            represent(upstream, store, tmp_path / "cache/out", "again", how)
        assert contents(tmp_path / "cache/out") == before
