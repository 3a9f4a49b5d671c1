"""Memory does not follow the corpus: pre-training, extraction and probing over a store of 50 GB (a sparse file)."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.helpers.speech import sparse_store
from utility.audio.feature_config import FeatureConfig
from utility.labels.alignment import write_alignment

pytestmark = pytest.mark.slow

FRAMES, UTTERANCES = 8000, 10_000
LIMIT = 1200  # MiB at the peak, libraries and a small model included; about 350 of them are the libraries
PEAK = """
import importlib, re, sys
code = importlib.import_module(sys.argv[1]).main(sys.argv[2:])
print("peak", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
sys.exit(code)
"""
SMALL = ["model.hidden_size=16", "model.heads=2", "model.ffn_size=32", "model.layers=2", "trainer.precision=fp32"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here, which says how much memory a process had")
    root = tmp_path_factory.mktemp("large")
    mel = FeatureConfig(kind="mel")
    train = sparse_store(root / "data/train", np.full(UTTERANCES, FRAMES), mel)
    assert train.with_name("train.npy").stat().st_size > 50e9
    for part in ("dev", "test"):
        sparse_store(root / "data" / part, np.full(20, 200), mel)
    sizes = {"train": (UTTERANCES, FRAMES), "dev": (20, 200), "test": (20, 200)}
    write_alignment(
        root / "phones",
        (
            (f"{i % 50}-{part}-{i}", [(0.0, 1.0, "aa"), (1.0, frames * 0.0125, "sil")])
            for part, (count, frames) in sizes.items()
            for i in range(count)
        ),
    )
    return root


def peak(script: str, *words: object) -> int:
    """MiB that a script had at its peak."""
    command = [sys.executable, "-c", PEAK, script, "--cpu", "--no-msg", *map(str, words)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(re.search(r"^peak (\d+)$", done.stdout, re.MULTILINE)[1]) // 1024


def test_pretraining_and_extraction_of_50_gb_take_little_memory(world):
    data = [f"data.train=[{world}/data/train]", "data.dev=[]", *SMALL, "trainer.steps=4"]
    folders = ["--ckpdir", world, "--logdir", world / "log"]
    assert peak("runner_mockingjay", "--train", *folders, "--name", "run", *data) < LIMIT
    words = ["--ckpt", world / "run/mockingjay-4.ckpt", "--input", world / "data/train", "--output", world / "states"]
    assert peak("runner_mockingjay", "--extract", *words, "--dtype=float16", "--shard=1/1000") < LIMIT
    assert (world / "states/train.progress").read_bytes()[:UTTERANCES].count(1) == UTTERANCES // 1000


def test_probing_of_50_gb_takes_little_memory(world):
    data = [f"data.{part}=[{world}/data/{part}]" for part in ("train", "dev", "test")]
    places = ["--expdir", world, "--logdir", f"{world}/log"]
    words = ["--run", "phone_linear", "--upstream", "baseline", *places, f"data.alignment={world}/phones"]
    assert peak("run_downstream", *words, *data, "trainer.steps=4") < LIMIT
