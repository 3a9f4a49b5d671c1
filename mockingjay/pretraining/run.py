"""A pre-training run: its data, its model and its trainer."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from mockingjay.build import new_model
from mockingjay.checkpoint import KIND, Pretrained, check_features, check_input
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import FrameModel
from mockingjay.model.groups import original_groups
from mockingjay.pretraining.codes import CodePretraining, collapse_in
from mockingjay.pretraining.data import Data, open_data
from mockingjay.pretraining.example import Example
from mockingjay.pretraining.step import FramePretraining
from utility.audio.feature_config import FeatureConfig
from utility.batches import AnyBatch
from utility.config import as_dict, build, to_yaml
from utility.training.distributed import ALONE, Group
from utility.training.optimization import ORIGINAL, decay_groups
from utility.training.stopping import Stop
from utility.training.trainer import Run, Trainer, Training

STEM = "mockingjay"
LOOKED_AT = 200  # utterances whose codes are counted before a training begins


@dataclass(frozen=True)
class RunContext:
    """Where a run computes and leaves its files, who is told of it, and the `command` that repeats it."""

    directory: Path
    log: Path
    device: torch.device
    quiet: bool = False
    group: Group = ALONE
    stop: Stop | None = None
    say: Callable[[str], None] = print
    warn: Callable[[str], None] = print
    command: str = ""


def make_trainer(config: PretrainConfig, seed: int, context: RunContext, fresh: bool = True) -> Trainer:
    """Open the data of `config`, build the model, and give the trainer that fits it.

    A `fresh` model that makes codes of frames takes the statistics of the training data; else a checkpoint has them."""
    if not config.data.train:
        raise ValueError("config key 'data.train' is empty: name store/split paths, e.g. [data/libri_mel160/train]")
    data = open_data(config.data.train, config, seed, noisy=True)
    model = new_model(config, data.source.row_shape[0], data.target.row_shape[0], seed)
    objective = pretraining(model, config, context.device)
    if isinstance(objective, CodePretraining) and fresh:
        quiet = data if data.online is None else open_data(config.data.train, config, seed)  # without noise
        _look_at_codes(objective, quiet, context)
    evaluate = show = None

    def step(batch: AnyBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return objective.step(data.features(batch, generator), generator)

    if config.data.dev:
        dev = open_data(config.data.dev, config)
        check_features(data.source.features, dev.source.features, "data.train", "data.dev")
        show = Example(objective, dev, context.device, context.warn).show

        def evaluate() -> dict[str, float]:
            scores = objective.evaluate(islice(dev.once(context.device), config.eval_batches))
            for line in collapse_in(scores):
                context.warn(line)
            return scores

    decay = config.optimizer.decay
    original = config.optimizer.name in ORIGINAL
    groups = original_groups(model, decay) if original else decay_groups(model.named_parameters(), decay)
    codes_given = config.predicts_stored_codes  # made of features, but none themselves
    about = {
        "config": as_dict(config),
        "seed": seed,
        "input_dim": model.input_dim,
        "target_dim": model.target_dim,
        "frame_shift": data.source.frame_shift,
        "features": data.source.features and as_dict(data.source.features),
        "target": None if codes_given else data.target.features and as_dict(data.target.features),
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
        events=context.log,
        texts={"config": to_yaml(config).decode(), "command": context.command},
    )
    training = Training(model, step, data.loader, groups, evaluate, show)
    return Trainer(training, config.trainer, config.optimizer, run)


def pretraining(model: FrameModel, config: PretrainConfig, device: torch.device) -> FramePretraining | CodePretraining:
    """What the objective of `config` makes of a model and batches."""
    return (CodePretraining if config.objective == "codes" else FramePretraining)(model, config, device)


def _look_at_codes(objective: CodePretraining, data: Data, context: RunContext) -> None:
    """Normalise by the training data where the model makes the codes, say how they are spread, and warn of a collapse.

    They never change in training: one look is enough."""
    if objective.model.quantizer is not None:
        mean, deviation = (torch.from_numpy(values) for values in data.predicted_level())
        objective.model.quantizer.normalise_by(mean, deviation)
    batches = (data.one(index, context.device) for index in data.evenly(LOOKED_AT))
    for number, use in enumerate(objective.codes_in_use(batches), start=1):
        book = f"codebook {number}" if objective.config.codes.codebooks > 1 else "codes"
        context.say(f"{book}: {use.in_words()}")
        if use.collapsed:
            context.warn(
                f"{book}: they have collapsed: perplexity {use.perplexity:.1f} of {use.size} codes: normalise the "
                "features (CMVN), or raise codes.dim, or cluster into other codes"
            )


def continue_from(trainer: Trainer, saved: Pretrained) -> None:
    """Take weights, optimiser and progress from a checkpoint, ours or the originals'."""
    training, about = saved.training, trainer.run.about
    features = about["features"] and build(FeatureConfig, about["features"])
    check_input(features, about["stated"].get("features"), saved, "data.train")
    codes, before = about["stated"].get("target"), saved.stated.get("target")
    if saved.config.predicts_stored_codes and codes != before:
        raise ValueError(
            f"{saved.path} was trained on {before or 'other codes'}, data.target holds {codes or 'others'}"
        )
    if training.cannot_resume:
        raise ValueError(f"{saved.path}: training cannot go on from it: {training.cannot_resume}")
    content = {"model": saved.model.state_dict(), "optimizer": training.optimizer, "state": training.progress}
    trainer.resume(saved.path, content)
