"""The one training loop: accumulation, clipping, schedule, precision, evaluation, logging, saving and exact resume."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from utility.batches import AnyBatch
from utility.loader import START, Loader, Position
from utility.seeds import step_seed
from utility.side_stream import fed
from utility.text import short
from utility.training.checkpoint import (
    is_progress,
    keep_newest,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    saved_steps,
    step_path,
)
from utility.training.config import TrainerConfig
from utility.training.distributed import ALONE, Group
from utility.training.events import Board
from utility.training.gradients import GradientAverage
from utility.training.log import ProgressLines, RunLog
from utility.training.optimization import OptimizerConfig, make_optimizer, make_schedule, restore
from utility.training.stopping import Stop, Stopped
from utility.training.stopwatch import Stopwatch

Step = Callable[[AnyBatch, torch.Generator], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Progress:
    """Where a run stands: all that resuming needs besides weights and optimiser."""

    step: int = 0
    position: Position = START
    best: float | None = None  # the lowest evaluation so far,
    best_step: int = 0
    stale: int = 0  # and evaluations since
    pending: dict[str, list[float]] = field(default_factory=dict)  # of the log window not yet written


@dataclass(frozen=True)
class Training:
    """What is trained. `step(batch, generator)` gives {"loss": scalar, ...}; the others are logged beside it.

    `evaluate()` gives figures, "loss" (or whatever `choose` names, lower is better) decides which step was best.
    `show(step, board)` adds what else is to be seen of an evaluation. `groups` are the optimiser's parameter groups.
    Randomness in `step` comes from its generator or from dropout."""

    module: nn.Module
    step: Step
    loader: Loader
    groups: list[dict]
    evaluate: Callable[[], Mapping[str, float]] | None = None
    show: Callable[[int, Board], None] | None = None
    choose: str = "loss"


@dataclass(frozen=True)
class Run:
    """Where a run leaves its files and what its checkpoints say of it (`about` must be plain types).

    metrics.jsonl is in `log`, TensorBoard's files in `events` (None: there are none), with the `texts` that say what
    the run is. With `stop` a SIGTERM ends it at the next step, with a checkpoint."""

    directory: Path
    log: Path
    stem: str
    kind: str
    about: dict
    seed: int
    device: torch.device
    quiet: bool = False
    group: Group = ALONE
    stop: Stop | None = None
    events: Path | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    def open_log(self, start: int = 0) -> RunLog:
        """The log of a run that goes on from step `start`."""
        return RunLog(self.log, start, Board(self.events, start, self.texts))


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Matrix products in bfloat16 where `precision` is bf16."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


class Trainer:
    """Trains one module; `fit` starts, or continues exactly where the given checkpoint stands.

    The processes of `run.group` share each step's batches and average their gradients: 2 processes with an accumulation
    of 1 train as 1 process with an accumulation of 2."""

    def __init__(self, training: Training, config: TrainerConfig, optimizer: OptimizerConfig, run: Run):
        self.training, self.config, self.run = training, config, run
        self.optimizer = make_optimizer(training.groups, optimizer)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.steps = count_steps(config, training.loader, run.group.world)
        self.share = make_schedule(optimizer, self.steps)
        self.clip = optimizer.clip
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        trained = set(self.parameters)
        in_order = [parameter for parameter in training.module.parameters() if parameter in trained]
        assert len(in_order) == len(trained), "the module has all that is trained"
        self.gradients = GradientAverage(in_order, run.group, config)
        self.progress = Progress()
        self.window: dict[str, list[Tensor]] = {}  # figures still on the device
        self.clock = Stopwatch()

    @property
    def best_path(self) -> Path:
        """The checkpoint of the step that did best on dev."""
        return self.run.directory / "best.ckpt"

    def resume(self, path: Path, content: Mapping[str, Any] | None = None) -> None:
        """Take weights, optimiser and progress from a checkpoint of such a run, or from what was read from it."""
        content = load_checkpoint(path, self.run.kind) if content is None else content
        load_weights(self.training.module, content.get("model", {}), path)
        state = content.get("state")
        if not is_progress(state):
            raise ValueError(f"{path}: damaged: its 'state' is {short(state)}, expected where the training stood")
        try:
            restore(self.optimizer, content["optimizer"])
            self.progress = Progress(**{**state, "position": Position(*state["position"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}: its optimiser and progress are not those of such a run") from None

    def fit(self) -> Progress:
        """Run to the last step (or until patience ends) and leave a checkpoint there.

        Raises Stopped where a SIGTERM ended it before; then too its last step has a checkpoint."""
        group, start = self.run.group, self.progress.step
        if group.any(start != group.from_leader(start)):
            group.leave()
            raise ValueError(f"{self.run.directory}: the processes do not see the same checkpoint: start them again")
        self.log = None
        if group.leads:
            self.run.directory.mkdir(parents=True, exist_ok=True)
            self.log = self.run.open_log(start)
        silent = self.run.quiet or not group.leads or None
        self.lines = None if silent else ProgressLines(start, self.steps)
        bar = tqdm(total=self.steps, initial=start, disable=silent, unit="step", dynamic_ncols=True)
        pin = self.run.device.type == "cuda"
        stream = fed(self.training.loader.stream(self.progress.position, group.rank, group.world, pin), self.run.device)
        self.clock = Stopwatch()
        told = False
        try:
            with self.run.stop or nullcontext():
                while not told and self.progress.step < self.steps and not self._out_of_patience():
                    self.update(stream)
                    self._mark(bar)
                    told = self._told()
                if self.progress.step > start:
                    self.save()
        finally:
            stream.close()  # ends the threads that read ahead
            bar.close()
        if told and self.progress.step < self.steps:
            step = self.progress.step
            raise Stopped(f"{self.run.directory}: told to end by SIGTERM: step {step} is saved, --resume goes on")
        return self.progress

    def _told(self) -> bool:
        """Whether a SIGTERM came to this process or to another of the group: all end at the same step."""
        return self.run.stop is not None and self.run.group.any(self.run.stop.told)

    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.progress.stale >= self.config.patience

    def update(self, stream: Iterator[tuple[Position, AnyBatch]]) -> None:
        """One optimiser update on the next batches of the loader's stream."""
        step, frames, position = self.progress.step, 0, self.progress.position
        self.training.module.train()
        for group, base in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = base * self.share(step)
        for index in range(self.config.accumulation):
            with self.clock.waiting():
                position, batch = next(stream)
            batch = batch.to(self.run.device)
            assert batch.host_lengths is not None, "a batch keeps them when it goes to a device"
            frames += int(batch.host_lengths.sum())
            seed = step_seed(self.run.seed, step, index * self.run.group.world + self.run.group.rank)
            torch.manual_seed(seed)  # dropout
            generator = torch.Generator().manual_seed(seed)
            with autocast(self.run.device, self.config.precision):
                values = self.training.step(batch, generator)
            if index == self.config.accumulation - 1:
                self.gradients.expect()
            (values["loss"] / self.config.accumulation).backward()
            self._collect(values)
        self.gradients.finish()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip, foreach=True)
        self._collect({"grad_norm": norm})
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.clock.frames += frames
        self.progress = replace(self.progress, step=step + 1, position=position)

    def _collect(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.window.setdefault(name, []).append(value.detach())

    def _settle(self) -> dict[str, list[float]]:
        """Bring the window's figures to the host; the only synchronisation, and where a bad loss stops the run."""
        pending = {name: list(values) for name, values in self.progress.pending.items()}
        for name, scalars in self.window.items():
            pending.setdefault(name, []).extend(self.run.group.gather(torch.stack(scalars)).mean(0).tolist())
        self.window = {}
        for name, values in pending.items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{name} is not finite within {len(values)} updates before step {self.progress.step}: lower "
                    f"optimizer.lr, or look for broken features; {self.run.directory} keeps the last good checkpoint"
                )
        self.progress = replace(self.progress, pending=pending)
        return pending

    def _mark(self, bar: tqdm) -> None:
        step, config = self.progress.step, self.config
        last = step == self.steps
        if step % config.log_every == 0 or last:
            means = {name: float(np.mean(values)) for name, values in self._settle().items()}
            self.progress = replace(self.progress, pending={})
            speed = self.clock.read()
            speed["frames_per_s"] *= self.run.group.world  # of like batches
            rate = self.optimizer.param_groups[0]["lr"]
            if self.log is not None:
                self.log.metrics(step, {**means, "lr": rate, **speed})
            if self.lines is not None:
                self.lines.say(step, means["loss"], rate, speed["frames_per_s"])
            bar.set_postfix(loss=f"{means['loss']:.4f}", frames_per_s=f"{speed['frames_per_s']:.0f}", refresh=False)
        bar.update()
        if self.training.evaluate is not None and (step % config.eval_every == 0 or last):
            self._evaluate()
        if step % config.save_every == 0 and not last:
            self.save()

    def _evaluate(self) -> None:
        self._settle()
        step = self.progress.step
        self.training.module.eval()
        with self.clock.paused():
            figures = self.run.group.by_leader(self._evaluated)
        score = figures[self.training.choose]
        if self.progress.best is None or score < self.progress.best:
            self.progress = replace(self.progress, best=score, best_step=step, stale=0)
            self.run.group.by_leader(lambda: self._write(self.best_path))
        else:
            self.progress = replace(self.progress, stale=self.progress.stale + 1)

    @torch.no_grad()
    def _evaluated(self) -> dict[str, float]:
        assert self.training.evaluate is not None, "without a dev part nothing is evaluated"
        assert self.log is not None, "the leader alone evaluates"
        step, figures = self.progress.step, dict(self.training.evaluate())
        self.log.metrics(step, {f"dev_{name}": value for name, value in figures.items()})
        if self.training.show is not None:
            self.training.show(step, self.log.board)
            gc.collect()  # each picture holds megabytes, in a cycle that Python looks for rarely
        return figures

    def save(self) -> None:
        """Write the checkpoint of this step and delete those beyond `max_keep`."""
        self._settle()
        with self.clock.paused():
            self.run.group.by_leader(self._write_step)

    def _write_step(self) -> None:
        self._write(step_path(self.run.directory, self.run.stem, self.progress.step))
        keep_newest(self.run.directory, self.run.stem, self.config.max_keep)

    def _write(self, path: Path) -> None:
        state = asdict(self.progress) | {"position": list(self.progress.position)}
        content = {"model": self.training.module.state_dict(), "optimizer": self.optimizer.state_dict(), "state": state}
        save_checkpoint(path, self.run.kind, {**content, **self.run.about})


def count_steps(config: TrainerConfig, loader: Loader, world: int = 1) -> int:
    """Updates of a run by `world` processes: as many as the config says, or as its epochs take.

    An update takes `accumulation` batches of every process, so the last one may reach into the next epoch."""
    if config.epochs is None:
        assert config.steps is not None, "without epochs there are steps"
        return config.steps
    batches = sum(len(loader.epoch(epoch)) for epoch in range(config.epochs))
    return -(-batches // (config.accumulation * world))


def newest_checkpoint(directory: Path, stem: str) -> Path | None:
    """The latest step checkpoint of a run, or None."""
    steps = saved_steps(directory, stem)
    return step_path(directory, stem, steps[-1]) if steps else None
