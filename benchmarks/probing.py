"""Training a probe: from the cache of a frozen upstream, or through an upstream that is trained with it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.baseline import Baseline, PlainModel
from benchmarks.contest import Turn
from benchmarks.steps import BASE_3, made_up, wait
from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from downstream.setting import Setting
from downstream.tasks.table import find_task
from mockingjay.upstreams.spec import UpstreamSpec
from utility.config import resolve
from utility.device import claim_device
from utility.training.trainer import Trainer

FRAMES, UTTERANCES, SPEAKERS = 1000, 60, 10
CONFIG = "config/mockingjay_libri.yaml"


@dataclass(frozen=True)
class Probing:
    """So many updates of a frame-wise speaker probe on Mockingjay Base; `tuned` trains the upstream too."""

    tuned: bool
    updates: int

    def __call__(self) -> Turn:
        trainer, device = self.trainer(), claim_device(cpu=False)
        stream = trainer.training.loader.stream()

        def turn() -> None:
            for _ in range(self.updates):
                trainer.update(stream)
            wait(device)

        return turn

    def trainer(self) -> Trainer:
        """The trainer of `run_downstream.py --run speaker_frame --upstream random` on a made-up store."""
        folder = Path(tempfile.mkdtemp())
        store = made_up(folder, "input", BASE_3.input_dim, FRAMES, UTTERANCES)
        words = [f"data.train=[{store}]", f"data.cache={folder / 'cache'}", f"upstream.fine_tune={self.tuned}"]
        config = resolve(DownstreamConfig, None, words)
        task = find_task("speaker_frame")
        spec = UpstreamSpec("random", CONFIG, word="random")
        setting = Setting(task, spec, config, 0, claim_device(cpu=False), quiet=True)
        return Experiment(setting, folder / "run").trainer()


@dataclass(frozen=True)
class PlainProbing:
    """The baseline keeps no representations: a batch of utterances goes through the upstream at every update."""

    tuned: bool

    def __call__(self) -> Turn:
        config = BASE_3.resolved("model.downsample_rate=1")
        baseline = Baseline(config, BASE_3.input_dim, BASE_3.input_dim)
        device, model = baseline.device, baseline.model
        assert isinstance(model, PlainModel), "a Transformer"
        classifier = nn.Linear(config.model.hidden_size, SPEAKERS).to(device)
        weights = [*classifier.parameters(), *(model.parameters() if self.tuned else ())]
        optimizer = torch.optim.Adam(weights, 4e-3, foreach=False)
        count = 6 if self.tuned else 2
        features = torch.randn(count, FRAMES, BASE_3.input_dim, device=device)
        lengths = torch.full((count,), FRAMES, device=device)
        labels = torch.randint(SPEAKERS, (count * FRAMES,), device=device)

        def turn() -> None:
            with torch.set_grad_enabled(self.tuned):
                states = model.encode(features, lengths)
            nn.functional.cross_entropy(classifier(states).flatten(0, 1), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            wait(device)

        return turn
