"""Runs that go on from a checkpoint of our form with foreign content: one line, before anything is written."""

import errno
from pathlib import Path

import pytest
import torch
from torch import nn

from originals.probing import open_probe
from tests.helpers.command_world import tree
from tests.helpers.downstream_corpus import Small
from utility.training.checkpoint import load_checkpoint, read_file, save_checkpoint
from utility.training.optimization import OptimizerConfig, decay_groups, make_optimizer, restore

RUN = "result_baseline_phone_linear/damaged"


@pytest.fixture(scope="module")
def folder(small) -> Path:
    """A run that stands at step 3 of 30."""
    small.run("phone_linear", "baseline", "--name", "damaged")
    folder = small.root / "result" / RUN
    for path in folder.iterdir():
        if path.name not in ("best.ckpt", "config.yaml"):
            path.unlink()
    return folder


def put(path: str, value: object):
    """A change of a nested key, as "state|step"; Ellipsis removes it."""

    def change(content: dict) -> None:
        *places, key = path.split("|")
        for place in places:
            content = content[int(place) if place.isdigit() else place]
        content.pop(key) if value is ... else content.update({key: value})

    return change


CONTENTS = {
    "no weights": (put("model", ...), "'encoder|model'|tensor|'model' holds|is missing"),
    "no optimiser": (put("optimizer", ...), "optimiser and progress are not those"),
    "a rate of text": (put("optimizer|param_groups|0|lr", "x"), "optimiser and progress are not those"),
    "betas of text": (put("optimizer|param_groups|0|betas", ["x", "y"]), "optimiser and progress are not those"),
    "another kind of Adam": (put("optimizer|param_groups|0|amsgrad", True), "optimiser and progress are not those"),
    "moments of another shape": (
        lambda content: content["optimizer"]["state"][0].update(exp_avg=torch.zeros(2)),
        "optimiser and progress are not those",
    ),
    "a moment less": (
        lambda content: content["optimizer"]["state"][0].pop("exp_avg"),
        "optimiser and progress are not those",
    ),
    "a step of text": (put("state|step", "x"), "holds no|'state'|how far"),
    "a best of text": (put("state|best", "x"), "'state'"),
    "no position": (put("state|position", []), "'state'"),
    "a list": (put("state", []), "'state'"),
    "a tensor": (put("state|step", torch.zeros(9)), "'state'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENTS)
def test_a_probe_does_not_go_on_from_foreign_content(small: Small, folder, name):
    """They were KeyError, TypeError and RuntimeError, some after a step of training."""
    change, said = CONTENTS[name]
    content = load_checkpoint(folder / "best.ckpt", "probe")
    content["state"]["step"] = 3
    change(content)
    about = {key: value for key, value in content.items() if key not in ("format", "kind")}
    save_checkpoint(folder / "probe-3.ckpt", "probe", about)
    before = tree(folder)
    with pytest.raises(ValueError, match=said) as refused:
        small.run("phone_linear", "baseline", "--name", "damaged", "--resume")
    assert "probe-3.ckpt" in str(refused.value)
    assert len(str(refused.value)) < len(str(folder)) + 250
    assert tree(folder) == before


@pytest.mark.slow
def test_a_finished_probe_whose_progress_is_foreign_leaves_no_predictions(small: Small, folder):
    """They were written before the last line was read."""
    content = load_checkpoint(folder / "best.ckpt", "probe")
    content["state"] = {"step": 30, "best_step": "x"}
    save_checkpoint(
        folder / "probe-30.ckpt", "probe", {k: v for k, v in content.items() if k not in ("format", "kind")}
    )
    (folder / "probe-3.ckpt").unlink(missing_ok=True)
    before = tree(folder)
    with pytest.raises(ValueError, match=r"probe-30\.ckpt"):
        small.run("phone_linear", "baseline", "--name", "damaged", "--resume")
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["adamw", "bertadam", "lamb"])
def test_an_optimiser_takes_its_own_state_and_no_other(name):
    def made(width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(width)
        module = nn.Linear(width, 2)
        groups = decay_groups(module.named_parameters(), 0.01)
        return module, make_optimizer(groups, OptimizerConfig(name=name))

    module, optimizer = made()
    restore(optimizer, optimizer.state_dict())  # before the first step
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved, fresh = optimizer.state_dict(), made()[1]
    restore(fresh, saved)
    for key, state in saved["state"].items():
        for moment, value in state.items():
            assert torch.equal(fresh.state_dict()["state"][key][moment], value)
    for other in (made(4)[1], torch.optim.SGD(made()[0].parameters())):
        with pytest.raises(ValueError):
            restore(other, saved)
    for foreign in (None, [], {}, {"state": 3, "param_groups": 4}, {"state": {}, "param_groups": [{}, {}]}):
        with pytest.raises(ValueError):
            restore(made()[1], foreign)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["config", "seed"])
def test_a_scored_probe_says_of_what_it_is(folder, key, tmp_path):
    """It was a KeyError."""
    content = load_checkpoint(folder / "best.ckpt", "probe")
    for value in (..., "x", [], 1.5):
        about = dict(content["about"])
        about.update({key: value}) if value is not ... else about.pop(key)
        save_checkpoint(tmp_path / "a.ckpt", "probe", {"about": about, "model": {}})
        with pytest.raises(ValueError, match=r"a\.ckpt: damaged: it does not say of which config and seed"):
            open_probe(tmp_path / "a.ckpt", "phone_linear")


@pytest.mark.slow
def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(folder, monkeypatch):
    """Its permission was taken for damage."""
    whole = Path.open

    def opened(path: Path, *args, **kwargs):
        if path.suffix == ".ckpt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    for read in (read_file, lambda path: load_checkpoint(path, "probe"), lambda path: open_probe(path, "phone_linear")):
        with pytest.raises(PermissionError) as refused:
            read(folder / "best.ckpt")
        assert refused.value.filename == str(folder / "best.ckpt")
