"""What the device and its software are, and what it can do at best: products and copies."""

import importlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.gpu.table import Figures, Measurement, Scale

IMPORTED = ("librosa", "soundfile", "soxr", "pydantic", "tensorboardX", "praatio", "numba", "pandas", "matplotlib",
            "safetensors", "sklearn", "triton")  # fmt: skip
LINEAR = {"query, key, value": (1, 3), "output": (1, 1), "expand": (1, 4), "contract": (4, 1)}  # widths of a block
WARM_UP = 3


def seconds_of(work: Callable[[], object], scale: Scale) -> float:
    """Median seconds of some turns, each waited for."""
    times = []
    for _ in range(WARM_UP + scale.rounds):
        scale.wait()
        start = time.perf_counter()
        work()
        scale.wait()
        times.append(time.perf_counter() - start)
    return median(times[WARM_UP:])


def facts(scale: Scale) -> Iterator[Measurement]:
    """The machine and what is installed."""

    def machine() -> Figures:
        found: Figures = {"Python": platform.python_version(), "PyTorch": torch.__version__, "NumPy": np.__version__}
        found["cores"] = str(len(os.sched_getaffinity(0)))
        if scale.gpu:
            device = torch.cuda.get_device_properties(scale.device)
            found |= {"GPU": device.name, "GiB": f"{device.total_memory / 2**30:.0f}"}
            found |= {"CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version())}
        return found

    def packages() -> Figures:
        return {name: _version(name) for name in IMPORTED}

    yield Measurement("machine", 1, machine)
    yield Measurement("packages", 5, packages)


def _version(name: str) -> str:
    try:
        return str(getattr(importlib.import_module(name), "__version__", "there"))
    except Exception as error:  # whatever it is, it is what we want to know
        return f"missing ({type(error).__name__})"


def products(scale: Scale) -> Iterator[Measurement]:
    """TFLOP/s of bf16 products: a large one, and those of a block of 768 on the way forward, and back to inputs and
    weights; and a copy in the device's memory."""

    def large() -> Figures:
        return {"TFLOP/s": large_product(scale)}

    def copy() -> Figures:
        source = torch.ones(scale.copied, dtype=torch.uint8, device=scale.device)
        target = torch.empty_like(source)
        return {"GB/s read + written": 2 * scale.copied / seconds_of(lambda: target.copy_(source), scale) / 1e9}

    def linear(rows: int, inputs: int, outputs: int) -> Figures:
        sizes = (rows, inputs), (inputs, outputs), (rows, outputs)
        x, weight, gradient = (torch.randn(size, device=scale.device).bfloat16() for size in sizes)
        ways = {"forward": lambda: x @ weight, "inputs": lambda: gradient @ weight.T, "weights": lambda: x.T @ gradient}
        return {f"{name} TFLOP/s": _rate(rows * inputs * outputs, way, scale) for name, way in ways.items()}

    yield Measurement(f"bf16 {scale.square}^3", 5, large)
    yield Measurement(f"copy of {scale.copied >> 20} MiB", 2, copy)
    for rows in scale.budgets:
        for name, widths in LINEAR.items():
            inputs, outputs = (scale.width * times for times in widths)
            what = f"{name}, {rows:,} x {inputs} x {outputs}"
            yield Measurement(what, 2, partial(linear, rows, inputs, outputs))


def large_product(scale: Scale) -> float:
    """TFLOP/s of a large bf16 product: what every step is measured by."""
    one, other = (torch.randn(scale.square, scale.square, device=scale.device).bfloat16() for _ in range(2))
    return _rate(scale.square**3, lambda: one @ other, scale)


def _rate(multiplications: int, product: Callable[[], object], scale: Scale) -> float:
    return 2 * multiplications / seconds_of(product, scale) / 1e12
