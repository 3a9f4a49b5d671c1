"""Representations as a Kaldi archive: nothing is there twice, whenever a run was killed."""

import pkgutil
from dataclasses import replace
from pathlib import Path

import pytest

import runner_mockingjay
from mockingjay.representation import ExtractionOptions, represent_as_archive
from mockingjay.upstream import load_upstream
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.files import contents
from tests.helpers.speech import UNEVEN, wav, write_store
from utility.kaldi.archives import read_scp
from utility.store.reading import Store, splits_in


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("ckpt") / "mockingjay-1.ckpt", model=TRANSFORMER)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store([write_store(tmp_path_factory.mktemp("store") / "test", UNEVEN)])


@pytest.mark.parametrize("moment", ["rows", "archive", "index", "removal", "array"])
def test_an_archive_killed_at_any_moment_ends_with_the_same_bytes_and_no_store(
    ckpt, store, tmp_path, moment, monkeypatch
):
    """Everything was there twice, as a store and as an archive."""
    upstream, how = load_upstream("transformer", ckpt), ExtractionOptions(quiet=True, batch_frames=300)
    monkeypatch.chdir(tmp_path)
    (whole := tmp_path / "whole").mkdir()
    monkeypatch.chdir(whole)
    expected = represent_as_archive(upstream, store, "out", "test", how)
    assert sorted(expected.keys) == sorted(store.ids)
    assert expected.lengths.sum() == store.lengths.sum()
    assert {path.name for path in Path("out").iterdir()} == {"features.yaml", "test.ark", "test.scp"}

    (killed := tmp_path / "killed").mkdir()
    monkeypatch.chdir(killed)
    where, left = {
        "rows": ("mockingjay.representation.StoreWriter.write", 7),
        "archive": ("utility.kaldi.archives.pack", 7),
        "index": ("utility.kaldi.archives.sorted", 0),
        "removal": ("utility.store.files.SplitFiles.remove_rows", 0),
        "array": ("utility.store.files.SplitFiles.remove_helpers", 1),  # finishing the store is the first
    }[moment]
    kill_at(monkeypatch, where, left)
    with pytest.raises(KeyboardInterrupt):
        represent_as_archive(upstream, store, "out", "test", how)
    monkeypatch.undo()
    monkeypatch.chdir(killed)
    represent_as_archive(upstream, store, "out", "test", how)
    assert contents(killed) == contents(whole)
    with monkeypatch.context() as patch:
        kill_at(patch, "mockingjay.representation.StoreWriter.open", 0)
        represent_as_archive(upstream, store, "out", "test", how)  # what is there is not made again
    with pytest.raises(ValueError, match="precision is 'fp32' there, 'bf16' here; choose another --output"):
        represent_as_archive(upstream, store, "out", "test", replace(how, precision="bf16"))
    represent_as_archive(upstream, store, "out", "test", replace(how, precision="bf16", overwrite=True))
    assert Path("out/test.ark").read_bytes() != (whole / "out/test.ark").read_bytes()
    assert len(list(Path("out").iterdir())) == 3


def kill_at(monkeypatch, name: str, left: int) -> None:
    """Let a function end the process after so many calls."""
    target, _, attribute = name.rpartition(".")
    owner = pkgutil.resolve_name(target)
    original, calls = getattr(owner, attribute, sorted), iter(range(left))

    def dying(*args, **options):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(owner, attribute, dying, raising=False)


def test_what_no_archive_can_hold_is_refused_before_any_work(ckpt, tmp_path):
    odd = Store([write_store(tmp_path / "odd" / "test", {"a b-1": 9})])
    with pytest.raises(ValueError, match="utterance 'a b-1' has no place in an archive: a key needs letters"):
        represent_as_archive(load_upstream("transformer", ckpt), odd, tmp_path / "out", "test", ExtractionOptions())
    assert not (tmp_path / "out").exists()
    words = [
        "--extract",
        "--cpu",
        "--ckpt",
        str(ckpt),
        "--input",
        str(odd.paths[0]),
        "--format",
        "ark",
        "--shard",
        "1/2",
    ]
    with pytest.raises(ValueError, match="--format ark is written by one process"):
        runner_mockingjay.main(words)


@pytest.mark.parametrize("output", ["|touch CANARY;", "a,b", "a b", "touch CANARY |"])
def test_the_name_of_an_output_is_a_name_and_no_command(ckpt, store, tmp_path, output, monkeypatch):  # M11
    """kaldiio ran what begins with | as a command, and split names at commas."""
    monkeypatch.chdir(tmp_path)
    words = ["--extract", "--cpu", "--no-msg", "--ckpt", str(ckpt), "--input", str(store.paths[0])]
    assert not runner_mockingjay.main([*words, "--output", output, "--format", "ark"])
    assert [path.name for path in tmp_path.iterdir()] == [output]
    written = read_scp(tmp_path / output / "test.scp")
    assert sorted(written.keys) == sorted(store.ids)
    assert written[store.ids[0]].shape == (store.lengths[0], TRANSFORMER["hidden_size"])


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("my recordings", "my_recordings"),
        ('a, b\'s "c"', "a_b_s_c_"),
        ("cafe\u0301", "caf\u00e9"),
        ("errors", "errors_"),
    ],
)
def test_folders_of_any_name_are_extracted(ckpt, tmp_path, folder, split, monkeypatch):  # L6
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        wav(tmp_path / folder / f"{i}.wav", 8000, i)
    words = ["--extract", "--cpu", "--no-msg", "--ckpt", str(ckpt), "--output", "out"]
    assert not runner_mockingjay.main([*words, "--input", folder])
    assert splits_in("out") == [split]
    assert Store([f"out/{split}"]).ids == ["0", "1"]
    monkeypatch.chdir(tmp_path / folder)
    assert not runner_mockingjay.main([*words[:-1], "../here", "--input", "."])
    assert splits_in("../here") == [split]
