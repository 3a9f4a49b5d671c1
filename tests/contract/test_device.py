"""The device of a run, and that what is set for speed costs no accuracy and keeps memory."""

import os
import resource
import subprocess
import sys

import pytest
import torch

from tests.conftest import PROJECT
from utility.device import claim_device, pick_device

ALLOCATE = """
import resource, sys, torch
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


@pytest.fixture(autouse=True)
def precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_float32_stays_float32():
    assert claim_device(cpu=True).type == "cpu"
    one, other = torch.randn(2, 512, 512, dtype=torch.float64)
    found, exact = one.float() @ other.float(), one @ other
    assert float((found - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.slow
def test_a_claimed_process_keeps_its_memory():
    faults = [
        int(subprocess.run([sys.executable, "-c", ALLOCATE, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "claim")
    ]
    pages = 4 * 40 * (1 << 22) // resource.getpagesize()
    assert faults[1] < pages // 100
    assert faults[1] < faults[0] // 10


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
