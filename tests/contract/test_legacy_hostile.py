"""Hostile checkpoints: each is refused with one line, nothing of it runs, and no memory is taken for what it claims."""

import argparse
import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

import runner_mockingjay
from mockingjay.checkpoint import load_pretrained
from tests.conftest import PROJECT
from tests.helpers.legacy_fixture import APC, NEW, OLD, SHORT, plain
from tests.helpers.speech import write_store
from utility.audio.feature_config import FeatureConfig
from utility.torch_files import FORM, MAGIC

CANARY = "canary"
COMMAND = f"touch {CANARY}"


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self):
        return (self.function, self.arguments) if self.state is None else (self.function, self.arguments, self.state)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def zipped(stream: bytes, method=zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """The zip form that torch writes, around a pickle made by hand."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("archive/data.pkl", stream)
        archive.writestr("archive/version", b"3\n")
        for name, value in records.items():
            archive.writestr(f"archive/{name.replace('__', '/')}", value)
    return out.getvalue()


def old(stream: bytes, keys=()) -> bytes:
    """The form that torch wrote before 1.6."""
    start = [pickle.dumps(part, 2) for part in (MAGIC, FORM, {"little_endian": True})]
    return b"".join([*start, stream, pickle.dumps(list(keys), 2)])


def saved(content, zip_form=True) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=zip_form)
    return out.getvalue()


def pickled(value) -> bytes:
    return pickle.dumps(value, 2)


def stored(count: int, size: tuple, stride: tuple, offset=0, kind="FloatStorage") -> bytes:
    """The pickle of {"w": tensor} over one storage of `count` numbers."""

    def numbers(values):
        return b"(" + b"".join(pickle.dumps(v, 2)[2:-1] for v in values) + b"t"

    storage = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text("0") + text("cpu")
    storage += pickle.dumps(count, 2)[2:-1] + b"tQ"
    offset = pickle.dumps(offset, 2)[2:-1]
    arguments = b"(" + storage + offset + numbers(size) + numbers(stride) + b"\x89" + b"ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


def good(fixtures, name=None):
    """The content of a fixture, if not named a plain one, with the originals' own types for what is not plain."""
    name = name or plain()
    schedules = [(Schedule, f"{place}.optimization.WarmupLinearSchedule") for place in ("transformer", "mockingjay")]
    with torch.serialization.safe_globals([*schedules, argparse.Namespace]):
        return torch.load(fixtures / f"{name}.ckpt", weights_only=True)


class Schedule:
    pass


def without_schedule(content):
    for group in content["Optimizer"]["param_groups"]:
        group.pop("schedule")
    return content


def changed(fixtures, change, name=None):
    content = without_schedule(good(fixtures, name))
    change(content)
    return saved(content)


def put(path, value):
    """A change of a nested key, as "Settings/Config/transformer/hidden_size"; a value of `put` deletes it."""

    def change(content):
        *places, key = path.split("|")
        for place in places:
            content = content[place]
        if value is put:
            del content[key]
        else:
            content[key] = value

    return change


def cyclic(content):
    content["Settings"]["Config"]["again"] = content["Settings"]


RUNNING = {  # name: (pickle, what the message names)
    "REDUCE of os.system": (pickled({"Transformer": Calls(os.system, COMMAND)}), "posix.system"),
    "REDUCE of eval": (pickled([Calls(eval, f"__import__('os').system('{COMMAND}')")]), "eval"),
    "REDUCE of exec": (pickled(Calls(exec, f"import os; os.system('{COMMAND}')")), "exec"),
    "REDUCE of subprocess": (pickled(Calls(subprocess.check_call, ["touch", CANARY])), "check_call"),
    "INST": (b"\x80\x02(" + text(COMMAND) + b"ios\nsystem\n.", "os.system"),
    "OBJ": (b"\x80\x02(cos\nsystem\n" + text(COMMAND) + b"o.", "os.system"),
    "NEWOBJ": (b"\x80\x02csubprocess\nPopen\n" + text(COMMAND) + b"\x85\x81.", "subprocess.Popen"),
    "STACK_GLOBAL": (b"\x80\x04" + text("os") + text("system") + b"\x93" + text(COMMAND) + b"\x85R.", "os.system"),
    "EXT": (b"\x80\x02\x82\x01)R.", "damaged"),
    "getattr": (b"\x80\x02c__builtin__\ngetattr\n.", "getattr"),
    "attribute of an allowed module": (b"\x80\x02ctorch\nload\n" + text("x") + b"\x85R.", "torch.load"),
    "numpy object array": (pickled(np.array([Calls(os.system, COMMAND)], dtype=object)), "numpy"),
    "bytearray of a terabyte": (b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.", "bytearray"),
    "BUILD with __setstate__": (
        b"\x80\x02cargparse\nNamespace\n)\x81}" + text("__setstate__") + b"cos\nsystem\nsb" + text(COMMAND) + b"b.",
        "os.system",
    ),
    "BUILD of a dict": (b"\x80\x02ccollections\nOrderedDict\n)R}" + text("items") + b"cos\nsystem\nsb.", "os.system"),
    "within Settings": (
        pickled({"Transformer": {}, "Settings": {"Config": {"timer": Calls(os.system, COMMAND)}, "Paras": None}}),
        "posix.system",
    ),
    "another module's WarmupLinearSchedule": (
        b"\x80\x02cevil.optimization\nWarmupLinearSchedule\n)\x81.",
        "evil.optimization.WarmupLinearSchedule",
    ),
    "deep names": (b"\x80\x04" + text("argparse") + text("Namespace.__init__.__globals__") + b"\x93.", "__globals__"),
}
CLAIMS = {
    "a record shorter than its storage": zipped(stored(1 << 34, (4,), (1,)), data__0=bytes(16)),
    "a tensor larger than its storage": zipped(stored(4, (1 << 34,), (1,)), data__0=bytes(16)),
    "one number expanded": zipped(stored(1, (1 << 34,), (0,)), data__0=bytes(4)),
    "a tensor beyond its storage": zipped(stored(4, (2,), (1,), offset=3), data__0=bytes(16)),
    "negative sizes": zipped(stored(4, (-2, -2), (1, 1)), data__0=bytes(16)),
    "an unknown storage": zipped(stored(4, (4,), (1,), kind="QInt32Storage"), data__0=bytes(16)),
    "a missing record": zipped(stored(4, (4,), (1,))),
    "old form": old(stored(1 << 34, (4,), (1,)), ["0"]) + struct.pack("<q", 1 << 34) + bytes(16),
    "old form, larger tensor": old(stored(4, (1 << 34,), (1,)), ["0"]) + struct.pack("<q", 4) + bytes(16),
    "old form, text of 4 GB": old(b"\x80\x02X\xff\xff\xff\xff."),
    "a memo of 16 GB": zipped(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "zip bomb": zipped(b"\x80\x02" + text("a" * (50 << 20)) + b".", zipfile.ZIP_DEFLATED),
    "nested tuples as a key": zipped(b"\x80\x02N" + b"2\x86" * 60 + b"q\x000}h\0Ns."),
    "nested lists": zipped(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),
}
SETTINGS = "Settings|Config"
CONTENTS = {
    "no Settings": (put("Settings", put), "no config"),
    "Settings that are text": (put("Settings", "x"), "Settings"),
    "no model block": (put(f"{SETTINGS}|transformer", put), "num_hidden_layers"),
    "text for a number": (put(f"{SETTINGS}|transformer|hidden_size", "forty"), "transformer.hidden_size"),
    "a list for a number": (put(f"{SETTINGS}|transformer|num_hidden_layers", [2]), "transformer.num_hidden_layers"),
    "infinite dropout": (put(f"{SETTINGS}|transformer|hidden_dropout_prob", "inf"), "hidden_dropout_prob"),
    "huge hidden_size": (put(f"{SETTINGS}|transformer|hidden_size", 4 << 40), "model.hidden_size"),
    "large intermediate_size": (put(f"{SETTINGS}|transformer|intermediate_size", 1 << 19), "intermediate.dense"),
    "larger hidden_size": (put(f"{SETTINGS}|transformer|hidden_size", 96), "spec_transform.weight"),
    "huge intermediate_size": (put(f"{SETTINGS}|transformer|intermediate_size", 1 << 50), "model.ffn_size"),
    "ten million layers": (put(f"{SETTINGS}|transformer|num_hidden_layers", 10**7), "model.layers"),
    "huge pruned range": (put(f"{SETTINGS}|transformer|prune_headids", "0-999999999999"), "prune_headids"),
    "other epsilon": (put(f"{SETTINGS}|transformer|layer_norm_eps", "1e-5"), "layer_norm_eps"),
    "no multiple of the rate": (put(f"{SETTINGS}|transformer|downsample_rate", 7), "downsample_rate 7"),
    "missing tensor": (put("Transformer|encoder.layer.1.output.dense.bias", put), "encoder.layer.1.output.dense.bias"),
    "extra tensor": (put("Transformer|encoder.more", torch.zeros(1)), "encoder.more"),
    "wrong shape": (put("SpecHead|dense.weight", torch.zeros(48, 47)), "dense.weight"),
    "one more axis": (put("Transformer|encoder.layer.0.attention.self.key.weight", torch.zeros(1, 48, 48)), "self.key"),
    "numbers in place of rows": (
        put("Transformer|encoder.layer.0.attention.self.key.bias", torch.zeros(())),
        "self.key",
    ),
    "a name of 5,000 letters": (put("Transformer|" + "x" * 5000, torch.zeros(1)), "is not part"),
    "wrong dtype": (put("Transformer|encoder.layer.0.output.dense.bias", torch.zeros(48, dtype=torch.int64)), "int64"),
    "text for a tensor": (put("Transformer|encoder.layer.0.output.dense.bias", "x"), "output.dense.bias"),
    "encoder that is a list": (put("Transformer", [1]), "Transformer"),
    "gamma beside weight": (put("Transformer|input_representations.LayerNorm.gamma", torch.zeros(48)), "gamma"),
    "optimiser of another model": (put("Optimizer|param_groups", []), "counts 0 tensors"),
    "optimiser state of wrong shape": (
        lambda content: content["Optimizer"]["state"][0].update(next_m=torch.zeros(2, 2)),
        "next_m",
    ),
    "updates done as a list": (
        lambda content: content["Optimizer"]["state"][0].update(step=[1]),
        "do not agree on the updates done",
    ),
    "step that is text": (put("Global_step", "7"), "step"),
    "contains itself": (cyclic, "damaged"),
}


def refused(path, *parts):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, OSError)) as caught:
        load_pretrained(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    for part in parts:
        assert part in message, message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
    assert not os.path.lexists(CANARY)


@pytest.mark.parametrize("form", [zipped, old], ids=["zip", "old"])
@pytest.mark.parametrize("name", RUNNING)
def test_code_is_named_and_not_run(name, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream, named = RUNNING[name]
    path = tmp_path / "old.ckpt"
    path.write_bytes(form(stream))
    refused(path, named)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_claims_are_checked_before_memory_is_taken(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "old.ckpt"
    path.write_bytes(CLAIMS[name])
    refused(path, "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENTS)
def test_content_that_is_no_such_model(name, fixtures_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, named = CONTENTS[name]
    path = tmp_path / "old.ckpt"
    path.write_bytes(changed(fixtures_dir, change))
    refused(path, named)


@pytest.mark.parametrize("flag", ["share_layer", "pre_layer_norm"])
def test_aliases_that_differ(flag, fixtures_dir, tmp_path):
    name = next(name for name in NEW if good(fixtures_dir, name)["Settings"]["Config"]["transformer"].get(flag))
    key = {"share_layer": "encoder.layer.1.output.dense.bias", "pre_layer_norm": "encoder.layer.0.LayerNorm.weight"}[
        flag
    ]
    path = tmp_path / "old.ckpt"
    path.write_bytes(changed(fixtures_dir, lambda c: c["Transformer"].update({key: torch.ones(48)}), name))
    refused(path, key, "differ")


OLD_FORM = f"{[*OLD, *SHORT][0]}.ckpt"


@pytest.mark.parametrize("name", [f"{NEW[0]}.ckpt", OLD_FORM, f"{APC[0]}.pt"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_cut_off(name, share, fixtures_dir, tmp_path):
    whole = (fixtures_dir / name).read_bytes()
    path = tmp_path / "old.ckpt"
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "damaged")


def test_bytes_changed(fixtures_dir, tmp_path):
    """Wherever bytes of the pickle are changed, the file opens or is refused with a ValueError."""
    whole = bytearray((fixtures_dir / OLD_FORM).read_bytes())
    generator, path = np.random.default_rng(0), tmp_path / "old.ckpt"
    refusals = 0
    for _ in range(60):
        broken = bytearray(whole)
        for place in generator.integers(0, 12_000, 3):
            broken[place] = generator.integers(256)
        path.write_bytes(broken)
        try:
            load_pretrained(path)
        except ValueError:
            refusals += 1
    assert refusals > 20


@pytest.mark.parametrize(("key", "value"), [("max_grad_norm", 5.0), ("e", 1e-4)])
def test_an_optimiser_that_computed_otherwise_is_not_continued(key, value, fixtures_dir, tmp_path):
    path, store = (
        tmp_path / "old.ckpt",
        write_store(tmp_path / "data" / "train", {"a-1": 60}, FeatureConfig(kind="fbank")),
    )
    words = ["--train", "--load", "--cpu", "--no-msg", "--ckpt", str(path), "--ckpdir", str(tmp_path)]
    path.write_bytes(
        changed(fixtures_dir, lambda content: content["Optimizer"]["param_groups"][0].update({key: value}))
    )
    with pytest.raises(
        ValueError, match=r"cannot go on from it: its optimiser was not left at e 1e-06 and max_grad_norm"
    ):
        runner_mockingjay.main([*words, "--logdir", str(tmp_path / "log"), f"data.train=[{store}]"])


def test_other_things_that_torch_saves(tmp_path):
    path = tmp_path / "old.ckpt"
    for content, named in [
        (torch.zeros(2), "Tensor"),
        ([1, 2], "list"),
        ({}, "nothing"),
        ({1: 2}, "1"),
        ({"Transformer": torch.zeros(2, device="meta")}, "_rebuild_meta_tensor_no_storage"),
        ({"Transformer": torch.eye(2).to_sparse()}, "_rebuild_sparse_tensor"),
        (OrderedDict({"rnns.0.weight_ih_l0": torch.zeros(3, 2)}), "missing"),
    ]:
        path.write_bytes(saved(content))
        refused(path, named)
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    refused(path, "TorchScript")
    path.write_bytes(b"hello\n" * 100)
    refused(path, "not a checkpoint")
    np.save(tmp_path / "array.npy", np.array([{}], dtype=object))
    refused(tmp_path / "array.npy", "not a checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["--train --load --ckpt", "--info"])
def test_the_runner_ends_with_one_line_and_exit_code_2(mode, tmp_path):
    path = tmp_path / "old.ckpt"
    path.write_bytes(saved({"Transformer": Calls(os.system, COMMAND)}, zip_form=False))
    words = [sys.executable, PROJECT / "runner_mockingjay.py", *mode.split(), path]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "posix.system" in done.stderr
    assert not (tmp_path / CANARY).exists()
