"""Pre-training: what a step computes, on what data, and what its checkpoint says."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mockingjay.apc import ApcModel, ahead
from mockingjay.config import PretrainConfig
from mockingjay.data import Data, open_data
from mockingjay.folder import read_folder
from mockingjay.legacy import is_ours, read_original
from mockingjay.masking import alter
from mockingjay.model import FrameModel, MaskedLoss, MaskedModel, NoHead, masked_loss
from mockingjay.originals.optimizer import original_groups
from mockingjay.packing import Packing
from mockingjay.pieces import Pieces
from mockingjay.visualize import Reconstruction, reconstruction_figure
from utility.audio import FeatureConfig
from utility.checkpoint import load_checkpoint, load_weights
from utility.config import as_dict, build
from utility.distributed import ALONE, Group
from utility.loader import Batch
from utility.optimization import decay_groups
from utility.trainer import Run, Task, Trainer, autocast

KIND = "pretrain"
STEM = "mockingjay"


@dataclass(frozen=True)
class Attempt:
    """What the model saw, what it predicted and the truth, all [B, T', ...]; the loss counts where `mask` is True."""

    inputs: Tensor
    prediction: Tensor
    truth: Tensor
    mask: Tensor
    lengths: Tensor  # [B]

    def loss(self) -> MaskedLoss:
        """L1 over the chosen elements."""
        return masked_loss(self.prediction, self.truth, self.mask)


class Pretraining:
    """The objective of a model: rebuild altered frames, or predict those that come (APC)."""

    def __init__(self, model: FrameModel, config: PretrainConfig, device: torch.device):
        self.model, self.config, self.device = model.to(device), config, device
        if config.encoder == "transformer":
            model.encoder.recompute = config.speed.recompute
            if config.speed.compile and device.type == "cuda":
                for block in model.encoder.blocks:
                    block.compile()

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of a batch, and the share of its real frames that counted in it."""
        found = self._attempt(batch, generator, packed=self.config.speed.packed and self.device.type == "cuda")
        return {"loss": found.loss().mean(), "masked_share": found.mask.any(-1).sum() / found.lengths.sum()}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean L1 over all chosen elements of `batches`, with masks fixed by the utterance ids."""
        self.model.eval()
        total, count = 0.0, 0.0
        for batch in batches:
            with autocast(self.device, self.config.trainer.precision):
                loss = self._fixed_attempt(batch).loss()
            total += float(loss.total)
            count += float(loss.count)
        if not count:
            raise ValueError("nothing to evaluate: the utterances are too short for any of their frames to count")
        return {"loss": total / count}

    @torch.no_grad()
    def reconstruct(self, batch: Batch, data: Data) -> Reconstruction:
        """What the model makes of a batch of one utterance, masked as in `evaluate`; its pieces end to end."""
        self.model.eval()
        found = self._fixed_attempt(batch)
        shown = {"true": found.truth, "predicted": found.prediction, "masked": found.inputs, "mask": found.mask}
        lengths = found.lengths.tolist()
        shown = {name: torch.cat([v[:t] for v, t in zip(value, lengths)]) for name, value in shown.items()}
        return Reconstruction.of(shown, self.model.downsample_rate, data.source, data.target)

    def _fixed_attempt(self, batch: Batch) -> Attempt:
        batch = batch.to(self.device)
        if self.config.model.max_input_length is not None:
            batch = Pieces.of(batch.lengths, self.config.model.max_input_length).split_batch(batch)
        return self._attempt(batch, fixed_masks(batch.ids))

    def _attempt(
        self, batch: Batch, generator: torch.Generator | list[torch.Generator], packed: bool = False
    ) -> Attempt:
        stacked, lengths = self.model.stack(batch.features, batch.lengths)
        if self.config.objective == "apc":
            prediction = self._predict(stacked, lengths, batch, packed)
            prediction, known = ahead(prediction, lengths, self.config.apc.time_shift)
            return Attempt(stacked, prediction, stacked, known[..., None].expand_as(stacked), lengths)
        truth = stacked if batch.target is None else self.model.stack(batch.target, batch.lengths)[0]
        altered = alter(stacked, lengths, self.config.masking, generator)
        prediction = self._predict(altered.inputs, lengths, batch, packed)
        return Attempt(altered.inputs, prediction, truth, altered.mask, lengths)

    def _predict(self, inputs: Tensor, lengths: Tensor, batch: Batch, packed: bool) -> Tensor:
        if not packed:
            return self.model.predict(inputs, lengths).prediction
        on_host = (batch.host_lengths // self.model.downsample_rate).clamp(min=1)
        packing = Packing.of(on_host, inputs.shape[1], self.device, self.model.encoder.causal)
        return self.model.predict_packed(inputs, lengths, packing)


def fixed_masks(ids: Iterable[str]) -> list[torch.Generator]:
    """A generator per utterance, seeded by its id: the same masks at every evaluation and in any batch."""
    return [torch.Generator().manual_seed(zlib.crc32(name.encode())) for name in ids]


def new_model(config: PretrainConfig, input_dim: int, target_dim: int, seed: int) -> FrameModel:
    """An untrained model with weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(config, input_dim, target_dim)


def build_model(config: PretrainConfig, input_dim: int, target_dim: int) -> FrameModel:
    """The model that `config` describes."""
    if config.encoder == "gru":
        return ApcModel(config.gru, input_dim, target_dim)
    return MaskedModel(config.model, input_dim, target_dim, causal=config.objective == "apc")


@dataclass(frozen=True)
class Place:
    """Where a run computes and leaves its files."""

    directory: Path
    log: Path
    device: torch.device
    quiet: bool = False
    group: Group = ALONE


def make_trainer(config: PretrainConfig, seed: int, place: Place) -> Trainer:
    """Open the data of `config`, build the model, and give the trainer that fits it."""
    if not config.data.train:
        raise ValueError("config key 'data.train' is empty: name store/split paths, e.g. [data/libri_mel160/train]")
    data = open_data(config.data.train, config, seed, noisy=True)
    model = new_model(config, data.source.row_shape[0], data.target.row_shape[0], seed)
    objective = Pretraining(model, config, place.device)
    evaluate = figures = None

    def step(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return objective.step(data.features(batch, generator), generator)

    if config.data.dev:
        dev = open_data(config.data.dev, config)
        check_features(data.source.features, dev.source.features, "data.train", "data.dev")
        example = dev.one(0, place.device)

        def evaluate() -> dict[str, float]:
            return objective.evaluate(islice(dev.once(place.device), config.eval_batches))

        def figures() -> dict[str, Figure]:
            shown = objective.reconstruct(example, dev)
            return {"reconstruction": reconstruction_figure(shown, dev.source, dev.target, example.ids[0])}

    decay = config.optimizer.weight_decay
    named = model.named_parameters()
    groups = decay_groups(named, decay) if config.optimizer.name == "adamw" else original_groups(model, decay)
    about = {
        "config": as_dict(config),
        "seed": seed,
        "input_dim": model.input_dim,
        "target_dim": model.target_dim,
        "frame_shift": data.source.frame_shift,
        "features": data.source.features and as_dict(data.source.features),
        "target": data.target.features and as_dict(data.target.features),
    }
    run = Run(place.directory, place.log, STEM, KIND, about, seed, place.device, place.quiet, place.group)
    task = Task(model, step, data.loader, groups, evaluate, figures)
    return Trainer(task, config.trainer, config.optimizer, run)


def check_features(one: FeatureConfig | None, other: FeatureConfig | None, name: str, other_name: str) -> None:
    """Raise a ValueError with both values where two feature definitions differ."""
    if one is not None and other is not None and one != other:
        mine, theirs = as_dict(one), as_dict(other)
        differing = [f"{key} {mine[key]!r} against {theirs[key]!r}" for key in mine if mine[key] != theirs[key]]
        raise ValueError(f"features of {name} and {other_name} differ: {', '.join(differing)}")


@dataclass(frozen=True)
class Pretrained:
    """A model with what its checkpoint says of it; `features` is None where the store did not say."""

    model: FrameModel
    config: PretrainConfig
    features: FeatureConfig | None
    target: FeatureConfig | None
    frame_shift: float  # seconds
    seed: int
    step: int = 0  # optimiser updates done


def load_pretrained(path: Path) -> Pretrained:
    """Open a pre-training checkpoint, ours or the originals', or a folder of `--export`, in evaluation mode."""
    return pretrained(read_folder(path) if path.is_dir() else open_checkpoint(path), path)


def open_checkpoint(path: Path) -> Mapping[str, Any]:
    """What a pre-training checkpoint holds, one of the originals in our terms; nothing in it runs."""
    return load_checkpoint(path, KIND) if is_ours(path) else read_original(path).content()


def continue_from(trainer: Trainer, path: Path) -> None:
    """Take weights, optimiser and progress from a checkpoint, ours or the originals'."""
    content = open_checkpoint(path)
    if content.get("hindrance"):
        raise ValueError(f"{path}: training cannot go on from it: {content['hindrance']}")
    trainer.resume(path, content)


def pretrained(content: Mapping[str, Any], path: Path) -> Pretrained:
    """The model that the `content` of a checkpoint describes, in evaluation mode."""
    try:
        config = build(PretrainConfig, content["config"])
        features, target = (content[key] and build(FeatureConfig, content[key]) for key in ("features", "target"))
        model = build_model(config, content["input_dim"], content["target_dim"])
        if content.get("headless"):
            model.head = NoHead()
        load_weights(model, content["model"], path)
        step = content["state"]["step"]
    except KeyError as error:
        raise ValueError(f"{path}: incomplete checkpoint: it has no {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    return Pretrained(model.eval(), config, features, target, content["frame_shift"], content["seed"], step)
