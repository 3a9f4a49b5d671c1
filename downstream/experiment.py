"""One probing run: opened and checked, trained with an eye on dev, and then scored once on test."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from downstream.config import DownstreamConfig
from downstream.examples import Frames, Use
from downstream.metrics import Score, selection_error
from downstream.opened import Opened
from downstream.predictions import PredictionFile
from downstream.probe import Probe, evaluate
from downstream.tasks.base import Task
from mockingjay.inputs import PAD_MULTIPLE
from mockingjay.upstream import load_upstream
from utility.config import as_dict, differences, write_yaml
from utility.files import remove_leftovers
from utility.loader import Loader, LoaderConfig
from utility.text import short
from utility.training.checkpoint import load_checkpoint, load_weights
from utility.training.distributed import ALONE, Group
from utility.training.stopping import Stop
from utility.training.trainer import Progress, Run, Trainer, Training, count_steps, newest_checkpoint

KIND = STEM = "probe"


def plain_part(checkpoint: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """What the checkpoint in `path` says under `name`: plain values by their names; ValueError for anything else."""
    part = checkpoint.get(name)
    try:
        json.dumps(part)
    except (TypeError, ValueError, RecursionError):
        part = None
    if not isinstance(part, dict):
        raise ValueError(f"{path}: damaged, or not of a probe: its {name!r} holds no plain values")
    return part


@dataclass(frozen=True)
class Setting:
    """What is run: task, upstream (its checkpoint or None), config and seed."""

    task: Task
    upstream: str
    ckpt: Path | None
    config: DownstreamConfig
    seed: int
    device: torch.device
    quiet: bool = False
    group: Group = ALONE
    stop: Stop | None = None
    assume: Mapping[str, Any] | None = None  # what the checkpoint does not say (`load_upstream`)


class Sealed:
    """The test part: it can be scored once, after the choice."""

    def __init__(self, loader: Callable[[], Loader]):
        self._loader: Callable[[], Loader] | None = loader

    def score(self, probe: Probe, device: torch.device, predictions: PredictionFile | None = None) -> Score:
        """Score the chosen probe, write what it predicts where that is asked for, and close for good."""
        assert self._loader is not None, "the test part is read once"
        loader, self._loader = self._loader, None
        return evaluate(probe, loader().once(), device, predictions)


class Experiment:
    """A setting in a directory; making one checks everything that can be checked before work is done.

    Runs that are given the same `opened` share what they read."""

    def __init__(self, setting: Setting, directory: Path, opened: Opened | None = None):
        self.setting, self.directory, self.started = setting, directory, time.perf_counter()
        self.opened = Opened() if opened is None else opened
        task, config = setting.task, setting.config
        self.corpus = self.opened.corpus(task, config.data)
        info = self.corpus.store.info
        self.layered = setting.upstream == "baseline" and len(info.row_shape) == 2  # hidden states that were stored
        plain = replace(info, row_shape=info.row_shape[-1:])
        load = load_upstream if config.upstream.fine_tune else self.opened.upstream  # a tuned one is changed
        taken = plain if self.layered else info
        self.upstream = load(setting.upstream, setting.ckpt, taken, setting.seed, setting.device, assume=setting.assume)
        self.states = info.row_shape[0] if self.layered else self.upstream.num_layers + 1
        self.layer = self._layer()
        self.fingerprint = self.upstream.fingerprint
        self.parameters = sum(p.numel() for p in self.upstream.parameters())
        self._check()
        tuned = self.upstream if config.upstream.fine_tune else None
        self.probe = Probe(
            task, self.corpus.labels, config, self.states, self.upstream.hidden_size, tuned, setting.seed
        ).to(setting.device)
        self.test = Sealed(lambda: self._loader("test"))

    def _layer(self) -> int:
        layer = self.setting.config.upstream.layer
        layer = self.states - 1 if layer == "last" else layer
        if layer >= self.states:
            known = "only hidden state 0" if self.states == 1 else f"hidden states 0 to {self.states - 1}"
            raise ValueError(f"layer {layer} does not exist: upstream {short(self.setting.upstream)} has {known}")
        return layer

    def _check(self) -> None:
        chosen, name = self.setting.config.upstream, short(self.setting.upstream)
        if chosen.weighted_sum and self.states == 1:
            raise ValueError(f"weighted_sum: upstream {name} has only one hidden state, there is nothing to weigh")
        if chosen.fine_tune and not self.parameters:
            raise ValueError(f"fine_tune: upstream {name} has no weights to train")

    def warning(self) -> str | None:
        """What is likely to spoil the result without being an error."""
        task = self.setting.task
        caution = task.caution(self.corpus.store.info.features) if self.setting.upstream == "baseline" else None
        return caution and f"{task.name} {caution}"

    def about(self) -> dict:
        """What must be the same for a run to be continued."""
        return {
            "task": self.setting.task.name,
            "upstream": self.fingerprint,
            "store": self.corpus.store.fingerprint(Path(self.setting.config.data.cache)),
            "seed": self.setting.seed,
            "config": as_dict(self.setting.config),
        }

    def train(self) -> Progress:
        """Train to the end, or on from the newest checkpoint; only the train and dev parts are read."""
        newest = self.setting.group.by_leader(lambda: newest_checkpoint(self.directory, STEM))
        if newest is not None:
            self.check_same()
        trainer = self.trainer()
        if newest is not None:
            trainer.resume(newest)
        if self.setting.group.leads:
            self.directory.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.directory)
            write_yaml(self.setting.config, self.directory / "config.yaml")
        return trainer.fit()

    def trainer(self) -> Trainer:
        """What trains the probe from its start; a frozen upstream has run before it is there."""
        config = self.setting.config
        train, dev = self._loader("train", training=True), self._loader("dev")

        def evaluated() -> dict[str, float]:
            figures = evaluate(self.probe, dev.once(), self.setting.device).figures()
            return {**figures, "selection_error": selection_error(self.setting.task.metric, figures)}

        training = Training(
            module=self.probe,
            step=self.probe.step,
            loader=train,
            groups=self.probe.groups(config),
            evaluate=evaluated,
            choose="selection_error",
        )
        run = Run(
            directory=self.directory,
            log=self.directory,
            stem=STEM,
            kind=KIND,
            about={"about": self.about()},
            seed=self.setting.seed,
            device=self.setting.device,
            quiet=self.setting.quiet,
            group=self.setting.group,
            stop=self.setting.stop,
        )
        return Trainer(training, config.trainer, config.optimizer, run)

    def steps(self) -> int:
        """Updates that training makes where nothing ends it early; no upstream runs for it, and no frame is read."""
        loader = self._loader("train", training=True, frames=Frames([self.corpus.store], None))
        return count_steps(self.setting.config.trainer, loader, self.setting.group.world)

    def load_best(self) -> Score:
        """Take the weights of the step that did best on dev, and score them on dev again, into predictions_dev.tsv."""
        self.state()  # one that is damaged is refused before anything is written
        path = self.directory / "best.ckpt"
        load_weights(self.probe, load_checkpoint(path, KIND).get("model", {}), path)
        with self._predictions("dev") as predictions:
            return evaluate(self.probe, self._loader("dev").once(), self.setting.device, predictions)

    def score_test(self) -> Score:
        """Score the loaded weights on test, once, into predictions_test.tsv."""
        with self._predictions("test") as predictions:
            return self.test.score(self.probe, self.setting.device, predictions)

    def _predictions(self, part: str) -> PredictionFile:
        return PredictionFile(self.directory / f"predictions_{part}.tsv", self.setting.task.columns)

    def layer_weights(self) -> list[float] | None:
        """The learnt weights of hidden states 0..L, if there are any."""
        return None if self.probe.layer_sum is None else self.probe.layer_sum.weights().tolist()

    def state(self) -> dict:
        """Where the newest checkpoint stands: `step`, `best_step` ..."""
        path, state = self._newest("state")
        if not all(type(state.get(name)) is int for name in ("step", "best_step")):
            raise ValueError(f"{path}: damaged, it does not say how far the probe was trained")
        return state

    def check_same(self) -> None:
        """Raise ValueError where the run in the directory was made from something else, naming both values."""
        there, here = self._newest("about")[1], self.about()
        for name, was, now in sorted(differences(there, here)):
            change = f"{name} was {short(was)}, now {short(now)}"
            raise ValueError(f"{self.directory} cannot be continued: {change}; give the run another --name")

    def _newest(self, name: str) -> tuple[Path, dict[str, Any]]:
        """The newest checkpoint, and what it says under a name."""
        path = newest_checkpoint(self.directory, STEM)
        if path is None:
            raise ValueError(f"{self.directory}: no checkpoint to continue from")
        return path, plain_part(load_checkpoint(path, KIND), name, path)

    @cached_property
    def _frames(self) -> Frames:
        """What the probe reads: the features, stored hidden states, or the cache, which is filled here."""
        config = self.setting.config
        one = None if config.upstream.weighted_sum else self.layer
        if config.upstream.fine_tune:
            return Frames([self.corpus.store], None)
        if self.setting.upstream == "baseline":
            return Frames([self.corpus.store], one)
        layers: int | Literal["all"] = "all" if one is None else one
        return self.opened.stored(self.upstream, self.corpus.stores, layers, config.data, self.setting.quiet)

    def _loader(self, part: str, training: bool = False, frames: Frames | None = None) -> Loader:
        config = self.setting.config
        use = Use(config.data, training, config.upstream.fine_tune, config.probe.context)
        chosen = getattr(self.corpus.parts, part)
        examples = self.setting.task.source(frames or self._frames, self.corpus.labels, chosen, use)
        loader = LoaderConfig(batch_frames=examples.batch_frames(use))
        if use.fine_tune:
            loader = LoaderConfig(batch_frames=config.data.fine_tune_frames, pad_multiple=PAD_MULTIPLE)
        return Loader(examples, loader, self.setting.seed, examples.target)
