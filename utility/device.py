"""Which device a run computes on, and the settings of the process that make it fast."""

import ctypes
import os
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from utility.precision import Precision

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2  # glibc's malloc.h
FLOAT32_ERROR = 1e-6  # relative; more than that is no float32


def pick_device(cpu: bool) -> torch.device:
    """CUDA where there is one and `cpu` is not asked for; under torchrun each process of a machine takes its own."""
    if cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    local = os.environ.get("LOCAL_RANK")
    return torch.device("cuda") if local is None else torch.device("cuda", int(local))


def claim_device(cpu: bool, precision: Precision = "fp32") -> torch.device:
    """`pick_device` for a program of its own, which then owns the settings of its process: nothing below it makes any.

    On a CPU it keeps its memory and takes the fastest float32. On CUDA float32 products are exact for the `precision`
    fp32, and may be TF32 for any other."""
    device = pick_device(cpu)
    if device.type == "cpu":
        keep_memory()
        _take_fastest_float32()
    else:
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "fp32"  # of GRUs; PyTorch allows it by default
    return device


def sent(parts: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of the host on `device`, by one copy for which the host does not wait."""
    if device.type == "cpu":
        return list(parts)
    flat = packed(parts)
    return unpacked((flat.pin_memory() if device.type == "cuda" else flat).to(device, non_blocking=True), parts)


def packed(parts: Sequence[Tensor]) -> Tensor:
    """The bytes of all parts [N], those of the widest numbers first, so that every part is aligned."""
    return torch.cat([parts[i].flatten().view(torch.uint8) for i in _widest_first(parts)])


def unpacked(flat: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """Tensors like `parts` that share the memory of `flat`, their bytes."""
    found = [flat] * len(parts)
    begin = 0
    for i in _widest_first(parts):
        end = begin + parts[i].numel() * parts[i].element_size()
        found[i] = flat[begin:end].view(parts[i].dtype).view(parts[i].shape)
        begin = end
    return found


def _widest_first(parts: Sequence[Tensor]) -> list[int]:
    return sorted(range(len(parts)), key=lambda i: -parts[i].element_size())


def claim_core() -> None:
    """Settings of a program whose processes, one for each core, share a machine, and of those that it starts."""
    keep_memory()
    torch.set_num_threads(1)


def keep_memory() -> None:
    """Let glibc keep freed memory, in this process and those it forks: each step of a training or an extraction frees
    and takes the same again, and page faults cost more than what it does with it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 1 << 28)):
            mallopt(option, value)


def _take_fastest_float32() -> None:
    """Take oneDNN's matrix products where they are true float32: on some CPUs twice as fast, on others bfloat16."""
    torch.set_float32_matmul_precision("medium")
    if not exact_float32("cpu", "medium"):
        torch.set_float32_matmul_precision("highest")


@cache
def exact_float32(device: str, precision: str) -> bool:
    """Whether products of float32 matrices are float32 on a kind of device, while `precision` is PyTorch's for them."""
    if precision == "highest":
        return True
    one, other = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    exact = one.double() @ other.double()
    product = (one.to(device) @ other.to(device)).cpu()
    return float((product - exact).norm() / exact.norm()) <= FLOAT32_ERROR
