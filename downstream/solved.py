"""A head that gets its weights from the whole training part at once: what stands in the place of training steps."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from downstream.config import DownstreamConfig
from downstream.tasks.base import Solver
from utility.batches import AnyBatch, Batch
from utility.loader import Loader
from utility.training.checkpoint import save_checkpoint, step_path
from utility.training.log import RunLog
from utility.training.trainer import Progress, Run

SOLVER = "solver"  # under which a checkpoint says how it was solved


def check_solvable(config: DownstreamConfig) -> None:
    """Raise ValueError where more is learnt than the head, or something else than its optimum is asked for."""
    asked = {
        "--weighted_sum": config.upstream.weighted_sum,
        "--fine_tune": config.upstream.fine_tune,
        f"probe.dropout={config.probe.dropout}": config.probe.dropout,
        "trainer.epochs": config.trainer.epochs,
    }
    for name, wanted in asked.items():
        if wanted:
            raise ValueError(f"{name} goes with training by steps: this head is solved for one frozen hidden state")


@torch.no_grad()
def solve(module: nn.Module, head: nn.Module, solver: Solver, train: Loader, dev: Loader, run: Run) -> Progress:
    """Solve for the weights of `head`, and leave the `module` that it is part of as a finished training leaves it."""
    log = RunLog(run.log)
    module.eval()
    said = solver(head, _pass(train, run.device), _pass(dev, run.device), log.metrics)
    passes = int(said["passes"])
    progress = Progress(step=passes, best_step=passes)
    state = asdict(progress) | {"position": list(progress.position)}
    content: Mapping[str, Any] = {"model": module.state_dict(), SOLVER: dict(said), "state": state, **run.about}
    save_checkpoint(run.directory / "best.ckpt", run.kind, content)
    save_checkpoint(step_path(run.directory, run.stem, passes), run.kind, content)
    return progress


def _pass(loader: Loader, device: torch.device) -> Callable[[], Iterator[Batch]]:
    """All batches of a part, once for each call."""

    def batches() -> Iterator[Batch]:
        for batch in loader.once():
            yield _stored(batch).to(device)

    return batches


def _stored(batch: AnyBatch) -> Batch:
    assert isinstance(batch, Batch), "frozen hidden states are stored"
    return batch
