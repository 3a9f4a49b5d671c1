"""Several processes train as one: the same losses, one of them writes, and a resume may have another number of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tests.campaign.zygote import Zygote
from tests.conftest import PROJECT
from tests.contract.test_locks import holder
from tests.contract.test_trainer import words_of
from tests.helpers.downstream_corpus import Small
from tests.helpers.faulty_rank import SHORT
from tests.helpers.several import End, environment, ranks_of
from tests.helpers.speech import write_store
from utility.loader import Loader, LoaderConfig
from utility.store.reading import Store
from utility.training.checkpoint import load_checkpoint
from utility.training.log import read_metrics

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


def train(warm: Zygote, config: Path, name: str, processes: int, *words: str) -> None:
    for end in ranks_of(warm, processes, "runner_mockingjay.py", *words_of(config, name, *words)):
        assert end.code == 0, end.stderr


def records(config: Path, name: str) -> list[dict]:
    return [r for r in read_metrics(config.parent / "log" / name) if "loss" in r]


@pytest.fixture(scope="module")
def alone(warm, config) -> list[dict]:
    train(warm, config, "alone", 1, "trainer.accumulation=2")
    return records(config, "alone")


def same(found: list[dict], expected: list[dict]) -> None:
    assert [r["step"] for r in found] == [r["step"] for r in expected] == list(range(1, STEPS + 1))
    for mine, theirs in zip(found, expected):
        for key in ("loss", "grad_norm", "masked_share"):
            assert mine[key] == pytest.approx(theirs[key], abs=1e-5)
            assert mine[key] > 1e-3
        assert mine["lr"] == pytest.approx(theirs["lr"], rel=1e-6)


@pytest.fixture(scope="module")
def two(config) -> list[dict]:
    """By torchrun itself."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launcher, "runner_mockingjay.py", *words_of(config, "two")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return records(config, "two")


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_their_batches(config, alone, two):
    same(two, alone)
    folder = config.parent / "result"
    one, other = (load_checkpoint(folder / name / f"mockingjay-{STEPS}.ckpt", "pretrain") for name in ("alone", "two"))
    assert other["state"]["position"] == one["state"]["position"]
    for name, value in one["model"].items():
        torch.testing.assert_close(other["model"][name], value, atol=1e-5, rtol=1e-5)
    assert sorted(p.name for p in (folder / "two").iterdir()) == sorted(p.name for p in (folder / "alone").iterdir())


@pytest.mark.slow
def test_gradients_sent_while_backward_runs_train_the_same(warm, config, alone):
    train(warm, config, "overlap", 2, "trainer.reduce_overlap=true")
    same(records(config, "overlap"), alone)


@pytest.mark.slow
@pytest.mark.parametrize(("source", "processes"), [("two", 1), ("alone", 2)])
def test_a_run_is_resumed_by_another_number_of_processes(warm, config, alone, two, source, processes):
    name = f"{source}_then_{processes}"
    for place in ("result", "log"):
        shutil.copytree(config.parent / place / source, config.parent / place / name)
    (config.parent / "result" / name / f"mockingjay-{STEPS}.ckpt").unlink()
    train(warm, config, name, processes, "--resume", f"trainer.accumulation={2 // processes}")
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


def faulty(warm: Zygote, config: Path, how: str, name: str, *words: str) -> list[tuple[int, str]]:
    """Exit code and standard error of two processes of one run, in which something is as `how` says."""
    ends = ranks_of(warm, 2, "tests/helpers/faulty_rank.py", how, *words_of(config, name, *words))
    return [(end.code, end.stderr) for end in ends]


def faulty_from_cold(config: Path, how: str, name: str, *words: str) -> list[tuple[int, str]]:
    """The same of processes that begin and end as Python does, not forked."""
    command = [sys.executable, "-m", "tests.helpers.faulty_rank", how, *words_of(config, name, *words)]
    shared = os.environ | environment(2)
    processes = [
        subprocess.Popen(command, cwd=PROJECT, env=shared | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=200)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, error) for process, error in zip(processes, errors)]


@pytest.mark.slow
def test_a_sigterm_to_one_process_ends_all_at_the_same_step_and_they_go_on_from_one_checkpoint(warm, config):
    ends = faulty_from_cold(config, "told", "group", "--resume", "auto")
    assert [code for code, _ in ends] == [143, 143]
    assert "step 5 is saved" in ends[0][1]
    assert "step" not in ends[1][1]
    assert not any("gloo" in error for _, error in ends)
    folder = config.parent / "result" / "group"
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "mockingjay-5.ckpt"]
    ends = faulty(warm, config, "disagree", "group", "--resume", "auto")
    assert ends == [(0, ""), (0, "")]
    assert len(records(config, "group")) == STEPS


@pytest.mark.slow
def test_processes_that_read_different_checkpoints_are_refused(warm, config, two):
    for place in ("result", "log"):
        shutil.copytree(config.parent / place / "two", config.parent / place / "stale")
    ends = faulty(warm, config, "stale", "stale", "--resume")
    assert [code for code, _ in ends] == [2, 2]
    assert "do not see the same checkpoint" in ends[0][1]
    assert not any("gloo" in error for _, error in ends)


@pytest.mark.slow
def test_a_group_whose_folder_another_run_holds_ends_as_one(warm, config):
    process, _ = holder(config.parent / "result" / "twice")
    try:
        ends = faulty(warm, config, "none", "twice")
    finally:
        process.kill()
        process.wait()
    assert [code for code, _ in ends] == [2, 2]
    assert f"process {process.pid} on" in ends[0][1]
    assert not ends[1][1].count("process")
    assert not any("gloo" in error for _, error in ends)


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("trainer.reduce_overlap=true", "trainer.reduce_dtype=bf16")])
def test_a_process_that_hangs_is_noticed_and_one_that_evaluates_is_waited_for(warm, config, words):
    name = f"hangs{len(words)}"
    ends = faulty(warm, config, "hangs", name, *words)
    assert [code for code, _ in ends] == [2, 2], ends
    waited, ended = (error.strip().splitlines()[-1] for _, error in ends)
    assert f"rank 0 of 2 has waited {SHORT} s for the gradients of the others: the rank that does not say" in waited
    assert "rank 1 of 2 waits for the gradients of the others, but another rank has ended" in ended
    assert [r["step"] for r in records(config, name)] == list(range(1, 9))
    assert (config.parent / "result" / name / "mockingjay-6.ckpt").is_file()


def probe(warm: Zygote, small: Small, name: str, processes: int, *words: str) -> list[End]:
    words = small.words(
        "--run", "phone_linear", "--upstream", "tests.helpers.downstream_corpus:Doubling", "--name", name, *words
    )
    return ranks_of(warm, processes, "run_downstream.py", *words)


@pytest.mark.slow
def test_fine_tuning_by_two_processes_is_that_of_one_with_their_batches(warm, small):
    quick = ["--fine_tune", "trainer.steps=10", "trainer.log_every=1", "data.fine_tune_frames=200"]
    (one,) = probe(warm, small, "one", 1, *quick, "trainer.accumulation=2")
    assert one.code == 0, one.stderr
    leader, other = probe(warm, small, "both", 2, *quick)
    assert (leader.code, other.code) == (0, 0), leader.stderr + other.stderr
    assert [line.split()[0] for line in leader.stdout.splitlines()].count("phone_linear") == 1
    assert not other.stdout, "one process tells"
    folder = next(path for path in (small.root / "result").iterdir() if (path / "both" / "metrics.jsonl").is_file())
    one, both = (read_metrics(folder / name) for name in ("one", "both"))
    assert [r["loss"] for r in both if "loss" in r] == pytest.approx([r["loss"] for r in one if "loss" in r], abs=1e-5)
    reports = [json.loads((folder / name / "result.json").read_text()) for name in ("one", "both")]
    assert reports[0]["test_accuracy"] == reports[1]["test_accuracy"]


@pytest.mark.slow
def test_probes_of_frozen_upstreams_are_not_for_several_processes(warm, small):
    for end in probe(warm, small, "frozen", 2):
        assert end.code == 2
        assert "several processes are for one --fine_tune run" in end.stderr
