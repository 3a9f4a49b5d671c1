"""However a run ends, it says why in a line, and what it leaves can go on: signals, full disks, two runs at once."""

import gc
import os
import signal
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure

import run_downstream
import runner_mockingjay
from preprocess.demo import corpus as demo
from tests.contract.test_locks import holder
from tests.helpers.downstream_corpus import Small
from tests.helpers.speech import write_store
from utility.training.checkpoint import load_checkpoint, saved_steps
from utility.training.events import Board
from utility.training.log import read_metrics
from utility.training.trainer import Trainer

EXACT = ("step", "loss", "grad_norm", "lr", "dev_loss")
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("endings")
    write_store(root / "data" / "train", {f"s{i % 3}-{i}": 30 + i for i in range(12)})
    write_store(root / "data" / "dev", {"s9-1": 60}, seed=1)
    values = {
        "data": {"train": [str(root / "data/train")], "dev": [str(root / "data/dev")]},
        "loader": {"batch_frames": 100},
        "model": {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8},
        "trainer": {"steps": 12, "precision": "fp32", "log_every": 2, "eval_every": 6, "save_every": 5},
    }
    (root / "tiny.yaml").write_text(yaml.safe_dump(values))
    return root


def train(root: Path, name: str, *words: str) -> int | None:
    command = ["--train", "--config", str(root / "tiny.yaml"), "--name", name, "--no-msg", "--cpu"]
    return runner_mockingjay.main([*command, "--ckpdir", str(root / "result"), "--logdir", str(root / "log"), *words])


def ending(root: Path, name: str) -> tuple[list[dict], dict]:
    records = [{key: row[key] for key in EXACT if key in row} for row in read_metrics(root / "log" / name)]
    return records, load_checkpoint(root / "result" / name / "mockingjay-12.ckpt", "pretrain")


@pytest.fixture(scope="module")
def straight(root) -> tuple[list[dict], dict]:
    assert train(root, "straight") == 0
    return ending(root, "straight")


@contextmanager
def at_step(step: int, act: Callable[[], None]):
    """Let the trainer do something more at the end of a step."""
    mark = Trainer._mark

    def marked(self, bar):
        mark(self, bar)
        if self.progress.step == step:
            act()

    Trainer._mark = marked
    try:
        yield
    finally:
        Trainer._mark = mark


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_sigterm_saves_the_step_and_the_run_goes_on_exactly(root, straight, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with at_step(3, terminate):
        assert train(root, "told") == 143
    assert signal.getsignal(signal.SIGTERM) is before
    out, line = capsys.readouterr()
    assert not out
    assert line == f"{root / 'result' / 'told'}: told to end by SIGTERM: step 3 is saved, --resume goes on\n"
    assert saved_steps(root / "result" / "told", "mockingjay") == [3]
    with at_step(8, terminate):
        assert train(root, "told", "--resume") == 143
    assert train(root, "told", "--resume") == 0
    records, content = ending(root, "told")
    assert records == straight[0]
    assert content["state"] == straight[1]["state"]
    for name, value in straight[1]["model"].items():
        assert (content["model"][name] == value).all()


@pytest.mark.slow
def test_resume_auto_begins_and_goes_on_by_the_same_words(root, straight):
    with at_step(7, terminate):
        assert train(root, "again", "--resume", "auto") == 143
    assert train(root, "again", "--resume", "auto") == 0
    assert ending(root, "again")[0] == straight[0]
    with pytest.raises(ValueError, match="has no checkpoint to continue"):
        train(root, "never", "--resume")
    assert not (root / "result" / "never").exists()


def test_a_second_training_of_a_name_is_refused(root):
    """Both trained, and left the files of either."""
    for place in ("result", "log"):
        process, _ = holder(root / place / "twice")
        try:
            with pytest.raises(ValueError, match=rf"{place}/twice: process {process.pid} on .* another --name"):
                train(root, "twice")
            train(root, "twice", "--dry_run")
        finally:
            process.kill()
            process.wait()
    assert not list((root / "result").glob("twice/*.ckpt"))


def test_a_run_that_never_began_leaves_nothing(root, monkeypatch):
    def broken(*_):
        raise ValueError("row 0 is not finite")

    monkeypatch.setattr(Trainer, "update", broken)
    with pytest.raises(ValueError, match="not finite"):
        train(root, "stillborn")
    assert not (root / "result" / "stillborn").exists()
    assert not (root / "log" / "stillborn").exists()


@pytest.mark.slow
def test_a_killed_checkpoint_is_removed_at_the_next_start(root, straight, capsys):
    with at_step(3, terminate):
        train(root, "left")
    left = [root / place / "left" / ".mockingjay-5.ckpt.4194305-0123abcd.tmp" for place in ("result", "log")]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path)
    from utility import files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "DAY", -1.0)
        assert train(root, "left", "--resume") == 0
    assert capsys.readouterr().err.count("removed, the process that wrote it was killed") == 2
    assert not any(path.exists() for path in left)


@pytest.mark.slow
def test_pictures_of_a_run_do_not_stay_in_memory(root, monkeypatch):
    """Each holds megabytes in a cycle: a long run grew by some at every evaluation."""
    drawn: list[tuple[int, weakref.ref[Figure]]] = []
    draw = Board.figure

    def figure(self: Board, step: int, name: str, picture: Figure, group: str) -> None:
        assert not [before for before, one in drawn if before != step and one() is not None]
        drawn.append((step, weakref.ref(picture)))
        draw(self, step, name, picture, group)

    monkeypatch.setattr(Board, "figure", figure)
    gc.disable()
    try:
        assert train(root, "pictures", "trainer.eval_every=3") == 0
    finally:
        gc.enable()
    assert len({step for step, _ in drawn}) == 4


@pytest.mark.slow
def test_a_full_disk_of_tensorboard_is_a_line_and_training_goes_on(root, straight, monkeypatch, capsys):
    """It hung for ever: the thread that wrote had died."""
    from utility.training import events

    class Full(events.EventFile):
        def __init__(self, *words):
            super().__init__(*words)
            self.path = FULL

    monkeypatch.setattr(events, "EventFile", Full)
    assert train(root, "full") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    said = "warning: /dev/full: No space left on device: nothing more for TensorBoard; training goes on"
    assert lines[0].startswith(said)
    assert ending(root, "full")[0] == straight[0]


def test_a_full_disk_of_the_metrics_is_one_line_with_the_file(root, monkeypatch):
    from utility.training import log

    begin = log.RunLog.__init__

    def full(self, *words):
        begin(self, *words)
        self.path = FULL

    monkeypatch.setattr(log.RunLog, "__init__", full)
    with pytest.raises(OSError, match="No space left on device") as refused:
        train(root, "unlogged")
    assert refused.value.filename == str(FULL)


@pytest.mark.slow
def test_tensorboard_reads_what_is_written(root, straight):
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (root / "log" / "straight").glob("events.out.tfevents.*")
    data, events = file.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    values = [(event.step, value) for event in events for value in event.summary.value]
    losses = {step: value.simple_value for step, value in values if value.tag == "loss/loss"}
    expected = {row["step"]: row["loss"] for row in straight[0] if "loss" in row}
    assert losses == pytest.approx(expected)
    assert {step for step, value in values if value.tag == "example/reconstruction" and value.image.height > 100} == {
        6,
        12,
    }


def probe(small: Small, *words: str) -> int:
    return run_downstream.main(["--run", "phone_linear", "--upstream", "baseline", *small.words(*words)])


@pytest.mark.slow
def test_a_probe_that_is_told_to_end_goes_on_exactly(small, capsys):
    quick = ["trainer.steps=10", "trainer.eval_every=5", "trainer.log_every=1"]
    assert probe(small, "--name", "whole", *quick) == 0
    for step in (4, 7):
        with at_step(step, terminate):
            assert probe(small, "--name", "parts", "--resume", "auto", *quick) == 143
        assert f"step {step} is saved" in capsys.readouterr().err
    assert probe(small, "--name", "parts", "--resume", "auto", *quick) == 0
    folder = small.root / "result" / "result_baseline_phone_linear"
    whole, parts = (read_metrics(folder / name) for name in ("whole", "parts"))
    assert [row["loss"] for row in parts if "loss" in row] == [row["loss"] for row in whole if "loss" in row]
    assert (folder / "parts" / "predictions_test.tsv").read_bytes() == (
        folder / "whole" / "predictions_test.tsv"
    ).read_bytes()


def test_a_sweep_that_is_told_to_end_trains_nothing_more(small, capsys):
    with at_step(2, terminate):
        assert probe(small, "--name", "swept", "--seeds", "3", "trainer.steps=4") == 143
    folder = small.root / "result" / "result_baseline_phone_linear" / "swept"
    assert sorted(path.name for path in folder.iterdir()) == ["seed_1337"]


@pytest.mark.parametrize("words", [[], ["--seeds", "2"], ["--resume"]])
def test_a_second_probe_of_a_name_is_refused(small, words):
    """It said that a checkpoint does not exist, or mixed with the first."""
    folder = small.root / "result" / "result_baseline_phone_linear" / "twice"
    if words == ["--resume"]:
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").touch()
    process, _ = holder(folder)
    try:
        with pytest.raises(ValueError, match=rf"twice: process {process.pid} on .* another --name"):
            probe(small, "--name", "twice", *words)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("same", [True, False])
def test_a_demo_corpus_that_another_process_has_made_meanwhile_is_said(tmp_path, monkeypatch, capsys, same):
    """It said `.demo.unfinished.../corpus: Directory not empty`."""
    begun: list[Path] = []

    def synthesise(root, *_):
        root.mkdir(parents=True)
        begun.append(root)
        if len(begun) == 1:  # the second is done first
            assert make(flags if same else replace(flags, seed=2)) == 0
        return {}

    monkeypatch.setattr(demo, "synthesise_corpus", synthesise)
    monkeypatch.setattr(demo, "synthesiser", lambda: "made up")
    monkeypatch.setattr(demo, "report", lambda *_: None)
    make, flags = (
        demo.make,
        demo.CorpusFlags(output_path=tmp_path / "demo", minutes=1.0, speakers=3, seed=1, n_jobs=1, dry_run=False),
    )
    if same:
        assert make(flags) == 0
        assert "another process has made it meanwhile" in capsys.readouterr().out
    else:
        with pytest.raises(ValueError, match="holds a corpus with seed 2, not 1"):
            make(flags)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
