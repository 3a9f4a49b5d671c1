"""Files: on the disk before they get their names, which a crash may not undo; and found once each."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from preprocess.parts.corpora import folder
from tests.helpers.speech import MEL
from utility.audio.headers import audio_files
from utility.files import files_below, replace_file
from utility.labels.formats import find_files
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.recordings import Recordings
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


def test_links_are_followed_and_each_folder_is_entered_once(tmp_path):  # M5
    """One loop made 41 copies of every recording, two had no end."""
    root = tmp_path / "in"
    for name in ("a/1.wav", "a/b/2.wav", "a/b/.hidden/3.wav", "z/4.wav", "a/.5.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/6.wav").write_bytes(b"")
    for link, target in (("a/loop", ".."), ("a/b/loop", "../.."), ("a/early", "../z"), ("out", "../outside")):
        (root / link).symlink_to(target)
    (root / "a/self").symlink_to("self")
    (root / "1b.wav").symlink_to("a/1.wav")
    (tmp_path / "outside/back").symlink_to("../in")
    expected = ["1b.wav", "a/1.wav", "a/b/2.wav", "a/self", "out/6.wav", "z/4.wav"]
    assert files_below(root) == expected
    recordings = [name for name in expected if name.endswith(".wav")]
    assert audio_files(root) == recordings
    assert Recordings([root], MEL).ids == [PurePosixPath(name).stem for name in recordings]
    assert sorted(u.path for u in folder(root).utterances) == sorted(recordings)
    for name in ("a/1", "z/4"):
        (root / f"{name}.phn").write_text("0 100 aa")
    assert find_files(root, "timit", "phones")[1] == [root / "a/1.phn", root / "z/4.phn"]
