"""What an update and a run do to the letter: clipping, seeds, patience, ties, and the masks of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

import runner_mockingjay
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.objectives.masking import Altered
from mockingjay.pretraining import step as pretraining
from tests.helpers.speech import write_store
from utility.batches import Batch
from utility.config import build
from utility.loader import START, Position
from utility.training.checkpoint import load_checkpoint, load_weights
from utility.training.distributed import Group
from utility.training.optimization import OptimizerConfig
from utility.training.trainer import Run, Trainer, TrainerConfig, Training

CPU = torch.device("cpu")


class Line(nn.Module):
    """One weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


class Endless:
    """The stream of a loader, always the same batch."""

    def stream(self, start=START, rank=0, world=1, pin=False):
        number = start.batch
        while True:
            number += world
            yield Position(0, number), Batch(torch.ones(1, 2, 3), torch.tensor([2]), ["u"])


@dataclass(frozen=True)
class Apart(Group):
    """One of several processes that do not hear of each other."""

    def begin_mean(self, values, dtype):
        return lambda: values

    def gather(self, values):
        return values[None]

    def from_leader(self, value):
        return value

    def any(self, flag):
        return flag


def trainer(folder: Path, step, evaluate=None, group: Group | None = None, **config) -> Trainer:
    module = Line()
    task = Training(module, lambda batch, generator: step(module, generator), Endless(), [{"params": [module.weight]}],
                evaluate)  # fmt: skip
    run = Run(folder, folder / "log", "line", "test", {}, 3, CPU, True, group or Group())
    rules = TrainerConfig(**{"steps": 9, "precision": "fp32", "log_every": 1, "save_every": 99, **config})
    return Trainer(task, rules, OptimizerConfig(name="adamw", clip=0.5, warmup=0.0), run)


def loss(module: Line, generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {"loss": 100 * module.weight.sum()}


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path, monkeypatch):
    made, norms = trainer(tmp_path, loss), []
    update = made.optimizer.step
    monkeypatch.setattr(made.optimizer, "step", lambda: (norms.append(float(made.parameters[0].grad.norm())), update()))
    made.update(made.training.loader.stream())
    assert norms == [pytest.approx(0.5, rel=1e-4)]
    assert float(made.window["grad_norm"][0]) == pytest.approx(100 * 3**0.5)  # logged as it was


def test_a_gradient_below_the_limit_is_left_as_it_is(tmp_path, monkeypatch):
    made, norms = trainer(tmp_path, lambda module, _: {"loss": 0.01 * module.weight.sum()}), []
    update = made.optimizer.step
    monkeypatch.setattr(made.optimizer, "step", lambda: (norms.append(float(made.parameters[0].grad.norm())), update()))
    made.update(made.training.loader.stream())
    assert norms == [pytest.approx(0.01 * 3**0.5, rel=1e-4)]


def test_an_update_takes_the_mean_over_its_batches(tmp_path):
    for accumulation in (1, 4):
        made = trainer(tmp_path, lambda module, _: {"loss": 0.01 * module.weight.sum()}, accumulation=accumulation)
        made.update(made.training.loader.stream())
        assert float(made.window["grad_norm"][0]) == pytest.approx(0.01 * 3**0.5)


def seeds(folder: Path, accumulation: int, world: int, rank: int) -> list[list[int]]:
    """The seeds of the generators of each of three steps."""
    seen = []

    def step(module, generator):
        assert torch.initial_seed() == generator.initial_seed()  # dropout draws from it too
        seen.append(generator.initial_seed())
        return loss(module, generator)

    made = trainer(folder, step, group=Apart(rank, world), accumulation=accumulation)
    stream = made.training.loader.stream()
    for _ in range(3):
        made.update(stream)
    return [seen[i : i + accumulation] for i in range(0, len(seen), accumulation)]


def test_every_batch_of_every_process_and_step_draws_apart(tmp_path):
    alone = seeds(tmp_path, 4, 1, 0)
    pairs = [seeds(tmp_path, 2, 2, rank) for rank in (0, 1)]
    assert len({seed for step in alone for seed in step}) == 12
    for number, step in enumerate(alone):  # two processes draw what one with their batches draws, in the same order
        assert step == [pairs[rank][number][turn] for turn in (0, 1) for rank in (0, 1)]


def scores(values: Sequence[float]):
    given = iter(values)
    return lambda: {"loss": next(given)}


@pytest.mark.parametrize(("patience", "steps"), [(1, 3), (2, 6), (3, 7)])
def test_patience_counts_evaluations_without_a_better_one(tmp_path, patience, steps):
    evaluate = scores([5.0, 4.0, 4.5, 3.0, 3.5, 3.2, 3.1, 1.0, 0.5])
    assert trainer(tmp_path, loss, evaluate, eval_every=1, patience=patience).fit().step == steps


def test_an_equal_score_is_not_better(tmp_path):
    found = trainer(tmp_path, loss, scores([2.0, 1.0, 1.0, 1.0]), eval_every=1, steps=4).fit()
    assert (found.best, found.best_step, found.stale) == (1.0, 2, 2)
    assert load_checkpoint(tmp_path / "best.ckpt", "test")["state"]["step"] == 2


@pytest.fixture
def seen(monkeypatch) -> list[Altered]:
    """What the objective made of each batch since the test began."""
    found, alter = [], pretraining.alter

    def watched(*arguments, **more):
        found.append(alter(*arguments, **more))
        return found[-1]

    monkeypatch.setattr(pretraining, "alter", watched)
    return found


def objective() -> pretraining.FramePretraining:
    values = {"model": {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}, "trainer": {"precision": "fp32"}}
    config = build(PretrainConfig, values)
    return pretraining.FramePretraining(new_model(config, 4, 4, 0), config, CPU)


def padded(*lengths: int) -> Batch:
    features = torch.randn(len(lengths), max(lengths), 4, generator=torch.Generator().manual_seed(0))
    for row, length in zip(features, lengths):
        row[length:] = 0
    return Batch(features, torch.tensor(lengths), [f"u{length}" for length in lengths])


def test_the_masks_of_an_evaluation_follow_from_the_ids_alone(seen):
    trained = objective()
    features = torch.randn(1, 300, 4, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1)
    batch = Batch(features, torch.full((4,), 300), ["a", "b", "c", "a"])
    alone = replace(batch, features=features[:1], lengths=batch.lengths[:1], ids=["b"])
    first = trained.evaluate([batch])
    assert trained.evaluate([batch]) == first
    trained.evaluate([alone])
    masks = seen[0].mask
    assert masks.any(dim=(1, 2)).all()
    assert torch.equal(masks[0], masks[3])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])
    assert torch.equal(seen[2].mask[0], masks[1])
    assert torch.equal(seen[2].inputs[0], seen[0].inputs[1])


def test_an_evaluation_weighs_every_hidden_element_alike(seen):
    trained, long, short = objective(), padded(300, 280), padded(60)
    one, other, both = (trained.evaluate(batches)["loss"] for batches in ([long], [short], [long, short]))
    weights = [float(altered.mask.sum()) for altered in seen[:2]]
    assert weights[0] > 2 * weights[1] > 0
    assert both == pytest.approx((one * weights[0] + other * weights[1]) / sum(weights), rel=1e-5)


def test_the_masked_share_is_one_of_real_frames(seen):
    found = objective().step(padded(300, 60), torch.Generator().manual_seed(0))["masked_share"]
    assert float(found) == pytest.approx(float(seen[0].mask.any(-1).sum()) / 360)
    assert 0.05 < float(found) < 0.2


@pytest.fixture
def data(tmp_path) -> list[str]:
    """Words that name a training and a dev set of four batches."""
    train = write_store(tmp_path / "data" / "train", {f"a-{i}": 60 for i in range(4)})
    dev = write_store(tmp_path / "data" / "dev", {f"b-{i}": 60 for i in range(4)}, seed=1)
    small = ["model.layers=1", "model.hidden_size=8", "model.heads=2", "model.ffn_size=8", "loader.batch_frames=64"]
    return [f"data.train=[{train}]", f"data.dev=[{dev}]", *small, "trainer.steps=1", "optimizer.lr=1e-9"]


def run(folder: Path, name: str, *words: str) -> dict:
    places = ["--ckpdir", str(folder), "--logdir", str(folder / "log"), "--cpu", "--no-msg", "--name", name]
    runner_mockingjay.main(["--train", *places, *words])
    return load_checkpoint(folder / name / "mockingjay-1.ckpt", "pretrain")


@pytest.mark.slow
def test_the_seed_draws_the_weights(data, tmp_path):
    weights = [run(tmp_path, f"{seed}", "--seed", str(seed), *data) for seed in (3, 4)]
    first, second = (content["model"]["encoder.projection.weight"] for content in weights)
    assert not torch.allclose(first, second, atol=1e-4)
    fresh = new_model(build(PretrainConfig, weights[0]["config"]), 80, 80, seed=3)
    torch.testing.assert_close(first, fresh.encoder.projection.weight.detach(), atol=1e-6, rtol=0)
    load_weights(fresh, weights[0]["model"], "x")


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "read"), [(1, 1), (3, 3), (50, 4)])
def test_an_evaluation_reads_so_many_batches(data, tmp_path, monkeypatch, limit, read):
    counts, evaluate = [], pretraining.FramePretraining.evaluate

    def counted(self, batches):
        batches = list(batches)
        counts.append(len(batches))
        return evaluate(self, batches)

    monkeypatch.setattr(pretraining.FramePretraining, "evaluate", counted)
    run(tmp_path, "run", *data, f"eval_batches={limit}")
    assert counts == [read]
