"""The device of a run, and that what is set for speed costs no accuracy and keeps memory."""

import contextlib
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from commands.upstreams import _device
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model import gru
from mockingjay.model.gru import GruConfig, GruEncoder
from mockingjay.model.layout import Packing
from mockingjay.objectives.masking import MaskingConfig, alter
from mockingjay.pretraining.codes import CodePretraining
from tests.conftest import PROJECT
from tests.helpers.speech import write_store
from utility.audio.online import Online
from utility.audio.online_config import OnlineConfig
from utility.batches import Batch, Waveforms
from utility.config import build
from utility.device import claim_device, packed, pick_device, unpacked
from utility.loader import Loader, LoaderConfig
from utility.store.reading import Store

ALLOCATE = """
import resource, sys, torch
from utility.batches import Batch
from utility.config import build
from utility.device import claim_device
if sys.argv[1] == "claim":
    claim_device(cpu=True)
def step():
    return sum(float((torch.ones(40, 1 << 20) * 2)[0, 0]) for _ in range(2))
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

LOAD = """
import importlib, importlib.abc, os, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"))
sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
import torch
"""


def test_float32_stays_float32():
    assert claim_device(cpu=True).type == "cpu"
    one, other = torch.randn(2, 512, 512, dtype=torch.float64)
    found, exact = one.float() @ other.float(), one @ other
    assert float((found - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.slow
def test_a_claimed_process_keeps_its_memory():
    """Of some processes one: where the system happens to lay a library above the heap, that cannot grow in one
    piece."""
    pages = 4 * 40 * (1 << 22) // resource.getpagesize()
    kept = next((faults for _ in range(5) if (faults := page_faults("claim")) < pages // 100), pages)
    assert kept < pages // 100
    assert kept < page_faults("plain") // 10


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ALLOCATE, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_process_of_torchrun_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pick_device(cpu=False) == torch.device("cuda", 3)
    assert pick_device(cpu=True) == torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["runner_mockingjay", "run_downstream", "benchmarks.__main__"])
def test_idle_threads_of_openmp_are_told_to_give_way_before_it_is_loaded(program):
    command = [sys.executable, "-c", LOAD, program]
    for given, expected in (({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"} | given
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_fp32_is_float32_on_a_gpu_in_grus_too(monkeypatch, precision):
    """PyTorch lets cuDNN take TF32 by default."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    torch.backends.cudnn.allow_tf32 = precision == "fp32"
    assert claim_device(cpu=False, precision=precision).type == "cuda"
    assert torch.backends.cudnn.allow_tf32 == (precision != "fp32")
    assert torch.get_float32_matmul_precision() == ("highest" if precision == "fp32" else "high")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_extraction_on_a_gpu_takes_tf32_where_it_is_asked_for(monkeypatch, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    torch.set_float32_matmul_precision("highest" if precision == "tf32" else "high")
    assert _device(SimpleNamespace(cpu=False, precision=precision)).type == "cuda"
    assert torch.get_float32_matmul_precision() == ("high" if precision == "tf32" else "highest")


def test_grus_are_not_cast_where_autocast_would_take_float16(monkeypatch):
    encoder = GruEncoder(GruConfig(layers=2, hidden_size=16, prenet_layers=1), 12)
    x, lengths = torch.randn(3, 20, 12), torch.tensor([20, 7, 3])
    with torch.autocast("cpu", torch.bfloat16):
        cast = encoder(x, lengths)
        monkeypatch.setattr(gru, "NO_AUTOCAST", ("cuda", "cpu"))
        states = encoder(x, lengths)
    assert [state.dtype for state in cast[1:]] != [torch.float32] * 2  # what there is to prevent
    assert [state.dtype for state in states[1:]] == [torch.float32] * 2
    assert "cuda" in gru.NO_AUTOCAST
    expected, _ = encoder.rnns[0](states[0].float())
    assert torch.equal(states[1], expected + states[0])


class Copies(TorchDispatchMode):
    """Counts the copies from one device to another, and whether the host waits for them.

    An index from host memory into a tensor of a device is such a copy."""

    def __init__(self):
        super().__init__()
        self.waits: list[bool] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there, here = kwargs.get("device"), args[0].device if args and isinstance(args[0], torch.Tensor) else None
        if function is torch.ops.aten._to_copy.default and there is not None and there != here:
            self.waits.append(not kwargs.get("non_blocking", False))
        if function is torch.ops.aten.copy_.default and args[0].device != args[1].device and args[1].ndim:
            self.waits.append(len(args) < 3 or not args[2])
        if function in INDEXED and any(index is not None and index.device != here for index in args[1]):
            self.waits.append(True)
        return function(*args, **kwargs)


INDEXED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)
WAITING = {
    "index": lambda x: x[torch.tensor([1, 2])],
    "put": lambda x: x.__setitem__(torch.tensor([1, 2]), 0.0),
    "to": lambda x: torch.ones(3).to(x.device),
    "copy": lambda x: x.copy_(torch.ones(5)),
}


@pytest.mark.parametrize("way", WAITING)
def test_what_waits_is_seen(way):
    with Copies() as copies:
        WAITING[way](torch.zeros(5, device="meta"))
    assert True in copies.waits


ONLINE = {
    "mel": {"input": {"kind": "mel", "deltas": 2, "cmvn": "utterance"}},
    "target": {"input": {"kind": "mel", "deltas": 0}, "target": {"kind": "linear", "deltas": 0, "cmvn": "utterance"}},
    "noise": {"input": {"kind": "mfcc"}, "noise_proportion": 1.0, "noise_type": "gaussian", "snrs": [3, 9]},
    "kaldi": {"input": {"kind": "kaldi_mfcc", "cmvn": "utterance"}},
    "s3prl": {"input": {"kind": "s3prl_mel", "s3prl": {}, "deltas": 1, "cmvn": "utterance"}},
}


@pytest.mark.parametrize("kind", ONLINE)
def test_features_on_a_gpu_wait_for_nothing(kind, monkeypatch):
    """Index and length tensors of each batch did. To read a value on "meta" is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # there is none of "meta"
    online = Online(build(OnlineConfig, ONLINE[kind]), noisy=True)
    counts = torch.tensor([16000, 9000, 900])
    lengths = torch.tensor([online.config.input.num_frames(int(count)) for count in counts])
    batch = Waveforms(torch.zeros(3, 16000), counts, lengths, list("abc")).to(torch.device("meta"))
    online(batch, torch.Generator().manual_seed(0))  # constants of the device are made once
    made = torch.tensor

    def of_numbers(*values, device=None, **more):
        assert device is None, "a tensor made of numbers on a device is a copy for which the host waits"
        return made(*values, **more)

    monkeypatch.setattr(torch, "tensor", of_numbers)
    with Copies() as copies:
        features = online(batch, torch.Generator().manual_seed(0), multiple=8).features
    assert features.is_meta
    assert features.shape[1] % 8 == 0
    assert copies.waits
    assert not any(copies.waits)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_masks_are_sent_in_one_copy_for_which_nobody_waits(noise):
    """There were nine, and the host waited for each. The device "meta" stands for a GPU."""
    features, lengths = torch.zeros(4, 30, 6, device="meta"), torch.tensor([30, 20, 7, 3], device="meta")
    config = MaskingConfig(frequency=3, noise=noise)
    with Copies() as copies:
        alter(features, lengths, config, torch.Generator().manual_seed(1))
        Packing.of(torch.tensor([30, 20]), 30, torch.device("meta"))
    assert copies.waits == [False, False]


def test_what_is_sent_together_arrives_as_it_was():
    parts = [torch.randn(3, 5), torch.arange(7), torch.randn(2), torch.randn(4, 1, 3), torch.tensor([2**40])]
    found = unpacked(packed(parts).clone(), parts)
    for one, other in zip(found, parts, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_only_a_gpu_gets_pinned_batches(tmp_path, monkeypatch):
    """Under --cpu on a machine with a GPU every batch was pinned, which opens the GPU."""
    pinned = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    loader = Loader(Store([write_store(tmp_path / "train", {"a": 9, "b": 7})]), LoaderConfig(workers=1))
    next(loader.stream())
    list(loader.once())
    assert not pinned
    next(loader.stream(pin=True))
    assert pinned
    pinned.clear()
    list(loader.once(pin=True))
    assert pinned


@pytest.mark.parametrize("source", ["random_projection", "store"])
def test_a_step_on_codes_waits_for_nothing(source, monkeypatch):
    """Which frames are masked is known on the host. "meta" stands for a GPU: to read a value there is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    values = {
        "model": {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8, "dropout": 0.0, "attention_dropout": 0.0},
        "objective": "codes",
        "codes": {"source": source, "size": 9},
        "masking": {"fill": "learnt"},
    }
    config = build(PretrainConfig, values)
    device = torch.device("meta")
    objective = CodePretraining(new_model(config, 6, 6 if source == "random_projection" else 1, 0), config, device)
    codes = torch.zeros(4, 30, 1, dtype=torch.int32) if source == "store" else None
    batch = Batch(torch.zeros(4, 30, 6), torch.tensor([30, 20, 7, 3]), list("abcd"), codes).to(device)
    objective.step(batch, torch.Generator().manual_seed(0))  # position encodings are made once
    with Copies() as copies:
        found = objective.step(batch, torch.Generator().manual_seed(0))
        found["loss"].backward()
    assert copies.waits == [False, False]
    assert {value.device for value in found.values()} == {device}
