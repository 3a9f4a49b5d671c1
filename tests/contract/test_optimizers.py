"""The optimisers of the original APC: PyTorch's own, resumed to the bit, and of one run only."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import runner_mockingjay
from downstream.config import ProbeOptimizer
from mockingjay.config import PretrainConfig
from tests.contract.test_trainer import assert_same
from tests.helpers.speech import write_store
from utility.config import as_dict, build, resolve
from utility.training.checkpoint import load_checkpoint, save_checkpoint
from utility.training.optimization import OptimizerConfig, decay_groups, make_optimizer, restore

TORCH = {
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95)}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.5}),
}
ALL = (*TORCH, "adamw", "bertadam", "lamb")


def trained(optimizer_of) -> torch.Tensor:
    torch.manual_seed(0)
    module = nn.Linear(5, 3)
    optimizer = optimizer_of(module)
    for step in range(6):
        module(torch.sin(torch.arange(20.0).reshape(4, 5) + step)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("name", TORCH)
def test_an_optimiser_is_that_of_pytorch(name):
    kind, options = TORCH[name]
    config = OptimizerConfig(name=name, lr=0.02, weight_decay=0.1, **options)
    groups = lambda module: decay_groups(module.named_parameters(), config.decay)  # noqa: E731
    ours = trained(lambda module: make_optimizer(groups(module), config))
    theirs = trained(lambda module: kind(groups(module), lr=0.02, **options))
    faster = trained(lambda module: kind(groups(module), lr=0.04, **options))
    assert float((theirs - faster).abs().max()) > 1e-4, "nothing to compare with"
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_what_is_not_given_is_pytorchs_default_and_stands_in_the_files():
    plain = {name: as_dict(OptimizerConfig(name=name)) for name in ALL}
    decays = {name: values["weight_decay"] for name, values in plain.items()}
    assert decays == dict.fromkeys(TORCH, 0.0) | dict.fromkeys(("adamw", "bertadam", "lamb"), 0.01)
    assert {name for name, values in plain.items() if values["betas"] == [0.9, 0.999]} == {
        "adam",
        "adamw",
        "bertadam",
        "lamb",
    }
    assert [plain[name]["momentum"] for name in ("sgd", "rmsprop", "adam", "adagrad")] == [0.0, 0.0, None, None]
    assert all(as_dict(build(OptimizerConfig, values)) == values for values in plain.values())
    assert ProbeOptimizer(name="sgd").decay == 0.0 == ProbeOptimizer().decay


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "sgd", "betas": [0.9, 0.99]}, "sgd has no betas, which adamw, adam, bertadam, lamb have"),
        ({"name": "adam", "momentum": 0.9}, "adam has no momentum, which sgd, rmsprop have"),
        ({"name": "sgd", "momentum": 1.0}, "'momentum' has value 1.0"),
        ({"name": "adamax"}, "'adamax'"),
    ],
)
def test_keys_of_other_optimisers_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        build(OptimizerConfig, values)


def test_a_word_that_an_optimiser_does_not_use_is_refused():
    """Of a file the default may stand, so that config/pretrain.yaml goes with every optimiser."""
    page = resolve(PretrainConfig, "config/pretrain.yaml", ["optimizer.name=sgd"])
    assert (page.optimizer.name, page.optimizer.betas) == ("sgd", None)
    for word in ("optimizer.betas=[0.9,0.999]", "optimizer.momentum=0"):
        name = "sgd" if "betas" in word else "adagrad"
        with pytest.raises(ValueError, match="would change nothing beside the other keys of optimizer") as refused:
            resolve(PretrainConfig, None, [f"optimizer.name={name}", word])
        assert word in str(refused.value)


@pytest.mark.parametrize("name", ALL)
def test_state_goes_on_and_that_of_another_is_refused(name):
    def made(kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(1)
        module = nn.Linear(3, 2)
        config = OptimizerConfig(name=kind, momentum=0.9 if kind in ("sgd", "rmsprop") else None)
        return module, make_optimizer(decay_groups(module.named_parameters(), 0.1), config)

    module, optimizer = made(name)
    restore(optimizer, copy.deepcopy(optimizer.state_dict()))  # before the first step
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    fresh = made(name)[1]
    restore(fresh, copy.deepcopy(saved))
    assert_same(fresh.state_dict()["state"], saved["state"], "state")
    for other in sorted(set(ALL) - {name, *(["adamw"] if name == "adam" else [])}):  # whose states are alike
        with pytest.raises(ValueError, match=r"is none|moments are not|is no state"):
            restore(made(other)[1], copy.deepcopy(saved))


def test_a_run_goes_on_with_the_options_that_it_is_given_now():
    """Those of the file came back over them."""
    module = nn.Linear(3, 2)
    groups = lambda: decay_groups(module.named_parameters(), 0.1)  # noqa: E731
    saved = make_optimizer(groups(), OptimizerConfig(betas=(0.5, 0.6))).state_dict()
    fresh = make_optimizer(groups(), OptimizerConfig(betas=(0.7, 0.8)))
    restore(fresh, saved)
    assert [group["betas"] for group in fresh.param_groups] == [(0.7, 0.8)] * 2


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("data")
    train = write_store(root / "train", {f"u-{i}": 30 + i for i in range(12)})
    words = [
        f"data.train=[{train}]",
        "data.dev=[]",
        "objective=apc",
        "encoder=gru",
        "gru.layers=1",
        "gru.hidden_size=8",
    ]
    return [*words, "gru.dropout=0.2", "loader.batch_frames=150", "trainer.steps=6", "trainer.save_every=3"]


def run(root: Path, name: str, *words: str) -> None:
    places = ["--ckpdir", str(root), "--logdir", str(root / "log"), "--cpu", "--no-msg", "--name", name]
    runner_mockingjay.main(["--train", *places, *words])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCH, "sgd without momentum"])
def test_a_run_that_goes_on_ends_bit_for_bit_as_one_that_never_stopped(name, words, tmp_path):
    name, _, plain = name.partition(" ")
    chosen = [f"optimizer.name={name}", "optimizer.lr=0.01"]
    chosen += ["optimizer.momentum=0.9"] if name in ("sgd", "rmsprop") and not plain else []
    run(tmp_path, "straight", *words, *chosen)
    (tmp_path / "stopped").mkdir()
    shutil.copy(tmp_path / "straight" / "mockingjay-3.ckpt", tmp_path / "stopped")
    run(tmp_path, "stopped", "--resume")
    halfway, straight, resumed = (
        load_checkpoint(tmp_path / folder, "pretrain")
        for folder in ("straight/mockingjay-3.ckpt", "straight/mockingjay-6.ckpt", "stopped/mockingjay-6.ckpt")
    )
    assert straight["config"]["optimizer"]["name"] == name
    assert not torch.equal(halfway["model"]["head.weight"], straight["model"]["head.weight"])
    for key in ("model", "optimizer", "state"):
        assert_same(resumed[key], straight[key], key)


@pytest.mark.parametrize("by_file", [False, True])
def test_a_checkpoint_of_another_optimiser_is_refused_in_one_line(by_file, words, tmp_path):
    run(tmp_path, "run", *words, "trainer.steps=1")
    more = ["optimizer.name=sgd"]
    if by_file:
        (tmp_path / "sgd.yaml").write_text("optimizer: {name: sgd}\n")
        more = ["--config", str(tmp_path / "sgd.yaml"), *words]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"mockingjay-1\.ckpt was trained with optimizer.name adamw.* 'sgd'"):
        run(tmp_path, "run", "--resume", *more)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_that_hides_its_optimiser_is_refused_too(words, tmp_path):
    run(tmp_path, "run", *words, "trainer.steps=1", "optimizer.name=adagrad")
    path = tmp_path / "run" / "mockingjay-1.ckpt"
    content = load_checkpoint(path, "pretrain")
    content["config"]["optimizer"] |= {"name": "rmsprop"}
    save_checkpoint(path, "pretrain", {key: v for key, v in content.items() if key not in ("format", "kind")})
    with pytest.raises(ValueError, match="its optimiser and progress are not those of such a run"):
        run(tmp_path, "run", "--resume")
