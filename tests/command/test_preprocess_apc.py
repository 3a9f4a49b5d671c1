"""The originals' APC features as a store: `.blogmel` text and prepared `.pt` folders, sound and broken."""

import lzma
import os
import pickle
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import runner_mockingjay
from originals.mockingjay_api import get_apc_model
from preprocess.parts.apc_files import find_sources
from preprocess.preprocess_apc import main
from tests.conftest import PROJECT
from utility.store.reading import Store, splits_in

WIDTH = 6


def frames(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


FOUND = {"1988-24833-0001": frames(5, 0), "103-1240-0000": frames(9, 1), "84-121123-0002": frames(3, 2)}


def text(utterances: dict[str, np.ndarray]) -> str:
    lines = []
    for name, values in utterances.items():
        lines += [name, *(" ".join(f"{value:.9g}" for value in row) for row in values), "."]
    return "\n".join(lines) + "\n"


def tensors(folder: Path, utterances: dict[str, np.ndarray], padded: int = 12) -> Path:
    """As the originals' prepare_data.py leaves them."""
    folder.mkdir(parents=True)
    for name, values in utterances.items():
        whole = torch.zeros(padded, WIDTH)
        whole[: len(values)] = torch.from_numpy(values)
        torch.save(whole, folder / f"{name}.pt")
    lengths = {f"{name}.pt": len(values) for name, values in utterances.items()}
    (folder / "lengths.pkl").write_bytes(pickle.dumps(lengths))
    return folder


def imported(tmp_path: Path, *paths: Path) -> int:
    return main(["--data_path", *map(str, paths), "--output_path", str(tmp_path / "data"), "--name", "apc"])


def same(path: Path) -> Store:
    store = Store([path])
    assert store.ids == sorted(FOUND)
    assert store.speakers == ["103", "1988", "84"]
    for index, name in enumerate(store.ids):
        np.testing.assert_allclose(store[index], FOUND[name], rtol=1e-6)
    return store


@pytest.mark.parametrize("ending", [".blogmel", "-hires-norm.blogmel", "-hires-norm.blogmel.xz"])
def test_text(ending, tmp_path):
    path = tmp_path / f"train-clean-360{ending}"
    path.write_bytes(lzma.compress(text(FOUND).encode()) if ending.endswith("xz") else text(FOUND).encode())
    assert imported(tmp_path, path) == 0
    store = same(tmp_path / "data/apc/train-clean-360")
    assert (store.info.features, store.info.frame_shift, store.info.row_shape) == (None, 0.01, [WIDTH])


@pytest.mark.parametrize("ending", ["", "-hires-norm.blogmel", "-hires-norm-blogmel"])
def test_prepared_folder_loses_its_padding(ending, tmp_path):
    assert imported(tmp_path, tensors(tmp_path / f"dev-clean{ending}", FOUND)) == 0
    same(tmp_path / "data/apc/dev-clean")


def test_old_serialisation_of_tensors(tmp_path):
    folder = tensors(tmp_path / "dev", FOUND)
    for path in folder.glob("*.pt"):
        torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    assert imported(tmp_path, folder) == 0
    same(tmp_path / "data/apc/dev")


def test_folder_of_both_kinds_twice(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/train-clean-360-hires-norm.blogmel").write_text(text(FOUND))
    tensors(tmp_path / "in/dev-clean-hires-norm-blogmel", FOUND)
    (tmp_path / "in/notes.txt").write_text("mine")
    for _ in range(2):
        assert imported(tmp_path, tmp_path / "in") == 0
        assert "3 utterances, 17 frames of 6, 0 failed" in capsys.readouterr().out
        assert splits_in(tmp_path / "data/apc") == ["dev-clean", "train-clean-360"]
    words = ["--data_path", str(tmp_path / "in"), "--output_path", str(tmp_path), "--splits", "dev-clean"]
    assert main([*words, "--frame_shift", "0.0125", "--dtype", "float16"]) == 0
    assert Store([tmp_path / "apc_mel6/dev-clean"]).info.frame_shift == 0.0125
    assert splits_in(tmp_path / "apc_mel6") == ["dev-clean"]


def test_utterances_that_cannot_be_used_are_listed(tmp_path, capsys):
    folder = tensors(tmp_path / "dev", {**FOUND, "b": frames(2, 3), "c": frames(2, 4), "d": frames(2, 5)})
    (folder / "b.pt").unlink()
    (folder / "c.pt").write_bytes(b"no tensor")
    torch.save(torch.full((3, WIDTH), float("nan")), folder / "d.pt")
    lengths = pickle.loads((folder / "lengths.pkl").read_bytes()) | {"e.pt": 20, "f.pt": 0}
    torch.save(torch.zeros(12, WIDTH), folder / "e.pt")
    (folder / "lengths.pkl").write_bytes(pickle.dumps(lengths))
    assert imported(tmp_path, folder) == 1
    assert "5 not used" in capsys.readouterr().err
    listed = (tmp_path / "data/apc/errors.csv").read_text()
    for line in (
        "dev,b,file is missing",
        'dev,c,"not a tensor file, or damaged"',
        "dev,d,a value is not a finite float32",
        'dev,e,"12 frames, lengths.pkl says 20"',
        "dev,f,no frames",
    ):
        assert line in listed
    same(tmp_path / "data/apc/dev")


def test_lengths_that_no_file_can_hold_take_no_room(tmp_path):
    """The store got room for them first: gigabytes of holes, or "no space left" that named another file."""
    folder = tensors(tmp_path / "dev", FOUND)
    lengths = pickle.loads((folder / "lengths.pkl").read_bytes()) | {"x.pt": 10**9, "y.pt": 1 << 39}
    torch.save(torch.zeros(12, WIDTH), folder / "y.pt")
    (folder / "lengths.pkl").write_bytes(pickle.dumps(lengths))
    assert imported(tmp_path, folder) == 1
    listed = (tmp_path / "data/apc/errors.csv").read_text()
    assert "dev,x,lengths.pkl claims 1000000000 frames in 0 bytes" in listed
    assert "dev,y,lengths.pkl claims 549755813888 frames in " in listed
    assert (tmp_path / "data/apc/dev.npy").stat().st_size < 10_000
    same(tmp_path / "data/apc/dev")


def test_text_with_a_word_among_the_numbers(tmp_path):
    broken = text({"broken": frames(2, 0)}).replace(" ", " x", 1)
    (tmp_path / "dev.blogmel").write_text(text(FOUND) + broken)
    assert imported(tmp_path, tmp_path / "dev.blogmel") == 1
    assert 'dev,broken,"frames from line 25 on: could not convert' in (tmp_path / "data/apc/errors.csv").read_text()
    same(tmp_path / "data/apc/dev")


class Runs:
    def __reduce__(self):
        return os.mkdir, ("canary",)


BROKEN_TEXT = {
    "empty": ("", "no utterances"),
    "unended": ("a\n1 2\n1 2\n", "ends within utterance 'a'"),
    "narrow": ("a\n1 2\n1\n.\n", "line 3: 1 numbers, expected 2"),
    "twice": ("a\n1 2\n.\na\n1 2\n.\n", "line 4: utterance 'a' is there twice"),
    "headless": ("1 2\n1 2\n.\n", "line 1: '1 2', expected an utterance id"),
    "kaldi": ("a  [\n 1 2\n 1 2 ]\n", "line 1: 'a  [', expected an utterance id"),
}


@pytest.mark.parametrize("name", BROKEN_TEXT)
def test_broken_text_is_refused_with_its_line(name, tmp_path):
    content, message = BROKEN_TEXT[name]
    path = tmp_path / "dev.blogmel"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: .*{re.escape(message)}|{re.escape(message)}"):
        imported(tmp_path, path)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Runs()), r"not a table of lengths: it holds \w+\.mkdir"),
        (b"text", "not a table of lengths"),
        (b"", "not a table of lengths, or damaged"),
        (pickle.dumps([3]), "holds no table of lengths"),
        (pickle.dumps({"a.pt": "3"}), r"'a\.pt': '3', expected"),
        (pickle.dumps({"../a.pt": 3}), "'../a.pt': 3, expected"),
        (pickle.dumps({"a.pt": 3}), "none of the 1 files"),
    ],
)
def test_broken_lengths_are_refused_and_nothing_runs(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/lengths.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        imported(tmp_path, tmp_path / "dev")
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "data").exists()


def test_what_does_not_fit_together(tmp_path):
    (tmp_path / "dev.blogmel").write_text(text(FOUND))
    (tmp_path / "train.blogmel").write_text("a\n1 2\n.\n")
    (tmp_path / "x.blogmel.xz").write_bytes(b"no xz")
    (tmp_path / "in").mkdir()
    for paths, message in (
        (["dev.blogmel", "train.blogmel"], "has 2 numbers per frame, .* has 6"),
        (["dev.blogmel", str(tensors(tmp_path / "dev", FOUND))], "are both split 'dev'"),
        (["x.blogmel.xz"], "not an xz file, or cut off"),
        (["in"], "neither <split>-hires-norm.blogmel"),
        (["nowhere"], "no such file or folder"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            imported(tmp_path, *(tmp_path / path for path in paths))
    with pytest.raises(ValueError, match="no split test; there are dev"):
        main(["--data_path", str(tmp_path / "dev.blogmel"), "--splits", "test"])
    with pytest.raises(ValueError, match=r"frame_shift is 0\.0"):
        main(["--data_path", str(tmp_path / "dev.blogmel"), "--frame_shift", "0", "--output_path", str(tmp_path / "o")])


@pytest.mark.slow
def test_steps_connect_from_text_to_representations(tmp_path, monkeypatch):  # R19 and R21: they did not run
    """In the original prepare_data.py did not parse, and train_apc.py read other folders than it named."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/train-clean-360-hires-norm.blogmel").write_text(text(FOUND))
    Path("in/dev-clean-hires-norm.blogmel").write_text(text(FOUND))
    assert main(["--data_path", "in", "--output_path", "data", "--name", "apc"]) == 0
    data = ["data.train=[data/apc/train-clean-360]", "data.dev=[data/apc/dev-clean]"]
    small = ["gru.hidden_size=8", "gru.layers=2", "apc.time_shift=1", "trainer.steps=2", "trainer.eval_every=2"]
    config = ["--config", str(PROJECT / "config/apc_libri.yaml"), "--name", "apc"]
    runner_mockingjay.main(["--train", "--cpu", "--no-msg", *config, *data, *small])
    model = get_apc_model("result/result_mockingjay/apc/best.ckpt", device="cpu")
    prediction, feats = model.forward(FOUND["103-1240-0000"])
    assert (prediction.shape, feats.shape) == ((1, 9, WIDTH), (2, 1, 9, 8))


def test_tensors_that_are_no_frames_are_listed(tmp_path):  # L5
    """Sparse and meta tensors and parameters ended in tracebacks."""
    root, good = tmp_path / "dev", torch.rand(5, 3)
    root.mkdir()
    odd = {"good": good, "parameter": torch.nn.Parameter(good), "sparse": good.to_sparse(), "meta": good.to("meta")}
    for name, tensor in odd.items():
        torch.save(tensor, root / f"{name}.pt")
    (root / "lengths.pkl").write_bytes(pickle.dumps({f"{name}.pt": 5 for name in odd}))
    assert main([f"--data_path={root}", f"--output_path={tmp_path}"]) == 1
    store = Store([tmp_path / "apc_mel3/dev"])
    assert store.ids == ["good", "parameter"]
    np.testing.assert_array_equal(store[1], good.numpy())
    for length in (True, 10**400, -1):
        (root / "lengths.pkl").write_bytes(pickle.dumps({"good.pt": length}))
        with pytest.raises(ValueError, match=r"'good.pt': (True|a huge number|-1), expected"):
            main([f"--data_path={root}", f"--output_path={tmp_path}"])


@pytest.mark.parametrize("content", [b"0" * (64 << 20), b"u\n" + b"0\n" * (4 << 20)], ids=["line", "lines"])
def test_text_that_unpacks_to_anything_is_refused_before_it_fills_the_memory(content, tmp_path, monkeypatch):  # L11
    """1 GB of zeros in 150 kB took more than 2 GB."""
    monkeypatch.setattr("preprocess.parts.apc_files.LONGEST_UTTERANCE", 1 << 22)
    file = tmp_path / "dev.blogmel.xz"
    file.write_bytes(lzma.compress(content, preset=0))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="longer than any line, or utterance, of features"):
            find_sources([file])
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
