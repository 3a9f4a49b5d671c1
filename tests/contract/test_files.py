"""A file is on the disk before it gets its name: what a crash of the machine may not undo."""

import os
from pathlib import Path

import numpy as np
import pytest

from utility.files import replace_file
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter
from utility.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def events(monkeypatch) -> list[tuple[str, int]]:
    """What was synced and what got its name, by the number of the file (inode), in order."""
    seen, sync = [], os.fsync

    def synced(descriptor):
        seen.append(("synced", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def named(call):
        def naming(source, target, **more):
            seen.append(("named", os.stat(source).st_ino))
            return call(source, target, **more)

        return naming

    monkeypatch.setattr(os, "fsync", synced)
    for name in ("replace", "rename", "link"):
        monkeypatch.setattr(os, name, named(getattr(os, name)))
    return seen


def check(events: list[tuple[str, int]], path: Path) -> None:
    number = path.stat().st_ino
    assert ("synced", number) in events
    assert ("named", number) not in events[: events.index(("synced", number))]


def test_a_checkpoint_and_any_other_file_is_synced_before_it_is_named(tmp_path, events):
    save_checkpoint(tmp_path / "a.ckpt", "test", {"value": 1})
    check(events, tmp_path / "a.ckpt")
    replace_file(tmp_path / "b.csv", b"id\n")
    check(events, tmp_path / "b.csv")
    assert len(events) == 4


def test_the_frames_of_a_store_are_synced_before_its_table_is_named(tmp_path, events):
    info = StoreInfo(row_shape=[3], frame_shift=0.01)
    writer = StoreWriter.open(tmp_path, "train", [Row("u", 2, 300, "s", "u.wav")], info)
    writer.write(0, np.ones((2, 3), np.float32))
    events.clear()
    assert writer.finish()
    check(events, tmp_path / "train.csv")
    frames, table = (tmp_path / name for name in ("train.npy", "train.csv"))
    assert events.index(("synced", frames.stat().st_ino)) < events.index(("named", table.stat().st_ino))


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    save_checkpoint(tmp_path / "a.ckpt", "probe", {"value": 1})
    assert load_checkpoint(tmp_path / "a.ckpt", "probe")["value"] == 1
    with pytest.raises(ValueError, match="holds a 'probe' checkpoint, expected 'pretrain'"):
        load_checkpoint(tmp_path / "a.ckpt", "pretrain")
