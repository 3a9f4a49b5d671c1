"""Several processes train as one: the same losses, one of them writes, and a resume may have another number of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import PROJECT
from tests.speech import write_store
from utility.checkpoint import load_checkpoint
from utility.loader import Loader, LoaderConfig
from utility.logging import read_metrics
from utility.store import Store

STEPS = 12


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("several")
    train = write_store(root / "data" / "train", {f"s{i % 3}-{i}": 30 + 7 * i % 50 for i in range(19)})
    dev = write_store(root / "data" / "dev", {"s9-1": 60, "s9-2": 41}, seed=1)
    values = {
        "data": {"train": [str(train)], "dev": [str(dev)]},
        "loader": {"batch_frames": 200, "max_frames": 40},
        "model": {"layers": 2, "hidden_size": 24, "heads": 2, "ffn_size": 48},
        "trainer": {"steps": STEPS, "precision": "fp32", "log_every": 1, "eval_every": 6, "save_every": 6},
    }
    (root / "tiny.yaml").write_text(yaml.safe_dump(values))
    return root / "tiny.yaml"


def train(config: Path, name: str, processes: int, *words: str) -> None:
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["runner_mockingjay.py", "--train", "--config", str(config), "--name", name, "--no-msg", "--cpu"]
    command += ["--ckpdir", str(config.parent / "result"), "--logdir", str(config.parent / "log"), *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def records(config: Path, name: str) -> list[dict]:
    return [r for r in read_metrics(config.parent / "log" / name) if "loss" in r]


@pytest.fixture(scope="module")
def alone(config) -> list[dict]:
    train(config, "alone", 1, "trainer.accumulation=2")
    return records(config, "alone")


def same(found: list[dict], expected: list[dict]) -> None:
    assert [r["step"] for r in found] == [r["step"] for r in expected] == list(range(1, STEPS + 1))
    for mine, theirs in zip(found, expected):
        for key in ("loss", "grad_norm", "masked_share", "lr"):
            assert mine[key] == pytest.approx(theirs[key], abs=1e-5)


@pytest.fixture(scope="module")
def two(config) -> list[dict]:
    train(config, "two", 2)
    return records(config, "two")


def test_two_processes_have_the_losses_of_one_with_their_batches(config, alone, two):
    same(two, alone)
    folder = config.parent / "result"
    one, other = (load_checkpoint(folder / name / f"mockingjay-{STEPS}.ckpt", "pretrain") for name in ("alone", "two"))
    assert other["state"]["position"] == one["state"]["position"]
    for name, value in one["model"].items():
        torch.testing.assert_close(other["model"][name], value, atol=1e-5, rtol=1e-5)
    assert sorted(p.name for p in (folder / "two").iterdir()) == sorted(p.name for p in (folder / "alone").iterdir())


@pytest.mark.parametrize(("source", "processes"), [("two", 1), ("alone", 2)])
def test_a_run_is_resumed_by_another_number_of_processes(config, alone, two, source, processes):
    name = f"{source}_then_{processes}"
    for place in ("result", "log"):
        shutil.copytree(config.parent / place / source, config.parent / place / name)
    (config.parent / "result" / name / f"mockingjay-{STEPS}.ckpt").unlink()
    train(config, name, processes, "--resume", f"trainer.accumulation={2 // processes}")
    same(records(config, name), alone)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_across_the_ends_of_epochs(config, world):
    store = Store([config.parent / "data" / "train"])
    loader = Loader(store, LoaderConfig(batch_frames=130), seed=3)
    per_epoch = len(loader.epoch(0))
    assert per_epoch % world  # an uneven tail
    streams = [loader.stream(rank=rank, world=world) for rank in range(world)]
    taken, positions = [], []
    for _ in range(2 * per_epoch):
        turn = [next(stream) for stream in streams]
        assert len({position for position, _ in turn}) == 1
        positions.append(turn[0][0])
        taken += [batch.ids for _, batch in turn]
    plain = loader.stream()
    assert taken == [next(plain)[1].ids for _ in taken]
    again = loader.stream(positions[0], rank=1, world=world)
    assert next(again)[1].ids == taken[world + 1]
