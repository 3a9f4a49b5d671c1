"""Training: killed at any moment and resumed it ends bit for bit where an undisturbed run ends."""

import io
import math
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml

import runner_mockingjay
from tests.campaign.zygote import Running, Zygote
from tests.conftest import PROJECT
from tests.helpers.speech import write_store
from utility.side_stream import one_ahead
from utility.training import trainer
from utility.training.checkpoint import (
    keep_newest,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    saved_steps,
    step_path,
)
from utility.training.log import ProgressLines, RunLog, read_metrics
from utility.training.optimization import (
    BertAdam,
    OptimizerConfig,
    decay_groups,
    make_optimizer,
    make_schedule,
    warmup_linear,
)

EXACT = ("loss", "masked_share", "grad_norm", "lr", "dev_loss")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run")
    lengths = {f"s{i % 3}-{i}": 30 + 7 * i % 50 for i in range(24)}
    train = write_store(root / "data" / "train", lengths)
    dev = write_store(root / "data" / "dev", {"s9-1": 60, "s9-2": 41}, seed=1)
    values = {
        "data": {"train": [str(train)], "dev": [str(dev)]},
        "loader": {"batch_frames": 300, "max_frames": 40},
        "model": {"layers": 2, "hidden_size": 24, "heads": 2, "ffn_size": 48},
        "trainer": {"steps": 40, "accumulation": 2, "log_every": 4, "eval_every": 10, "save_every": 3},
    }
    file = root / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def words_of(config: Path, name: str, *words: str) -> list[str]:
    """Of a training that leaves all it makes beside its config."""
    places = ["--ckpdir", str(config.parent / "result"), "--logdir", str(config.parent / "log")]
    return ["--train", "--config", str(config), "--name", name, "--no-msg", "--cpu", *places, *words]


def start(warm: Zygote, config: Path, name: str, *words: str) -> Running:
    return warm.start(["runner_mockingjay.py", *words_of(config, name, *words)], PROJECT)


def ending(config: Path, name: str) -> tuple[dict, list[dict]]:
    content = load_checkpoint(config.parent / "result" / name / "mockingjay-40.ckpt", "pretrain")
    records = read_metrics(config.parent / "log" / name)
    return content, [{key: value for key, value in record.items() if key in (*EXACT, "step")} for record in records]


@pytest.fixture(scope="module")
def straight(config, warm):
    assert start(warm, config, "straight").wait().code == 0
    return ending(config, "straight")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_five_times_it_ends_bit_for_bit_like_an_undisturbed_run(config, straight, warm, workers):
    name, rng = f"killed{workers}", random.Random(workers)
    folder, kills = config.parent / "result" / name, 0
    while kills < 5:
        words = ["--resume"] if saved_steps(folder, "mockingjay") else []
        before = (saved_steps(folder, "mockingjay") or [0])[-1]
        process = start(warm, config, name, f"loader.workers={workers}", *words)
        wait_for_step(process, folder, before + 3)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.wait()
        kills += 1
    assert start(warm, config, name, f"loader.workers={workers}", "--resume").wait().code == 0
    content, records = ending(config, name)
    expected, expected_records = straight
    for key in ("model", "optimizer", "state"):
        assert_same(content[key], expected[key], key)
    assert records == expected_records
    assert [record["step"] for record in records if "loss" in record] == list(range(4, 41, 4))


def wait_for_step(process: Running, folder: Path, step: int) -> None:
    deadline = time.time() + 120
    while time.time() < deadline and not process.ended():
        if (saved_steps(folder, "mockingjay") or [0])[-1] >= min(step, 39):
            return
        time.sleep(0.005)


def assert_same(one, other, where):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other)):
            assert_same(a, b, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


@pytest.mark.slow
def test_the_newest_checkpoints_are_kept_and_the_best_apart(config, straight):  # R12: max_keep kept one less
    folder = config.parent / "result" / "straight"
    assert saved_steps(folder, "mockingjay") == [39, 40]
    best = load_checkpoint(folder / "best.ckpt", "pretrain")["state"]
    losses = {r["step"]: r["dev_loss"] for r in straight[1] if "dev_loss" in r}
    assert set(losses) == {10, 20, 30, 40}
    assert best["best_step"] == best["step"] == min(losses, key=losses.get)
    assert best["best"] == min(losses.values())


def test_max_keep_keeps_that_many(tmp_path):
    for step in (1, 5, 20, 100):
        save_checkpoint(step_path(tmp_path, "m", step), "test", {})
    keep_newest(tmp_path, "m", 3)
    assert saved_steps(tmp_path, "m") == [5, 20, 100]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_new_values_win_on_resume_without_the_yaml(config, straight):  # R13: saved ones won, and the YAML had to exist
    away = config.rename(config.with_suffix(".away"))
    try:
        words = ["--resume", "trainer.steps=44"]
        command = [sys.executable, "runner_mockingjay.py", "--train", "--name", "straight", *words]
        root = config.parent
        command += ["--ckpdir", str(root / "result"), "--logdir", str(root / "log2"), "--cpu"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    finally:
        away.rename(config)
    assert "trainer.steps: 40 -> 44" in done.stdout
    assert saved_steps(config.parent / "result" / "straight", "mockingjay") == [42, 44]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_in_one_line(config):
    command = [sys.executable, "runner_mockingjay.py", "--train", "--config", str(config), "--name", "wild", "--cpu"]
    command += ["--ckpdir", str(config.parent / "result"), "--logdir", str(config.parent / "log")]
    command += ["optimizer.lr=1e30", "optimizer.warmup=0", "trainer.precision=fp32"]
    process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert process.returncode == 2
    assert "not finite" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_a_killed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.ckpt"
    save_checkpoint(path, "test", {"value": 1})
    with pytest.raises(AttributeError):
        save_checkpoint(path, "test", {"value": lambda: None})
    assert load_checkpoint(path, "test")["value"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_weights_that_do_not_fit_are_named(tmp_path):  # R10: errors on loading were printed and training went on
    module = torch.nn.Linear(2, 3)
    good = module.state_dict()
    with pytest.raises(ValueError, match="'bias' is missing"):
        load_weights(module, {"weight": good["weight"]}, "x.ckpt")
    with pytest.raises(ValueError, match="'extra' is not part"):
        load_weights(module, good | {"extra": good["bias"]}, "x.ckpt")
    with pytest.raises(ValueError, match=r"shape \[3\], the model \[3, 2\]"):
        load_weights(module, good | {"weight": good["bias"]}, "x.ckpt")


def test_the_log_of_a_killed_run_is_taken_back_to_the_checkpoint(tmp_path):
    log = RunLog(tmp_path)
    for step in (5, 10, 15):
        log.metrics(step, {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    RunLog(tmp_path, start=10)
    assert [record["step"] for record in read_metrics(tmp_path)] == [5, 10]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_without_a_terminal_says_now_and_then_where_it_stands(terminal, monkeypatch):
    """It printed nothing for hours."""
    now, out = [1000.0], io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal, raising=False)
    lines = ProgressLines(100, 3100, clock=lambda: now[0], stream=out)
    for second in range(1, 91):
        now[0] += 1
        lines.say(100 + 10 * second, 2.0 / second, 4e-4, 51234.4)
    assert out.getvalue().splitlines() == ([] if terminal else [
        "step 400/3100: loss 0.0667, rate 0.0004, 51234 frames/s, 4 min 30 s left",
        "step 700/3100: loss 0.0333, rate 0.0004, 51234 frames/s, 4 min 0 s left",
        "step 1000/3100: loss 0.0222, rate 0.0004, 51234 frames/s, 3 min 30 s left",
    ])  # fmt: skip
    now[0] += 3 * 86400
    lines.say(1001, 1.0, 1e-9, 3.0)
    assert terminal or out.getvalue().endswith("6 d 23 h left\n")


@pytest.mark.parametrize("quiet", [False, True])
def test_the_trainer_prints_such_lines_at_its_log_points(config, tmp_path, quiet, monkeypatch, capsys):
    monkeypatch.setattr(ProgressLines, "INTERVAL", 0.0)
    words = ["--train", "--config", str(config), "--cpu", "--name", "said", "trainer.steps=10", "data.dev=[]"]
    words += ["--ckpdir", str(tmp_path / "result"), "--logdir", str(tmp_path / "log"), *(["--no-msg"] if quiet else [])]
    runner_mockingjay.main(words)
    found = re.findall(r"step (\d+)/10: loss 0\.\d+, rate [\d.e-]+, \d+ frames/s, \d+ s left", capsys.readouterr().err)
    assert found == ([] if quiet else ["4", "8", "10"])


def test_constant_schedule_stays_where_the_warmup_ends():
    share = make_schedule(OptimizerConfig(schedule="constant", warmup=0.4), 10)
    assert [share(step) for step in (0, 1, 3, 4, 9, 10)] == pytest.approx([0, 0.25, 0.75, 1, 1, 1])
    assert [make_schedule(OptimizerConfig(schedule="constant", warmup=0.0), 10)(step) for step in (0, 9)] == [1, 1]


def test_the_schedule_rises_from_zero_and_falls_to_zero():
    share = warmup_linear(0.07, 1000)
    assert [share(step) for step in (0, 35, 70, 535, 1000)] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-12)
    assert share(1500) == 0  # a run that goes on does not climb the loss


def test_bertadam_is_the_formula_in_float64():
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(4, 3, generator=generator))
    optimizer = BertAdam([{"params": [weight], "weight_decay": 0.01}], lr=0.1)
    m = v = torch.zeros(4, 3, dtype=torch.float64)
    expected = weight.detach().double()
    for _ in range(5):
        weight.grad = 3 * torch.randn(4, 3, generator=generator)
        g = weight.grad.double()
        g = g * min(1, 1 / (g.norm() + 1e-6))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected = expected - 0.1 * (m / (v.sqrt() + 1e-6) + 0.01 * expected)
        optimizer.step()
    torch.testing.assert_close(weight.detach().double(), expected, atol=1e-6, rtol=1e-6)
    assert math.isclose(optimizer.param_groups[0]["lr"], 0.1)


def test_biases_and_norms_do_not_decay():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    decaying, still = decay_groups(module.named_parameters(), 0.01)
    assert [p.ndim for p in decaying["params"]] == [2]
    assert [p.ndim for p in still["params"]] == [1, 1, 1]
    assert still["weight_decay"] == 0.0
    assert isinstance(make_optimizer([decaying], OptimizerConfig(name="bertadam")), BertAdam)


NO_RECORDS = [
    "5",
    "[]",
    '{"loss": 1}',
    '{"step": "x"}',
    '{"step": 1, "loss": "a"}',
    "{}",
    "x",
    "[" * 100_000,
    '{"step": null}',
]


@pytest.mark.parametrize("line", NO_RECORDS, ids=[line[:24] for line in NO_RECORDS])
def test_lines_that_are_no_records_are_named_and_dropped_by_a_resume(line, tmp_path):
    """They ended in TypeError, KeyError or RecursionError."""
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 5, "loss": 1.0}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2 is no record"):
        read_metrics(tmp_path)
    RunLog(tmp_path, start=10)
    assert read_metrics(tmp_path) == [{"step": 5, "loss": 1.0}]


@pytest.mark.slow
def test_a_run_whose_batches_come_one_ahead_goes_on_where_it_stood(config, tmp_path, monkeypatch):
    """One more batch is on its way to a GPU when a checkpoint is written: it is not among those that are done."""
    saved, closed, held = [], [], []

    class Copies:
        to_device = staticmethod(lambda batch: batch)
        join = staticmethod(lambda batch: None)

    def watched(batches):
        try:
            yield from batches
        finally:
            closed.append(True)

    def fed(batches, _):
        held.append(one_ahead(watched(batches), Copies()) if ahead else batches)  # nobody but the trainer ends it
        return held[-1]

    monkeypatch.setattr(trainer, "fed", fed)
    for ahead in (False, True):
        words = ["--train", "--config", str(config), "--cpu", "--name", f"ahead{ahead}", "data.dev=[]", "--no-msg"]
        words += ["--ckpdir", str(tmp_path), "--logdir", str(tmp_path / "log"), "loader.workers=2"]
        runner_mockingjay.main([*words, "trainer.steps=5"])
        runner_mockingjay.main([*words, "trainer.steps=9", "--resume"])
        saved.append(load_checkpoint(tmp_path / f"ahead{ahead}" / "mockingjay-9.ckpt", "pretrain"))
    for key in ("model", "optimizer", "state"):
        assert_same(saved[1][key], saved[0][key], key)
    assert len(held) == 4
    assert closed == [True, True]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
