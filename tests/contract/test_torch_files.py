"""Every file of torch.save is opened by one guard: bytes that changed, bombs and other programs' objects are told, and
what stands for plain values is read as such."""

import argparse
import collections
import pathlib
import struct
import time
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

import runner_mockingjay
from mockingjay.checkpoint import load_pretrained
from preprocess.parts.apc_files import BrokenUtterance, TensorFolder
from tests.conftest import PROJECT
from tests.contract.test_house import sources
from tests.contract.test_legacy_hostile import old, pickled, saved, text, zipped
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.shared import FIXTURES
from utility import pickles
from utility.torch_files import read_torch
from utility.training.checkpoint import load_checkpoint, read_file, save_checkpoint

BOMB = zipped(b"\x80\x02" + text("a" * (20 << 20)) + b".", zipfile.ZIP_DEFLATED)
POLLUTES = (  # a state for a function, which the pickle machine would set as its attributes
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}" + text("__defaults__") + text("x") + b"\x85s\x86b."
)


def flipped(path: pathlib.Path, record: str, into: pathlib.Path) -> pathlib.Path:
    """A copy of a zip with one bit in the middle of a record changed."""
    with zipfile.ZipFile(path) as archive:
        item = next(item for item in archive.infolist() if item.filename.endswith(f"/{record}"))
    content = bytearray(path.read_bytes())
    names, extra = struct.unpack("<HH", content[item.header_offset + 26 : item.header_offset + 30])
    content[item.header_offset + 30 + names + extra + item.file_size // 2] ^= 4
    into.write_bytes(content)
    return into


@pytest.mark.parametrize("record", ["data/0", "data/3", "data.pkl", "version"])
@pytest.mark.parametrize("source", ["ours", "theirs"])
def test_one_bit_that_changed_is_found(source, record, fixtures_dir, tmp_path):
    whole = next(path for path in sorted(fixtures_dir.glob("*.ckpt")) if zipfile.is_zipfile(path))
    if source == "ours":
        whole = write_checkpoint(tmp_path / "whole.ckpt", model=TRANSFORMER)
    load_pretrained(whole)
    with pytest.raises(ValueError, match=rf"changed.ckpt: damaged checkpoint: the bytes of its record '{record}'"):
        load_pretrained(flipped(whole, record, tmp_path / "changed.ckpt"))


def test_a_probe_and_an_apc_tensor_that_changed_are_found(tmp_path):
    save_checkpoint(tmp_path / "probe.ckpt", "probe", {"model": {"w": torch.randn(50)}})
    with pytest.raises(ValueError, match="damaged checkpoint: the bytes of its record 'data/0'"):
        load_checkpoint(flipped(tmp_path / "probe.ckpt", "data/0", tmp_path / "changed.ckpt"), "probe")
    folder = tmp_path / "s-hires-norm.blogmel"
    folder.mkdir()
    (folder / "lengths.pkl").write_bytes(pickled({"a.pt": 3, "b.pt": 3, "c.pt": 3}))
    torch.save(torch.randn(3, 2), folder / "a.pt")
    flipped(folder / "a.pt", "data/0", folder / "b.pt")
    (folder / "c.pt").write_bytes(BOMB)
    given = dict(TensorFolder(folder).read(["a", "b", "c"]))
    assert given["a"].shape == (3, 2)
    assert isinstance(given["b"], BrokenUtterance)
    assert isinstance(given["c"], BrokenUtterance)


def test_a_damaged_newest_checkpoint_names_the_older_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = pathlib.Path("run")
    folder.mkdir()
    for step in (1, 2):
        write_checkpoint(folder / f"mockingjay-{step}.ckpt", model=TRANSFORMER, step=step)
    flipped(folder / "mockingjay-2.ckpt", "data/2", folder / "mockingjay-2.ckpt")
    expected = r"run/mockingjay-2.ckpt: damaged .*; remove it, and --resume goes on from run/mockingjay-1.ckpt$"
    with pytest.raises(ValueError, match=expected):
        runner_mockingjay.main(["--train", "--resume", "--cpu", "--ckpdir", ".", "--name", "run", "--logdir", "log"])
    (folder / "mockingjay-1.ckpt").unlink()
    with pytest.raises(ValueError, match=r"\(checksum\)$"):
        read_file(folder / "mockingjay-2.ckpt")


@pytest.mark.slow
def test_checking_costs_little(tmp_path):
    """100 MB: a small part of what any use of such a model costs."""
    save_checkpoint(tmp_path / "big.ckpt", "probe", {"model": {"w": torch.zeros(25_000_000)}})
    began = time.process_time()
    with zipfile.ZipFile(tmp_path / "big.ckpt") as archive:
        assert archive.testzip() is None
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("form", [zipped, old], ids=["zip", "old"])
def test_the_guard_is_not_changed_by_what_it_reads(form, tmp_path):
    stand_in = pickles.STAND_INS["torch._utils._rebuild_tensor_v2"]
    (tmp_path / "a.ckpt").write_bytes(form(POLLUTES))
    with pytest.raises(ValueError, match="sets attributes of what is no object"):
        read_file(tmp_path / "a.ckpt")
    assert stand_in.__defaults__ is None
    (tmp_path / "a.ckpt").write_bytes(form(b"\x80\x02}" + text("a") + b"K\x01sN}" + text("x") + b"K\x01s\x86b."))
    with pytest.raises(ValueError, match="sets attributes of what is no object"):
        read_file(tmp_path / "a.ckpt")


def test_probes_are_scanned_before_torch_sees_them(tmp_path):
    """A bomb is not unpacked, and torch's own words about a pickle do not come before ours."""
    path = tmp_path / "probe.ckpt"
    for content, said in (
        (BOMB, "its records are compressed"),
        (zipped(b"\x80\x04" + text("os") + text("system") + b"\x93" + text("x") + b"\x85R."), "os.system"),
        (zipped(b"\x80\x04}" + text("format") + text("mockingjay-1") + b"s."), "pickle protocol 4"),
    ):
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match=said):
                load_checkpoint(path, "probe")


def test_plain_values_of_other_types_are_read_as_such(tmp_path):
    defaults = collections.defaultdict(float, a=1.5)
    content = {
        "path": pathlib.PurePosixPath("/data/libri"),
        "here": pathlib.Path("x"),
        "windows": pathlib.PureWindowsPath("a\\b"),
        "device": torch.device("cuda", 1),
        "float64": np.float64(0.25),
        "float32": np.float32(0.5),
        "int64": np.int64(-7),
        "bool": np.bool_(True),
        "defaults": defaults,
        "arguments": argparse.Namespace(seed=np.int32(3), ckpt=pathlib.Path("y")),
        "state": OrderedDict(w=torch.ones(2)),
    }
    for zip_form in (True, False):
        (tmp_path / "a.ckpt").write_bytes(saved(content, zip_form))
        read = read_file(tmp_path / "a.ckpt")
        weights = read.pop("state")["w"]
        assert torch.equal(weights, torch.ones(2))
        assert read == {
            "path": "/data/libri",
            "here": "x",
            "windows": "a/b",
            "device": "cuda:1",
            "float64": 0.25,
            "float32": 0.5,
            "int64": -7,
            "bool": True,
            "defaults": {"a": 1.5},
            "arguments": {"seed": 3, "ckpt": "y"},
        }
        assert {type(value) for value in read.values()} == {str, float, int, bool, dict}


@pytest.mark.parametrize(
    "value",
    [np.array([1.0, 2.0]), np.datetime64("2020-01-01"), np.str_("x"), np.array([{}], dtype=object), b"bytes", {1, 2}],
    ids=["array", "date", "text", "objects", "bytes", "set"],
)
def test_other_values_are_refused_in_one_line(value, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(saved({"a": value}))
    with pytest.raises(ValueError, match="not a checkpoint of this project") as caught:
        read_file(tmp_path / "a.ckpt")
    assert "\n" not in str(caught.value)


def test_an_original_s_settings_may_hold_such_values(fixtures_dir, tmp_path):
    """As a file of the originals does that was saved by somebody else's script."""
    name = next(path for path in sorted(FIXTURES.glob("*.ckpt")) if zipfile.is_zipfile(path))
    with name.open("rb") as file:
        content = read_torch(file, name)
    content.pop("Optimizer")
    block = next(value for key, value in content["Settings"]["Config"].items() if key in ("transformer", "mockingjay"))
    block["hidden_dropout_prob"] = np.float64(0.125)
    content["Settings"]["Config"] = collections.defaultdict(dict, content["Settings"]["Config"])
    content["Settings"]["Paras"] = argparse.Namespace(seed=np.int64(9), device=torch.device("cpu"))
    torch.save(content, tmp_path / "a.ckpt")
    opened = load_pretrained(tmp_path / "a.ckpt")
    assert opened.seed == 9
    assert opened.config.model.dropout == 0.125


@pytest.mark.slow
def test_nothing_else_opens_such_files():
    found = [path.relative_to(PROJECT).as_posix() for path in sources() if "torch.load(" in path.read_text("utf-8")]
    assert found == ["utility/torch_files.py"]


def test_a_list_of_records_that_points_out_of_the_file_is_damage(tmp_path):
    """Python's zipfile sought to a negative place: "Invalid argument", which named no file."""
    path = tmp_path / "u.pt"
    torch.save({"x": torch.zeros(3)}, path)
    content = bytearray(path.read_bytes())
    del content[30:40]  # all offsets are 10 too large now; zipfile takes that for text in front of the archive
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(ValueError, match=f"^{path}: "):
        read_torch(file, path)
