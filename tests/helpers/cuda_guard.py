"""A process that can go backward on fake CUDA tensors, by a device guard that g++ builds."""

import subprocess
import sys
from pathlib import Path

import torch

from tests.helpers.shared import PROJECT

SOURCE = Path(__file__).with_suffix(".cpp")


def build_guard(folder: Path) -> Path:
    """`cuda_guard.cpp` as a library in `folder`; needs g++."""
    root, built = Path(torch.__file__).parent, folder / "cuda_guard.so"
    includes = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
    linked = [f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{root / 'lib'}"]
    command = ["g++", "-O0", "-std=c++20", "-shared", "-fPIC", *includes, SOURCE, "-o", built, *linked]
    subprocess.run(command, check=True, capture_output=True)
    return built


def run_behind_guard(guard: Path, module: str) -> str:
    """What a program prints in a process that can go backward on fake CUDA tensors, and believes in a GPU."""
    first = "import ctypes, runpy, sys; ctypes.CDLL(sys.argv[1]); "  # before PyTorch asks which devices there are
    command = [sys.executable, "-c", f"{first} runpy.run_module({module!r}, run_name='__main__')", guard]
    return subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True).stdout
