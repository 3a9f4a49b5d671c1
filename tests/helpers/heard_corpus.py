"""A small corpus of made-up recordings for the tests of probing: tones as phones, and a hum for each speaker."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from downstream.config import DownstreamConfig, OnlineFile
from downstream.experiment import Experiment
from downstream.setting import Setting
from downstream.tasks.table import find_task
from mockingjay.upstreams.spec import UpstreamSpec
from preprocess import generate_len_for_bucket, preprocess_any
from utility.audio.feature_config import FeatureConfig
from utility.config import build, resolve
from utility.labels.alignment import write_alignment

RATE, PHONES, SPEAKERS, EACH = 16000, {"aa": 500.0, "iy": 1500.0, "s": 4000.0}, 4, 5
FEATURES = FeatureConfig(kind="mel", deltas=0)
ONLINE = "online: {target_level: null, input: {kind: mel, deltas: 0}}\n"


@dataclass(frozen=True)
class Heard:
    """Where the corpus lies: recordings, a table of them, a store of their features, and their phones."""

    root: Path

    @property
    def recordings(self) -> str:
        return f"{self.root}/audio"

    @property
    def table(self) -> str:
        return f"{self.root}/tables/all.csv"

    @property
    def store(self) -> str:
        return f"{self.root}/mel/all"

    @property
    def online(self) -> str:
        return f"{self.root}/online.yaml"

    def values(self, train: str, **sections: dict) -> dict:
        data = {"train": [train], "alignment": f"{self.root}/phones", "cache": f"{self.root}/cache"}
        data |= {"dev_share": 0.25, "test_share": 0.25, **sections.pop("data", {})}
        trainer = {"steps": 30, "eval_every": 15, "save_every": 15, **sections.pop("trainer", {})}
        return {"data": data, "trainer": trainer, "optimizer": {"lr": 0.02}, **sections}

    def experiment(self, task: str, called: str, train: str, **sections: dict) -> Experiment:
        """What a run would do; it is not done."""
        return Experiment(self.setting(task, called, train, **sections), self.root / "unused")

    def setting(self, task: str, called: str, train: str, online: bool = False, **sections: dict) -> Setting:
        """A run of an upstream by its spec, or of `strided20`, which the fixture `strided` opens."""
        spec = f"hf:strided:{called.removeprefix('strided')}" if called.startswith("strided") else called
        config = build(DownstreamConfig, self.values(train, **sections))
        told = resolve(OnlineFile, self.online).online if online else None
        device = torch.device("cpu")
        return Setting(find_task(task), UpstreamSpec.parse(spec), config, 1, device, quiet=True, online=told)

    def words(self, train: str, *more: str) -> list[str]:
        """What a command line says of the corpus."""
        data = [f"data.train=[{train}]", f"data.alignment={self.root}/phones", f"data.cache={self.root}/cache"]
        quick = ["data.dev_share=0.25", "data.test_share=0.25", "trainer.steps=4", "trainer.eval_every=2"]
        return ["--cpu", "--expdir", f"{self.root}/result", "--logdir", f"{self.root}/log", *data, *quick, *more]


def heard_corpus(root: Path) -> Heard:
    """Four speakers with five utterances of about a second."""
    rng = np.random.default_rng(0)
    aligned = []
    for speaker in range(SPEAKERS):
        for number in range(EACH):
            counts = rng.integers(1000, 3200, size=9)
            names = rng.choice(sorted(PHONES), size=9)
            time = np.arange(counts.sum()) / RATE
            tone = np.repeat([PHONES[name] for name in names], counts)
            sound = 0.2 * np.sin(2 * np.pi * tone * time) + 0.15 * np.sin(2 * np.pi * (2200 + 500 * speaker) * time)
            sound += rng.normal(scale=0.01, size=len(time))
            name = f"s{speaker}-{number}"
            path = root / "audio" / f"s{speaker}" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound, RATE)
            ends = np.cumsum(counts) / RATE
            aligned.append((name, list(zip([0.0, *ends[:-1]], ends.tolist(), names.tolist()))))
    write_alignment(root / "phones", aligned)
    (root / "online.yaml").write_text(ONLINE)
    paths = ["--data_path", str(root / "audio"), "--output_path", str(root), "--n_jobs", "1"]
    assert generate_len_for_bucket.main([*paths, "--name", "tables"]) == 0
    assert preprocess_any.main([*paths, "--name", "mel", "--feature_type", "mel"]) == 0
    return Heard(root)
