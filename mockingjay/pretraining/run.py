"""A pre-training run: its data, its model and its trainer."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mockingjay.build import new_model
from mockingjay.checkpoint import KIND, Pretrained, check_features, check_input
from mockingjay.config import PretrainConfig
from mockingjay.figures import reconstruction_figure
from mockingjay.model.groups import original_groups
from mockingjay.pretraining.data import open_data
from mockingjay.pretraining.step import Pretraining
from utility.audio.feature_config import FeatureConfig
from utility.batches import AnyBatch
from utility.config import as_dict, build
from utility.training.distributed import ALONE, Group
from utility.training.optimization import ORIGINAL, decay_groups
from utility.training.stopping import Stop
from utility.training.trainer import Run, Trainer, Training

STEM = "mockingjay"


@dataclass(frozen=True)
class RunContext:
    """Where a run computes and leaves its files."""

    directory: Path
    log: Path
    device: torch.device
    quiet: bool = False
    group: Group = ALONE
    stop: Stop | None = None


def make_trainer(config: PretrainConfig, seed: int, context: RunContext) -> Trainer:
    """Open the data of `config`, build the model, and give the trainer that fits it."""
    if not config.data.train:
        raise ValueError("config key 'data.train' is empty: name store/split paths, e.g. [data/libri_mel160/train]")
    data = open_data(config.data.train, config, seed, noisy=True)
    model = new_model(config, data.source.row_shape[0], data.target.row_shape[0], seed)
    objective = Pretraining(model, config, context.device)
    evaluate = figures = None

    def step(batch: AnyBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return objective.step(data.features(batch, generator), generator)

    if config.data.dev:
        dev = open_data(config.data.dev, config)
        check_features(data.source.features, dev.source.features, "data.train", "data.dev")
        example = dev.one(0, context.device)

        def evaluate() -> dict[str, float]:
            return objective.evaluate(islice(dev.once(context.device), config.eval_batches))

        def figures() -> dict[str, Figure]:
            shown = objective.reconstruct(example, dev)
            return {"reconstruction": reconstruction_figure(shown, dev.source, dev.target, example.ids[0])}

    decay = config.optimizer.decay
    original = config.optimizer.name in ORIGINAL
    groups = original_groups(model, decay) if original else decay_groups(model.named_parameters(), decay)
    about = {
        "config": as_dict(config),
        "seed": seed,
        "input_dim": model.input_dim,
        "target_dim": model.target_dim,
        "frame_shift": data.source.frame_shift,
        "features": data.source.features and as_dict(data.source.features),
        "target": data.target.features and as_dict(data.target.features),
        "stated": {
            name: info.stated
            for name, info in (("features", data.source), ("target", data.target))
            if info.stated is not None
        },
    }
    corpora = [data.corpus, dev.corpus] if config.data.dev else [data.corpus]
    lists = {name: one.digest for corpus in corpora for name, one in zip(corpus.names, corpus.lists) if one is not None}
    about |= {"lists": lists} if lists else {}
    run = Run(
        directory=context.directory,
        log=context.log,
        stem=STEM,
        kind=KIND,
        about=about,
        seed=seed,
        device=context.device,
        quiet=context.quiet,
        group=context.group,
        stop=context.stop,
    )
    training = Training(model, step, data.loader, groups, evaluate, figures)
    return Trainer(training, config.trainer, config.optimizer, run)


def continue_from(trainer: Trainer, saved: Pretrained) -> None:
    """Take weights, optimiser and progress from a checkpoint, ours or the originals'."""
    training, about = saved.training, trainer.run.about
    features = about["features"] and build(FeatureConfig, about["features"])
    check_input(features, about["stated"].get("features"), saved, "data.train")
    if training.cannot_resume:
        raise ValueError(f"{saved.path}: training cannot go on from it: {training.cannot_resume}")
    content = {"model": saved.model.state_dict(), "optimizer": training.optimizer, "state": training.progress}
    trainer.resume(saved.path, content)
