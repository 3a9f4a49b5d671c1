"""Steps on CUDA, traced on a CPU: nothing waits, every copy is hidden, types are as they should be. No GPU is needed.

Whole updates are traced on fake CUDA tensors, behind a device guard that g++ builds. What needs no guard stands below:
updates on the device "meta", where to read a value is an error, copies from pinned memory, and types on the CPU."""

import contextlib
import importlib
import json
import shutil

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.contract.test_device import Copies
from tests.helpers.cuda_guard import build_guard, run_behind_guard
from tests.helpers.cuda_steps import FAULTS, STEPS
from tests.helpers.fake_cuda import CUDA, Copy, Trace, cudnn_gru, fake_cuda
from tests.helpers.speech import write_store
from utility.device import sent
from utility.loader import Loader, LoaderConfig
from utility.store.reading import Store

NEEDS_GUARD = pytest.mark.skipif(
    shutil.which("g++") is None or torch.version.cuda is not None,
    reason="traces need g++, and PyTorch's build for CPUs: it gets a device guard for CUDA",
)
# Kernels of an update with a margin of a tenth: a step of few frames is as slow as the host starts them.
KERNELS = {
    "Base": 340,
    "Base, padded": 340,
    "Base, bf16 residual": 370,
    "Large": 940,
    "TERA": 360,
    "AALBERT": 530,
    "APC": 82,
    "Transformer-APC": 290,
    "Transformer-APC, padded": 290,
    "BEST-RQ": 910,
    "fine-tuning": 265,
}
ON_META = ("Base", "Large", "TERA", "AALBERT", "APC", "Transformer-APC")  # the others read once what they begin with


@pytest.fixture(scope="module")
def traces(tmp_path_factory) -> dict[str, Trace | str]:
    """The trace of each step and fault, or what was raised."""
    guard = build_guard(tmp_path_factory.mktemp("guard"))
    found = json.loads(run_behind_guard(guard, "tests.helpers.cuda_steps"))
    return {name: trace if isinstance(trace, str) else opened(trace) for name, trace in found.items()}


def opened(plain: dict) -> Trace:
    return Trace(plain["waits"], [Copy(**copy) for copy in plain["copies"]], plain["kernels"], plain["products"])


@pytest.mark.slow
@NEEDS_GUARD
@pytest.mark.parametrize("name", STEPS)
def test_a_step_waits_for_nothing_and_hides_its_copies(traces, name):
    trace = traces[name]
    assert isinstance(trace, Trace), trace  # a mixture of devices or types
    assert trace.waits == []
    assert trace.open_copies == []
    assert all(copy.to_device for copy in trace.copies)
    assert 1 <= len(trace.copies) <= 5
    kernels = sum(trace.kernels.values())
    print(f"{name}: {kernels} kernels, {len(trace.copies)} copies")
    assert KERNELS[name] * 0.7 < kernels <= KERNELS[name]


@pytest.mark.slow
@NEEDS_GUARD
@pytest.mark.parametrize("name", STEPS)
def test_products_are_bfloat16_and_grus_float32(traces, name):
    """autocast would make float16 of a GRU; the codes of BEST-RQ are chosen in float64."""
    trace = traces[name]
    assert isinstance(trace, Trace), trace
    expected = {operation: ["bfloat16"] for operation in trace.products}
    if name == "APC":
        expected["_cudnn_rnn"] = ["float32"]
    if name == "BEST-RQ":
        expected["mm"] = ["bfloat16", "float64"]
    assert trace.products == expected
    assert len(expected) >= 3


@pytest.mark.slow
@NEEDS_GUARD
def test_extraction_waits_only_where_a_batch_comes_and_goes(traces):
    """And once for the positions, which are made when the first batch says how many."""
    trace = traces["extraction"]
    assert isinstance(trace, Trace), trace
    assert {wait.partition(": ")[2] for wait in trace.waits} <= {"copy to the device", "copy from the device"}
    places = [wait.partition(":")[0] for wait in trace.waits]
    assert set(places) <= {"mockingjay/encoding.py", "mockingjay/representation.py", "mockingjay/model/transformer.py"}
    assert places.count("mockingjay/model/transformer.py") == 1
    assert sum(not copy.to_device for copy in trace.copies) == 5  # one of each batch
    assert set(map(tuple, trace.products.values())) == {("bfloat16",)}


@pytest.mark.slow
@NEEDS_GUARD
@pytest.mark.parametrize("fault", FAULTS)
def test_a_trace_names_what_is_wrong(traces, fault):
    trace = traces[fault]
    words = {
        "item": "_local_scalar_dense",
        "bool index": "index",
        "host operand": "add takes [3] of the host and of the device",
        "types": "mm takes bfloat16 and float32",
    }
    if fault in ("host operand", "types"):
        assert isinstance(trace, str)
        assert words[fault] in trace
        return
    assert isinstance(trace, Trace), trace
    where, _, what = trace.waits[0].partition(": ")
    assert where.startswith("tests/helpers/cuda_steps.py:")
    assert what == words.get(fault, "copy to the device")
    assert len(trace.open_copies) == (fault not in words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_META)
def test_an_update_waits_for_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr("torch.nn.utils.clip_grad._device_has_foreach_support", lambda device: True)
    adam = importlib.import_module("torch.optim.adam")
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    monkeypatch.setattr(nn.GRU, "forward", cudnn_gru)
    trainer = STEPS[name].trainer(tmp_path, torch.device("meta"))
    stream = trainer.training.loader.stream()
    trainer.update(stream)
    with Copies() as copies:
        trainer.update(stream)
    assert len(copies.waits) >= 2
    assert not any(copies.waits)
    assert trainer.progress.step == 2


@pytest.mark.slow
def test_what_goes_to_a_gpu_is_pinned(tmp_path):
    """A batch of the loader, and what is drawn or packed on the host."""
    with fake_cuda() as trace:
        loader = Loader(Store([write_store(tmp_path / "train", {"a": 9, "b": 7})]), LoaderConfig(workers=0))
        next(loader.stream(pin=True))[1].to(CUDA)
        with contextlib.suppress(RuntimeError):  # the device's bytes are cut into parts, which needs the guard
            sent([torch.ones(3), torch.arange(4)], CUDA)
    assert len(trace.copies) == 3
    assert trace.open_copies == []


class Products(TorchDispatchMode):
    """The types that matrices are multiplied in."""

    def __init__(self):
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.types |= {part.dtype for part in args}
        return function(*args, **(kwargs or {}))


@pytest.mark.slow
def test_under_bf16_all_linear_maps_are_bfloat16(tmp_path):
    """On the CPU, where autocast has the same rules for them."""
    trainer = STEPS["Base"].trainer(tmp_path, torch.device("cpu"))
    with Products() as products:
        trainer.update(trainer.training.loader.stream())
    assert products.types == {torch.bfloat16}
    assert {value.dtype for values in trainer.window.values() for value in values} == {torch.float32}
    assert {parameter.dtype for parameter in trainer.parameters} == {torch.float32}
