"""Pre-training steps and representations: the shapes that are timed, ours and the plain baseline's."""

import math
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch

from benchmarks.baseline import Baseline
from benchmarks.contest import Turn
from benchmarks.features import write_audio
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import FrameModel
from mockingjay.objectives.masking import alter
from mockingjay.pretraining.run import RunContext, make_trainer
from mockingjay.representation import ExtractionOptions, represent
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.audio.feature_config import FeatureConfig
from utility.batches import Batch
from utility.config import resolve
from utility.device import claim_device
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.reading import Store
from utility.store.writing import StoreWriter
from utility.training.trainer import Trainer, autocast

Precision = Literal["fp32", "bf16"]
BATCHES = 4  # different ones in a store
SPEAKERS = 10


@dataclass(frozen=True)
class Shape:
    """A config of the repository on batches of so many utterances of so many frames."""

    name: str
    config: str
    input_dim: int
    frames: int
    utterances: int = 6
    target_dim: int | None = None
    overrides: tuple[str, ...] = field(default=())
    spread: float = 0.0  # share by which the shortest utterance is shorter

    def resolved(self, *more: str) -> PretrainConfig:
        """The config; the file's data give way to made-up ones."""
        return resolve(PretrainConfig, Path("config") / self.config, [*NO_DATA, *self.overrides, *more])

    @property
    def operations(self) -> float:
        """Floating-point operations of a forward pass over the real frames of a batch: matrix products alone."""
        config = self.resolved()
        tokens = np.full(self.utterances, self.frames // config.model.downsample_rate)
        return operations(config, tokens, self.input_dim, self.target_dim or self.input_dim)


def operations(config: PretrainConfig, tokens: np.ndarray, input_dim: int, target_dim: int) -> float:
    """Floating-point operations of a forward pass over utterances of so many (stacked) frames [B]: matrix products."""
    count = int(tokens.sum())
    if config.encoder == "gru":
        size = config.gru.hidden_size
        weights = 3 * size * (input_dim + size) + (config.gru.layers - 1) * 6 * size**2 + size * target_dim
        return 2.0 * count * weights
    model, rate = config.model, config.model.downsample_rate
    size = model.hidden_size
    block = count * (4 * size**2 + 2 * size * model.ffn_size) + 2 * size * int((tokens**2).sum())
    ends = count * (size * rate * (input_dim + target_dim) + size**2)
    return 2.0 * (model.layers * block + ends)


NO_DATA = ("data.train=[]", "data.dev=[]", "data.test=[]", "data.target=[]")
BASE_3 = Shape("Base, 3 frames stacked", "mockingjay_libri.yaml", 160, 1500, overrides=("model.downsample_rate=3",))
BASE_1 = Shape("Base", "mockingjay_libri.yaml", 160, 1500)
LARGE = Shape("Large", "mockingjay_libri_linearLarge.yaml", 160, 1500, target_dim=1025)
TERA = Shape("TERA base", "tera_libri_base.yaml", 80, 800)
APC = Shape("APC", "apc_libri.yaml", 80, 200, utterances=32)


def made_up(folder: Path, name: str, dim: int, frames: int, utterances: int, spread: float = 0.0) -> str:
    """A store of noise, of utterances of up to so many frames; its path with the split."""
    lengths = np.linspace(frames, (1 - spread) * frames, utterances).astype(int).tolist()
    rows = [Row(f"u{i}", n, n * 200, f"s{i % SPEAKERS}", f"u{i}.wav") for i, n in enumerate(lengths)]
    writer = StoreWriter.open(folder / name, "all", rows, StoreInfo(row_shape=[dim], frame_shift=0.0125))
    draw = np.random.default_rng(0)
    for index in writer.pending():
        writer.write(index, draw.standard_normal((lengths[index], dim), dtype=np.float32))
    writer.finish()
    return str(folder / name / "all")


def recorded(folder: Path, frames: int, utterances: int) -> None:
    """Recordings (FLAC) of so many utterances, each a little longer than so many frames."""
    write_audio(folder, utterances, math.ceil(frames * FeatureConfig().frame_shift))


@dataclass(frozen=True)
class Steps:
    """One optimiser update of the plain command's trainer, data and masks included; `online` is straight from FLAC."""

    shape: Shape
    precision: Precision
    overrides: tuple[str, ...] = ()
    online: bool = False

    def __call__(self) -> Turn:
        trainer, device = self.trainer(), claim_device(cpu=False, precision=self.precision)
        stream = trainer.training.loader.stream()

        def turn() -> None:
            trainer.update(stream)
            wait(device)

        return turn

    def trainer(self) -> Trainer:
        """The trainer of the plain command on a made-up store, or recordings that are a little longer."""
        shape, device = self.shape, claim_device(cpu=False, precision=self.precision)
        folder = Path(tempfile.mkdtemp())
        count = BATCHES * shape.utterances
        if self.online:
            recorded(folder / "audio", shape.frames, count)
            words = [f"data.train=[{folder / 'audio'}]", "online.input.kind=mel"]
        else:
            words = [f"data.train=[{made_up(folder, 'input', shape.input_dim, shape.frames, count, shape.spread)}]"]
        if shape.target_dim:
            target = made_up(folder, "target", shape.target_dim, shape.frames, count, shape.spread)
            words.append(f"data.target=[{target}]")
        limits = shape.resolved().loader
        padded = -(-shape.frames // limits.pad_multiple) * limits.pad_multiple
        words += [f"loader.batch_frames={padded * shape.utterances}", f"trainer.precision={self.precision}"]
        config = shape.resolved(*words, *self.overrides)
        return make_trainer(config, 0, RunContext(folder, folder, device, quiet=True, say=lambda line: None))


@dataclass(frozen=True)
class PlainSteps:
    """One step of the baseline on a batch that is at hand."""

    shape: Shape

    def __call__(self) -> Turn:
        shape = self.shape
        baseline = Baseline(shape.resolved(), shape.input_dim, shape.target_dim or shape.input_dim)
        features, lengths = batch(shape)
        target = torch.randn(*features.shape[:2], shape.target_dim) if shape.target_dim else None
        return lambda: baseline.step(features, lengths, target)


@dataclass(frozen=True)
class Representations:
    """Two batches of a store through an untrained model, the last hidden state stored: what `--extract` does."""

    shape: Shape
    precision: Precision

    def __call__(self) -> Turn:
        shape, folder = self.shape, Path(tempfile.mkdtemp())
        store = Store([made_up(folder, "input", shape.input_dim, shape.frames, 2 * shape.utterances)])
        model = new_model(shape.resolved(), shape.input_dim, shape.target_dim or shape.input_dim, 0)
        upstream = PretrainedUpstream(model.eval(), shape.resolved(), None, 0.0125).to(claim_device(cpu=False))
        how = ExtractionOptions(precision=self.precision, batch_frames=shape.frames * shape.utterances, quiet=True)

        def turn() -> None:
            represent(upstream, store, folder / "states", "all", how)
            shutil.rmtree(folder / "states")

        return turn


@dataclass(frozen=True)
class PlainRepresentations:
    """The same by the baseline: an array for each utterance."""

    shape: Shape

    def __call__(self) -> Turn:
        shape, folder = self.shape, Path(tempfile.mkdtemp())
        baseline = Baseline(shape.resolved(), shape.input_dim, shape.target_dim or shape.input_dim)
        features, lengths = batch(shape)
        np.save(folder / "features.npy", features.numpy())

        def turn() -> None:
            for number in range(2):
                states = baseline.represent(torch.from_numpy(np.load(folder / "features.npy")), lengths)
                for row, state in enumerate(states):
                    np.save(folder / f"{number}-{row}.npy", state.numpy())

        return turn


def parts(shape: Shape, precision: Precision, rounds: int) -> dict[str, float]:
    """Median seconds of the parts of a step: data, masking, forward (with masking and loss), backward, optimiser."""
    trainer, device = Steps(shape, precision).trainer(), claim_device(cpu=False, precision=precision)
    config, stream = shape.resolved(), trainer.training.loader.stream()
    generator, times = torch.Generator().manual_seed(0), defaultdict(list)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        wait(device)
        start = time.perf_counter()
        yield
        wait(device)
        times[name].append(time.perf_counter() - start)

    model = trainer.training.module
    assert isinstance(model, FrameModel)
    model.train()
    for _ in range(rounds):
        with timed("data"):
            batch = next(stream)[1].to(device)
        if config.objective == "masked":
            assert isinstance(batch, Batch), "the store holds features"
            stacked, lengths = model.stack(batch.features, batch.lengths)
            with timed("masking"):
                alter(stacked, lengths, config.masking, generator)
        with timed("forward"), autocast(device, precision):
            loss = trainer.training.step(batch, generator)["loss"]
        with timed("backward"):
            loss.backward()
        with timed("optimiser"):
            torch.nn.utils.clip_grad_norm_(trainer.parameters, trainer.clip, foreach=True)
            trainer.optimizer.step()
            trainer.optimizer.zero_grad(set_to_none=True)
    return {name: median(values) for name, values in times.items()}


def batch(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of noise and true lengths."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape.utterances, shape.frames, shape.input_dim, generator=generator)
    return features, torch.full((shape.utterances,), shape.frames)


def wait(device: torch.device) -> None:
    """Until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
