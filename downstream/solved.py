"""A head that gets its weights from the whole training part at once: what stands in the place of training steps."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from downstream.config import DownstreamConfig
from downstream.tasks.base import Solver
from utility.batches import AnyBatch, Batch
from utility.config import as_dict
from utility.loader import Loader
from utility.text import short
from utility.training.checkpoint import save_checkpoint, step_path
from utility.training.trainer import Progress, Run

SOLVER = "solver"  # under which a checkpoint says how it was solved
OF_STEPS = {  # keys that only training by steps reads, all of a section where none is listed
    "optimizer": (),
    "trainer": (),
    "data": ("piece_frames", "balance", "max_frames"),
}


def check_solvable(config: DownstreamConfig) -> None:
    """Raise ValueError where more is learnt than the head, or something else than its optimum is asked for."""
    asked = {
        "--weighted_sum": config.upstream.weighted_sum,
        "--fine_tune": config.upstream.fine_tune,
        f"probe.dropout={config.probe.dropout}": config.probe.dropout,
    }
    instead = ", or set probe.solver=sgd" if config.probe.solver == "exact" else ""
    for name, wanted in asked.items():
        if wanted:
            raise ValueError(
                f"{name} goes with training by steps: this head is solved for one frozen hidden state; leave it out"
                + instead
            )
    usual = as_dict(DownstreamConfig())
    for section, names in OF_STEPS.items():
        for name, value in as_dict(config)[section].items():
            if value != usual[section][name] and name in (names or [name]):
                raise ValueError(
                    f"{section}.{name}={short(value)} would change nothing: this head is solved for, without steps; "
                    f"leave it out{instead}"
                )


@torch.no_grad()
def solve(module: nn.Module, head: nn.Module, solver: Solver, train: Loader, dev: Loader, run: Run) -> Progress:
    """Solve for the weights of `head`, and leave the `module` that it is part of as a finished training leaves it."""
    log = run.open_log()

    def logged(number: int, figures: Mapping[str, float]) -> None:
        log.metrics(number, figures)
        if not run.quiet:
            said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(f"pass {number}: {said}", file=sys.stderr, flush=True)

    module.eval()
    said = solver(head, _pass(train, run.device), _pass(dev, run.device), logged)
    for warning in said.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    passes = int(said["passes"])
    progress = Progress(step=passes, best_step=int(said.get("kept_pass", passes)))
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
