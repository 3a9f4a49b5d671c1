"""A command opens its checkpoint once: the file is opened once, and its tensors are read once."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

import run_downstream
import runner_mockingjay
from mockingjay.checkpoint import load_pretrained
from mockingjay.upstream import load_upstream
from tests.helpers.checkpoints import TRANSFORMER, write_checkpoint
from tests.helpers.speech import write_store

OPENED: list[str] = []
LOADED: list[str] = []
sys.addaudithook(lambda event, details: OPENED.append(str(details[0])) if event == "open" else None)


@pytest.fixture
def opened(monkeypatch):
    """Counts how often a file was opened and loaded since the last call."""
    plain = torch.load

    def load(file, *more, **options):
        LOADED.append(str(getattr(file, "name", file)))
        return plain(file, *more, **options)

    def count(path: Path) -> tuple[int, int]:
        numbers = OPENED.count(str(path)), LOADED.count(str(path))
        OPENED.clear()
        LOADED.clear()
        return numbers

    monkeypatch.setattr(torch, "load", load)
    return count


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A store, a checkpoint for it, and a run of two steps."""
    root = tmp_path_factory.mktemp("openings")
    store = write_store(root / "data/train", {f"s{i % 4}-{i}": 60 + 3 * i for i in range(12)})
    write_checkpoint(root / "ckpt/plain.ckpt", model=TRANSFORMER)
    values = {"data": {"train": [str(store)]}, "model": TRANSFORMER, "trainer": {"steps": 2, "save_every": 1}}
    (root / "run.yaml").write_text(yaml.safe_dump(values))
    runner_mockingjay.main(train(root))
    return root


def train(root: Path, *words: str) -> list[str]:
    folders = ["--ckpdir", str(root / "result"), "--logdir", str(root / "log")]
    return ["--train", "--cpu", "--no-msg", "--config", str(root / "run.yaml"), "--name", "run", *folders, *words]


LOOKS = {
    "test": "--test --cpu --input {store}",
    "extract": "--extract --cpu --input {store}",
    "plot": "--plot --cpu --num 1 --input {store}",
    "attention": "--plot --output_attention --cpu --num 1 --input {store}",
    "reconstruction": "--plot --with_head --cpu --num 1 --input {store}",
    "alterations": "--plot --alterations --num 1 --input {store}",
    "export hf": "--export hf",
    "export s3prl": "--export s3prl",
    "export safetensors": "--export safetensors",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKS)
def test_looking_at_a_checkpoint_opens_it_once(name, world, tmp_path, opened):
    ckpt = world / "ckpt/plain.ckpt"
    words = LOOKS[name].format(store=world / "data/train").split()
    opened(ckpt)
    assert not runner_mockingjay.main([*words, "--ckpt", str(ckpt), "--output", str(tmp_path / "out")])
    assert opened(ckpt) == (1, 1)


def test_info_opens_it_once(world, opened, capsys):
    for ckpt in (world / "ckpt/plain.ckpt", world / "result/run/mockingjay-2.ckpt"):
        opened(ckpt)
        runner_mockingjay.main(["--info", str(ckpt)])
        assert opened(ckpt) == (1, 1)


@pytest.mark.parametrize("words", [["--resume"], ["--load", "--ckpt"]], ids=["resume", "load"])
def test_going_on_opens_it_once(words, world, opened):
    ckpt = world / "result/run/mockingjay-2.ckpt"
    words = [*words, str(ckpt)] if "--ckpt" in words else words
    opened(ckpt)
    assert not runner_mockingjay.main(train(world, *words))
    assert opened(ckpt) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("upstream", ["pretrained", "pretrained_head", "random"])
def test_a_probe_opens_its_upstream_once(upstream, world, tmp_path, opened):
    ckpt = world / "ckpt/plain.ckpt"
    words = ["--run", "speaker_frame", "--upstream", upstream, "--ckpt", str(ckpt), "--cpu", "--no-msg"]
    words += [
        "--expdir",
        str(tmp_path),
        "--logdir",
        f"{tmp_path}/log",
        f"data.train=[{world}/data/train]",
        f"data.cache={tmp_path}/cache",
    ]
    words += ["data.dev_share=0.3", "data.test_share=0.3", "trainer.steps=2", "trainer.eval_every=1"]
    opened(ckpt)
    assert run_downstream.main(words) == 0
    assert opened(ckpt) == (1, 1)


def test_training_an_upstream_leaves_the_opened_checkpoint_as_it_was(world):
    saved = load_pretrained(world / "ckpt/plain.ckpt")
    before = {name: value.clone() for name, value in saved.model.state_dict().items()}
    upstream = load_upstream(saved)
    assert upstream.fingerprint == load_upstream(world / "ckpt/plain.ckpt").fingerprint
    with torch.no_grad():
        for parameter in upstream.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in saved.model.state_dict().items())
