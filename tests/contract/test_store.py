"""The feature store: bytes that survive kills and company, refusals, and reading."""

import dataclasses
import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.files import contents
from tests.helpers.speech import write_originals
from utility.arrays import ArrayFile
from utility.audio.feature_config import FeatureConfig
from utility.labels.alignment import Alignment, write_alignment
from utility.store import writing as store_writer
from utility.store.files import Row, offsets_of, read_table
from utility.store.info import StoreInfo
from utility.store.reading import Store, _Array, splits_in
from utility.store.writing import StoreWriter

MEL = FeatureConfig(kind="mel", deltas=0)
FORK = multiprocessing.get_context("fork")
ROWS = [Row(f"u{i}", i % 4 + 1, 200 * i, f"s{i % 3}", f"wav/{i}.wav") for i in range(6)]


def info(**changes) -> StoreInfo:
    values = {"row_shape": [3], "frame_shift": 0.0125, "audio_root": "/audio"}
    return StoreInfo(**values | changes)


def frames(row: Row, shape=(3,)) -> np.ndarray:
    return np.random.default_rng(sum(row.id.encode())).standard_normal((row.length, *shape)).astype(np.float32)


def fill(root: Path, split="train", rows=ROWS, bad=("u4",), shard=(0, 1), **changes) -> bool:
    writer = StoreWriter.open(root, split, rows, info(**changes))
    for i in writer.pending(shard):
        if rows[i].id in bad:
            writer.fail(i, "cannot be\n decoded")
        else:
            writer.write(i, frames(rows[i]))
    return writer.finish()


def in_child(function, *args) -> int:
    process = FORK.Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


def test_round_trip(tmp_path):
    assert fill(tmp_path / "store")
    assert sorted(contents(tmp_path / "store")) == [
        "errors.csv",
        "features.yaml",
        "train.csv",
        "train.digest",
        "train.npy",
    ]
    store = pickle.loads(pickle.dumps(Store([tmp_path / "store/train"])))
    kept = [row for row in ROWS if row.id != "u4"]
    assert store.ids == [row.id for row in kept]
    assert store.speakers == [row.speaker for row in kept]
    assert store.audio_paths == [Path("/audio", row.path) for row in kept]
    assert store.lengths.tolist() == [row.length for row in kept]
    assert store.num_samples.tolist() == [row.num_samples for row in kept]
    assert store.info == info()
    assert store.index["u5"] == 4
    for i, row in enumerate(kept):
        assert store[i].dtype == np.float32
        np.testing.assert_array_equal(store[i], frames(row))
    np.testing.assert_array_equal(store.read(3, 1, 3), frames(kept[3])[1:3])
    assert store.frame_times(2).tolist() == [0, 0.0125, 0.025]
    pickle.loads(pickle.dumps(store))
    assert (tmp_path / "store/errors.csv").read_text() == "split,path,reason\ntrain,wav/4.wav,cannot be decoded\n"
    assert splits_in(tmp_path / "store") == ["train"]


def _die_at(call: int, root: Path) -> None:
    """Write a store, but die by SIGKILL at the `call`-th change to the disk, leaving half of a write done."""
    left = [call]

    def dying(change):
        def changed(*args):
            if not left[0]:
                if change is os_pwrite:
                    change(args[0], bytes(args[1])[: len(args[1]) // 2], args[2])
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return change(*args)

        return changed

    os_pwrite = os.pwrite
    for name in ("pwrite", "replace", "link", "fsync", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
    fill(root)


@pytest.mark.slow
def test_killed_at_any_moment_gives_the_same_bytes(tmp_path):
    fill(tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    for call in range(1000):
        code = in_child(_die_at, call, tmp_path / f"{call}")
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert fill(tmp_path / f"{call}")
        assert contents(tmp_path / f"{call}") == expected, call
    assert call > 20


def test_what_a_write_that_was_cut_short_left_of_a_failed_row_is_cleared(tmp_path):
    fill(tmp_path / "whole")
    StoreWriter.open(tmp_path / "torn", "train", ROWS, info())
    array = np.load(tmp_path / "torn/train.npy", mmap_mode="r+")
    array[offsets_of(np.array([row.length for row in ROWS]))[4]] = 1.0  # u4 will fail
    array.flush()
    fill(tmp_path / "torn")
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_clearing_a_failed_row_does_not_read_what_takes_no_disk(tmp_path):  # H3
    """Headers that claimed hours made rows of gigabytes, walked with Python's any()."""
    rows = [Row("long", 1 << 27, 1, "", "long.wav"), ROWS[0]]
    start = time.process_time()
    assert fill(tmp_path, rows=rows, bad=("long",))
    assert time.process_time() - start < 1
    assert Store([tmp_path / "train"]).ids == ["u0"]


def test_no_finished_row_is_written_twice(tmp_path):
    in_child(_die_at, 20, tmp_path)
    writer = StoreWriter.open(tmp_path, "train", ROWS, info())
    assert 0 < len(writer.pending()) < len(ROWS)
    assert not writer.finished
    assert not writer.finish()
    with pytest.raises(ValueError, match="not finished"):
        Store([tmp_path / "train"])


def test_shards_cover_every_row_once(tmp_path):
    fill(tmp_path / "whole")
    assert [fill(tmp_path / "parts", shard=(k, 3)) for k in (2, 0, 1)] == [False, False, True]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def _meet_and_fill(barrier, root: Path, split: str, shard: tuple[int, int]) -> None:
    barrier.wait()
    fill(root, split, shard=shard)


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False])
def test_processes_finishing_together(tmp_path, alone):
    for split in ("dev", "train"):
        fill(tmp_path / "whole", split)
    for attempt in range(5):
        root = tmp_path / f"{attempt}"
        jobs = [(split, (k, 2) if alone else (0, 1)) for split in ("dev", "train") for k in (0, 1)]
        barrier = FORK.Barrier(len(jobs))
        workers = [FORK.Process(target=_meet_and_fill, args=(barrier, root, *job)) for job in jobs]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * 4
        assert contents(root) == contents(tmp_path / "whole")


def test_finished_store_is_left_alone(tmp_path):
    fill(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    writer = StoreWriter.open(tmp_path, "train", ROWS, info())
    assert writer.finished
    assert writer.pending() == []
    assert [failure.path for failure in writer.failures()] == ["wav/4.wav"]
    assert writer.finish()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_list_of_audio_is_refused_with_both_values(tmp_path, finished):
    fill(tmp_path, shard=(0, 1) if finished else (0, 2))
    longer = [dataclasses.replace(ROWS[0], length=9), *ROWS[1:]]
    with pytest.raises(ValueError, match=r"length of utterance 0 \(u0\) is 1 there, 9 here"):
        StoreWriter.open(tmp_path, "train", longer, info())
    with pytest.raises(ValueError, match=r"utterances there, .* here"):
        StoreWriter.open(tmp_path, "train", ROWS[:-1], info())
    with pytest.raises(ValueError, match="dtype is 'float32' there, 'float16' here"):
        StoreWriter.open(tmp_path, "train", ROWS, info(dtype="float16"))


def test_other_features_are_refused(tmp_path):
    fill(tmp_path, row_shape=[80], bad=[row.id for row in ROWS], features=MEL)
    with pytest.raises(ValueError, match=r"features.cmvn is 'utterance' there, 'none' here"):
        fill(tmp_path, "dev", row_shape=[80], features=dataclasses.replace(MEL, cmvn="none"))
    with pytest.raises(ValueError, match=r"row_shape is \[3\], but these features have 80"):
        fill(tmp_path, "dev", features=MEL)


def test_bad_rows_and_values(tmp_path):
    for rows, said in (
        ([], "no utterances"),
        ([ROWS[0], ROWS[0]], "'u0' is not unique"),
        ([dataclasses.replace(ROWS[0], id="")], "is empty"),
        ([dataclasses.replace(ROWS[0], length=-1)], "length -1"),
    ):
        with pytest.raises(ValueError, match=said):
            StoreWriter.open(tmp_path / "no", "train", rows, info())
    for split in ("errors", "a/b", "", "-x"):
        with pytest.raises(ValueError, match="split name"):
            StoreWriter.open(tmp_path / "no", split, ROWS, info())
    assert not (tmp_path / "no").exists()
    writer = StoreWriter.open(tmp_path, "train", ROWS, info(dtype="float16"))
    with pytest.raises(ValueError, match=r"shape is \(2, 3\), expected \(1, 3\)"):
        writer.write(0, np.zeros((2, 3)))
    for value in (np.nan, np.inf, 1e6):
        with pytest.raises(ValueError, match="not a finite float16"):
            writer.write(0, np.full((1, 3), value))
    assert writer.pending() == list(range(len(ROWS)))


def test_full_disk_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="No space left on device: needs"):
        StoreWriter.open(tmp_path, "huge", [dataclasses.replace(ROWS[0], length=1 << 50)], info())
    assert not (tmp_path / "huge.npy").exists()
    writer = StoreWriter.open(tmp_path, "train", ROWS, info())

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_writer.os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device \(what is finished is kept.*train.npy"):
        writer.write(0, frames(ROWS[0]))
    monkeypatch.undo()
    assert 0 in writer.pending()


def test_float16_and_row_shapes(tmp_path):
    rows = ROWS[:3]
    writer = StoreWriter.open(tmp_path, "train", rows, info(dtype="float16", row_shape=[2, 3], kind="representation"))
    for i in writer.pending():
        writer.write(i, frames(rows[i], (2, 3)))
    writer.finish()
    store = Store([tmp_path / "train"])
    assert store[2].dtype == np.float32
    np.testing.assert_array_equal(store[2], frames(rows[2], (2, 3)).astype(np.float16))
    assert np.load(tmp_path / "train.npy").dtype == np.float16


def test_several_splits_are_one_corpus(tmp_path):
    more = [dataclasses.replace(row, id=f"v{row.id}") for row in ROWS]
    fill(tmp_path / "a", "train")
    fill(tmp_path / "b", "dev", more, audio_root="/elsewhere")
    store = Store([tmp_path / "a/train", tmp_path / "b/dev"])
    assert len(store) == 11
    np.testing.assert_array_equal(store[store.index["vu3"]], frames(more[3]))
    assert store.audio_paths[-1] == Path("/elsewhere/wav/5.wav")
    assert store.fingerprint() != Store([tmp_path / "a/train"]).fingerprint()
    fill(tmp_path / "longer", "dev", [dataclasses.replace(row, length=row.length + 1) for row in more])
    longer = Store([tmp_path / "a/train", tmp_path / "longer/dev"])
    assert longer.ids == store.ids
    assert store.fingerprint() != longer.fingerprint()
    assert store.fingerprint() == Store([tmp_path / "a/train", tmp_path / "b/dev"]).fingerprint()
    with pytest.raises(ValueError, match="'u0' is not unique"):
        Store([tmp_path / "a/train", tmp_path / "a/train"])
    fill(tmp_path / "c", "dev", more, frame_shift=0.01)
    with pytest.raises(ValueError, match=r"frame_shift is 0.0125 there, 0.01 here"):
        Store([tmp_path / "a/train", tmp_path / "c/dev"])


def test_damage_is_named(tmp_path):
    fill(tmp_path)
    store = Store([tmp_path / "train"])
    with pytest.raises(ValueError, match=r"no such split; .* has train"):
        Store([tmp_path / "dev"])
    with pytest.raises(ValueError, match=r"no such split; .* has train"):
        Store([tmp_path])
    with pytest.raises(ValueError, match=r"other features: features\.kind is None there"):
        Store([tmp_path / "train"], MEL)
    os.truncate(tmp_path / "train.npy", 150)
    with pytest.raises(ValueError, match="cut off at 150 bytes"):
        Store([tmp_path / "train"])
    with pytest.raises(ValueError, match="cut off at"):
        store.read(4)
    (tmp_path / "train.npy").write_text("not an array")
    with pytest.raises(ValueError, match="not an array file"):
        Store([tmp_path / "train"])
    (tmp_path / "train.csv").write_text("id,offset\n")
    with pytest.raises(ValueError, match="no column length, num_samples, speaker, path"):
        Store([tmp_path / "train"])
    (tmp_path / "features.yaml").write_text(yaml.safe_dump({"row_shape": [3], "frame_shift": 0.01, "colour": 1}))
    with pytest.raises(ValueError, match=r"features.yaml: unknown config key 'colour'"):
        Store([tmp_path / "train"])


def legacy(root: Path, names: list[str]) -> None:
    """What the originals' preprocessing leaves, longest first."""
    write_originals(root / "train", {name: np.full((5 - i, 80), i) for i, name in enumerate(names)})


def test_directories_of_the_originals(tmp_path):
    legacy(tmp_path, ["103-1240-0000", "na", "1034"])
    store = pickle.loads(pickle.dumps(Store([tmp_path / "train"])))
    assert store.ids == ["103-1240-0000", "na", "1034"]
    assert store.speakers == ["103", "", ""]
    assert store.lengths.tolist() == [5, 4, 3]
    assert store.info.features is None
    np.testing.assert_array_equal(store[1], np.full((4, 80), 1))
    assert store.read(1, 2).shape == (2, 80)
    with pytest.raises(ValueError, match="say which features"):
        store.frame_times(0)
    believed = Store([tmp_path / "train"], MEL)
    assert believed.info.features == MEL
    assert believed.frame_times(2).tolist() == MEL.frame_times(3).tolist()
    with pytest.raises(ValueError, match="has 80 dims, but features mel as given have 160"):
        Store([tmp_path / "train"], FeatureConfig())
    np.save(tmp_path / "train/na.npy", np.zeros((9, 80)))
    with pytest.raises(ValueError, match=r"na.npy: shape is \(9, 80\), expected \(4, 80\)"):
        store[1]
    with pytest.raises(ValueError, match=r"without features.yaml"):
        fill(tmp_path)


def test_names_of_the_originals_that_collide_keep_their_folder(tmp_path):
    legacy(tmp_path, ["fcjf0/SA1", "mgrp0/SA1"])
    assert Store([tmp_path / "train"]).ids == ["train/fcjf0/SA1", "train/mgrp0/SA1"]


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12), parts=st.integers(1, 5))
def test_plan_and_offsets(tmp_path_factory, lengths, parts):
    root = tmp_path_factory.mktemp("plan")
    rows = [Row(f'n"{i},', length, length, "NA", f"{i} é.wav") for i, length in enumerate(lengths)]
    offsets = offsets_of(np.array(lengths))
    assert offsets[0] == 0
    assert (np.diff(offsets) == lengths[:-1]).all()
    writer = StoreWriter.open(root, "train", rows, info())
    shards = [writer.pending((k, parts)) for k in range(parts)]
    assert sorted(i for shard in shards for i in shard) == list(range(len(rows)))
    for i in writer.pending():
        if rows[i].length:
            writer.write(i, frames(rows[i]))
        else:
            writer.fail(i, "empty")
    assert writer.finish()
    table = read_table(root / "train.csv", ("id", "offset", "length", "speaker", "path"))
    kept = [i for i, row in enumerate(rows) if row.length]
    assert table["id"].tolist() == [rows[i].id for i in kept]
    assert table["offset"].tolist() == offsets[kept].tolist()
    if kept:
        store = Store([root / "train"])
        assert store.speakers == ["NA"] * len(kept)
        assert all((store[j] == frames(rows[i])).all() for j, i in enumerate(kept))


def as_earlier(root: Path) -> None:
    """Make a store what earlier versions left: no digest, no frame_offset."""
    for digest in root.glob("*.digest"):
        digest.unlink()
    values = yaml.safe_load((root / "features.yaml").read_text())
    del values["frame_offset"]
    (root / "features.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.mark.parametrize("kind", ["plain", "kaldi_fbank"])
def test_stores_of_each_age_open(tmp_path, kind):
    features = None if kind == "plain" else FeatureConfig(kind=kind, deltas=0)
    here = info() if features is None else info(row_shape=[80], frame_shift=0.01, features=features)
    for age in ("new", "old"):
        writer = StoreWriter.open(tmp_path / age, "train", ROWS[:3], here)
        for i in writer.pending():
            writer.write(i, frames(ROWS[i], here.row_shape))
        writer.finish()
    as_earlier(tmp_path / "old")
    new, old = (Store([tmp_path / age / "train"]) for age in ("new", "old"))
    assert old.info == new.info
    assert old.info.frame_offset == (0.0 if features is None else 0.0125)
    assert all(np.array_equal(old[i], new[i]) for i in range(3))
    assert old.frame_times(2).tolist() == new.frame_times(2).tolist()
    assert StoreWriter.open(tmp_path / "old", "train", ROWS[:3], new.info).finished
    assert not (tmp_path / "old/train.digest").exists()  # nobody asked what its frames are
    assert old.fingerprint() == new.fingerprint()
    assert (tmp_path / "old/train.digest").read_bytes() == (tmp_path / "new/train.digest").read_bytes()


def test_a_split_begun_by_an_earlier_version_is_finished_with_its_digest(tmp_path):
    for root, earlier in (("new", False), ("old", True)):
        writer = StoreWriter.open(tmp_path / root, "train", ROWS, info())
        for i in writer.pending()[:3]:
            writer.write(i, frames(ROWS[i]))
        if earlier:  # it left nothing beside the marks of rows that are done
            progress = writer.files.progress.read_bytes()
            writer.files.progress.write_bytes(progress[: len(ROWS)].ljust(len(progress), b"\0"))
        assert fill(tmp_path / root)
    assert contents(tmp_path / "old") == contents(tmp_path / "new")


def test_other_frames_under_the_same_table_are_another_store(tmp_path):
    """Cached representations of the old frames were used for the new ones."""
    fill(tmp_path / "a")
    fill(tmp_path / "same")
    before = Store([tmp_path / "a/train"]).fingerprint()
    assert Store([tmp_path / "same/train"]).fingerprint() == before
    writer = StoreWriter.open(tmp_path / "b", "train", ROWS, info())
    for i in writer.pending():
        if ROWS[i].id == "u4":
            writer.fail(i, "cannot be decoded")
        else:
            writer.write(i, frames(ROWS[i]) + np.float32(1e-6) * (i == 5))
    writer.finish()
    assert (tmp_path / "b/train.csv").read_bytes() == (tmp_path / "a/train.csv").read_bytes()
    assert Store([tmp_path / "b/train"]).fingerprint() != before


@pytest.mark.parametrize("how", ["rewritten", "moved", "copied"])
def test_frames_changed_behind_the_back_of_the_writer_are_seen(tmp_path, how):
    fill(tmp_path / "a")
    array = tmp_path / "a/train.npy"
    before, data = Store([tmp_path / "a/train"]).fingerprint(), bytearray(array.read_bytes())
    data[-1] ^= 1
    (tmp_path / "other.npy").write_bytes(data)
    os.utime(tmp_path / "other.npy", (0, 0))
    time.sleep(0.02)  # more than the clock of a file system ticks
    if how == "rewritten":
        array.write_bytes(data)
    elif how == "moved":
        (tmp_path / "other.npy").replace(array)
    else:
        shutil.copy2(tmp_path / "other.npy", array)
    store = Store([tmp_path / "a/train"])
    assert store.fingerprint() != before
    assert store.fingerprint() == Store([tmp_path / "a/train"]).fingerprint()


def test_frames_are_read_for_the_fingerprint_of_a_copy_once(tmp_path, monkeypatch):
    fill(tmp_path / "a")
    before, read = Store([tmp_path / "a/train"]).fingerprint(), []
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    time.sleep(0.02)
    os.utime(tmp_path / "b/train.npy")
    digest = _Array._row_digest
    monkeypatch.setattr(_Array, "_row_digest", lambda self, row: read.append(row) or digest(self, row))
    for _ in range(2):
        assert Store([tmp_path / "b/train"]).fingerprint() == before
        assert Store([tmp_path / "a/train"]).fingerprint() == before
    assert read == [0, 1, 2, 3, 4]


def originals(root: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    return write_originals(root / "train", {f"u{i}": rng.standard_normal((3 + i, 4)) for i in range(3)})


@pytest.mark.parametrize("kind", ["earlier", "originals"])
@pytest.mark.parametrize("writable", [True, False])
def test_other_frames_in_a_store_without_a_digest_are_seen(tmp_path, monkeypatch, kind, writable):  # M6
    """Cached representations, --extract and probes took frames that were replaced for the old ones."""
    root, read, beside = tmp_path / "store", [], tmp_path / "cache"
    beside.mkdir()
    if kind == "earlier":
        fill(root)
        as_earlier(root)
        files = [root / "train.npy"]
    else:
        originals(root, seed=1)
        files = sorted((root / "train").iterdir())
    if not writable:
        monkeypatch.setattr("utility.store.digest.replace_file", only_below(beside))
    monkeypatch.setattr("utility.store.digest.zlib.crc32", lambda *data, crc=zlib.crc32: read.append(1) or crc(*data))
    before = Store([root / "train"]).fingerprint(beside)
    assert (root / "train.digest").is_file() == writable
    assert len(list(beside.iterdir())) == int(not writable)
    count = len(read)
    assert count > 0
    assert Store([root / "train"]).fingerprint(beside) == before
    assert len(read) == count  # once
    time.sleep(0.02)  # more than the clock of a file system ticks
    data = bytearray(files[-1].read_bytes())
    data[-1] ^= 1
    files[-1].write_bytes(data)
    after = Store([root / "train"]).fingerprint(beside)
    assert after != before
    assert Store([root / "train"]).fingerprint(beside) == after
    assert len(read) == 2 * count


def only_below(folder: Path):
    def replace(path: Path, data: bytes) -> None:
        if path.parent != folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        path.write_bytes(data)

    return replace


def test_parts_of_recordings_are_kept_with_their_times(tmp_path):
    spans = [(None, None), (0.5, None), (0.0, 0.25), (0.25, 1.125), (None, 0.1), (0.1, 0.3)]
    rows = [dataclasses.replace(row, path="wav/1.wav", start=a, stop=b) for row, (a, b) in zip(ROWS, spans)]
    assert fill(tmp_path / "parts", rows=rows)
    assert fill(tmp_path / "whole")
    lines = (tmp_path / "parts/train.csv").read_text().splitlines()
    assert lines[0] == "id,offset,length,num_samples,speaker,path,start,end"
    assert lines[1] == "u0,0,1,0,s0,wav/1.wav,,"
    assert lines[4] == "u3,6,4,600,s0,wav/1.wav,0.25,1.125"
    store = pickle.loads(pickle.dumps(Store([tmp_path / "parts/train"])))
    assert store.spans == [*spans[:4], spans[5]]
    assert Store([tmp_path / "whole/train"]).spans == [(None, None)] * 5
    assert (tmp_path / "whole/train.csv").read_text().splitlines()[0] == "id,offset,length,num_samples,speaker,path"
    errors = (tmp_path / "parts/errors.csv").read_text().splitlines()
    assert errors[1] == "train,wav/1.wav from 0 s to 0.1 s,cannot be decoded"
    assert StoreWriter.open(tmp_path / "parts", "train", rows, info()).finished
    moved = [dataclasses.replace(row, stop=9.0) if row.id == "u1" else row for row in rows]
    with pytest.raises(ValueError, match=r"stop of utterance 1 \(u1\) is None there, 9.0 here"):
        StoreWriter.open(tmp_path / "parts", "train", moved, info())
    fill(tmp_path / "moved", rows=moved)
    assert Store([tmp_path / "moved/train"]).fingerprint() != store.fingerprint()
    text = (tmp_path / "parts/train.csv").read_text()
    (tmp_path / "parts/train.csv").write_text(text.replace("1.125", "late"))
    with pytest.raises(ValueError, match=r"end is 'late' in line 5, expected seconds or nothing"):
        Store([tmp_path / "parts/train"])


def test_frames_begin_where_the_store_says(tmp_path):
    fill(tmp_path / "a", frame_offset=0.0125, frame_shift=0.02, bad=())
    store = Store([tmp_path / "a/train"])
    np.testing.assert_allclose(store.frame_times(3), 0.0125 + 0.02 * np.arange(4))
    fill(tmp_path / "b", frame_shift=0.02, bad=())
    assert Store([tmp_path / "b/train"]).fingerprint() != store.fingerprint()
    with pytest.raises(ValueError, match=r"frame_offset is 0.0125 there, 0.0 here"):
        StoreWriter.open(tmp_path / "a", "dev", ROWS, info(frame_shift=0.02))
    for kind in ("mel", "kaldi_mfcc"):
        features = FeatureConfig(kind=kind, deltas=0)
        here = info(row_shape=[features.dim], frame_shift=features.frame_shift, features=features)
        assert here.frame_offset == features.frame_offset == features.frame_times(1)[0]
        assert here.frame_times(50).tolist() == features.frame_times(50).tolist()


@pytest.mark.slow
def test_a_wrong_byte_in_the_header_of_an_array_is_one_line(tmp_path):  # M12
    """numpy's parser ended in TokenError and worse; a zip file named .npy has no shape."""
    fill(tmp_path / "new")
    originals(tmp_path / "old", seed=1)
    align = tmp_path / "align"
    write_alignment(align, [("u", [(0.0, 1.0, "a"), (1.0, 2.0, "b")])])
    files = {
        tmp_path / "new/train.npy": lambda: Store([tmp_path / "new/train"]),
        tmp_path / "old/train/u0.npy": lambda: Store([tmp_path / "old/train"])[0],
        align / "segments.npy": lambda: Alignment(align).segments("u"),
    }
    rng = np.random.default_rng(0)
    for file, opened in files.items():
        good = file.read_bytes()
        opened()
        np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
        harmed = [(tmp_path / "arrays.npz").read_bytes(), good[:5], good[:70], b"", good[:-1]]
        harmed += [good.replace(b"}", b" ", 1), good.replace(b"(", b"((", 1), good.replace(b"'shape'", b"'sh pe'", 1)]
        harmed += [good.replace(b"\x01\x00", b"\x02\x00", 1), good.replace(b"'descr': ", b"'descr': -", 1)]
        for _ in range(60):
            data = bytearray(good)
            data[rng.integers(0, 128)] = rng.integers(0, 256)
            harmed.append(bytes(data))
        for number, data in enumerate(harmed):
            file.write_bytes(data)
            said = refusal(opened)
            assert said is None or said.startswith(str(file))
            assert said is not None or number >= 10  # a byte that says nothing, as one of the blanks
        file.write_bytes(good)


def refusal(opened) -> str | None:
    """What a ValueError says; None without one."""
    try:
        opened()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("dtype", ["complex64", "bool", "U3"])
def test_arrays_of_the_originals_hold_real_numbers(tmp_path, dtype):  # L10
    originals(tmp_path, seed=1)
    np.save(tmp_path / "train/u1.npy", np.zeros((4, 4), dtype))
    store = Store([tmp_path / "train"])
    with pytest.raises(ValueError, match=r"u1.npy: holds .*, expected real numbers"):
        store[1]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\nu1,", "\nx,u1,", "more fields|tokenizing"),
        ("\n", ",\n", ""),
        (",200,", f",{10**30},", "num_samples is '1000"),
        (",200,", ",\u0662,", "num_samples is"),
        ("u1,", "u" * 200_000 + ",", ""),
    ],
)
def test_tables_that_make_no_sense_are_one_line(tmp_path, old, new, reason):  # L5
    fill(tmp_path)
    table = tmp_path / "train.csv"
    text = table.read_text()
    if not reason and old == "\n":  # all rows have one field more: pandas took the first for names of rows
        first, rest = text.split("\n", 1)
        table.write_text(first + "\n" + rest.replace(old, new))
        reason = "its rows have more fields than the 6 columns"
    else:
        table.write_text(text.replace(old, new), encoding="utf-8")
    if not reason:
        assert len(Store([tmp_path / "train"]).ids[1]) == 200_000
        return
    with pytest.raises(ValueError, match=f"train.csv: not a table of utterances: .*({reason})") as caught:
        Store([tmp_path / "train"])
    assert len(str(caught.value)) < 400


def test_array_headers_of_python_2_are_read_without_a_word(tmp_path):
    """numpy's reader warns of them, which was a second line on stderr before an error."""
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(2, 3), }  ", b"(2L, 3L), }"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ArrayFile.open(tmp_path / "a.npy").mapped().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "change",
    [(b"(2, 3)", b"(2, x)"), (b"(2, 3)", b"[2, 3]"), (b"False", b"0    "), (b"}", b" "), (b"'shape'", b"'shap' "),
     (b"<f8", b"<x8"), (b"(2, 3), }  ", b"(2, 3), 1:2}"), (b"(2, 3)", b"(2, 3."), (b"v\0", b"v\1"),
     (b"NUMPY\1", b"NUMPY\7")],
)  # fmt: skip
def test_array_headers_that_say_nothing_are_refused(change, tmp_path):  # M12
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    content = (tmp_path / "a.npy").read_bytes()
    assert change[0] in content
    (tmp_path / "a.npy").write_bytes(content.replace(*change, 1))
    with pytest.raises(ValueError, match="not an array file"):
        ArrayFile.open(tmp_path / "a.npy")


def test_long_names_are_cut_in_messages(tmp_path):
    """A table may hold fields of any length; a line said all of it."""
    rows = [dataclasses.replace(row, id="x" * 200_000) for row in ROWS]
    with pytest.raises(ValueError, match="is not unique") as caught:
        fill(tmp_path / "twice", rows=rows)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    fill(tmp_path / "a")
    table = tmp_path / "a/train.csv"
    table.write_text(table.read_text().replace("id,", f"{'i' * 200_000},"))
    with pytest.raises(ValueError, match="no column id") as caught:
        Store([tmp_path / "a/train"])
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_store_of_codes_holds_whole_numbers_and_says_how_many_there_are(tmp_path):
    about = info(kind="codes", dtype="int32", row_shape=[2], codes=500)
    writer = StoreWriter.open(tmp_path, "train", ROWS, about)
    rows = [np.arange(2 * row.length, dtype=np.int32).reshape(-1, 2) for row in ROWS]
    for i, codes in enumerate(rows):
        writer.write(i, codes)
    assert writer.finish()
    store = Store([tmp_path / "train"], codes=True)
    assert store.info.codes == 500
    assert store[3].dtype == np.int32
    assert all(np.array_equal(store[i], codes) for i, codes in enumerate(rows))
    assert "codes" not in (fill(tmp_path / "frames") and (tmp_path / "frames/features.yaml").read_text())
    with pytest.raises(ValueError, match="train holds codes, expected frames: name the store"):
        Store([tmp_path / "train"])
    with pytest.raises(ValueError, match=r"train holds frames, expected codes: runner_mockingjay\.py --cluster"):
        Store([tmp_path / "frames/train"], codes=True)
    for wrong in ({"dtype": "int32"}, {"kind": "codes"}, {"codes": 5}, {"kind": "codes", "dtype": "int32"}):
        with pytest.raises(ValueError, match="codes are int32 and say how many there are"):
            info(**wrong)
