"""Training counted in passes over the data: as many steps as they take, and none of them lost by a resume."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

import run_downstream
import runner_mockingjay
from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from mockingjay.config import PretrainConfig
from tests.contract.test_trainer import assert_same
from tests.helpers.downstream_corpus import Small
from tests.helpers.speech import write_store
from utility.config import as_dict, build, resolve
from utility.loader import Loader, LoaderConfig
from utility.store.reading import Store
from utility.training.checkpoint import load_checkpoint, saved_steps
from utility.training.config import TrainerConfig
from utility.training.trainer import Trainer, count_steps

MODEL = ["model.layers=1", "model.hidden_size=8", "model.heads=2", "model.ffn_size=8", "loader.pad_multiple=1"]
COUNT, BATCH = 60, 260


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Utterances of which epochs make different numbers of batches."""
    root = tmp_path_factory.mktemp("epochs")
    return write_store(root / "train", {f"u-{i}": 25 + i % 30 + i // 3 for i in range(COUNT)})


@pytest.fixture
def loader(store) -> Loader:
    return Loader(Store([store]), LoaderConfig(batch_frames=BATCH), 1337)


def run(store: Path, folder: Path, name: str, *words: str) -> None:
    places = ["--ckpdir", str(folder), "--logdir", str(folder / "log"), "--cpu", "--name", name]
    data = [f"data.train=[{store}]", "data.dev=[]", f"loader.batch_frames={BATCH}", "loader.max_frames=null"]
    runner_mockingjay.main(["--train", *places, *data, *MODEL, *words])


def test_exactly_one_of_steps_and_epochs_counts():
    plain, passes = TrainerConfig(), TrainerConfig(epochs=3)
    assert (plain.steps, plain.epochs) == (500_000, None)
    assert (passes.steps, passes.epochs) == (None, 3)
    assert TrainerConfig(steps=None).steps == 500_000
    assert build(DownstreamConfig, {"trainer": {"epochs": 2}}).trainer.steps is None
    assert DownstreamConfig().trainer.steps == 3000
    assert build(TrainerConfig, as_dict(passes)) == passes
    with pytest.raises(ValueError, match="steps 40 and epochs 3 both say how long"):
        TrainerConfig(steps=40, epochs=3)
    with pytest.raises(ValueError, match="'epochs' has value 0"):
        build(TrainerConfig, {"epochs": 0})
    for schema, page, steps in (
        (PretrainConfig, "config/pretrain.yaml", 500_000),
        (DownstreamConfig, "config/downstream.yaml", 3000),
    ):
        assert resolve(schema, page, ["trainer.epochs=2"]).trainer.steps is None
        with pytest.raises(ValueError, match=f"trainer.steps={steps} would change nothing"):
            resolve(schema, page, ["trainer.epochs=2", f"trainer.steps={steps}"])


def test_steps_are_as_many_as_the_epochs_take(loader):
    batches = [len(loader.epoch(epoch)) for epoch in range(9)]
    assert len(set(batches)) > 1, "epochs of one size would not tell"
    for epochs in (1, 4, 9):
        for accumulation, world in ((1, 1), (3, 1), (2, 2)):
            config = TrainerConfig(epochs=epochs, accumulation=accumulation)
            steps = count_steps(config, loader, world)
            taken = accumulation * world
            assert (steps - 1) * taken < sum(batches[:epochs]) <= steps * taken
    assert count_steps(TrainerConfig(steps=7), loader) == 7


@pytest.mark.slow
def test_every_utterance_is_read_once_in_every_epoch(store, tmp_path, monkeypatch, capsys):
    seen, update = [], Trainer.update

    def watched(self, stream):
        def noted():
            for position, batch in stream:
                seen.append(batch.ids)
                yield position, batch

        update(self, noted())

    monkeypatch.setattr(Trainer, "update", watched)
    run(store, tmp_path, "run", "trainer.epochs=3", "trainer.accumulation=1")
    assert Counter(key for ids in seen for key in ids) == {f"u-{i}": 3 for i in range(COUNT)}
    assert saved_steps(tmp_path / "run", "mockingjay") == [len(seen)]
    assert f"from step 0 to {len(seen)} (3 epochs)" in capsys.readouterr().out
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trainer"]
    assert (saved["steps"], saved["epochs"]) == (None, 3)


@pytest.mark.slow
def test_the_rate_falls_to_zero_where_the_epochs_end(store, tmp_path, loader):
    steps = count_steps(TrainerConfig(epochs=2), loader)
    by_epochs, by_steps = tmp_path / "epochs", tmp_path / "steps"
    run(store, by_epochs, "run", "--no-msg", "trainer.epochs=2")
    run(store, by_steps, "run", "--no-msg", f"trainer.steps={steps}")
    one, other = (
        load_checkpoint(folder / "run" / f"mockingjay-{steps}.ckpt", "pretrain") for folder in (by_epochs, by_steps)
    )
    for key in ("model", "optimizer", "state"):
        assert_same(one[key], other[key], key)
    last = 4e-4 * (1 - (steps - 1) / steps) / (1 - 0.07)
    assert one["optimizer"]["param_groups"][0]["lr"] == pytest.approx(last)


@pytest.mark.slow
def test_a_resume_ends_bit_for_bit_where_the_epochs_end(store, tmp_path, loader):
    steps = count_steps(TrainerConfig(epochs=2, accumulation=2), loader)
    words = ["--no-msg", "trainer.epochs=2", "trainer.accumulation=2", f"trainer.save_every={steps // 2}"]
    run(store, tmp_path, "straight", *words, "trainer.max_keep=9")
    first = tmp_path / "straight" / f"mockingjay-{steps // 2}.ckpt"
    (tmp_path / "stopped").mkdir()
    shutil.copy(first, tmp_path / "stopped")
    places = ["--ckpdir", str(tmp_path), "--logdir", str(tmp_path / "log"), "--cpu", "--no-msg", "--name", "stopped"]
    runner_mockingjay.main(["--train", *places, "--resume"])
    one, other = (
        load_checkpoint(tmp_path / name / f"mockingjay-{steps}.ckpt", "pretrain") for name in ("straight", "stopped")
    )
    assert not torch.equal(
        one["model"]["head.output.bias"], load_checkpoint(first, "pretrain")["model"]["head.output.bias"]
    )
    for key in ("model", "optimizer", "state"):
        assert_same(one[key], other[key], key)
    with pytest.raises(ValueError, match="both say how long"):
        runner_mockingjay.main(["--train", *places, "--resume", "trainer.steps=99"])
    runner_mockingjay.main(["--train", *places, "--resume", "trainer.epochs=3", "--dry_run"])


def test_a_dry_run_says_how_many_steps_it_makes(store, small: Small, tmp_path, capsys, loader):
    run(store, tmp_path, "run", "--dry_run", "trainer.epochs=5")
    steps = count_steps(TrainerConfig(epochs=5), loader)
    assert f"from step 0 to {steps} (5 epochs)" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "frozen"), [("phone_linear", True), ("speaker_utterance", True), ("phone_linear", False)]
)
def test_a_probe_is_trained_by_epochs(small: Small, tmp_path, capsys, task, frozen):
    words = small.words("trainer.steps=null", "trainer.epochs=2", "trainer.patience=null", "data.batch_frames=100")
    words += ["data.batch_utterances=5", f"data.cache={tmp_path}/cache", "--expdir", str(tmp_path), "--name", "passes"]
    words += [] if frozen else ["--fine_tune", "data.fine_tune_frames=200"]
    upstream = "tests.helpers.downstream_corpus:Doubling"
    command = ["--run", task, "--upstream", upstream, *words]
    assert run_downstream.main([*command, "--dry_run"]) == 0
    said = re.search(r"steps: (\d+) \(2 epochs\)", capsys.readouterr().out)
    assert said
    assert not list(tmp_path.iterdir())  # no upstream ran
    assert run_downstream.main(command) == 0
    folder = next(tmp_path.glob("result_*")) / "passes"
    state = load_checkpoint(folder / f"probe-{said[1]}.ckpt", "probe")["state"]
    assert state["position"] == [2, 0]
    assert int(said[1]) > 4
    config = yaml.safe_load((folder / "config.yaml").read_text())
    setting = small.setting(task)
    assert config["trainer"]["epochs"] == 2
    assert Experiment(setting, tmp_path / "none").steps() == 30
